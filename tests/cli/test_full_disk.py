"""Commands on a disk that is full or may not be written to: one sentence each."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_main import is_one_sentence
from tests.conftest import Training
from trashnet.cli.main import main
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs.run import Run

COMMANDS = (
    "data",
    "data --index HOME/table.csv",
    "audit",
    "review FILE --keep",
    "train",
    "train --tracking off",
    "resume RUN",
    "stop RUN",
    "robustness RUN",
    "export RUN --output HOME/export",
)


@pytest.mark.slow
@pytest.mark.parametrize("typed", COMMANDS)
def test_a_command_says_it_in_one_sentence(
    typed: str,
    env: Environment,
    sample_photos: Photos,
    training: Training,
    refusing_disk: Callable[[pytest.MonkeyPatch, Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = Run(shutil.copytree(training.run.path, env.runs / "done"))
    if typed not in ("data", "audit"):  # which read photos that they do not know
        shutil.copytree(training.env.cache, env.cache)
    if typed.split()[0] in ("resume", "stop"):
        run.write_status(state="waiting" if "stop" in typed else "stopped", pid=None)
    if typed != "train":  # whose photos are unpacked first
        monkeypatch.setenv("TRASHNET_DATA", str(sample_photos.root))
    words = {"RUN": "done", "HOME": str(env.home), "FILE": sample_photos.files[0]}
    for word, meant in words.items():
        typed = typed.replace(word, meant)
    refusing_disk(monkeypatch, env.home)
    code = main(typed.split())
    shown = capfd.readouterr()
    refused = [line for line in shown.err.splitlines(True) if "run done" not in line]
    assert code in (0, 2) and "Traceback" not in shown.err
    if code == 2:
        assert is_one_sentence(refused[-1]), shown.err
