"""Robustness figures: a file for each split, and those of earlier versions are still read."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import read_json, write_json
from trashnet.runs.robustness_file import keep, slot, stored
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, results_folder

SHIPPED: dict[str, Any] = read_json(RELEASED / "robustness.json")


def test_measuring_one_split_leaves_the_other(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for split in ("validation", "test"):
        keep(tmp_path, SHIPPED | {"split": split})
    assert stored(run, "validation", tmp_path) == SHIPPED
    assert stored(run, "test", tmp_path) == SHIPPED | {"split": "test"}
    assert {path.name for path in tmp_path.iterdir()} == {"robustness.json", "robustness-test.json"}
    assert stored(run, "train", tmp_path) is None


def test_the_one_file_of_an_earlier_version_holds_any_split_and_is_not_lost(tmp_path: Path) -> None:
    run, before = Run(tmp_path), SHIPPED | {"split": "test"}
    write_json(tmp_path / "robustness.json", before)
    assert stored(run, "test", tmp_path) == before
    assert stored(run, "validation", tmp_path) is None
    keep(tmp_path, SHIPPED)
    assert stored(run, "test", tmp_path) == before
    assert stored(run, "validation", tmp_path) == SHIPPED


def test_the_shipped_run_is_measured_into_the_home(env: Environment) -> None:
    run = Run(RELEASED)
    folder = results_folder(run, env)
    assert folder == env.home / "released"
    assert stored(run, "validation", folder) == SHIPPED, "the package's own"
    folder.mkdir()
    keep(folder, SHIPPED | {"n": 1})
    assert stored(run, "validation", folder) == SHIPPED | {"n": 1}
    assert results_folder(Run(env.runs / "a"), env) == env.runs / "a"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"split": "test"', bytes(99)])
def test_a_damaged_file_is_said_and_costs_its_split_alone(tmp_path: Path, content: bytes) -> None:
    run = Run(tmp_path)
    keep(tmp_path, SHIPPED)
    (tmp_path / slot("test")).write_bytes(content)
    with pytest.raises(RunError, match=r"are damaged: .*robustness-test.json.*\. Measure again\."):
        stored(run, "test", tmp_path)
    assert stored(run, "validation", tmp_path) == SHIPPED
    (tmp_path / slot("validation")).write_bytes(content)
    keep(tmp_path, SHIPPED)
    assert stored(run, "validation", tmp_path) == SHIPPED
    shutil.copy(tmp_path / slot("validation"), tmp_path / slot("excluded"))
    assert stored(run, "excluded", tmp_path) is None, "it is of another split"
