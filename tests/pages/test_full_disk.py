"""Pages on a disk that is full or may not be written to: a sentence where the result would be."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.visiting import is_sentence, metrics, open_page, run
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs.run import Run

Refuse = Callable[[pytest.MonkeyPatch, Path], None]


def press(page: AppTest, label: str) -> str:
    """Presses a button and returns the sentence that follows."""
    next(button for button in page.button if button.label == label).click()
    run(page)
    (said,) = [*page.error, *page.toast]
    assert is_sentence(said.value)
    return said.value


def test_starting_says_it(
    samples: Photos, env: Environment, refusing_disk: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("Training", "alone")
    refusing_disk(monkeypatch, env.home)
    assert str(env.runs) in press(page, "Start")


def test_resuming_says_it(
    trained: Run, env: Environment, refusing_disk: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.write_status(state="stopped")
    page = open_page("Training", "alone")
    refusing_disk(monkeypatch, env.home)
    assert str(trained.path) in press(page, "Resume")
    assert trained.status().state == "stopped"


def test_photos_that_cannot_be_noted_are_shown(
    samples: Photos, env: Environment, refusing_disk: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is read again next time: that costs time, and nothing else."""
    shutil.rmtree(env.cache)
    refusing_disk(monkeypatch, env.home)
    page = open_page("Dataset", "alone")
    assert list(page.error) == []
    assert metrics(page)["Photos"].value == "240"
