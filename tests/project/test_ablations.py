"""The table of what each part of the recipe is worth comes from runs, by a command."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tools import ablations
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import new_run
from trashnet.training.session import train_and_evaluate

TINY = TrainConfig(model="cnn", epochs=1, image_size=32, tracking="off", split="random")
CHANGED = {"class_weights": False}


@pytest.fixture
def run(env: Environment, sample_photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run of one of two variations."""
    monkeypatch.setattr(ablations, "BASE", TINY)
    monkeypatch.setattr(
        ablations, "VARIATIONS", {"as it is": {}, "no class weights": CHANGED | {"epochs": 1}}
    )
    monkeypatch.setattr(ablations, "environment", lambda: env)
    run = new_run(env.runs, TINY.replace(**CHANGED), sample_photos)
    train_and_evaluate(run, env)
    return run


def test_a_row_is_what_a_run_says_of_its_validation_photos(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, results = tmp_path / "method.md", tmp_path / "ablations.json"
    page.write_text(f"Before.\n\n{ablations.BEGIN}\nold\n{ablations.END}\n\nAfter.\n")
    monkeypatch.setattr(ablations, "PAGE", page)
    monkeypatch.setattr(ablations, "RESULTS", results)
    monkeypatch.setattr("sys.argv", ["ablations", "--write"])
    assert ablations.main() == 1  # one is missing, and said
    assert "No finished run of: as it is." in capsys.readouterr().err
    (row,) = json.loads(results.read_text())
    scores = run.evaluation()["splits"]["validation"]
    assert row["accuracy"] == scores["accuracy"] and row["n"] == scores["n"]
    assert row["recall"]["trash"] == scores["per_class"]["trash"]["recall"]
    assert row["options"] == "--no-class-weights" and row["precision"] == "float32"
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("After.\n") and "old" not in text
    assert f"| no class weights | {scores['accuracy']:.1%} (" in text
    assert "| `--no-class-weights` |" in text


def test_chance_is_asked_on_the_photos_both_runs_validated_on(run: Run, tmp_path: Path) -> None:
    assert ablations.p_value(run, None) is None and ablations.p_value(run, run) is None
    base = Run(shutil.copytree(run.path, tmp_path / "base"))
    table = base.predictions()
    rows = np.flatnonzero(table.split == "validation")
    wrong = [run.classes[run.classes.index(label) - 1] for label in table.label[rows]]

    def answering(labels: list[str]) -> list[np.ndarray]:
        return [np.eye(6, dtype=np.float32)[run.classes.index(label)] for label in labels]

    for path, labels in ((run.path, table.label[rows].tolist()), (base.path, wrong)):
        logits = table.logits.tolist()
        for row, logit in zip(rows, answering(labels), strict=True):
            logits[row] = logit
        table.assign(logits=logits).to_parquet(path / "predictions.parquet")
    # Every photo is right in one run alone: as likely as so many heads, or tails, in a row.
    assert ablations.p_value(run, base) == pytest.approx(2 * 0.5 ** len(rows))
    others = table.assign(split=table.split.replace({"validation": "test", "test": "validation"}))
    others.to_parquet(base.path / "predictions.parquet")
    assert ablations.p_value(run, base) is None


def test_what_is_missing_is_trained_by_the_command_that_is_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **options: commands.append(words) or options["check"]
    )
    monkeypatch.setattr("sys.argv", ["ablations", "--train"])
    assert ablations.main() == 1
    (words,) = commands
    asked = shlex.join(words[1:])
    assert asked.startswith("-m trashnet train --model cnn --epochs 1 --image-size 32")
    assert "class-weights" not in asked


@pytest.mark.parametrize("what", ablations.VARIATIONS)
def test_a_variation_changes_what_it_says_and_nothing_else(what: str) -> None:
    changes, base = ablations.VARIATIONS[what], ablations.BASE.to_dict()
    config = ablations.configuration(changes).to_dict()
    assert {name for name in config if config[name] != base[name]} <= set(changes)
    assert (config == base) == (what == "as it is")


def test_no_two_variations_are_one() -> None:
    settings = [ablations.configuration(c) for c in ablations.VARIATIONS.values()]
    assert len(set(settings)) == len(settings)
