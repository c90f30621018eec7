"""A run of which any file is damaged costs itself alone: it is said, and the others work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.pages.visiting import open_page, words
from tests.pages.visiting import run as draw
from trashnet.cli.main import main
from trashnet.errors import RunError
from trashnet.hub.bundle import ship
from trashnet.runs.damage import damage_of
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, describe, list_runs, unreadable_runs

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "half zeroed": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "{}": lambda content: b"{}",
    "number": lambda content: b"3\n",
    "list": lambda content: b"[1, [2]]\n",
    "deep": lambda content: b"[" * 100_000,
}


@pytest.fixture
def two(trained: Run) -> tuple[Run, Run]:
    """A finished run that is whole, and a later one to damage."""
    other = trained.path.with_name("whole")
    shutil.copytree(trained.path, other)
    return Run(other), trained


# ---------------------------------------------------------------- what is found


def test_whole_runs_have_no_damage(two: tuple[Run, Run]) -> None:
    assert [damage_of(run) for run in (*two, Run(RELEASED))] == [None] * 3


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["evaluation.json", "model.tflite", "predictions.parquet", "index.parquet", "projection.npz"],
)
def test_a_damaged_file_is_the_runs_state(
    two: tuple[Run, Run], name: str, damage: Callable[[bytes], bytes]
) -> None:
    whole, run = two
    path = run.path / name
    path.write_bytes(damage(path.read_bytes()))
    states = {row["run"]: row["state"] for row in map(describe, list_runs(run.path.parent))}
    assert states[run.id].startswith("damaged: ") and name in states[run.id]
    assert states[whole.id] == "finished"


@pytest.mark.parametrize("name", ["evaluation.json", "model.tflite", "predictions.parquet"])
def test_a_missing_file_is_the_runs_state(two: tuple[Run, Run], name: str) -> None:
    (two[1].path / name).unlink()
    assert describe(two[1])["state"] == f"damaged: {name} is missing"


def test_a_damaged_run_is_not_published(two: tuple[Run, Run], tmp_path: Path) -> None:
    (two[1].path / "predictions.parquet").write_bytes(b"{}")
    with pytest.raises(RunError, match=r"is damaged: predictions.parquet .*train it again"):
        ship(two[1], tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_an_evaluation_without_its_test_photos_is_damaged(two: tuple[Run, Run]) -> None:
    evaluation = two[1].evaluation()
    del evaluation["splits"]["test"]
    (two[1].path / "evaluation.json").write_text(json.dumps(evaluation))
    assert damage_of(two[1]) == "splits.test is missing in evaluation.json"


def test_a_run_whose_config_is_torn_is_named(two: tuple[Run, Run]) -> None:
    whole, run = two
    (run.path / "config.json").write_text("{")
    assert [r.id for r in list_runs(run.path.parent)] == [whole.id]
    ((name, why),) = unreadable_runs(run.path.parent).items()
    assert name == run.id and why.startswith(f"{run.id} holds no complete run (")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_reads_a_damaged_file_says_so(
    two: tuple[Run, Run], damage: Callable[[bytes], bytes]
) -> None:
    run = two[1]
    readers = {
        "evaluation.json": run.evaluation,
        "predictions.parquet": run.predictions,
        "index.parquet": run.index,
        "head.npz": run.head,
    }
    shutil.copy(RELEASED / "head.npz", run.path)
    for name, read in readers.items():
        path = run.path / name
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(RunError, match=rf"{run.id} is damaged: .*{name}.*\. Train it again\.$"):
            read()
    shutil.copy(RELEASED / "out_of_fold.parquet", run.path)
    assert isinstance(run.out_of_fold(), pd.DataFrame)


# ---------------------------------------------------------------- exports and pages


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_keras_model_costs_that_export(
    trained: Run,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = trained.path / "model.keras"
    path.write_bytes(damage(path.read_bytes()))
    assert main(["export", trained.id, "--format", "keras", "--output", str(tmp_path / "x")]) == 2
    assert "is damaged: model.keras cannot be read. Export it as litert" in capfd.readouterr().err
    assert damage_of(trained) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("evaluation.json", "cut"),
        ("evaluation.json", "{}"),
        ("predictions.parquet", "cut"),
        ("index.parquet", "half zeroed"),
        ("robustness.json", "{}"),
        ("metrics.jsonl", "number"),
        ("status.json", "list"),
        ("model.tflite", "cut"),
        ("config.json", "empty"),
    ],
)
def test_no_damage_ends_a_page(two: tuple[Run, Run], name: str, damage: str) -> None:
    whole, run = two
    shutil.copy(RELEASED / "robustness.json", run.path)
    path = run.path / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    open_page("Home", "alone")
    open_page("Training", "alone")
    page = open_page("Evaluation", "alone")
    options = page.selectbox(key="evaluation_run").options
    assert whole.id in options
    if run.id in options:
        page.session_state["evaluation_tab"] = "Robustness"
        page.selectbox(key="evaluation_run").set_value(run.id)
        text = words(draw(page))
        assert ("Measure again." in text) == (name == "robustness.json")
    elif name != "status.json":
        assert f"{run.id} is left out" in words(page)
