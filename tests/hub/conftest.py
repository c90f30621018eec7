"""A stand-in for the Hub that the client asks, and the tests' own run published there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from tests.conftest import Training
from tests.hub.hub_server import TOKEN, Hub, Repo, standing_in
from trashnet.hub.push_pull import push

REPO = "someone/waste"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A stand-in that the client asks instead of the Hub, with a token that it accepts."""
    constants = huggingface_hub.constants
    with standing_in() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def published(hub: Hub, training: Training) -> Repo:
    """The tests' own run, published."""
    push(training.run, REPO)
    return hub.repo(REPO)


def sentence(raised: pytest.ExceptionInfo[Any]) -> str:
    """What the error says; it must be one sentence."""
    text = str(raised.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 400, text
    return text


def processes(hub: Hub, folder: Path) -> dict[str, str]:
    """The variables with which another process asks the stand-in."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "hf"),
    }
