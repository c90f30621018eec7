"""A training fills its run directory, can be stopped at any moment and goes on as if it had not."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from trashnet import runs, train
from trashnet.config import Environment, TrainConfig
from trashnet.data import Photos, open_folder
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluate import evaluate, probabilities, report
from trashnet.files import Progress, read_json
from trashnet.models import with_feature_map
from trashnet.photos import load_photo
from trashnet.predict import LiteModel
from trashnet.runs import Run
from trashnet.train import check_export, train_and_evaluate

ROOT = Path(__file__).resolve().parent.parent
SPLITS = ("train", "validation", "test")
STEPS = 6  # 168 training pictures in batches of 32
CONFIG = TrainConfig(epochs=3, image_size=48, split="random", tracking="off")
SEEN: list[tuple[int, int, str]] = []  # the progress of `trained`


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One home for the module, so that pictures are decoded once."""
    return Environment(tmp_path_factory.mktemp("train-home"), hub_offline=True)


@pytest.fixture
def make_run(home: Environment, sample_photos: Photos) -> Callable[..., Run]:
    def make(**settings: object) -> Run:
        return runs.new_run(home.runs, dataclasses.replace(CONFIG, **settings), sample_photos)

    return make


@pytest.fixture(scope="module")
def trained(home: Environment, sample_photos: Photos) -> Run:
    """A run of three epochs that nobody interrupted."""
    run = runs.new_run(home.runs, CONFIG, sample_photos)
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


def last_weights(run: Run) -> list[np.ndarray]:
    (path,) = (run.path / "checkpoint").glob("epoch-*.keras")
    model = keras.saving.load_model(path)
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


def numbers(run: Run) -> pd.DataFrame:
    """The epochs' figures less those that are times."""
    return run.epochs().drop(columns=["time", "seconds", "images_per_second"])


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
        "checkpoint/state.json",
        "model.keras",
        "model.tflite",
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
    assert np.stack(table.embedding).shape == (240, 128)


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


def test_the_exported_model_answers_as_keras_does(
    trained: Run, best: keras.Model, sample_photos: Photos
) -> None:
    table = trained.predictions()
    photos = np.stack([load_photo(sample_photos.root / f, 48) for f in table.file])
    logits, features = with_feature_map(best).predict_on_batch(photos.astype(np.float32))
    theirs = probabilities(np.stack(table.logits))
    assert abs(probabilities(logits) - theirs).max() < 0.005
    embeddings = np.stack(table.embedding)
    assert abs(features.mean(axis=(1, 2)) - embeddings).max() < 0.01 * embeddings.max()


def test_the_kept_model_is_the_best_epochs(
    trained: Run, best: keras.Model, sample_photos: Photos
) -> None:
    rows = trained.predictions().query("split == 'validation'")
    photos = np.stack([load_photo(sample_photos.root / f, 48) for f in rows.file])
    labels = rows.label.map(trained.classes.index).to_numpy()
    scores = report(best.predict_on_batch(photos.astype(np.float32)), labels, trained.classes)
    epochs = trained.epochs().sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
    assert scores["accuracy"] == epochs.val_accuracy.iloc[0]
    assert scores["nll"] == pytest.approx(epochs.val_loss.iloc[0], rel=1e-5)


def test_the_kept_model_goes_without_the_optimizer(trained: Run) -> None:
    """Which is twice as large as the weights, and only for resuming."""
    checkpoint = (trained.path / "checkpoint/epoch-0003.keras").stat().st_size
    assert (trained.path / "model.keras").stat().st_size < 0.5 * checkpoint


def test_the_highest_score_is_kept_over_a_restart(trained: Run, tmp_path: Path) -> None:
    """Accuracy decides, then loss, then who came first."""
    model = keras.saving.load_model(trained.path / "checkpoint/epoch-0003.keras")
    bias = model.get_layer("logits").bias
    for epoch, score in enumerate([(0.1, -1.0), (0.3, -2.0), (0.3, -1.0), (0.3, -1.0), (0.2, 0.0)]):
        bias.assign(np.full(6, epoch + 1, np.float32))
        train._Checkpoint(tmp_path).save(model, epoch + 1, score)
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert np.asarray(kept.get_layer("logits").bias).tolist() == [3] * 6
    assert np.asarray(train._Checkpoint(tmp_path).load().get_layer("logits").bias)[0] == 5


def test_a_run_learns_what_can_be_learned(env: Environment, tmp_path: Path) -> None:
    """Six plain colours, never quite the same: photos, labels and answers belong together."""
    rng = np.random.default_rng(0)
    for label in ("red", "lime", "blue", "yellow", "white", "black"):
        (tmp_path / "colours" / label).mkdir(parents=True)
        for number in range(15):
            noise = Image.effect_noise((48, 48), float(rng.uniform(10, 60))).convert("RGB")
            photo = Image.blend(Image.new("RGB", (48, 48), label), noise, 0.3)
            photo.save(tmp_path / "colours" / label / f"{number}.png")
    config = dataclasses.replace(CONFIG, epochs=8, batch_size=8, image_size=32, learning_rate=0.002)
    photos = open_folder(tmp_path / "colours", "colours", "folder")
    run = runs.new_run(env.runs, config, photos)
    train_and_evaluate(run, env)
    assert run.evaluation()["splits"]["test"]["accuracy"] == 1


def test_a_finished_run_is_not_trained_again(trained: Run, home: Environment) -> None:
    with pytest.raises(RunError, match="is finished"):
        train_and_evaluate(trained, home)
    assert trained.is_finished


# ---------------------------------------------------------------- the exported model


def test_an_export_like_its_original_is_accepted(trained: Run, best: keras.Model) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    check_export(best, LiteModel(trained.path / "model.tflite"), photos)


@pytest.mark.parametrize("shift", [0.2, np.nan])
def test_an_export_unlike_its_original_is_refused(
    trained: Run, best: keras.Model, shift: float
) -> None:
    other = keras.models.clone_model(best)
    other.set_weights(best.get_weights())
    bias = other.get_layer("logits").bias
    bias.assign(np.asarray(bias) + np.eye(6, dtype=np.float32)[0] * np.float32(shift))
    photos = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    with pytest.raises(RunError, match="differs from the trained one"):
        check_export(other, LiteModel(trained.path / "model.tflite"), photos)


# ---------------------------------------------------------------- stop and resume


def stop(run: Run) -> Callable[[], None]:
    return lambda: runs.stop(run)


@pytest.mark.parametrize(
    ("what", "done", "act", "state", "epochs"),
    [
        ("Training", 2, stop, "stopped", 0),
        ("Training", STEPS + 4, lambda _: raising(KeyboardInterrupt()), "stopped", 1),
        ("Training", 2 * STEPS, lambda _: raising(OSError("disk\ngone")), "failed", 1),
        ("Predicting", 50, stop, "stopped", 3),
    ],
    ids=["stopped in the first epoch", "ctrl-c", "crashed at an epoch's end", "stopped late"],
)
def test_a_resumed_run_equals_one_that_was_never_interrupted(
    what: str,
    done: int,
    act: Callable[[Run], Callable[[], None]],
    state: str,
    epochs: int,
    trained: Run,
    home: Environment,
    make_run: Callable[..., Run],
) -> None:
    run = make_run()
    try:
        train_and_evaluate(run, home, at(what, done, act(run)))
    except OSError as error:
        assert error.args == ("disk\ngone",)
    left = run.status()
    assert (left.state, left.epoch) == (state, epochs)
    assert left.error == ("OSError: disk" if state == "failed" else None)
    assert len(run.epochs()) == epochs

    train_and_evaluate(run, home)
    status = run.status()
    assert (status.state, status.epoch, status.error) == ("finished", 3, None)
    assert status.seconds > left.seconds
    pd.testing.assert_frame_equal(numbers(run), numbers(trained), check_exact=True)
    for ours, theirs in zip(last_weights(run), last_weights(trained), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert run.evaluation() == trained.evaluation()


def test_an_epoch_killed_before_its_checkpoint_is_listed_once(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two writes, the line comes first: an epoch is never missing from the curves."""
    run = make_run(epochs=1, image_size=32)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train._Checkpoint, "save", killed)
        train_and_evaluate(run, home)
    assert run.status().epoch == 0
    train_and_evaluate(run, home, at("Exporting", 0, stop(run)))
    assert run.epochs().epoch.tolist() == [1]
    assert [row["epoch"] for row in run.metrics() if row["kind"] == "epoch"] == [1, 1]


def test_the_checkpoint_survives_a_kill_at_any_of_its_writes(
    trained: Run, best: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write is the last to happen, a checkpoint that can be loaded is left."""
    model = keras.saving.load_model(trained.path / "checkpoint/epoch-0003.keras")
    replace, left = os.replace, [0]

    def replace_few(source: str, target: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(source, target)

    for allowed in range(4):
        path = tmp_path / str(allowed)
        path.mkdir()
        train._Checkpoint(path).save(model, 1, (0.1, -1.0))
        left[0] = allowed
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_few)
            try:
                train._Checkpoint(path).save(model, 2, (0.2, -1.0))
            except KeyboardInterrupt:
                assert allowed < 3
        checkpoint = train._Checkpoint(path)
        assert checkpoint.epoch == (2 if allowed == 3 else 1)
        assert checkpoint.load() is not None
        assert keras.saving.load_model(path / "model.keras", compile=False) is not None


def test_a_damaged_checkpoint_is_said(trained: Run, home: Environment) -> None:
    shutil.copytree(trained.path, home.runs / "damaged")
    run = Run(home.runs / "damaged")
    run.write_status(state="stopped")
    (run.path / "checkpoint/epoch-0003.keras").write_bytes(b"torn")
    assert "checkpoint of epoch 3 cannot be read; delete" in failing(run, home)
    shutil.rmtree(run.path / "checkpoint")
    assert train._Checkpoint(run.path).load() is None


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
            found = runs.list_runs(env.runs)
            return bool(found) and found[0].status().epoch >= 1

        wait_until(first_epoch_done)
        return process, runs.list_runs(env.runs)[0]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_killed_process_reads_as_lost_and_can_be_resumed(
    start: Start, env: Environment, trained: Run
) -> None:
    process, run = start("--epochs", "3", "--image-size", "48")
    process.kill()
    process.wait()
    lost = run.status()
    assert lost.state == "lost" and 1 <= lost.epoch <= 3
    train_and_evaluate(run, env)
    assert run.is_finished
    # Another process, the same numbers.
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

    train_build = train.build_model
    monkeypatch.setattr(train, "build_model", build)
    run = make_run(image_size=32)
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
    run = runs.new_run(env.runs, CONFIG, copied)
    shutil.rmtree(copied.root)
    assert "is gone" in failing(run, env)


def test_photos_that_go_before_they_are_decoded_are_said(env: Environment, copied: Photos) -> None:
    run = runs.new_run(env.runs, CONFIG, copied)
    gone = at("Reading photos", len(copied.files), lambda: shutil.rmtree(copied.root))
    assert re.search("is gone|changed since they were listed", failing(run, env, gone))


def test_photos_that_go_after_decoding_are_not_missed(env: Environment, copied: Photos) -> None:
    config = dataclasses.replace(CONFIG, epochs=1, image_size=32)
    run = runs.new_run(env.runs, config, copied)
    train_and_evaluate(run, env, at("Training", 1, lambda: shutil.rmtree(copied.root)))
    assert run.is_finished


def test_other_photos_than_the_runs_are_refused(env: Environment, copied: Photos) -> None:
    """A resumed run would divide them differently and train on its own test photos."""
    run = runs.new_run(env.runs, CONFIG, copied)
    (copied.root / "glass/glass1.jpg").unlink()
    assert "There were 240 photos" in failing(run, env)
    (copied.root / "glass").rename(copied.root / "glas")
    assert "classes changed" in failing(run, env)


# ---------------------------------------------------------------- one at a time


def test_a_run_waits_for_its_turn_and_can_be_stopped_waiting(
    home: Environment, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=1, image_size=32)
    with FileLock(home.runs / ".train.lock"):
        thread = threading.Thread(target=train_and_evaluate, args=(run, home))
        thread.start()
        wait_until(lambda: run.status().pid == os.getpid())
        time.sleep(1.5)
        assert run.status().state == "waiting" and run.metrics() == []
        runs.stop(run)
        thread.join(10)
        assert not thread.is_alive()
    status = run.status()
    assert (status.state, status.epoch, status.seconds) == ("stopped", 0, 0.0)


def test_a_waiting_run_starts_when_the_other_ends(
    home: Environment, make_run: Callable[..., Run]
) -> None:
    run = make_run(epochs=1, image_size=32)
    with FileLock(home.runs / ".train.lock"):
        thread = threading.Thread(target=train_and_evaluate, args=(run, home))
        thread.start()
        wait_until(lambda: run.status().pid == os.getpid())
    thread.join(60)
    assert run.is_finished


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("setting", [{"class_weights": False}, {"rotation": 0.0}])
def test_settings_change_the_training(
    setting: dict[str, object], home: Environment, make_run: Callable[..., Run], trained: Run
) -> None:
    run = make_run(epochs=1, **setting)
    train_and_evaluate(run, home, at("Exporting", 0, stop(run)))
    assert run.epochs().loss[0] != trained.epochs().loss[0]


def test_class_weights_make_rare_classes_count_more(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, np.ndarray] = {}

    class Spy(train.TrainingBatches):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            seen[arguments[-1].class_weights] = arguments[3]
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "TrainingBatches", Spy)
    for on in (True, False):
        train_and_evaluate(make_run(class_weights=on), home)
    classes = list(make_run().classes)
    assert seen[False].tolist() == [1.0] * 6
    assert seen[True].argmax() == classes.index("trash")
    assert seen[True].argmin() == classes.index("paper")


# ---------------------------------------------------------------- real photos


@pytest.mark.photos
def test_the_command_line_trains_and_classifies_real_photos(
    real_photos: Photos, command: Callable[..., tuple[int, str, str]], env: Environment
) -> None:
    options = ["--model", "cnn_baseline", "--epochs", "1", "--image-size", "64", "--json"]
    code, out, err = command("train", *options, "--data", real_photos.root, "--tracking", "off")
    assert code == 0, err
    result = json.loads(out)
    assert set(result) == {
        *("run", "state", "epochs", "seconds", "images_per_second", "validation", "test")
    }
    assert (result["state"], result["epochs"]) == ("finished", 1)
    assert result["seconds"] > 0 and result["images_per_second"] > 0
    run = runs.open_run(env.runs, result["run"])
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
