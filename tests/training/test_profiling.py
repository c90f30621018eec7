"""What a training costs here, and in which precision it is cheaper."""

import json
import math
from pathlib import Path

import pytest

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import new_run
from trashnet.training import profiling
from trashnet.training.profiling import chosen_precision
from trashnet.training.session import train_and_evaluate

LONG = TrainConfig(epochs=50)
STEPS = {"float32": (1.0, 2.0), "bfloat16": (0.5, 2.01)}


def steps_take(monkeypatch: pytest.MonkeyPatch, **steps: tuple[float, float]) -> None:
    """Seconds and loss of a step in each precision."""
    monkeypatch.setattr(profiling, "_step", lambda config, precision: steps[precision])


def test_the_faster_precision_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_take(monkeypatch, **STEPS)
    assert chosen_precision(LONG, 2527) == ("bfloat16", {"float32": 1.0, "bfloat16": 0.5})


@pytest.mark.parametrize(
    "bfloat16",
    [(0.95, 2.0), (1.5, 2.0), (0.5, 2.5), (0.5, math.nan)],
    ids=["hardly faster", "slower", "another loss", "no loss"],
)
def test_float32_is_left_for_nothing_less(
    monkeypatch: pytest.MonkeyPatch, bfloat16: tuple[float, float]
) -> None:
    steps_take(monkeypatch, **STEPS | {"bfloat16": bfloat16})
    assert chosen_precision(LONG, 2527)[0] == "float32"


@pytest.mark.parametrize(
    ("config", "photos", "precision"),
    [
        (TrainConfig(epochs=50, precision="bfloat16"), 2527, "bfloat16"),
        (TrainConfig(epochs=50, precision="float32"), 2527, "float32"),
        (TrainConfig(epochs=8), 2527, "float32"),
        (TrainConfig(epochs=50), 240, "float32"),
        (TrainConfig.recipe("frozen_features"), 2527, "float32"),
    ],
)
def test_what_is_decided_or_short_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig, photos: int, precision: str
) -> None:
    steps_take(monkeypatch)
    assert chosen_precision(config, photos) == (precision, {})


def test_both_precisions_are_measured_on_the_same_photos() -> None:
    config = TrainConfig(image_size=32, batch_size=4)
    fine, coarse = (profiling._step(config, precision) for precision in ("float32", "bfloat16"))
    assert fine[0] > 0 and coarse[0] > 0
    assert coarse[1] == pytest.approx(fine[1], rel=0.05) and coarse[1] != fine[1]


def test_a_run_keeps_what_was_chosen(
    env: Environment, sample_photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        model="cnn", epochs=2, image_size=32, split="random", tracking="off", learning_rate=1e-4
    )
    run = new_run(env.runs, config, sample_photos)
    assert run.config["precision"] is None
    monkeypatch.setattr(profiling, "_WORTH_STEPS", 1)
    steps_take(monkeypatch, **STEPS)
    train_and_evaluate(run, env)
    assert run.status().state == "finished"
    kept = Run(run.path).config
    assert kept["precision"] == "bfloat16" and kept["step_seconds"]["float32"] == 1.0
    told = [row["what"] for row in run.metrics() if row["kind"] == "tick"]
    assert told[:2] == ["Measuring which precision is faster"] * 2
    assert kept["train_config"]["precision"] == "auto"  # so that it can be started elsewhere too
    assert dtypes(run.path / "model.keras") == {"float32"}
    assert "bfloat16" in dtypes(run.path / "checkpoint" / "best.keras")


def dtypes(path: Path) -> set[str]:
    """What the layers of a saved network compute in."""
    import keras

    model = keras.saving.load_model(path, compile=False)
    return {layer.compute_dtype for layer in model.layers}


def test_a_cost_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    from trashnet.cli.main import main

    assert main(["estimate", "--json", "--image-size", "32", "--batch-size", "4"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["step"] > 0 and cost["photo"] > 0 and cost["memory"] > 1e8
