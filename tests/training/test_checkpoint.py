"""A checkpoint brings a training back as it was, whenever its process ended."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import Training
from trashnet.errors import RunError
from trashnet.files import read_json
from trashnet.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def folder(training: Training) -> Path:
    """The run directory of one epoch of training."""
    return training.run.path


@pytest.fixture
def model(folder: Path) -> keras.Model:
    """The network with its optimizer, after that epoch."""
    return keras.saving.load_model(folder / "checkpoint/epoch-0001.keras")


def marked(model: keras.Model, number: int) -> keras.Model:
    """The same network, told apart by its bias."""
    model.get_layer("logits").bias.assign(np.full(6, number, np.float32))
    return model


def mark(model: keras.Model) -> float:
    (number,) = set(np.asarray(model.get_layer("logits").bias).tolist())
    return number


def names(path: Path) -> set[str]:
    return {p.name for p in (path / "checkpoint").iterdir()}


def test_before_the_first_epoch_there_is_none(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert not checkpoint.exists and checkpoint.epoch == 0
    assert checkpoint.load() is None


def test_a_training_comes_back_with_its_optimizer(tmp_path: Path, model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for variable in model.optimizer.variables[2:]:  # after its count of steps and learning rate
        variable.assign(rng.random(variable.shape, np.float32))
    Checkpoint(tmp_path).save(model, 4, (0.5,))
    checkpoint = Checkpoint(tmp_path)
    again = checkpoint.load()
    assert checkpoint.exists and checkpoint.epoch == 4 and again is not None
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(again.optimizer.variables) > len(model.weights)
    for ours, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) > 0
    assert again.loss.label_smoothing == model.loss.label_smoothing


def test_the_highest_score_is_kept_over_a_restart(tmp_path: Path, model: keras.Model) -> None:
    """Scores are compared in order, and of equal ones the first counts."""
    scores = [(0.1, -1.0), (0.3, -2.0), (0.3, -1.0), (0.3, -1.0), (0.2, 0.0)]
    for epoch, score in enumerate(scores, start=1):
        Checkpoint(tmp_path).save(marked(model, epoch), epoch, score)
    checkpoint = Checkpoint(tmp_path)
    last = checkpoint.load()
    assert last is not None and (mark(checkpoint.best()), mark(last)) == (3, 5)


def test_a_score_is_compared_with_the_best_of_this_process_too(
    tmp_path: Path, model: keras.Model
) -> None:
    checkpoint = Checkpoint(tmp_path)
    for epoch, score in enumerate([(0.2,), (0.1,), (0.3,), (0.2,)], start=1):
        checkpoint.save(marked(model, epoch), epoch, score)
    assert mark(checkpoint.best()) == 3


def test_only_the_last_epoch_and_the_pretrained_network_are_kept(
    tmp_path: Path, model: keras.Model
) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(marked(model, 10), 0, (0,))
    assert checkpoint.exists and checkpoint.epoch == 0
    # Epoch 0 is no absence: a head was fitted, and is not to be fitted again.
    assert Checkpoint(tmp_path).exists and Checkpoint(tmp_path).load() is not None
    for epoch in (1, 2):
        checkpoint.save(marked(model, 10 + epoch), epoch, (epoch,))
    assert names(tmp_path) == {"epoch-0000.keras", "epoch-0002.keras", "best.keras", "state.json"}
    assert mark(Checkpoint(tmp_path).pretrained()) == 10
    assert mark(Checkpoint(tmp_path).best()) == 12


def test_the_best_epoch_goes_without_the_optimizer(folder: Path) -> None:
    """Which is twice as large as the weights, and only for resuming."""
    with_it = (folder / "checkpoint/epoch-0001.keras").stat().st_size
    assert (folder / "checkpoint/best.keras").stat().st_size < 0.5 * with_it


def test_the_checkpoint_survives_a_kill_at_any_of_its_writes(
    tmp_path: Path, model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write is the last to happen, the training goes on from a whole epoch."""
    replace, left = os.replace, [0]

    def replace_few(source: str, target: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(source, target)

    for allowed in range(4):
        path = tmp_path / str(allowed)
        path.mkdir()
        Checkpoint(path).save(marked(model, 1), 1, (0.1, -1.0))
        left[0] = allowed
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_few)
            try:
                Checkpoint(path).save(marked(model, 2), 2, (0.2, -1.0))
            except KeyboardInterrupt:
                assert allowed < 3
        checkpoint = Checkpoint(path)
        whole = 2 if allowed == 3 else 1
        again = checkpoint.load()
        assert again is not None and (checkpoint.epoch, mark(again)) == (whole, whole)
        # The epoch is trained again: however far it came, it is the best one then.
        checkpoint.save(marked(model, 2), 2, (0.2, -1.0))
        assert mark(Checkpoint(path).best()) == 2
        assert names(path) == {"epoch-0002.keras", "best.keras", "state.json"}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("epoch-0001.keras", Checkpoint.load),
        ("best.keras", Checkpoint.best),
        ("epoch-0000.keras", Checkpoint.pretrained),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "empty", "torn", "half"])
def test_a_damaged_checkpoint_is_said(
    name: str, read: Any, damage: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "checkpoint", tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / name
    whole = (folder / "checkpoint/best.keras").read_bytes()
    path.unlink(missing_ok=True)
    if damage != "gone":
        path.write_bytes({"empty": b"", "torn": b"torn", "half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(RunError, match=f"checkpoint {name} cannot be read; delete .*checkpoint"):
        read(Checkpoint(tmp_path))


@pytest.mark.parametrize("state", ["[1]", "3", "{}", '{"epoch": 1}', "{"])
def test_a_torn_state_begins_anew(tmp_path: Path, state: str) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.json").write_text(state)
    again = Checkpoint(tmp_path)
    assert not again.exists and again.epoch == 0 and again.load() is None


def test_the_state_is_plain_to_read(folder: Path) -> None:
    state = read_json(folder / "checkpoint/state.json")
    assert state["epoch"] == 1 and len(state["best"]) == 2
