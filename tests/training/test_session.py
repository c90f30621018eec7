"""A training can be stopped at any moment and goes on as if it had not been."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from sklearn.metrics import f1_score, log_loss

from tests.conftest import ROOT
from tests.pages.visiting import is_sentence
from tests.training.conftest import (
    CONFIG,
    STEPS,
    assert_same_answers,
    assert_same_epochs,
    at,
    failing,
    numbers,
    remade,
    stop,
)
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.evaluation.report import evaluate
from trashnet.files import read_json
from trashnet.inference.classifier import Classifier
from trashnet.progress import Progress
from trashnet.runs import control, store
from trashnet.runs.control import turn_file
from trashnet.runs.run import Run, Status
from trashnet.training import session
from trashnet.training.checkpoint import Checkpoint
from trashnet.training.export_formats import export_run
from trashnet.training.session import train_and_evaluate


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.02)


def both(*callbacks: Progress) -> Progress:
    def on_progress(done: int, total: int, what: str) -> None:
        for callback in callbacks:
            callback(done, total, what)

    return on_progress


# ---------------------------------------------------------------- stop and resume


def test_a_resumed_run_equals_one_that_was_never_interrupted(
    trained: Run, home: Environment, make_run: Callable[..., Run]
) -> None:
    """Whoever interrupts it, whenever, and however often."""
    run, spent = make_run(), 0.0
    for what, done, act, state, epochs in (
        ("Training", 2, stop(run), "stopped", 0),
        ("Training", STEPS + 4, raising(KeyboardInterrupt()), "stopped", 1),
        ("Training", 2 * STEPS, raising(OSError("disk\ngone")), "failed", 1),
        ("Predicting", 50, stop(run), "stopped", 3),
    ):
        try:
            train_and_evaluate(run, home, at(what, done, act))
        except OSError as error:
            assert error.args == ("disk\ngone",)
        left = run.status()
        assert (left.state, left.epoch) == (state, epochs)
        assert left.error == ("OSError: disk" if state == "failed" else None)
        assert len(run.epochs()) == epochs
        assert left.seconds > spent
        spent = left.seconds

    train_and_evaluate(run, home)
    status = run.status()
    assert (status.state, status.epoch, status.error) == ("finished", 3, None)
    assert status.seconds > spent
    assert_same_epochs(run, trained)
    assert_same_answers(run, trained)


def test_the_own_network_is_resumed_and_answers_by_mirrored_views(
    home: Environment, make_run: Callable[..., Run]
) -> None:
    recipe = TrainConfig.recipe("cnn").to_dict() | {"image_size": 33, "epochs": 3}
    changes = {"precision": "float32", "split": "random", "tracking": "off"}
    through, broken = (make_run(**recipe | changes) for _ in range(2))
    assert through.train_config.optimizer == "muon" and through.train_config.mirrored_views
    train_and_evaluate(through, home)
    train_and_evaluate(broken, home, at("Training", STEPS + 4, stop(broken)))
    assert broken.status().epoch == 1
    train_and_evaluate(broken, home)
    assert_same_epochs(broken, through)
    assert_same_answers(broken, through)
    table = through.predictions().iloc[:8]
    root = Path(through.config["data"]["root"])
    photos = np.stack([load_photo(root / file, 33) for file in table.file])
    trained = Checkpoint(through.path).best()
    each = [
        trained.predict_on_batch(np.ascontiguousarray(view, np.float32))
        for view in (photos, photos[:, :, ::-1], photos[:, ::-1], photos[:, ::-1, ::-1])
    ]
    mean = np.mean(each, axis=0)
    assert abs(each[0] - mean).max() > 0.1
    np.testing.assert_allclose(np.stack(table.logits), mean, atol=0.02)
    saved = keras.saving.load_model(through.path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(saved.predict_on_batch(photos.astype(np.float32)), mean, atol=1e-3)
    for kind in ("keras", "onnx"):
        assert export_run(through, kind, home.home / kind)["difference"] < 0.005


def test_an_epoch_killed_before_its_checkpoint_is_listed_once(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two writes, the line comes first: an epoch is never missing from the curves."""
    run = make_run(epochs=1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", killed)
        train_and_evaluate(run, home)
    assert run.status().epoch == 0
    train_and_evaluate(run, home, at("Exporting", 0, stop(run)))
    assert run.epochs().epoch.tolist() == [1]
    assert [row["epoch"] for row in run.metrics() if row["kind"] == "epoch"] == [1, 1]


def test_what_a_killed_export_left_is_removed_on_resume(
    home: Environment, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=1)
    torn = [run.path / ".model-a1b2.keras", run.path / "checkpoint" / ".best-c3d4.keras"]
    torn += [run.path / ".model-e5f6.tflite", run.path / ".predictions-g7h8.parquet"]
    others = run.path / ".notes-i9j0.json"  # somebody may be writing it now
    (run.path / "checkpoint").mkdir()
    for path in (*torn, others):
        path.write_bytes(b"torn")
    train_and_evaluate(run, home)
    assert not any(path.exists() for path in torn) and others.exists()
    assert run.is_finished and (run.path / "checkpoint" / "best.keras").exists()


def test_a_damaged_checkpoint_is_said(trained: Run, home: Environment) -> None:
    run = remade(trained, home.runs / "damaged")
    (run.path / "checkpoint/epoch-0003.keras").write_bytes(b"torn")
    assert "checkpoint epoch-0003.keras cannot be read; delete" in failing(run, home)


def test_a_run_that_ended_after_its_evaluation_is_not_trained_again(
    trained: Run, home: Environment
) -> None:
    """Such as by Ctrl-C while the last figures are sent."""
    shutil.copytree(trained.path, home.runs / "evaluated")
    run, done = Run(home.runs / "evaluated"), []
    run.write_status(state="stopped")
    shutil.rmtree(run.path / "checkpoint")
    train_and_evaluate(run, home, lambda *progress: done.append(progress))
    assert run.is_finished and done == []
    assert_same_answers(run, trained)


# ---------------------------------------------------------------- folds


FOLDED = CONFIG.replace(epochs=2, folds=5)


@dataclass
class Folded:
    """A run of five folds, stopped in the second epoch of the third and then resumed."""

    run: Run
    stopped: Status = field(default_factory=Status)
    described: dict[str, object] = field(default_factory=dict)
    scores: dict[str, object] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # when it stopped: time written (ns)
    before: list[tuple[int, int, str]] = field(default_factory=list)
    after: list[tuple[int, int, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def folded(home: Environment, sample_photos: Photos) -> Folded:
    ours = Folded(run := store.new_run(home.runs, FOLDED, sample_photos))
    stopping = at("Fold 3 of 5: Training", STEPS + 4, stop(run))
    train_and_evaluate(run, home, both(lambda *p: ours.before.append(p), stopping))
    ours.stopped, ours.described = run.status(), store.describe(run)
    ours.scores = run.evaluation()
    ours.files = {
        path.relative_to(run.path).as_posix(): path.stat().st_mtime_ns
        for path in run.path.rglob("*")
        if path.is_file()
    }
    train_and_evaluate(run, home, lambda *progress: ours.after.append(progress))
    return ours


@pytest.fixture(scope="module")
def alone(home: Environment, sample_photos: Photos) -> Run:
    """The third fold as a run of its own, which nobody interrupted."""
    config = FOLDED.replace(folds=1, fold=2)
    run = store.new_run(home.runs, config, sample_photos)
    train_and_evaluate(run, home)
    return run


def test_a_run_of_folds_stops_in_the_midst_of_one(folded: Folded) -> None:
    # Two folds of two epochs, and one epoch of the third.
    assert (folded.stopped.state, folded.stopped.epoch) == ("stopped", 5)
    shown = {name: folded.described[name] for name in ("state", "epoch", "epochs")}
    assert shown == {"state": "stopped", "epoch": 5, "epochs": 10}
    assert "folds/1/evaluation.json" in folded.files
    assert "folds/2/checkpoint/epoch-0001.keras" in folded.files
    assert "folds/2/evaluation.json" not in folded.files
    assert not any(name.startswith(("folds/3", "out_of_fold")) for name in folded.files)
    assert "out_of_fold" not in folded.scores


def test_a_resumed_run_leaves_the_folds_before_as_they_are(folded: Folded) -> None:
    assert {what.split(":")[0] for _, _, what in folded.after} == {
        *("Fold 3 of 5", "Fold 4 of 5", "Fold 5 of 5")
    }
    steps = [p for p in folded.after if p[2].startswith("Fold 3 of 5: Training")]
    assert steps[0] == (STEPS + 1, 2 * STEPS, "Fold 3 of 5: Training, epoch 2 of 2")
    # The whole run's: its state, its progress, and its evaluation, which gains the folds' figures.
    written = {"status.json", "metrics.jsonl", "evaluation.json"}
    for name, when in folded.files.items():
        if not name.startswith("folds/2") and name not in written:
            assert (folded.run.path / name).stat().st_mtime_ns == when, name


def test_a_fold_that_was_stopped_equals_one_that_was_not(folded: Folded, alone: Run) -> None:
    fold = folded.run.folds[2]
    pd.testing.assert_frame_equal(numbers(fold), numbers(alone), check_exact=True)
    assert_same_answers(fold, alone)
    pd.testing.assert_frame_equal(
        pd.read_parquet(fold.path / "index.parquet"), pd.read_parquet(alone.path / "index.parquet")
    )


def test_the_state_and_the_progress_are_the_whole_runs(folded: Folded) -> None:
    status = folded.run.status()
    assert (status.state, status.epoch, status.error) == ("finished", 10, None)
    assert status.seconds > folded.stopped.seconds > 0
    assert folded.run.is_finished
    ticks = [row for row in folded.run.metrics() if row["kind"] == "tick"]
    assert {f"Fold {n} of 5: Predicting every photo" for n in range(1, 6)} <= {
        tick["what"] for tick in ticks
    }
    assert [row["epoch"] for row in folded.run.metrics() if row["kind"] == "epoch"] == [1, 2]
    for fold in folded.run.folds[1:]:
        assert [(row["kind"], row["epoch"]) for row in fold.metrics()] == [
            ("epoch", 1),
            ("epoch", 2),
        ]
        assert (fold.status().state, fold.status().epoch) == ("finished", 2)
    steps = [p for p in folded.before if p[2].startswith("Fold 2 of 5: Training")]
    assert [done for done, _, _ in steps] == list(range(1, 2 * STEPS + 1))


def test_further_folds_keep_their_answers_and_leave_their_models(folded: Folded) -> None:
    for fold in folded.run.folds[1:]:
        names = {p.relative_to(fold.path).as_posix() for p in fold.path.rglob("*")}
        assert names == {
            "config.json",
            "status.json",
            "metrics.jsonl",
            "index.parquet",
            "predictions.parquet",
            "projection.npz",
            "evaluation.json",
        }
    names = {p.name for p in folded.run.path.iterdir()}
    assert names >= {"checkpoint", "model.keras", "model.tflite", "folds", "out_of_fold.parquet"}
    assert {p.name for p in (folded.run.path / "folds").iterdir()} == {"1", "2", "3", "4"}


def test_the_runs_own_answers_are_the_first_folds(
    folded: Folded, home: Environment, sample_photos: Photos
) -> None:
    evaluation = folded.run.evaluation()
    del evaluation["out_of_fold"]
    assert evaluation == folded.scores == evaluate(folded.run.predictions(), folded.run.classes)
    assert [run.id for run in store.list_runs(home.runs)].count("2") == 0
    row = folded.run.predictions().iloc[0]
    answer = Classifier(folded.run).classify(sample_photos.root / row.file)
    np.testing.assert_array_equal(answer.logits, row.logits)


def test_every_photo_is_answered_once_by_a_model_that_never_saw_it(
    folded: Folded, sample_photos: Photos
) -> None:
    table = folded.run.out_of_fold()
    assert table is not None
    assert sorted(table.file) == sorted(sample_photos.files)
    assert (table.label == table.file.str.split("/").str[0]).all()
    for number, fold in enumerate(folded.run.folds):
        index = pd.read_parquet(fold.path / "index.parquet").set_index("file")
        answered = table[table.fold == number].set_index("file")
        assert set(answered.index) == set(index.index[index.split == "test"])
        assert len(answered) == 48 and (index.fold[answered.index] == number).all()
        # As the training read it, and as its predictions list it.
        for splits in (index.split, fold.predictions().set_index("file").split):
            seen = splits.index[splits.isin(["train", "validation"])]
            assert len(seen) == 192 and not set(seen) & set(answered.index)
        own, evaluation = fold.predictions().set_index("file"), fold.evaluation()
        for file, row in answered.iterrows():
            np.testing.assert_array_equal(row.logits, own.logits[file])
            assert row.distance == own.distance[file]
        for name in ("temperature", "threshold", "distance_limit"):
            assert (answered[name] == evaluation[name]).all()


def test_folds_of_two_splits_are_not_gathered(folded: Folded, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(folded.run.path, tmp_path / "run")))
    table = run.folds[1].predictions()
    table.loc[table.file.isin(run.predictions().query("split == 'test'").file), "split"] = "test"
    table.to_parquet(run.folds[1].path / "predictions.parquet", index=False)
    with pytest.raises(RunError, match="different splits"):
        session._collect(run)


def test_the_out_of_fold_figures_follow_from_the_stored_table(folded: Folded) -> None:
    table = pd.read_parquet(folded.run.path / "out_of_fold.parquet")
    ours, classes = folded.run.evaluation()["out_of_fold"], folded.run.classes
    labels = table.label.map(classes.index).to_numpy()
    logits = np.stack(table.logits).astype(float) / table.temperature.to_numpy()[:, None]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    correct = p.argmax(axis=1) == labels
    assert ours["n"] == 240 and ours["accuracy"] == pytest.approx(correct.mean())
    low, high = ours["accuracy_interval"]
    assert low < ours["accuracy"] < high
    assert ours["macro_f1"] == pytest.approx(f1_score(labels, p.argmax(axis=1), average="macro"))
    assert ours["nll"] == pytest.approx(log_loss(labels, p))
    matrix = np.zeros((6, 6), int)
    np.add.at(matrix, (labels, p.argmax(axis=1)), 1)
    assert ours["confusion_matrix"] == matrix.tolist()
    order = np.argsort(p.max(axis=1))
    gaps = (p.max(axis=1) - correct)[order].reshape(15, 16).mean(axis=1)
    assert ours["ece"] == pytest.approx(abs(gaps).mean())
    assert [b["n"] for b in ours["reliability"]] == [16] * 15
    sure = (p.max(axis=1) >= table.threshold) & (table.distance <= table.distance_limit)
    assert ours["coverage"] == pytest.approx(sure.mean())
    assert ours["answered_accuracy"] == (pytest.approx(correct[sure].mean()) if any(sure) else None)


def test_a_process_that_ended_before_it_tidied_a_fold_has_it_tidied_later(
    folded: Folded, home: Environment
) -> None:
    """Four folds' models and optimizers are several hundred MB."""
    shutil.copytree(folded.run.path, home.runs / "untidy")
    run, scores = Run(home.runs / "untidy"), folded.run.evaluation()
    for fold in run.folds[3:]:
        shutil.copytree(run.path / "checkpoint", fold.path / "checkpoint")
        shutil.copy(run.path / "model.tflite", fold.path)  # model.keras: half tidied
        fold.write_status(state="waiting")
    (run.path / "out_of_fold.parquet").unlink()
    run.write_status(state="stopped")
    train_and_evaluate(run, home)
    test_further_folds_keep_their_answers_and_leave_their_models(Folded(run))
    assert [fold.status().state for fold in run.folds] == ["finished"] * 5
    assert run.evaluation() == scores and run.out_of_fold() is not None


# ---------------------------------------------------------------- real processes


Start = Callable[..., tuple[subprocess.Popen, Run]]


@pytest.fixture
def start(env: Environment, sample_photos: Photos, tmp_path: Path) -> Iterator[Start]:
    """Starts `python -m trashnet train` and returns once its first epoch is over."""
    processes = []

    def begin(*options: str) -> tuple[subprocess.Popen, Run]:
        command = [sys.executable, "-m", "trashnet", "train", "--json", "--tracking", "off"]
        given = ["--split", "random", "--data", str(sample_photos.root), *options]
        process = subprocess.Popen(
            [*command, *given],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TRASHNET_HOME": str(env.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=open(tmp_path / "log", "w"),
            text=True,
        )
        processes.append(process)

        def first_epoch_done() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            found = store.list_runs(env.runs)
            return bool(found) and found[0].status().epoch >= 1

        wait_until(first_epoch_done)
        return process, store.list_runs(env.runs)[0]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_killed_process_reads_as_lost_and_can_be_resumed(
    start: Start, env: Environment, trained: Run
) -> None:
    process, run = start("--epochs", "3", "--image-size", "32")
    process.kill()
    process.wait()
    lost = run.status()
    assert lost.state == "lost" and 1 <= lost.epoch <= 3
    train_and_evaluate(run, env)
    assert run.is_finished
    # Another process, the same numbers.
    pd.testing.assert_frame_equal(numbers(run), numbers(trained), check_exact=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_no_space_for_a_checkpoint_leaves_the_one_before(
    start: Start, env: Environment, trained: Run
) -> None:
    import resource

    process, run = start("--epochs", "3", "--image-size", "32")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    process.communicate(timeout=120)
    assert process.returncode == 2
    status = run.status()
    assert status.state == "failed" and is_sentence(status.error)
    assert "File too large" in status.error and "free some space" in status.error
    kept = read_json(run.path / "checkpoint/state.json")["epoch"]
    assert kept == status.epoch >= 1
    assert (run.path / f"checkpoint/epoch-{kept:04d}.keras").exists()
    assert not list((run.path / "checkpoint").glob(".*"))  # nothing half written is left

    train_and_evaluate(run, env)  # without the limit
    assert run.is_finished
    pd.testing.assert_frame_equal(numbers(run), numbers(trained), check_exact=True)


def test_a_terminated_process_stops_as_if_asked(start: Start) -> None:
    process, run = start("--epochs", "1000", "--image-size", "32")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    result = json.loads(out)
    assert result["state"] == run.status().state == "stopped"
    assert result["epochs"] == run.status().epoch >= 1
    assert (result["run"], result["validation"], result["test"]) == (run.id, None, None)
    assert read_json(run.path / "checkpoint/state.json")["epoch"] == run.status().epoch


def test_termination_is_the_callers_own_again_afterwards(trained: Run) -> None:
    assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler


# ---------------------------------------------------------------- one at a time


def test_a_run_waits_for_its_turn_and_can_be_stopped_waiting(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SIGN_OF_LIFE", 0.5)
    run = make_run(epochs=1)
    with FileLock(home.runs / turn_file()):
        thread = threading.Thread(target=train_and_evaluate, args=(run, home))
        thread.start()
        wait_until(lambda: run.status().pid == os.getpid())
        began = run.status().updated
        wait_until(lambda: run.status().updated > began)  # which other machines can see
        assert run.status().state == "waiting" and run.metrics() == []
        control.stop(run)
        thread.join(10)
        assert not thread.is_alive()
    status = run.status()
    assert (status.state, status.epoch, status.seconds) == ("stopped", 0, 0.0)


def test_a_waiting_run_starts_when_the_other_ends(
    home: Environment, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=1)
    with FileLock(home.runs / turn_file()):
        thread = threading.Thread(target=train_and_evaluate, args=(run, home))
        thread.start()
        wait_until(lambda: run.status().pid == os.getpid())
    thread.join(60)
    assert run.is_finished


def test_machines_that_share_a_folder_do_not_wait_for_each_other(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(epochs=1)
    with FileLock(home.runs / turn_file()):
        monkeypatch.setattr(platform, "node", lambda: "another")
        train_and_evaluate(run, home)
    assert run.is_finished
