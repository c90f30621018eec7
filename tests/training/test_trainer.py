"""A training fills its run directory, and says what keeps it from doing so."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Training
from tests.training.conftest import (
    CONFIG,
    SEEN,
    STEPS,
    assert_same_epochs,
    at,
    failing,
    remade,
    stop,
)
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, open_folder
from trashnet.data.image_io import load_photo
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.evaluation.report import evaluate, report
from trashnet.inference.calibration import probabilities
from trashnet.inference.litert import LiteModel
from trashnet.runs import store
from trashnet.runs.run import Run
from trashnet.training import networks, trainer
from trashnet.training.session import train_and_evaluate


@pytest.fixture(scope="module")
def best(trained: Run) -> keras.Model:
    return keras.saving.load_model(trained.path / "model.keras", compile=False)


def weights(path: Path) -> list[np.ndarray]:
    return keras.saving.load_model(path, compile=False).get_weights()


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


@pytest.mark.parametrize("split", ["train", "validation", "test"])
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
    config = CONFIG.replace(epochs=8, batch_size=8, learning_rate=0.002)
    run = store.new_run(env.runs, config, photos)
    train_and_evaluate(run, env)
    assert run.evaluation()["splits"]["test"]["accuracy"] == 1


def test_a_finished_run_is_not_trained_again(trained: Run, home: Environment) -> None:
    with pytest.raises(RunError, match="is finished"):
        train_and_evaluate(trained, home)
    assert trained.is_finished


# ---------------------------------------------------------------- learning rate


@pytest.mark.slow
def test_the_cosine_schedule_rises_for_an_epoch_and_falls_to_zero_whoever_stops_it(
    home: Environment, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    class Spy(trainer.EpochTicks):
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            rates.append(float(np.asarray(self.model.optimizer.learning_rate)))
            super().on_train_batch_end(batch, logs)

    monkeypatch.setattr(trainer, "EpochTicks", Spy)
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
    # A head at random would know one class in six, and of so few pixels it knows some more.
    assert epochs.val_accuracy[0] > 0.3
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
    mixed = [start + 0.25 * (end - start) for start, end in zip(first, last, strict=True)]
    for ours, expected in zip(kept[:-2], mixed[:-2], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
    kernel, bias = kept[-2:]  # a head of its own, fitted to what the mixed layers see
    assert np.abs(kernel - mixed[-2]).max() > 0.01 and np.isfinite(bias).all()


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
    about = {"run": run.id, "split": "test", "of_known_objects": {"test": None}}
    assert result["test"] == about | scores["test"]
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


# ---------------------------------------------------------------- what goes wrong


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
    return open_folder(tmp_path / "copied", "samples", "folder")


def test_photos_that_are_gone_at_the_start_are_said(env: Environment, copied: Photos) -> None:
    run = store.new_run(env.runs, CONFIG, copied)
    shutil.rmtree(copied.root)
    assert "is gone" in failing(run, env)


def test_photos_that_go_before_they_are_decoded_are_said(env: Environment, copied: Photos) -> None:
    run = store.new_run(env.runs, CONFIG, copied)
    gone = at("Reading photos", len(copied.files), lambda: shutil.rmtree(copied.root))
    assert re.search("is gone|changed since they were listed", failing(run, env, gone))


def test_photos_that_go_after_decoding_are_not_missed(env: Environment, copied: Photos) -> None:
    config = CONFIG.replace(epochs=1)
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
