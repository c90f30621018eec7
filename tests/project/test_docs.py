"""Every command the documents print runs as it stands, shortened where it would take long."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Training, run_command
from trashnet.cli.main import main
from trashnet.data.dataset import Photos

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {"train": ["--image-size", "32", "--folds", "1", "--tracking", "off"]}
NEEDS_THE_HUB = {
    "--fetch": "use the small photos of the package",
    "push": "HF_TOKEN",
    "pull": "HF_HUB_OFFLINE is set",
    "--secret": "HF_TOKEN",
}
"""The tests are offline, so these say what to do instead."""


def printed_commands() -> list[str]:
    """Returns the `python -m trashnet` lines of all bash blocks, each once."""
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("python -m trashnet ")})


def seen_as_a_process(line: str) -> bool:
    """Whether another line runs this command as a process of its own, as a person does."""
    name = line.split()[3]
    first = next(other for other in printed_commands() if other.split()[3] == name)
    return line != first and name in ("data", "evaluate", "review", "train")  # no Hub's token


@pytest.fixture(scope="module")
def home(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished run, in which the commands may do what they like."""
    return Path(shutil.copytree(training.env.home, tmp_path_factory.mktemp("docs") / "home"))


def run_here(
    home: Path, *words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """As `run_command`, without a process of its own: it saves that TensorFlow is imported."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("TRASHNET_HOME", str(home))
    code = main(list(words))
    said = capfd.readouterr()
    return code, said.out, said.err


def test_there_are_commands_to_run() -> None:
    assert len(printed_commands()) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("line", printed_commands())
def test_a_printed_command_runs(
    line: str,
    home: Path,
    training: Training,
    sample_photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    plan = {"epochs": 1, "image_size": 32, "samples": 1, "tracking": "off"}
    (home / "plan.json").write_text(json.dumps(plan | {"search": {"seed": {"choice": [0]}}}))
    stand_ins = {
        "RUN": training.run.id,
        "photos": str(sample_photos.root / "glass"),
        "photo.jpg": str(sample_photos.root / "glass" / "glass1.jpg"),
        "glass/glass115.jpg": "glass/glass1.jpg",  # these are fewer
        "FILE": "out.csv",
        "FOLDER": str(sample_photos.root),
    }
    words = [stand_ins.get(word, word) for word in shlex.split(line)[3:]]
    words += LONG.get(words[0], [])
    if words[0] == "train":
        words += [] if "frozen_features" in words else ["--epochs", "1"]
        words = ["random" if word == "authors" else word for word in words]  # TrashNet's own
    monkeypatch.setenv("TRASHNET_DATA", str(sample_photos.root))
    if seen_as_a_process(line):
        code, output, errors = run_here(home, *words, monkeypatch=monkeypatch, capfd=capfd)
    else:
        code, output, errors = run_command(
            home,
            *words,
            TRASHNET_OWNER_PASSWORD="secret",
            HF_TOKEN="",
            HF_HOME=str(home / "hf"),
            RAY_AUTH_MODE="disabled",
        )
    expected = [said for word, said in NEEDS_THE_HUB.items() if word in words]
    if expected:
        assert code == 2, errors
        assert expected[0] in errors
    else:
        assert code == 0, errors
        assert output.strip()
