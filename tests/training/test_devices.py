"""Several devices train one network as one device does; two parts of the CPU stand in for GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from trashnet.data.dataset import Photos
from trashnet.training.trainer import strategy

_ODD = """
import json
import numpy as np
import tensorflow as tf

parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)

from trashnet.config import TrainConfig
from trashnet.training.input_pipeline import TrainingBatches
from trashnet.training.networks import compiled_model

config = TrainConfig(image_size=32, batch_size=4)
pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
rows = np.arange(9)
batches = TrainingBatches(pixels, rows, rows % 2, np.ones(2, np.float32), config, parts=2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = compiled_model(config, 2, batches.steps)
losses = []
for epoch in range(2):
    losses += model.fit(batches.epoch(epoch), verbose=0, shuffle=False).history["loss"]
print(json.dumps([batches.steps, *losses]))
"""

Learned = tuple[dict, list[np.ndarray]]
"""What a training said, and its weights."""

_TRAIN = """
import json, sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf

devices, root, home, settings = int(sys.argv[1]), *map(Path, sys.argv[2:4]), json.loads(sys.argv[4])
parts = [tf.config.LogicalDeviceConfiguration()] * devices
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)

from trashnet.config import TrainConfig
from trashnet.data.dataset import open_folder
from trashnet.environment import Environment
from trashnet.runs.control import stop
from trashnet.runs.store import new_run
from trashnet.training import trainer
from trashnet.training.session import train_and_evaluate

if devices > 1:
    mirrored = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])
    trainer.strategy = lambda batch: mirrored
env = Environment(home, hub_offline=True)
run = new_run(env.runs, TrainConfig(**settings), open_folder(root, "samples", "folder"))
steps, states = [], []

def on_progress(done, total, what):
    if what.startswith("Training"):
        steps.append(done)
        if sys.argv[5:] and done == 8 and not states:  # in the second epoch
            stop(run)

while run.status().state != "finished":
    train_and_evaluate(run, env, on_progress)
    states.append(run.status().state)
epochs = run.epochs()
model = keras.saving.load_model(run.path / "model.keras", compile=False)
np.savez(home / "weights.npz", *model.get_weights())
losses = [*epochs.loss, *epochs.val_loss]
print(json.dumps({"states": states, "steps": steps, "losses": losses}))
"""


def _run(script: str, *arguments: str) -> str:
    """Runs a script in a process of its own: devices are divided before TensorFlow starts."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trained(
    home: Path, photos: Photos, devices: int, stopped: bool = False, **settings: object
) -> Learned:
    """Trains in a process of its own on so many devices: what it says, and the weights."""
    home.mkdir()
    settings = {"epochs": 2, "image_size": 32, "split": "random", "tracking": "off", **settings}
    command = [_TRAIN, str(devices), str(photos.root), str(home)]
    command += [json.dumps(settings), *["stop"] * stopped]
    output = _run(*command)
    with np.load(home / "weights.npz") as arrays:
        return json.loads(output.splitlines()[-1]), list(arrays.values())


def test_one_device_is_left_as_it_is() -> None:
    if len(tf.config.list_physical_devices("GPU")) > 1:
        pytest.skip("this machine has several GPUs")
    assert strategy(32) is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("gpus", "batch", "used"), [(2, 32, 2), (8, 32, 8), (3, 32, 2), (3, 33, 3), (6, 20, 5)]
)
def test_gpus_share_every_batch_equally(
    gpus: int, batch: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * gpus)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: made.append(names))
    strategy(batch)
    assert made == [[f"GPU:{number}" for number in range(used)]]


def test_a_batch_that_cannot_be_shared_is_trained_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 2)
    assert strategy(33) is tf.distribute.get_strategy()


@pytest.fixture(scope="module")
def alone(sample_photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Two epochs on one device."""
    return trained(tmp_path_factory.mktemp("alone") / "home", sample_photos, 1)


def test_two_devices_learn_what_one_does_also_from_a_checkpoint(
    alone: Learned, sample_photos: Photos, tmp_path: Path
) -> None:
    said, weights = trained(tmp_path / "home", sample_photos, 2, stopped=True)
    assert alone[0]["steps"] == list(range(1, 13))
    assert said["states"] == ["stopped", "finished"]
    assert said["steps"] == [*range(1, 9), *range(7, 13)]  # the second epoch anew
    assert said["losses"] == pytest.approx(alone[0]["losses"], rel=0.02)
    nearly_equal(weights, alone[1])


def test_no_device_is_left_without_photos() -> None:
    """Of two devices, one with none in an odd last batch ended the training with an error."""
    steps, *losses = json.loads(_run(_ODD).splitlines()[-1])
    assert steps == 2
    assert np.isfinite(losses).all()


def nearly_equal(one: list[np.ndarray], two: list[np.ndarray]) -> None:
    """Sums in another order round differently, and Adam's first steps make much of little."""
    for a, b in zip(one, two, strict=True):
        assert np.abs(a - b).mean() < 0.02 * np.abs(b).mean() + 1e-4
