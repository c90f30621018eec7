"""Numbers reach the metrics file whatever happens, and Weights & Biases when it can be had."""

import contextlib
import dataclasses
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb

from tests.conftest import Training
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs import store
from trashnet.runs.metrics_file import MetricsFile
from trashnet.runs.run import Run
from trashnet.training import wandb_logger
from trashnet.training.fold import Fold
from trashnet.training.trainer import store_evaluation
from trashnet.training.wandb_logger import WandbRun

ROOT = Path(__file__).resolve().parents[2]
EPOCH = {"epoch": 1, "loss": 1.5, "val_accuracy": 0.25}


@pytest.fixture(autouse=True)
def _no_folders_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path))


@pytest.fixture
def make_run(env: Environment, sample_photos: Photos) -> Callable[[str], Run]:
    def make(mode: str) -> Run:
        config = TrainConfig(tracking=mode, epochs=1, image_size=32, split="random")
        return store.new_run(env.runs, config, sample_photos)

    return make


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def offline_runs(run: Run) -> list[Path]:
    return list((run.path / "wandb").glob("offline-run-*"))


# ---------------------------------------------------------------- metrics file


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b"", 0),
        (b'{"kind": "epoch", "epoch": 1}\n', 1),
        (b'{"kind": "epoch", "epoch": 1}\n{"kind": "ep', 1),
        (b'{"kind"', 0),
        (b'{"kind": "epoch", "epoch": 1}', 1),
        (b'{"what": "caf\xc3', 0),
    ],
    ids=["empty", "whole", "torn", "only torn", "no line end", "torn letter"],
)
def test_a_torn_line_does_not_spoil_the_next(
    left: bytes, kept: int, make_run: Callable[[str], Run]
) -> None:
    run = make_run("off")
    (run.path / "metrics.jsonl").write_bytes(left)
    file = MetricsFile(run.path / "metrics.jsonl")
    file.write("epoch", epoch=2, loss=0.5)
    file.close()
    rows = run.metrics()
    assert len(rows) == kept + 1
    assert (rows[-1]["kind"], rows[-1]["epoch"], rows[-1]["loss"]) == ("epoch", 2, 0.5)
    assert abs(rows[-1]["time"] - time.time()) < 10
    assert b"\n\n" not in (run.path / "metrics.jsonl").read_bytes()


def test_lines_can_be_read_while_they_are_written(make_run: Callable[[str], Run]) -> None:
    run = make_run("off")
    file = MetricsFile(run.path / "metrics.jsonl")
    for done in range(1, 4):
        file.write("tick", done=done)
        assert len(run.metrics()) == done
    file.close()


# ---------------------------------------------------------------- off and offline


def use(run: Run, env: Environment, evaluation: dict[str, Any]) -> None:
    """What a training does with its tracker."""
    tracker = WandbRun(run, env)
    tracker.log_epoch(EPOCH)
    tracker.log_evaluation(evaluation, run.classes)
    tracker.finish()


@pytest.mark.parametrize(("mode", "key"), [("off", True), ("auto", False)])
def test_where_nobody_asked_nothing_is_left(
    mode: str,
    key: bool,
    make_run: Callable[[str], Run],
    env: Environment,
    training: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was started"))
    run = make_run(mode)
    before = sorted(run.path.rglob("*"))
    use(
        run,
        dataclasses.replace(env, wandb_key=key, wandb_mode="offline"),
        training.run.evaluation(),
    )
    assert sorted(run.path.rglob("*")) == before
    assert warnings(caplog) == []


@pytest.mark.parametrize(("mode", "said"), [("offline", 0), ("online", 1)])
def test_without_a_key_a_run_that_is_to_be_tracked_is_kept_offline(
    mode: str,
    said: int,
    make_run: Callable[[str], Run],
    env: Environment,
    training: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = make_run(mode)
    use(run, env, training.run.evaluation())
    (folder,) = offline_runs(run)
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    for name in ("val_accuracy", "validation/ece", "test/recall/glass", "test/confusion_matrix"):
        assert name.encode() in content
    assert len(warnings(caplog)) == said


def test_the_matrix_becomes_one_pair_per_photo() -> None:
    true, predicted = wandb_logger._matrix_as_pairs([[2, 1], [0, 3]])
    assert sorted(zip(true, predicted, strict=True)) == [(0, 0)] * 2 + [(0, 1)] + [(1, 1)] * 3


# ---------------------------------------------------------------- failing


def test_a_training_goes_on_when_wandb_fails(
    make_run: Callable[[str], Run],
    env: Environment,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trashnet.training.session import train_and_evaluate

    def init(**_: Any) -> None:
        raise RuntimeError("no luck\ntoday")

    monkeypatch.setattr(wandb, "init", init)
    run = make_run("offline")
    train_and_evaluate(run, env)
    assert run.is_finished and len(run.epochs()) == 1
    (warning,) = [text for text in warnings(caplog) if "Weights & Biases" in text]
    assert "RuntimeError: no luck" in warning and "metrics.jsonl still gets every" in warning


@pytest.mark.parametrize("method", ["log", "finish"])
def test_a_failure_underway_is_said_once(
    method: str,
    make_run: Callable[[str], Run],
    env: Environment,
    training: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    class FakeRun:
        def __init__(self) -> None:
            self.summary: dict[str, Any] = {}
            self.log = self.finish = lambda *_, **__: None
            setattr(self, method, fail)

    monkeypatch.setattr(wandb, "init", lambda **_: FakeRun())
    tracker = WandbRun(make_run("offline"), env)
    for _ in range(3):
        tracker.log_epoch(EPOCH)
    tracker.log_evaluation(training.run.evaluation(), training.run.classes)
    tracker.finish()
    tracker.finish()
    assert warnings(caplog) == [
        "Weights & Biases failed (BrokenPipeError: no reason given); "
        "metrics.jsonl still gets every number."
    ]


# ---------------------------------------------------------------- a key, but nobody answers


@pytest.fixture
def no_server() -> str:
    """An address where nobody listens."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


SCRIPT = """
import logging, sys, time
from pathlib import Path
from trashnet.training import wandb_logger
from trashnet.environment import environment
from trashnet.runs.run import Run
logging.basicConfig(level=logging.WARNING, format="%(message)s")
wandb_logger._INIT_SECONDS = 4  # the test has no time for the real 15
env = environment()
began = time.time()
tracker = wandb_logger.WandbRun(Run(Path(sys.argv[1])), env)
tracker.log_epoch({"epoch": 1, "loss": 1.5})
tracker.finish()
print(env.wandb_key, time.time() - began)
"""


@pytest.mark.parametrize("key", ["a" * 40, "no key"], ids=["key", "malformed key"])
def test_a_training_without_network_is_kept_offline_and_asks_nothing(
    key: str, make_run: Callable[[str], Run], no_server: str
) -> None:
    run = make_run("auto")
    ours = ("WANDB_MODE", "WANDB_SERVICE")  # a service that this process has may be running
    variables = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run.path)],
        env={
            **variables,
            "PYTHONPATH": str(ROOT),
            "WANDB_API_KEY": key,
            "WANDB_BASE_URL": no_server,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found, seconds = done.stdout.split()
    assert found == "True"
    assert float(seconds) < 4 + 10 and wandb_logger._INIT_SECONDS <= 15
    assert len(offline_runs(run)) == 1
    assert "kept offline" in done.stderr
    assert "Weights & Biases failed" not in done.stderr


def test_the_run_is_named_and_described_as_ours(
    make_run: Callable[[str], Run], env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a resumed run goes on with its own curves."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **k: given.update(k) or SimpleNamespace())
    run = make_run("online")
    WandbRun(run, dataclasses.replace(env, wandb_key=True))
    assert (given["id"], given["resume"], given["mode"]) == (run.id, "allow", "online")
    assert Path(given["dir"]) == run.path
    assert given["config"]["train_config"] == run.config["train_config"]
    assert not {"data", "review"} & set(given["config"])  # they name this machine's folders
    settings = given["settings"]
    assert settings.console == "off" and settings.disable_git and settings.x_disable_machine_info


@pytest.mark.parametrize(
    ("tracking", "key", "allowed", "mode"),
    [
        ("auto", True, None, "online"),
        ("auto", True, "offline", "offline"),
        ("auto", True, "off", None),
        ("auto", False, "online", None),
        ("auto", False, "offline", None),
        ("online", True, "offline", "offline"),
        ("online", False, "offline", "offline"),
        ("online", True, "off", None),
        ("offline", True, "online", "offline"),
        ("off", True, "online", None),
    ],
)
def test_a_key_or_the_run_asks_and_the_environment_may_allow_less(
    make_run: Callable[[str], Run],
    env: Environment,
    monkeypatch: pytest.MonkeyPatch,
    tracking: str,
    key: bool,
    allowed: str | None,
    mode: str | None,
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **k: given.update(k) or SimpleNamespace())
    WandbRun(make_run(tracking), dataclasses.replace(env, wandb_key=key, wandb_mode=allowed))
    assert given.get("mode") == mode


@pytest.mark.parametrize("asked", [True, False], ids=["switched on", "not asked for"])
def test_a_login_of_another_program_is_used_only_where_tracking_was_asked_for(
    asked: bool,
    make_run: Callable[[str], Run],
    env: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}
    (tmp_path / "netrc").write_bytes(b"machine api.wandb.ai\n login user")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(wandb, "init", lambda **k: given.update(k) or SimpleNamespace())
    WandbRun(make_run("online" if asked else "auto"), env)
    assert given.get("mode") == ("online" if asked else None)


def test_photos_of_ones_own_are_sent_only_after_a_yes(
    training: Training, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(training.run.path, tmp_path / "run")
    run, sent = Run(tmp_path / "run"), []
    index, predictions = run.index(), run.predictions()
    tracker = SimpleNamespace(
        log_evaluation=lambda *_: None,
        log_mistakes=lambda *_: sent.append(True),
        log_model=lambda _: None,
    )
    nothing = np.zeros(0)
    for yes in (False, True):
        config = run.train_config.model_copy(update={"track_photos": yes})
        store_evaluation(Fold(run, config, index, nothing, nothing), predictions, tracker)
        assert len(sent) == yes
    trashnet = Run(store.RELEASED).index()
    config = run.train_config
    store_evaluation(Fold(run, config, trashnet, nothing, nothing), predictions, tracker)
    assert len(sent) == 2  # anybody can have TrashNet's


def test_a_training_that_is_not_to_be_tracked_imports_nothing_of_it(
    tmp_path: Path, sample_photos: Photos
) -> None:
    script = (
        "import sys; from trashnet.cli.main import main;"
        f"code = main(['train', '--data', {str(sample_photos.root)!r}, '--model',"
        " 'frozen_features', '--split', 'random', '--image-size', '32']);"
        "sys.exit(code or 'wandb' in sys.modules)"
    )
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TRASHNET_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=variables, check=True, timeout=120)
    (run,) = store.list_runs(tmp_path / "runs")
    assert run.train_config.tracking == "auto" and not (run.path / "wandb").exists()
