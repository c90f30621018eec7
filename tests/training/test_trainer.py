"""A training fills its run directory, can be stopped at any moment and goes on as if it had not."""

import dataclasses
import json
import os
import platform
import re
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
from PIL import Image
from sklearn.metrics import f1_score, log_loss

from tests.conftest import Training
from tests.pages.visiting import is_sentence
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, open_folder
from trashnet.data.image_io import load_photo
from trashnet.environment import Environment
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluation.report import evaluate, report
from trashnet.files import read_json, write_json
from trashnet.inference.calibration import probabilities
from trashnet.inference.classifier import Classifier
from trashnet.inference.litert import LiteModel
from trashnet.progress import Progress
from trashnet.runs import control, store
from trashnet.runs.control import turn_file
from trashnet.runs.run import Run, Status
from trashnet.training import networks, trainer
from trashnet.training.checkpoint import Checkpoint
from trashnet.training.export_formats import export_run
from trashnet.training.trainer import train_and_evaluate

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation", "test")
STEPS = 6  # 168 training pictures in batches of 32
CONFIG = TrainConfig(epochs=3, image_size=32, split="random", tracking="off")
SEEN: list[tuple[int, int, str]] = []  # the progress of `trained`


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One home for the module, so that pictures are decoded once."""
    return Environment(tmp_path_factory.mktemp("train-home"), hub_offline=True)


@pytest.fixture
def make_run(home: Environment, sample_photos: Photos) -> Callable[..., Run]:
    def make(**settings: object) -> Run:
        return store.new_run(home.runs, dataclasses.replace(CONFIG, **settings), sample_photos)

    return make


@pytest.fixture(scope="module")
def trained(home: Environment, sample_photos: Photos) -> Run:
    """A run of three epochs that nobody interrupted."""
    run = store.new_run(home.runs, CONFIG, sample_photos)
    train_and_evaluate(run, home, lambda *progress: SEEN.append(progress))
    return run


@pytest.fixture(scope="module")
def best(trained: Run) -> keras.Model:
    return keras.saving.load_model(trained.path / "model.keras", compile=False)


def at(what: str, done: int, act: Callable[[], None]) -> Progress:
    """A progress callback that acts once, when `done` of what starts with `what` are done."""
    acted = []

    def on_progress(now: int, total: int, doing: str) -> None:
        if doing.startswith(what) and now == done and not acted:
            acted.append(True)
            act()

    return on_progress


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


def weights(path: Path) -> list[np.ndarray]:
    return keras.saving.load_model(path, compile=False).get_weights()


def last_weights(run: Run) -> list[np.ndarray]:
    """The last epoch's weights and what its optimizer remembers."""
    model = keras.saving.load_model(max((run.path / "checkpoint").glob("epoch-*.keras")))
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


def numbers(run: Run) -> pd.DataFrame:
    """The epochs' figures less those that are times."""
    return run.epochs().drop(columns=["time", "seconds", "images_per_second"])


def assert_same_epochs(ours: Run, theirs: Run) -> None:
    """Every figure and weight is the same, to the last digit, and all an optimizer remembers."""
    pd.testing.assert_frame_equal(numbers(ours), numbers(theirs), check_exact=True)
    for one, other in zip(last_weights(ours), last_weights(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_same_answers(ours: Run, theirs: Run) -> None:
    one, other = ours.predictions(), theirs.predictions()
    for column in one:
        np.testing.assert_array_equal(np.stack(one[column]), np.stack(other[column]), column)
    assert ours.evaluation() == theirs.evaluation()


def remade(run: Run, folder: Path, **settings: object) -> Run:
    """A copy of a run as it was when its last epoch was over, with other settings."""
    shutil.copytree(run.path, folder)
    for path in folder.iterdir():
        if path.name.startswith(("model.", "head.", "projection.", "predictions.", "evaluation.")):
            path.unlink()
    config = read_json(folder / "config.json")
    config["train_config"] |= settings
    write_json(folder / "config.json", config)
    copy = Run(folder)
    copy.write_status(state="stopped")
    return copy


def coloured(root: Path, labels: tuple[str, ...]) -> Photos:
    """Fifteen photos of each colour, no two of them the same."""
    rng = np.random.default_rng(0)
    for label in labels:
        (root / label).mkdir(parents=True)
        for number in range(15):
            noise = Image.effect_noise((48, 48), float(rng.uniform(10, 60))).convert("RGB")
            photo = Image.blend(Image.new("RGB", (48, 48), label), noise, 0.3)
            photo.save(root / label / f"{number}.png")
    return open_folder(root, root.name, "folder")


# ---------------------------------------------------------------- what a run leaves


def test_the_run_directory_is_complete(trained: Run) -> None:
    names = {p.relative_to(trained.path).as_posix() for p in trained.path.rglob("*")}
    assert names == {
        "config.json",
        "index.parquet",
        "status.json",
        "metrics.jsonl",
        "checkpoint",
        "checkpoint/epoch-0003.keras",
        "checkpoint/best.keras",
        "checkpoint/state.json",
        "model.keras",
        "model.tflite",
        "projection.npz",
        "predictions.parquet",
        "evaluation.json",
    }


def test_the_status_is_that_of_a_finished_run(trained: Run) -> None:
    status = trained.status()
    assert (status.state, status.epoch, status.error) == ("finished", 3, None)
    assert 0 < status.seconds < 120


def test_every_epoch_has_its_line(trained: Run) -> None:
    epochs = trained.epochs()
    assert epochs.epoch.tolist() == [1, 2, 3]
    assert set(epochs.columns) >= {
        *("loss", "accuracy", "learning_rate", "seconds", "images_per_second"),
        *("val_loss", "val_accuracy", "val_macro_f1", "val_recall", "val_confusion_matrix"),
    }
    assert epochs.learning_rate.tolist() == pytest.approx([0.001] * 3)
    assert epochs.loss.iloc[-1] < epochs.loss.iloc[0]
    for row in epochs.itertuples():
        matrix = np.array(row.val_confusion_matrix)
        assert matrix.shape == (6, 6) and matrix.sum() == 24
        assert matrix.trace() / matrix.sum() == row.val_accuracy
        assert row.val_recall == pytest.approx(matrix.diagonal() / matrix.sum(axis=1))


def test_progress_is_left_on_disk(trained: Run) -> None:
    ticks = [row for row in trained.metrics() if row["kind"] == "tick"]
    assert "Predicting every photo" in {tick["what"] for tick in ticks}
    assert all(0 <= tick["done"] <= tick["total"] for tick in ticks)


def test_progress_counts_every_step_once(trained: Run) -> None:
    steps = [(done, total) for done, total, what in SEEN if what.startswith("Training")]
    assert steps == [(step, 3 * STEPS) for step in range(1, 3 * STEPS + 1)]


def test_every_photo_has_one_prediction(trained: Run, sample_photos: Photos) -> None:
    table = trained.predictions()
    assert sorted(table.file) == sorted(sample_photos.files)
    assert (table.label == table.file.str.split("/").str[0]).all()
    assert table.split.value_counts().to_dict() == {"train": 168, "test": 48, "validation": 24}
    assert np.stack(table.logits).shape == (240, 6)
    embeddings = np.stack(table.embedding)
    assert embeddings.shape == (240, 64) and embeddings.dtype == np.float32
    # Their axes are those of the training photos, so that is where the middle is.
    assert abs(embeddings[table.split == "train"].mean(axis=0)).max() < 1e-3
    assert table.distance.between(0, 2).all() and table.distance.nunique() > 200


@pytest.mark.parametrize("split", SPLITS)
def test_the_confusion_matrix_gives_the_accuracy(trained: Run, split: str) -> None:
    scores = trained.evaluation()["splits"][split]
    matrix = np.array(scores["confusion_matrix"])
    assert matrix.sum() == scores["n"]
    assert matrix.trace() / matrix.sum() == scores["accuracy"]
    for number, label in enumerate(trained.classes):
        assert scores["per_class"][label]["support"] == matrix[number].sum()


def test_the_evaluation_follows_from_the_predictions(trained: Run) -> None:
    assert evaluate(trained.predictions(), trained.classes) == trained.evaluation()


def test_the_kept_model_is_the_best_epochs(
    trained: Run, best: keras.Model, sample_photos: Photos
) -> None:
    rows = trained.predictions().query("split == 'validation'")
    photos = np.stack([load_photo(sample_photos.root / f, 32) for f in rows.file])
    labels = rows.label.map(trained.classes.index).to_numpy()
    scores = report(best.predict_on_batch(photos.astype(np.float32)), labels, trained.classes)
    epochs = trained.epochs().sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
    assert scores["accuracy"] == epochs.val_accuracy.iloc[0]
    assert scores["nll"] == pytest.approx(epochs.val_loss.iloc[0], rel=1e-5)


def test_a_run_learns_what_can_be_learned(env: Environment, tmp_path: Path) -> None:
    """Six plain colours, never quite the same: photos, labels and answers belong together."""
    colours = ("red", "lime", "blue", "yellow", "white", "black")
    photos = coloured(tmp_path / "colours", colours)
    config = dataclasses.replace(CONFIG, epochs=8, batch_size=8, learning_rate=0.002)
    run = store.new_run(env.runs, config, photos)
    train_and_evaluate(run, env)
    assert run.evaluation()["splits"]["test"]["accuracy"] == 1


def test_a_finished_run_is_not_trained_again(trained: Run, home: Environment) -> None:
    with pytest.raises(RunError, match="is finished"):
        train_and_evaluate(trained, home)
    assert trained.is_finished


# ---------------------------------------------------------------- stop and resume


def stop(run: Run) -> Callable[[], None]:
    return lambda: control.stop(run)


@pytest.mark.slow
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


@pytest.mark.slow
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


# ---------------------------------------------------------------- learning rate


@pytest.mark.slow
def test_the_cosine_schedule_rises_for_an_epoch_and_falls_to_zero_whoever_stops_it(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    class Spy(trainer._Ticks):
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            rates.append(float(np.asarray(self.model.optimizer.learning_rate)))
            super().on_train_batch_end(batch, logs)

    monkeypatch.setattr(trainer, "_Ticks", Spy)
    run = make_run(schedule="cosine", learning_rate=0.01)
    train_and_evaluate(run, home, at("Training", STEPS + 3, stop(run)))
    train_and_evaluate(run, home)
    rising = [0.01 * step / STEPS for step in range(1, STEPS + 1)]
    falling = [0.005 * (1 + np.cos(np.pi * step / (2 * STEPS))) for step in range(1, 2 * STEPS + 1)]
    # The stop came with the third step of the second epoch, which is then trained anew.
    assert rates == pytest.approx([*rising, *falling[:4], *falling], rel=1e-4, abs=1e-9)
    assert run.epochs().learning_rate.tolist() == pytest.approx([0.01, 0.005, 0], abs=1e-8)
    # What settles last is kept, whatever validation says of it.
    last = weights(run.path / "checkpoint/epoch-0003.keras")
    for ours, theirs in zip(weights(run.path / "model.keras"), last, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- folds


FOLDED = dataclasses.replace(CONFIG, epochs=2, folds=5)


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
    config = dataclasses.replace(FOLDED, folds=1, fold=2)
    run = store.new_run(home.runs, config, sample_photos)
    train_and_evaluate(run, home)
    return run


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_fold_that_was_stopped_equals_one_that_was_not(folded: Folded, alone: Run) -> None:
    fold = folded.run.folds[2]
    pd.testing.assert_frame_equal(numbers(fold), numbers(alone), check_exact=True)
    assert_same_answers(fold, alone)
    pd.testing.assert_frame_equal(
        pd.read_parquet(fold.path / "index.parquet"), pd.read_parquet(alone.path / "index.parquet")
    )


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# ---------------------------------------------------------------- pretrained networks


TUNED = TrainConfig.from_dict(
    TrainConfig.recipe("efficientnet_lite0").to_dict()
    | {"epochs": 2, "image_size": 32, "learning_rate": 0.001, "interpolation": 1.0}
    | {"split": "random", "tracking": "off"}
)


@pytest.fixture(scope="module")
def tuned(home: Environment, sample_photos: Photos) -> Run:
    """Two epochs of fine-tuning that nobody interrupted."""
    run = store.new_run(home.runs, TUNED, sample_photos)
    train_and_evaluate(run, home)
    return run


@pytest.mark.slow
def test_fine_tuning_starts_at_the_fitted_head(tuned: Run) -> None:
    status, epochs = tuned.status(), tuned.epochs()
    assert (status.state, status.epoch) == ("finished", 2)
    assert epochs.epoch.tolist() == [0, 1, 2]
    assert epochs.loss.isna().tolist() == [True, False, False]
    assert epochs.val_accuracy.notna().all() and epochs.val_loss.notna().all()
    # A head at random would know one class in six.
    assert epochs.val_accuracy[0] > 0.5
    assert epochs.learning_rate[1:].tolist() == pytest.approx([0.001, 0], abs=1e-8)
    names = {p.name for p in (tuned.path / "checkpoint").iterdir()}
    assert names == {"epoch-0000.keras", "epoch-0002.keras", "best.keras", "state.json"}


@pytest.mark.slow
def test_fine_tuning_leaves_the_earliest_layers_alone(tuned: Run) -> None:
    first, last = (
        keras.saving.load_model(tuned.path / f"checkpoint/epoch-000{epoch}.keras", compile=False)
        for epoch in (0, 2)
    )
    moved = {
        layer.name: any(
            (np.asarray(a) != np.asarray(b)).any()
            for a, b in zip(layer.weights, last.get_layer(layer.name).weights, strict=True)
        )
        for layer in first.layers
        if layer.weights
    }
    early = ("stem", "block_01", "block_02", "block_03")
    assert moved == {name: not name.startswith(early) for name in moved}


@pytest.mark.slow
def test_fine_tuning_can_be_stopped_and_a_share_of_it_is_taken_once(
    tuned: Run, home: Environment, make_run: Callable[..., Run]
) -> None:
    """However often the last step is begun: what it starts from is kept apart."""
    run = make_run(**TUNED.to_dict() | {"interpolation": 0.25})
    for what, done, epochs in (("Training", STEPS + 2, [0, 1]), ("Predicting", 230, [0, 1, 2])):
        train_and_evaluate(run, home, at(what, done, stop(run)))
        assert (run.status().state, run.status().epoch) == ("stopped", epochs[-1])
        assert run.epochs().epoch.tolist() == epochs
    assert (run.path / "model.keras").exists()
    train_and_evaluate(run, home)
    assert run.is_finished
    assert_same_epochs(run, tuned)
    names = ("checkpoint/epoch-0000.keras", "checkpoint/epoch-0002.keras", "model.keras")
    first, last, kept = (weights(run.path / name) for name in names)
    for start, end, ours in zip(first, last, kept, strict=True):
        np.testing.assert_allclose(ours, start + 0.25 * (end - start), rtol=1e-5, atol=1e-7)


def assert_answers_as_after(epoch: int, run: Run) -> None:
    ours, epochs = run.evaluation()["splits"]["validation"], run.epochs()
    assert ours["uncalibrated"]["nll"] == pytest.approx(epochs.val_loss[epoch], rel=0.01)
    # The exported model's weights are half as precise, which may tip one photo.
    theirs = np.array(epochs.val_confusion_matrix[epoch])
    assert abs(theirs - ours["confusion_matrix"]).sum() <= 2


@pytest.mark.slow
def test_all_of_the_tuning_is_the_last_epoch(tuned: Run) -> None:
    last = weights(tuned.path / "checkpoint/epoch-0002.keras")
    for ours, theirs in zip(weights(tuned.path / "model.keras"), last, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_answers_as_after(2, tuned)


@pytest.mark.slow
def test_none_of_the_tuning_is_the_fitted_head(tuned: Run, home: Environment) -> None:
    run = remade(tuned, home.runs / "none", interpolation=0.0)
    train_and_evaluate(run, home)
    first = weights(tuned.path / "checkpoint/epoch-0000.keras")
    for ours, theirs in zip(weights(run.path / "model.keras"), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_answers_as_after(0, run)


@pytest.mark.slow
def test_a_head_on_frozen_features_is_trained_from_the_command_line(frozen: Training) -> None:
    result, run = json.loads(frozen.output), frozen.run
    assert (result["state"], result["epochs"], result["images_per_second"]) == ("finished", 0, None)
    assert result["seconds"] > 0 and run.is_finished
    assert run.status().epoch == 0 and run.epochs().epoch.tolist() == [0]
    scores = run.evaluation()["splits"]
    assert result["test"] == {"run": run.id, "split": "test", **scores["test"]}
    assert scores["train"]["accuracy"] > 0.95 and scores["test"]["accuracy"] > 0.85
    assert scores["validation"]["accuracy"] == pytest.approx(run.epochs().val_accuracy[0], abs=0.05)


@pytest.mark.slow
def test_the_head_is_the_one_that_answers(frozen: Training, sample_photos: Photos) -> None:
    """With it, a class activation map adds up to that class's logit."""
    head = frozen.run.head()
    assert head is not None and head[0].shape == (1280, 6) and head[1].shape == (6,)
    lite = LiteModel(frozen.run.path / "model.tflite")
    for row in frozen.run.predictions().iloc[::80].itertuples():
        logits, feature_map = lite(load_photo(sample_photos.root / row.file, 128))
        np.testing.assert_array_equal(logits, row.logits)
        ours = feature_map.mean(axis=(0, 1)) @ head[0] + head[1]
        np.testing.assert_allclose(ours, logits, atol=0.02)


def test_a_head_for_two_classes_can_be_fitted(env: Environment, tmp_path: Path) -> None:
    photos = coloured(tmp_path / "colours", ("red", "blue"))
    settings = TrainConfig.recipe("frozen_features").to_dict()
    settings |= {"image_size": 32, "split": "random", "tracking": "off"}
    run = store.new_run(env.runs, TrainConfig.from_dict(settings), photos)
    train_and_evaluate(run, env, at("Exporting", 0, stop(run)))
    assert run.epochs().val_accuracy.tolist() == [1.0]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# ---------------------------------------------------------------- what goes wrong


def failing(run: Run, env: Environment, on_progress: Progress = lambda *_: None) -> str:
    """Trains a run that must fail; returns the one sentence it fails with."""
    with pytest.raises(TrashnetError) as caught:
        train_and_evaluate(run, env, on_progress)
    status = run.status()
    assert status.state == "failed" and status.error == str(caught.value)
    assert "\n" not in status.error and status.error.endswith(".")
    return status.error


@pytest.mark.parametrize("step", [1, 2 * STEPS], ids=["early", "in an epoch's last step"])
def test_a_loss_that_is_no_number_ends_the_run(
    step: int, home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[keras.Model] = []

    def build(*arguments: object) -> keras.Model:
        built.append(model := train_build(*arguments))
        return model

    def explode() -> None:
        bias = built[0].get_layer("logits").bias
        bias.assign(np.full(6, np.nan, np.float32))

    train_build = networks.build_model
    monkeypatch.setattr(networks, "build_model", build)
    run = make_run()
    assert "lower learning rate" in failing(run, home, at("Training", step, explode))
    # The last sound epoch is kept, and what would spoil the pages is not written.
    assert run.status().epoch == len(run.epochs()) == (0 if step == 1 else 1)
    assert "NaN" not in (run.path / "status.json").read_text()


@pytest.fixture
def copied(sample_photos: Photos, tmp_path: Path) -> Photos:
    """The sample pictures, to be deleted."""
    shutil.copytree(sample_photos.root, tmp_path / "copied")
    return open_folder(tmp_path / "copied", "samples", "samples")


def test_photos_that_are_gone_at_the_start_are_said(env: Environment, copied: Photos) -> None:
    run = store.new_run(env.runs, CONFIG, copied)
    shutil.rmtree(copied.root)
    assert "is gone" in failing(run, env)


def test_photos_that_go_before_they_are_decoded_are_said(env: Environment, copied: Photos) -> None:
    run = store.new_run(env.runs, CONFIG, copied)
    gone = at("Reading photos", len(copied.files), lambda: shutil.rmtree(copied.root))
    assert re.search("is gone|changed since they were listed", failing(run, env, gone))


def test_photos_that_go_after_decoding_are_not_missed(env: Environment, copied: Photos) -> None:
    config = dataclasses.replace(CONFIG, epochs=1)
    run = store.new_run(env.runs, config, copied)
    train_and_evaluate(run, env, at("Training", 1, lambda: shutil.rmtree(copied.root)))
    assert run.is_finished


def test_other_photos_than_the_runs_are_refused(env: Environment, copied: Photos) -> None:
    """A resumed run would divide them differently and train on its own test photos."""
    run = store.new_run(env.runs, CONFIG, copied)
    (copied.root / "glass/glass1.jpg").unlink()
    assert "There were 240 photos" in failing(run, env)
    (copied.root / "glass").rename(copied.root / "glas")
    assert "classes changed" in failing(run, env)


# ---------------------------------------------------------------- one at a time


def test_a_run_waits_for_its_turn_and_can_be_stopped_waiting(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_SIGN_OF_LIFE", 0.5)
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


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "setting",
    [{"class_weights": False}, {"rotation": 0.0}, {"mixup": 0.2}, {"label_smoothing": 0.1}],
)
def test_settings_change_the_training(
    setting: dict[str, object], home: Environment, make_run: Callable[..., Run], trained: Run
) -> None:
    run = make_run(epochs=1, **setting)
    train_and_evaluate(run, home, at("Exporting", 0, stop(run)))
    assert run.epochs().weighted_loss[0] != trained.epochs().weighted_loss[0]


def test_class_weights_make_rare_classes_count_more(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, np.ndarray] = {}

    class Spy(trainer.TrainingBatches):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            seen[arguments[4].class_weights] = arguments[3]
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "TrainingBatches", Spy)
    for on in (True, False):
        train_and_evaluate(make_run(class_weights=on), home)
    classes = list(make_run().classes)
    assert seen[False].tolist() == [1.0] * 6
    assert seen[True].argmax() == classes.index("trash")
    assert seen[True].argmin() == classes.index("paper")


# ---------------------------------------------------------------- real photos


@pytest.mark.slow
@pytest.mark.photos
def test_the_command_line_trains_and_classifies_real_photos(
    real_photos: Photos,
    real_env: Environment,
    command: Callable[..., tuple[int, str, str]],
    env: Environment,
) -> None:
    shutil.copytree(real_env.cache, env.cache)
    options = ["--model", "cnn_baseline", "--epochs", "1", "--image-size", "64", "--json"]
    code, out, err = command("train", *options, "--data", real_photos.root, "--tracking", "off")
    assert code == 0, err
    result = json.loads(out)
    assert set(result) == {
        *("run", "state", "epochs", "seconds", "images_per_second", "validation", "test")
    }
    assert (result["state"], result["epochs"]) == ("finished", 1)
    assert result["seconds"] > 0 and result["images_per_second"] > 0
    run = store.open_run(env.runs, result["run"])
    counts = run.predictions().split.value_counts()
    assert counts.sum() > 2500 and counts["test"] > 480
    for split in ("validation", "test"):
        assert result[split]["n"] == counts[split]
        matrix = np.array(result[split]["confusion_matrix"])
        assert matrix.trace() / matrix.sum() == result[split]["accuracy"]

    rows = run.predictions().query("split == 'test'").iloc[::200]
    assert len(rows) == 3
    paths = [real_photos.root / file for file in rows.file]
    code, out, err = command("classify", *paths, "--run", result["run"], "--json")
    assert code == 0, err
    stored = probabilities(np.stack(rows.logits), run.evaluation()["temperature"])
    for answer, path, p in zip(json.loads(out), paths, stored, strict=True):
        assert answer["file"] == str(path)
        assert answer["probabilities"] == dict(zip(run.classes, p.tolist(), strict=True))
        assert answer["label"] == run.classes[p.argmax()]
