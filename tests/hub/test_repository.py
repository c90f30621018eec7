"""A Hub that is silent, offline or not there, asked by the real client."""

import time

import huggingface_hub.constants
import pytest

from tests.conftest import Training
from tests.hub.conftest import REPO, sentence
from tests.hub.hub_server import TOKEN, Hub
from trashnet.environment import Environment
from trashnet.errors import HubError
from trashnet.hub.push_pull import pull, push
from trashnet.hub.repository import Repository


def test_a_hub_that_is_not_there_is_said_within_seconds(
    hub: Hub, training: Training, monkeypatch: pytest.MonkeyPatch, env: Environment
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    began = time.monotonic()
    for work in (lambda: push(training.run, REPO), lambda: pull(REPO, env.runs)):
        with pytest.raises(HubError) as raised:
            work()
        assert "could not be reached" in sentence(raised)
    assert time.monotonic() - began < 10


def test_a_silent_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    import socket

    monkeypatch.setattr("trashnet.hub.repository.FIRST_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        with pytest.raises(HubError) as raised:
            Repository(REPO, "model").look()
    assert "could not be reached (ReadTimeout)" in sentence(raised)


def test_offline_is_said_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, hub: Hub, env: Environment
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as raised:
        pull(REPO, env.runs)
    assert "HF_HUB_OFFLINE is set" in sentence(raised)
