"""Run directories: what a reader makes of whole, half-written and abandoned ones."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.review import Decision
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import read_json, write_json
from trashnet.runs import control, processes
from trashnet.runs import run as run_module
from trashnet.runs.control import check_startable, clear_stop, end_if_overdue, start, stop
from trashnet.runs.processes import identity
from trashnet.runs.run import Run, Status
from trashnet.runs.store import RELEASED, describe, list_runs, make_fold, new_run, open_run

PHOTOS = Photos(Path("photos"), "mine", "folder", ("can", "jar"), ("can/1.jpg", "jar/1.jpg"))


@pytest.fixture
def run(env: Environment) -> Run:
    """A new run of the default settings."""
    return new_run(env.runs, TrainConfig(epochs=7), PHOTOS)


def write_status(run: Run, **values: Any) -> None:
    write_json(run.path / "status.json", {"state": "running", "updated": time.time(), **values})


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# ---- make and read ----


def test_a_new_run_says_everything_that_decided_it(run: Run) -> None:
    config = json.loads((run.path / "config.json").read_text())
    assert TrainConfig.from_dict(config["train_config"]) == run.train_config
    assert run.train_config == TrainConfig(epochs=7)
    assert config["schema"] == 1 and config["classes"] == ["can", "jar"] == list(run.classes)
    assert (config["seed"], config["split"]) == (0, "object")
    assert config["data"]["photos"] == 2
    assert {"python", "tensorflow", "keras", "numpy"} <= set(config["versions"])
    assert run.id.startswith("cnn-baseline-2") and run.id.endswith("-1")
    assert (run.status().state, run.status().epoch) == ("waiting", 0)
    assert not run.is_finished and run.status().error is None


def test_runs_made_at_once_get_ids_of_their_own(env: Environment) -> None:
    made: list[str] = []
    ready = threading.Barrier(8)

    def make() -> None:
        ready.wait()
        made.append(new_run(env.runs, TrainConfig(), PHOTOS).id)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8
    assert {run.id for run in list_runs(env.runs)} == set(made)


def test_runs_are_listed_newest_first(env: Environment) -> None:
    made = [new_run(env.runs, TrainConfig(), PHOTOS) for _ in range(3)]
    for run, day in zip(made, ("02", "03", "01"), strict=True):
        write_json(run.path / "config.json", run.config | {"created": f"2026-01-{day}"})
    assert list_runs(env.runs) == [made[1], made[0], made[2]]
    assert list_runs(env.home / "nowhere") == []


HALF_WRITTEN: dict[str, bytes | None] = {
    "no config": None,
    "empty config": b"",
    "torn config": b'{"schema": 1, "train_config": {"epochs": 5',
    "no settings": b'{"schema": 1}',
    "a list": b"[]",
    "not text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", HALF_WRITTEN.values(), ids=HALF_WRITTEN)
def test_a_half_written_run_is_passed_over_and_said(
    env: Environment, run: Run, content: bytes | None
) -> None:
    half = env.runs / "half"
    half.mkdir()
    if content is not None:
        (half / "config.json").write_bytes(content)
    assert list_runs(env.runs) == [run]
    with pytest.raises(RunError, match="half holds no complete run .*delete the folder or choose"):
        open_run(env.runs, "half")


STRANGE: dict[str, dict[str, Any]] = {
    "newer": {"schema": 2},
    "unknown model": {"train_config": {"model": "resnet9000"}},
    "unknown setting": {"train_config": {"flavour": 1}},
    "schema in words": {"schema": "one"},
    "settings in a list": {"train_config": [1]},
}


@pytest.mark.parametrize("changes", STRANGE.values(), ids=STRANGE)
def test_one_run_of_another_version_does_not_hide_the_others(
    env: Environment, run: Run, changes: dict[str, Any]
) -> None:
    other = new_run(env.runs, TrainConfig(), PHOTOS)
    write_json(other.path / "config.json", run.config | changes)
    assert [describe(r)["run"] for r in list_runs(env.runs)][-1] == run.id


def test_a_run_of_a_newer_version_is_said(env: Environment, run: Run) -> None:
    write_json(run.path / "config.json", run.config | {"schema": 2})
    with pytest.raises(RunError, match=r"newer version \(schema 2\); update TrashNet Explorer"):
        open_run(env.runs, run.id)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": None}, "data is None in config.json"),
        ({"data": {"name": "mine"}}, "data.source is missing in config.json"),
        ({"classes": ["can", 3]}, "classes.1 is 3 in config.json"),
        ({"schema": "one"}, "schema is 'one' in config.json; it should be a valid integer"),
    ],
)
def test_a_config_that_lacks_something_is_said_with_the_field(
    env: Environment, run: Run, changes: dict[str, Any], said: str
) -> None:
    write_json(run.path / "config.json", run.config | changes)
    with pytest.raises(RunError, match=f"no complete run .{said}"):
        open_run(env.runs, run.id)


def test_a_config_from_before_newer_fields_is_read(run: Run) -> None:
    older = {k: run.config[k] for k in ("schema", "created", "train_config", "classes", "data")}
    write_json(run.path / "config.json", older | {"train_config": {"epochs": 3}, "more": 1})
    found = Run(run.path)
    assert found.train_config == TrainConfig(epochs=3) and found.config["more"] == 1
    assert found.config["precision"] is None and found.decisions == {}


def test_a_run_opens_by_id_and_by_directory(env: Environment, run: Run, tmp_path: Path) -> None:
    assert open_run(env.runs, run.id) == open_run(tmp_path, str(run.path)) == run


@pytest.mark.parametrize("name", ["", "nothing", "x" * 300, "null\0", "../runs-elsewhere"])
def test_an_unknown_run_is_said_beside_the_known_ones(
    env: Environment, run: Run, name: str
) -> None:
    with pytest.raises(RunError, match=f"There is no run .*; the latest are: {run.id}."):
        open_run(env.runs, name)


def test_where_there_are_no_runs_that_is_said(env: Environment) -> None:
    with pytest.raises(RunError, match="no run 'x'; the latest are: none yet."):
        open_run(env.runs, "x")


def test_a_run_in_a_table(run: Run) -> None:
    write_status(run, epoch=3, seconds=12.34, **identity())
    assert describe(run) == {
        "run": run.id,
        "model": "cnn_baseline",
        "data": "mine",
        "test_photos": None,
        "state": "running",
        "epoch": 3,
        "epochs": 7,
        "validation_accuracy": None,
        "test_accuracy": None,
        "started": run.config["created"],
        "seconds": 12.3,
    }
    evaluation = read_json(RELEASED / "evaluation.json")
    for split, accuracy in (("validation", 0.5), ("test", 0.25)):
        evaluation["splits"][split]["accuracy"] = accuracy
    write_json(run.path / "evaluation.json", evaluation)
    assert describe(run)["validation_accuracy"] == 0.5 and describe(run)["test_accuracy"] == 0.25


# ---- state ----


def test_the_state_of_a_living_process_stands(run: Run) -> None:
    run.write_status(state="running", epoch=2, **identity())
    assert run.status() == run.status().model_copy(
        update={"state": "running", "epoch": 2, "error": None}
    )
    assert run.status().is_active
    run.write_status(state="finished")
    assert run.status().state == "finished" and run.status().epoch == 2
    assert not run.status().is_active and not run.is_finished  # there is no model


@pytest.mark.parametrize("state", ["waiting", "running", "stopping"])
def test_a_run_whose_process_ended_is_lost(run: Run, state: str) -> None:
    write_status(run, state=state, epoch=4, pid=dead_pid(), process_started=time.time())
    status = run.status()
    assert (status.state, status.epoch) == ("lost", 4)
    assert status.error == "The training process ended without a word; resume the run."


def test_another_process_with_the_same_id_is_not_taken_for_the_training(run: Run) -> None:
    mine = identity()
    write_status(run, **mine)
    assert run.status().state == "running"
    write_status(run, **mine | {"process_started": mine["process_started"] - 60})
    assert run.status().state == "lost"
    write_status(run, **mine | {"process_started": None})
    assert run.status().state == "lost"


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a start is kept as the system noted it")
@pytest.mark.parametrize("hours", [-5, 2])
def test_a_training_is_not_lost_when_the_clock_is_set(
    run: Run, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    run.write_status(state="running", **identity())
    before, booted = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600 * hours)
    assert psutil.Process().create_time() == pytest.approx(before + 3600 * hours, abs=1)
    assert run.status().state == "running"


def test_a_state_of_an_older_version_is_understood(run: Run) -> None:
    started = psutil.Process().create_time()
    write_status(run, pid=os.getpid(), process_started=started)
    assert run.status().state == "running"
    write_status(run, pid=os.getpid(), process_started=started - 60)
    assert run.status().state == "lost"


def test_a_process_that_ended_but_was_not_collected_is_gone(run: Run) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(process.pid).create_time()
    write_status(run, pid=process.pid, process_started=created)
    assert run.status().state == "running"
    assert process.stdin
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and left uncollected
    try:
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
        assert run.status().state == "lost"
    finally:
        process.wait()


def test_a_process_has_some_time_to_report_itself(run: Run) -> None:
    write_status(run, state="waiting", pid=None)
    assert run.status().state == "waiting"
    write_status(run, state="waiting", pid=None, updated=time.time() - 600)
    assert run.status().state == "lost"


def test_a_run_on_another_machine_is_judged_by_what_it_writes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 3600
    write_status(run, pid=dead_pid(), process_started=1.0, host="another", updated=long_ago)
    assert run.status().state == "lost"
    (run.path / "metrics.jsonl").write_text("{}\n")  # as it does every second
    assert run.status().state == "running" and run.memory() is None
    stop(run)
    os.utime(run.path / "stop", (long_ago, long_ago))
    assert run.status().state == "stopping"
    assert not end_if_overdue(run)  # its process is not ours to end
    monkeypatch.setattr(platform, "node", lambda: "another")
    assert run.status().state == "lost"  # there, its process is seen to be gone


@pytest.mark.parametrize("state", ["stopped", "finished", "failed"])
def test_a_run_that_is_over_needs_no_process(run: Run, state: str) -> None:
    write_status(run, state=state, pid=dead_pid(), process_started=1.0, error="why")
    assert (run.status().state, run.status().error) == (state, "why")


@pytest.mark.parametrize(
    "content", [None, b"", b'{"state": "fini', b"[]", b'{"epoch": "3"}', b'{"pid": 1.5}']
)
def test_a_run_whose_state_is_torn_is_lost_and_can_go_on(run: Run, content: bytes | None) -> None:
    (run.path / "status.json").unlink()
    if content is not None:
        (run.path / "status.json").write_bytes(content)
    assert run.status().state == "lost" and "missing or torn" in str(run.status().error)
    check_startable(run)
    run.write_status(state="running", **identity())
    assert run.status().state == "running" and run.status().error is None


def test_what_a_later_version_adds_to_the_state_does_no_harm(run: Run) -> None:
    write_status(run, mood="good", epoch=3, **identity())
    assert run.status().epoch == 3
    assert run.write_status(epoch=4) == run.status()
    assert run.status().epoch == 4


def test_a_state_is_checked_before_it_is_written(run: Run) -> None:
    for changes in ({"epochs": 3}, {"epoch": "3"}, {"state": "asleep"}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            run.write_status(**changes)
    assert (run.status().state, run.status().epoch) == ("waiting", 0)


# ---- metrics and results ----


def epoch_line(epoch: int, loss: float) -> str:
    return json.dumps({"kind": "epoch", "epoch": epoch, "loss": loss}) + "\n"


def test_a_torn_last_line_of_metrics_is_passed_over(run: Run) -> None:
    lines = epoch_line(1, 0.9) + '{"kind": "tick", "done": 3}\n' + epoch_line(2, 0.8)
    path = run.path / "metrics.jsonl"
    for end in range(len(lines), len(lines) - len(epoch_line(2, 0.8)), -1):
        path.write_text(lines[:end])
        whole = end >= len(lines) - 1  # only the end of the line may be missing
        assert len(run.metrics()) == (3 if whole else 2)
        assert run.epochs().epoch.tolist() == ([1, 2] if whole else [1])
    path.write_bytes(lines.encode() + b'{"kind": "epoch", "loss": "\xc3')
    assert len(run.metrics()) == 3


def test_lines_that_are_no_rows_are_passed_over(run: Run) -> None:
    odd = ["[]", "3", "null", "{}", '{"epoch": 1}', '{"kind": 3}', '{"kind": "epoch"}']
    odd += ['{"kind": "epoch", "epoch": "1"}', '{"kind": "epoch", "epoch": 1, "loss": "low"}']
    (run.path / "metrics.jsonl").write_text("\n".join([*odd, epoch_line(1, 0.5)]))
    assert run.metrics() == [{"kind": "epoch", "epoch": 1, "loss": 0.5}]


def test_an_epoch_repeated_after_a_resume_counts_once(run: Run) -> None:
    (run.path / "metrics.jsonl").write_text(
        epoch_line(1, 0.9) + epoch_line(2, 0.8) + '{"kind": "ep\n' + epoch_line(2, 0.7)
    )
    assert run.epochs().to_dict("list") == {
        "kind": ["epoch"] * 2,
        "epoch": [1, 2],
        "loss": [0.9, 0.7],
    }


def test_a_run_without_results_says_so(run: Run) -> None:
    assert run.metrics() == [] and run.epochs().empty and run.head() is None
    for name in ("evaluation.json", "predictions.parquet"):
        (run.path / name).write_bytes(b"torn")
    with pytest.raises(RunError, match="no evaluation yet; let it finish first"):
        run.evaluation()
    with pytest.raises(RunError, match="no predictions yet; let it finish first"):
        run.predictions()


def edited(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The released evaluation, less something."""
    evaluation = read_json(RELEASED / "evaluation.json")
    change(evaluation)
    return evaluation


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({}, "temperature is missing"),
        (edited(lambda e: e.pop("splits")), "splits is missing"),
        (edited(lambda e: e["splits"]["test"].pop("per_class")), "splits.test.per_class is mi"),
        (edited(lambda e: e.update(temperature=0)), "temperature is 0"),
        (edited(lambda e: e["out_of_fold"].update(n="all")), "out_of_fold.n is 'all'"),
    ],
)
def test_a_damaged_evaluation_is_said_with_the_field(
    run: Run, evaluation: dict[str, Any], said: str
) -> None:
    write_json(run.path / "evaluation.json", evaluation)
    with pytest.raises(RunError, match=f"{run.id} is damaged: {said}.* evaluation.json.*again"):
        run.evaluation()
    assert describe(run)["test_accuracy"] is None


def test_the_head_is_read(run: Run) -> None:
    np.savez(run.path / "head.npz", kernel=np.ones((4, 2)), bias=np.zeros(2))
    head = run.head()
    assert head is not None and head[0].shape == (4, 2) and head[1].shape == (2,)


def test_the_projection_is_read(run: Run) -> None:
    np.savez(run.path / "projection.npz", mean=np.ones(4), components=np.eye(2, 4))
    found = run.projection()
    assert found(np.array([3.0, 1, 1, 1])).tolist() == [2, 0]


@pytest.mark.parametrize("content", [None, b"", b"torn", b"PK\x03\x04torn"])
def test_without_a_projection_a_run_says_what_to_do(run: Run, content: bytes | None) -> None:
    if content is not None:
        (run.path / "projection.npz").write_bytes(content)
    with pytest.raises(RunError, match=f"{run.id} cannot answer: projection.npz is missing or"):
        run.projection()


def test_the_end_of_the_log_is_shown(run: Run) -> None:
    assert run.log_tail() == ""
    log = run.path / "train.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert run.log_tail(3) == "line 97\nline 98\nline 99"
    log.write_bytes(b"\xff\xfe torn\nlast")
    assert run.log_tail().endswith("torn\nlast")


# ---- folds ----


@pytest.fixture
def folded(env: Environment) -> Run:
    """A new run of five folds."""
    return new_run(env.runs, TrainConfig(epochs=7, folds=5, tracking="online", seed=3), PHOTOS)


def test_a_run_without_folds_is_its_only_one(run: Run) -> None:
    assert run.folds == [run] and run.out_of_fold() is None


def test_a_run_of_folds_is_the_first_of_them(folded: Run) -> None:
    first, *others = folded.folds
    assert first == folded
    assert [fold.path for fold in others] == [folded.path / "folds" / n for n in "1234"]
    assert not (folded.path / "folds").exists()  # made one by one, when it is their turn


def test_a_fold_is_the_run_with_other_test_photos(folded: Run, env: Environment) -> None:
    for fold in folded.folds[1:]:
        make_fold(folded, fold)
    assert [fold.train_config.fold for fold in folded.folds] == [0, 1, 2, 3, 4]
    fold = folded.folds[3]
    expected = folded.train_config.replace(fold=3, folds=1, tracking="off")
    assert fold.train_config == expected
    changed = {"train_config": folded.config["train_config"]}
    assert fold.config | changed == folded.config
    assert (fold.classes, fold.decisions, fold.folds) == (folded.classes, {}, [fold])
    # It is part of its run: it is not listed, and its epochs count in the run's.
    assert list_runs(env.runs) == [folded]
    assert describe(folded)["epochs"] == 35 and describe(folded)["epoch"] == 0


def test_a_fold_keeps_the_decisions_of_its_run(env: Environment) -> None:
    decision = Decision("can/1.jpg", "exclude", None, "", "2026-01-01")
    run = new_run(env.runs, TrainConfig(folds=5), PHOTOS, {decision.file: decision})
    make_fold(run, run.folds[1])
    assert run.folds[1].decisions == {"can/1.jpg": decision}


def test_a_fold_that_was_begun_is_left_as_it_is(folded: Run) -> None:
    fold = folded.folds[2]
    make_fold(folded, fold)
    fold.write_status(state="finished", epoch=7)
    before = (fold.path / "config.json").stat().st_mtime_ns
    make_fold(folded, fold)
    assert (fold.status().state, fold.status().epoch) == ("finished", 7)
    assert (fold.path / "config.json").stat().st_mtime_ns == before


def test_a_half_made_fold_is_made_anew(folded: Run) -> None:
    fold = folded.folds[1]
    fold.path.mkdir(parents=True)
    (fold.path / "status.json").write_text("{")
    make_fold(folded, fold)
    assert fold.train_config.fold == 1 and fold.status().state == "waiting"


def test_stopping_a_run_stops_the_fold_that_is_trained(folded: Run) -> None:
    for fold in folded.folds[1:]:
        make_fold(folded, fold)
    write_status(folded, **identity())
    assert not any(fold.stop_requested for fold in folded.folds)
    stop(folded)
    assert all(fold.stop_requested for fold in folded.folds)
    clear_stop(folded)
    assert not any(fold.stop_requested for fold in folded.folds)


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_a_run_whose_folds_were_not_gathered_has_no_out_of_fold_answers(
    folded: Run, content: bytes | None
) -> None:
    if content is not None:
        (folded.path / "out_of_fold.parquet").write_bytes(content)
    assert folded.out_of_fold() is None


# ---- start and stop ----


def test_only_a_run_in_training_can_be_stopped(run: Run) -> None:
    write_status(run, **identity())
    stop(run)
    assert run.stop_requested
    clear_stop(run)
    assert not run.stop_requested
    for state, pid in (("finished", None), ("failed", None), ("running", dead_pid())):
        write_status(run, state=state, pid=pid)
        shown = run.status().state
        with pytest.raises(RunError, match=f"is not being trained; its state is {shown}"):
            stop(run)
    assert not run.stop_requested


@pytest.fixture
def deaf(run: Run) -> Iterator[subprocess.Popen[bytes]]:
    """A training process that hears no request to stop, in its third epoch."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(process.pid).create_time()
    write_status(run, epoch=2, seconds=9.0, pid=process.pid, process_started=created)
    yield process
    process.kill()
    process.communicate()


def test_a_process_that_does_not_stop_is_ended_after_a_while(
    run: Run, deaf: subprocess.Popen[bytes]
) -> None:
    assert not end_if_overdue(run)  # nobody asked
    stop(run)
    assert not end_if_overdue(run) and run.status().state == "stopping"
    assert deaf.poll() is None
    asked = time.time() - control.STOP_GRACE - 1
    os.utime(run.path / "stop", (asked, asked))
    assert end_if_overdue(run)
    assert not psutil.pid_exists(deaf.pid)
    status = run.status()
    assert (status.state, status.epoch, status.seconds, status.error) == ("stopped", 2, 9.0, None)
    assert not run.stop_requested and not end_if_overdue(run)
    check_startable(run)  # it can go on from its last epoch


def test_another_program_is_never_ended(run: Run, deaf: subprocess.Popen[bytes]) -> None:
    """Its number may be that of a training that is long over."""
    stop(run)
    asked = time.time() - 3600
    os.utime(run.path / "stop", (asked, asked))
    write_status(run, pid=deaf.pid, process_started=asked)
    assert not end_if_overdue(run)
    assert deaf.poll() is None


def test_a_trainings_memory_is_that_of_its_process(run: Run, deaf: subprocess.Popen[bytes]) -> None:
    memory = run.memory()
    assert memory is not None and 1e5 < memory < 1e9
    deaf.kill()
    deaf.wait()
    assert run.memory() is None


def test_a_finished_run_is_not_started_again(env: Environment, run: Run) -> None:
    write_status(run, state="finished")
    with pytest.raises(RunError, match="is finished; start a new one"):
        start(run, env)


@pytest.mark.parametrize("state", ["waiting", "running", "stopping"])
def test_a_run_with_a_living_process_is_not_started_twice(
    env: Environment, run: Run, state: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        created = psutil.Process(process.pid).create_time()
        write_status(run, state=state, pid=process.pid, process_started=created)
        with pytest.raises(RunError, match="is being trained already; stop it first"):
            start(run, env)
    finally:
        process.communicate()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that tells what it was asked to do instead of doing it."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        'print(json.dumps([sys.argv[1:], os.environ["TRASHNET_HOME"],'
        " os.getsid(0) == os.getpid()]))\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def started(run: Run, env: Environment) -> list[str]:
    """Starts a run that was logged before; returns the two lines that its log then has."""
    start(run, env)
    log, deadline = run.path / "train.log", time.time() + 20
    while log.read_text().count("\n") < 2 and time.time() < deadline:
        time.sleep(0.02)
    return log.read_text().splitlines()


@pytest.mark.parametrize("state", ["waiting", "stopped", "failed"])
def test_a_run_that_has_never_begun_is_trained_and_not_resumed(
    env: Environment, run: Run, stand_in: None, state: str
) -> None:
    """Such as one that was stopped while it waited for its turn."""
    write_status(run, state=state, pid=None)
    (run.path / "train.log").write_text("from before\n")
    _, told = started(run, env)
    assert json.loads(told)[0] == ["-m", "trashnet", "train", "--run", str(run.path)]


@pytest.mark.parametrize("state", ["waiting", "stopped", "failed", "lost"])
def test_starting_leaves_a_process_of_its_own_that_logs(
    env: Environment, run: Run, stand_in: None, state: str
) -> None:
    (run.path / "metrics.jsonl").touch()
    if state == "lost":
        write_status(run, epoch=3, seconds=9.0, pid=dead_pid(), process_started=1.0)
    else:
        write_status(run, state=state, epoch=3, seconds=9.0, error="the old one", pid=None)
    (run.path / "train.log").write_text("from before\n")
    before, told = started(run, env)
    written = json.loads((run.path / "status.json").read_text())
    assert (written["state"], written["epoch"], written["seconds"]) == ("waiting", 3, 9.0)
    assert written["pid"] not in (None, os.getpid()) and written["error"] is None
    assert before == "from before"
    assert json.loads(told) == [
        ["-m", "trashnet", "resume", str(run.path)],
        str(env.home),
        True,  # in a session of its own, so closing the terminal does not end it
    ]


def test_a_second_start_is_refused_while_the_first_one_is_starting(
    env: Environment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    popen = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def slow(*_: object, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(**options | {"args": sleeper}))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", slow)
    start(run, env)
    with pytest.raises(RunError, match="being trained already"):
        start(run, env)
    stop(run)
    assert run.status().state == "stopping"
    (process,) = started
    process.kill()
    process.wait()
    assert run.status().state == "lost"


def test_a_folder_that_is_no_run_is_not_taken_for_a_damaged_one(
    env: Environment, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(RunError, match="There is no run"):
        open_run(env.runs, str(tmp_path / "pictures"))


def test_every_state_has_its_place() -> None:
    assert set(run_module.ACTIVE) < set(run_module.STATES)
    assert [Status(state=state).is_active for state in run_module.STATES] == [True] * 3 + [
        False
    ] * 4
