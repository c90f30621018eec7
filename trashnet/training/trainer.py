"""One fold of a training, from the photos to an evaluated model, in steps."""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from trashnet.config import TrainConfig
from trashnet.data.editions import is_trashnet
from trashnet.data.nearest_neighbours import Projection, distance_to_training
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.evaluation.metrics import negative_log_likelihood
from trashnet.evaluation.report import answers, evaluate, report
from trashnet.files import write_atomically, write_json
from trashnet.inference.explain import activation_maps
from trashnet.inference.litert import LiteModel
from trashnet.progress import Progress, silent
from trashnet.runs.metrics_file import MetricsFile
from trashnet.runs.run import Run
from trashnet.training.checkpoint import Checkpoint
from trashnet.training.fold import Fold, prepare
from trashnet.training.input_pipeline import TrainingBatches, plain_batches
from trashnet.training.litert_export import check_export, to_litert
from trashnet.training.networks import (
    compiled_model,
    embedder,
    interpolate,
    is_pretrained,
    linear_head,
    set_head,
    with_feature_map,
    with_mirrored_views,
)
from trashnet.training.reporter import EpochTicks, Reporter
from trashnet.training.wandb_logger import WandbRun
from trashnet.training.weight_standardization import deployed

log = logging.getLogger("trashnet")

_HEAD_STRENGTHS = (0.01, 0.03, 0.1, 0.3)
"""Inverse strengths of the head's regularisation (scikit-learn's C) to choose from."""

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Learner:
    """A network in training.

    Attributes:
        model: It, with its optimizer.
        predictor: The same layers on one device; of several, each would predict the whole batch.
        batches: What it is trained on.
    """

    model: keras.Model
    predictor: keras.Model
    batches: TrainingBatches


def train_fold(run: Run, env: Environment, reporter: Reporter) -> None:
    """Trains what is left to train of one fold, then exports, predicts and evaluates.

    Args:
        run: The fold's directory.
        env: Where the caches are.
        reporter: What the steps are reported to.

    Raises:
        TrashnetError: The photos changed, or the training went astray.
        Stopped: The run was asked to stop.
    """
    fold = prepare(run, env, reporter.on_progress)
    tracker = WandbRun(run, env)
    try:
        train_epochs(fold, reporter, tracker)
        reporter.on_progress(0, 1, "Exporting the model")
        export(finished_model(fold, reporter.on_progress), fold)
        predictions = predict_all(fold, reporter.on_progress)
        store_evaluation(fold, predictions, tracker)
    finally:
        tracker.finish()


# ---------------------------------------------------------------- training


def train_epochs(fold: Fold, reporter: Reporter, tracker: WandbRun) -> None:
    """Trains the epochs that are left; each leaves its figures and a checkpoint.

    Raises:
        TrashnetError: The loss is no number, or the checkpoint cannot be read.
        Stopped: The run was asked to stop.
    """
    config, checkpoint = fold.config, Checkpoint(fold.run.path)
    learner = build(fold, checkpoint)
    with contextlib.closing(MetricsFile(fold.run.path / "metrics.jsonl")) as metrics:
        if is_pretrained(config.model) and not checkpoint.exists:
            set_head(learner.model, *fit_head(learner.model, fold, reporter.on_progress))
            scores = validate(learner.predictor, fold)
            metrics.write("epoch", epoch=0, **scores)
            checkpoint.save(learner.model, 0, _rank(config, 0, scores))
            log.info("head on frozen features: validation accuracy %.3f", scores["val_accuracy"])
        reporter.completed(checkpoint.epoch)
        for epoch in range(checkpoint.epoch, config.epochs):
            values = train_epoch(learner, fold, epoch, reporter)
            # In this order: killed in between, the epoch is repeated rather than left unlisted.
            metrics.write("epoch", **values)
            checkpoint.save(learner.model, epoch + 1, _rank(config, epoch + 1, values))
            reporter.completed(epoch + 1)
            tracker.log_epoch({k: v for k, v in values.items() if not isinstance(v, list)})
            log.info(
                f"epoch %(epoch)d/{config.epochs}: loss %(weighted_loss).4f, accuracy "
                "%(accuracy).3f; validation loss %(val_loss).4f, accuracy %(val_accuracy).3f",
                values,
            )


def build(fold: Fold, checkpoint: Checkpoint) -> Learner:
    """Returns the network as its last epoch left it, or a new one, and what it is trained on."""
    config, devices = fold.config, strategy(fold.config.batch_size)
    parts = devices.num_replicas_in_sync
    batches = TrainingBatches(
        fold.pixels, fold.rows("train"), fold.labels, fold.weights, config, parts
    )
    with devices.scope():
        model = checkpoint.load() or compiled_model(
            config, len(fold.run.classes), batches.steps, fold.run.config["precision"]
        )
    return Learner(model, keras.Model(model.input, model.output), batches)


def strategy(batch: int) -> tf.distribute.Strategy:
    """Returns the way a network has to be built to be trained on what this machine has.

    Of several GPUs each takes an equal part of every batch, so that a batch is as large as
    configured and a run learns the same on one GPU and on eight. Networks that are built, or
    loaded, within `scope()` of what is returned are trained that way; one device needs nothing,
    and gets TensorFlow's default.

    Args:
        batch: Photos in a full batch; as many GPUs are used as divide it.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    used = max((n for n in range(1, gpus + 1) if batch % n == 0), default=0)
    if used < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(used)])


def fit_head(model: keras.Model, fold: Fold, on_progress: Progress) -> tuple[Array, Array]:
    """Returns a linear head fitted to a network's embeddings, before it is tuned or afterwards.

    Before: a head that starts at random would first spoil the features it is given (LP-FT; Kumar et
    al., "Fine-tuning can distort pretrained features and underperform out-of-distribution",
    2022). Validation chooses how strongly its weights are kept small.

    Returns:
        Kernel `(d, classes)` and bias `(classes,)`.
    """
    rows = np.concatenate([fold.rows("train"), fold.rows("validation")])
    train, validation = np.split(np.arange(len(rows)), [len(fold.rows("train"))])
    embeddings, labels = _embeddings(model, fold, rows, on_progress), fold.labels[rows]
    heads = []
    for strength in _HEAD_STRENGTHS:
        fitted = LogisticRegression(C=strength, max_iter=2000).fit(
            embeddings[train], labels[train], sample_weight=fold.weights[labels[train]]
        )
        kernel, bias = _linear_map(fitted)
        loss = negative_log_likelihood(embeddings[validation] @ kernel + bias, labels[validation])
        heads.append((loss, strength, kernel, bias))
        on_progress(len(heads), len(_HEAD_STRENGTHS), "Fitting the head")
    _, strength, kernel, bias = min(heads, key=lambda head: head[0])
    log.info("head fitted with C = %g", strength)
    return kernel, bias


def _embeddings(
    model: keras.Model, fold: Fold, rows: NDArray[np.int64], on_progress: Progress
) -> NDArray[np.float32]:
    """The network's mean feature maps of plain photos, `(n, d)`."""
    network, found, size = embedder(model), [], fold.config.batch_size
    for batch in plain_batches(fold.pixels, rows, size):
        found.append(network.predict_on_batch(batch))
        on_progress(min(len(found) * size, len(rows)), len(rows), "Embedding photos")
    return np.concatenate(found)


def _linear_map(fitted: LogisticRegression) -> tuple[Array, Array]:
    """Kernel `(d, classes)` and bias `(classes,)`; of two classes scikit-learn keeps one column."""
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if len(bias) == 1:
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return kernel, bias


def train_epoch(learner: Learner, fold: Fold, epoch: int, reporter: Reporter) -> dict[str, Any]:
    """Trains one epoch (from 0) and returns its line of figures.

    Raises:
        RunError: The loss is no number.
        Stopped: The run was asked to stop.
    """
    config, batches, began = fold.config, learner.batches, time.time()
    history = learner.model.fit(
        batches.epoch(epoch),
        initial_epoch=epoch,
        epochs=epoch + 1,
        verbose=0,
        shuffle=False,  # the batches come shuffled
        callbacks=[EpochTicks(reporter, epoch, config.epochs, batches.steps, config.batch_size)],
    ).history
    trained_in = time.time() - began
    _check_loss(history["loss"][0])
    scores = validate(learner.predictor, fold)
    _check_loss(scores["val_loss"])  # the last step may be the one that went too far
    return {
        "epoch": epoch + 1,
        "loss": history["cross_entropy"][0],
        "weighted_loss": history["loss"][0],
        "accuracy": history["accuracy"][0],
        **scores,
        "learning_rate": float(keras.ops.convert_to_numpy(learner.model.optimizer.learning_rate)),
        "seconds": time.time() - began,
        "images_per_second": len(fold.rows("train")) / trained_in,
    }


def _check_loss(loss: float) -> None:
    if not np.isfinite(loss):
        raise RunError(
            "The loss is no longer a number; start a new run with a lower learning rate."
        )


def validate(model: keras.Model, fold: Fold) -> dict[str, Any]:
    """Returns the figures of the validation photos, named `val_…`."""
    rows, classes = fold.rows("validation"), fold.run.classes
    batches = plain_batches(fold.pixels, rows, fold.config.batch_size)
    logits = np.concatenate([model.predict_on_batch(batch) for batch in batches])
    scores = report(logits, fold.labels[rows], classes)
    return {
        "val_loss": scores["nll"],
        "val_accuracy": scores["accuracy"],
        "val_macro_f1": scores["macro_f1"],
        "val_recall": [scores["per_class"][c]["recall"] for c in classes],
        "val_confusion_matrix": scores["confusion_matrix"],
    }


def _rank(config: TrainConfig, epoch: int, scores: dict[str, Any]) -> tuple[float, ...]:
    """What the kept epoch is best in."""
    if config.schedule == "cosine":  # its last epochs are the ones that settle
        return (epoch,)
    return scores["val_accuracy"], -scores["val_loss"]


# ---------------------------------------------------------------- evaluation


def finished_model(fold: Fold, on_progress: Progress = silent) -> keras.Model:
    """Returns the kept epoch's network as it is used: interpolated, folded, with all its views."""
    config, checkpoint = fold.config, Checkpoint(fold.run.path)
    model = checkpoint.best()
    if config.interpolation < 1:
        interpolate(checkpoint.pretrained(), model, config.interpolation)
        # The mean of two heads fits neither network's features as well as a head of their own.
        set_head(model, *fit_head(model, fold, on_progress))
    model = deployed(model)
    return with_mirrored_views(model) if config.mirrored_views else model


def export(model: keras.Model, fold: Fold) -> None:
    """Writes `model.keras`, `model.tflite` and `head.npz`, and checks the export on real photos."""
    folder = fold.run.path
    write_atomically(folder / "model.keras", model.save)
    content = to_litert(with_feature_map(model))
    some = fold.pixels[fold.rows("validation")[:64]]

    def write(path: Path) -> None:
        path.write_bytes(content)
        check_export(model, LiteModel(path), some)  # what fails it never gets its name

    write_atomically(folder / "model.tflite", write)
    if (head := linear_head(model)) is not None:
        kernel, bias = map(keras.ops.convert_to_numpy, head)
        write_atomically(folder / "head.npz", _arrays(kernel=kernel, bias=bias))


def _arrays(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def predict_all(fold: Fold, on_progress: Progress) -> pd.DataFrame:
    """Returns the exported model's prediction of every photo, made as an upload's will be."""
    lite, head = LiteModel(fold.run.path / "model.tflite"), fold.run.head()
    is_test = (fold.index.split == "test").to_numpy()
    logits, embeddings, maps = [], [], []
    for i, photo in enumerate(fold.pixels, start=1):
        logit, feature_map = lite(photo)
        logits.append(logit)
        embeddings.append(feature_map.mean(axis=(0, 1)))
        # Only now is the model of this fold at hand to say why it answered so.
        maps.append(
            activation_maps(feature_map, head[0], int(logit.argmax()), int(fold.labels[i - 1]))
            if head is not None and is_test[i - 1]
            else None
        )
        if i % 10 == 0 or i == len(fold.pixels):
            on_progress(i, len(fold.pixels), "Predicting every photo")
    vectors = np.stack(embeddings)
    train = fold.rows("train")
    projection = Projection.fit(vectors[train])
    write_atomically(
        fold.run.path / "projection.npz",
        _arrays(mean=projection.mean, components=projection.components),
    )
    lengths, vectors = projection.lengths(vectors), projection(vectors)
    own = np.full(len(vectors), -1)
    own[train] = np.arange(len(train))
    table = fold.index[["file", "split", "label", "unreviewed_split", "original_label"]].copy()
    return table.assign(
        logits=logits,
        embedding=list(vectors),
        distance=distance_to_training(vectors, vectors[train], own, lengths),
        maps=maps,
    )


def store_evaluation(fold: Fold, predictions: pd.DataFrame, tracker: WandbRun) -> None:
    """Writes `predictions.parquet` and `evaluation.json`, and logs them to Weights & Biases."""
    run = fold.run
    write_atomically(
        run.path / "predictions.parquet", lambda path: predictions.to_parquet(path, index=False)
    )
    evaluation = evaluate(predictions, run.classes)
    write_json(run.path / "evaluation.json", evaluation)
    tracker.log_evaluation(evaluation, run.classes)
    test = predictions[predictions.split == "test"]
    said = answers(test, run.classes, evaluation["temperature"])
    if fold.config.track_photos or is_trashnet(fold.index):  # else they are the user's own
        tracker.log_mistakes(said[said.label != said.predicted], Path(run.config["data"]["root"]))
    tracker.log_model(run)
