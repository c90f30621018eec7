"""`train_and_evaluate(run)`: fills a run directory, from the photos to an evaluated model."""

import contextlib
import errno
import logging
import platform
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from trashnet.data.dataset import Photos, open_folder
from trashnet.data.index import class_weights, known_groups, load_index
from trashnet.data.nearest_neighbours import Projection, distance_to_training
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluation.metrics import negative_log_likelihood
from trashnet.evaluation.report import answers, evaluate, out_of_fold, report, report_out_of_fold
from trashnet.files import write_atomically, write_json
from trashnet.inference.litert import LiteModel
from trashnet.progress import Progress, silent
from trashnet.runs.control import check_startable, clear_stop, turn_file
from trashnet.runs.metrics_file import MetricsFile
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import make_fold
from trashnet.training.checkpoint import Checkpoint
from trashnet.training.devices import strategy
from trashnet.training.embedding import embed_and_audit
from trashnet.training.input_pipeline import TrainingBatches, decode_photos, plain_batches
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
from trashnet.training.profiling import chosen_precision
from trashnet.training.wandb_logger import WandbRun
from trashnet.training.weight_standardization import deployed

log = logging.getLogger("trashnet")

_SIGN_OF_LIFE = 60.0
"""Seconds after which a run that waits for its turn says again that it does: other machines see
what is written, not the process."""

_TICK_SECONDS = 1.0

_HEAD_STRENGTHS = (0.01, 0.03, 0.1, 0.3)
"""Inverse strengths of the head's regularisation (scikit-learn's C) to choose from."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""A full disk, a quota, a limit, a disk that failed."""


class _Stopped(Exception):
    """Someone asked the run to stop."""


def train_and_evaluate(run: Run, env: Environment, on_progress: Progress = silent) -> None:
    """Trains the run, from its last checkpoint if it has one, and evaluates it.

    Waits while another run trains. On return the run's state is `finished` or `stopped`.

    Args:
        run: What to train; its `config.json` decides everything.
        env: Where the caches are.
        on_progress: Told of the long steps.

    Raises:
        TrashnetError: The run cannot go on; its state is `failed` and says why.
    """
    check_startable(run)
    spent = run.status().seconds
    host = run.status().host and platform.node()
    run.write_status(state="waiting", error=None, host=host, **identity())
    started: float | None = None  # waiting is not counted

    def leave(state: str, error: str | None = None) -> None:
        worked = 0.0 if started is None else time.time() - started
        run.write_status(state=state, error=error, seconds=spent + worked)

    try:
        with _terminated_as_interrupted(), _turn(run):
            started = time.time()
            run.write_status(state="running")
            run = _with_precision(run, on_progress)
            for number, fold in enumerate(run.folds):
                if not (fold.path / "evaluation.json").exists():
                    make_fold(run, fold)
                    _Training(run, number, env, on_progress, started - spent).go()
                if number and fold.status().state != "finished":
                    _tidy(fold)
            _collect(run)
    except (_Stopped, KeyboardInterrupt):
        clear_stop(run)
        leave("stopped")
    except TrashnetError as error:
        leave("failed", str(error))
        raise
    except OSError as error:
        if error.errno not in _NO_SPACE:
            leave("failed", f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        said = (
            f"The run could not be written ({error.strerror}); free some space and resume it, the "
            "epochs before are kept."
        )
        with contextlib.suppress(OSError):  # there may be no room for this either
            leave("failed", said)
        raise RunError(said) from error
    except BaseException as error:
        leave("failed", f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    else:
        leave("finished")


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Takes SIGTERM, by which machines and containers end a process, as a request to stop."""
    if threading.current_thread() is not threading.main_thread():  # only there may it be handled
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _turn(run: Run) -> Iterator[None]:
    """Waits for the machine: on each, one run trains at a time in a folder of runs."""
    lock = FileLock(run.path.parent / turn_file())
    told = time.time()
    while True:
        if run.stop_requested:
            raise _Stopped
        if time.time() - told > _SIGN_OF_LIFE:
            told = run.write_status().updated
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


def _with_precision(run: Run, on_progress: Progress) -> Run:
    """Finds, once in a run's life, what its layers compute in; returns the run that knows it."""
    config = Run(run.path).config  # as it is on disk: it may have been found since
    if config["precision"] is None:

        def tell(done: int, total: int, what: str) -> None:
            on_progress(done, total, what)
            with contextlib.closing(MetricsFile(run.path / "metrics.jsonl")) as metrics:
                metrics.write("tick", what=what, done=done, total=total)
            if run.stop_requested:
                raise _Stopped

        precision, seconds = chosen_precision(run.train_config, config["data"]["photos"], tell)
        changed = {"precision": precision, "step_seconds": seconds}
        write_json(run.path / "config.json", config | changed)
    return Run(run.path)


def _tidy(fold: Run) -> None:
    """Leaves of a further fold its answers; the run's model is the first fold's."""
    shutil.rmtree(fold.path / "checkpoint", ignore_errors=True)
    for name in ("model.keras", "model.tflite"):
        (fold.path / name).unlink(missing_ok=True)
    keras.utils.clear_session(free_memory=True)
    fold.write_status(state="finished", epoch=fold.train_config.epochs)  # last: it is tidied once


def _collect(run: Run) -> None:
    """Gathers the folds' answers into one table and adds what it says to the evaluation."""
    if len(run.folds) == 1:
        return
    table = out_of_fold([(fold.predictions(), fold.evaluation()) for fold in run.folds])
    write_atomically(
        run.path / "out_of_fold.parquet", lambda path: table.to_parquet(path, index=False)
    )
    evaluation = run.evaluation() | {"out_of_fold": report_out_of_fold(table, run.classes)}
    write_json(run.path / "evaluation.json", evaluation)


class _Training:
    """The state of one process's work on one fold of a run; without folds, that is the run."""

    def __init__(
        self, whole: Run, number: int, env: Environment, on_progress: Progress, started: float
    ) -> None:
        self.whole, self.run = whole, whole.folds[number]
        self.env, self.config = env, self.run.train_config
        self.number, self.started = number, started
        self.metrics = MetricsFile(self.run.path / "metrics.jsonl")
        # Progress is the whole run's, wherever the epochs are listed.
        self.ticks = self.metrics if number == 0 else MetricsFile(whole.path / "metrics.jsonl")
        self._tell = on_progress
        self._ticked = 0.0

    @property
    def epochs_before(self) -> int:
        """Epochs of the folds before this one."""
        return self.number * self.config.epochs

    def _named(self, what: str) -> str:
        folds = len(self.whole.folds)
        return what if folds == 1 else f"Fold {self.number + 1} of {folds}: {what}"

    def tell(self, done: int, total: int, what: str) -> None:
        """Passes progress on to whoever waits for it."""
        self._tell(done, total, self._named(what))

    def on_progress(self, done: int, total: int, what: str) -> None:
        """Passes progress on, leaves it on disk for the pages, and obeys a request to stop."""
        self.tell(done, total, what)
        if time.time() - self._ticked > _TICK_SECONDS or done == total:
            self._ticked = time.time()
            self.ticks.write("tick", what=self._named(what), done=done, total=total)
        if self.run.stop_requested:
            raise _Stopped

    def go(self) -> None:
        """Reads the photos, trains what is left to train, exports, predicts and evaluates."""
        config, data = self.config, self.run.config["data"]
        photos = open_folder(Path(data["root"]), data["name"], data["source"])
        if photos.classes != self.run.classes:
            raise RunError("The photos' classes changed since the run was made; start a new run.")
        if len(photos.files) != data["photos"]:  # they would be divided differently
            raise RunError(
                f"There were {data['photos']} photos when the run was made and are "
                f"{len(photos.files)} now; bring them back or start a new run."
            )
        self.index = self._index(photos)
        self.pixels = decode_photos(
            photos, self.index, config.image_size, self.env.cache, self.on_progress
        )
        numbers = {name: i for i, name in enumerate(photos.classes)}
        self.labels = self.index.label.map(numbers).to_numpy(np.int64)
        self.tracker = WandbRun(self.run, self.env)
        try:
            self._fit()
            self._finish()
        finally:
            self.tracker.finish()
            self.metrics.close()
            self.ticks.close()

    def _index(self, photos: Photos) -> pd.DataFrame:
        """Divides the photos under the decisions of the time the run was made, once for good."""
        stored, config = self.run.path / "index.parquet", self.config
        if stored.exists():
            return pd.read_parquet(stored)
        scanned = scan(photos, self.env.cache, self.on_progress)
        if config.split == "object" and known_groups(photos, scanned, self.env.cache) is None:
            embed_and_audit(photos, scanned, self.env.cache, self.on_progress)
        index = load_index(
            photos,
            self.env,
            config.split,
            config.seed,
            config.exclude_conflicts,
            self.run.decisions,
            test_fold=config.fold,
        )
        write_atomically(stored, lambda path: index.to_parquet(path, index=False))
        return index

    def rows(self, split: str) -> NDArray[np.int64]:
        """Returns the index rows of one split."""
        return np.flatnonzero(self.index.split == split)

    # ------------------------------------------------------------ fit

    def _fit(self) -> None:
        config, checkpoint = self.config, Checkpoint(self.run.path)
        train_rows, validation_rows = self.rows("train"), self.rows("validation")
        weights = class_weights(self.index.label.iloc[train_rows], self.run.classes)
        if not config.class_weights:
            weights = np.ones_like(weights)
        devices = strategy(config.batch_size)
        parts = devices.num_replicas_in_sync
        batches = TrainingBatches(self.pixels, train_rows, self.labels, weights, config, parts)
        with devices.scope():
            self.model = checkpoint.load() or compiled_model(
                config, len(self.run.classes), batches.steps, self.run.config["precision"]
            )
        # The same layers on one device: of several, each would answer a batch as a whole.
        self.answering = keras.Model(self.model.input, self.model.output)
        if is_pretrained(config.model) and not checkpoint.exists:
            self._fit_head(weights)
            scores = self._validate(validation_rows)
            self.metrics.write("epoch", epoch=0, **scores)
            checkpoint.save(self.model, 0, self._score(0, scores))
            log.info("head on frozen features: validation accuracy %.3f", scores["val_accuracy"])
        self.whole.write_status(epoch=self.epochs_before + checkpoint.epoch)
        for epoch in range(checkpoint.epoch, config.epochs):
            began = time.time()
            ticks = _Ticks(self, epoch, batches.steps)
            history = self.model.fit(
                batches.epoch(epoch),
                initial_epoch=epoch,
                epochs=epoch + 1,
                verbose=0,
                shuffle=False,  # the batches come shuffled
                callbacks=[ticks],
            )
            trained_in, loss = time.time() - began, history.history["loss"][0]
            _check_loss(loss)
            scores = self._validate(validation_rows)
            _check_loss(scores["val_loss"])  # the last step may be the one that went too far
            values = {
                "epoch": epoch + 1,
                "loss": history.history["cross_entropy"][0],
                "weighted_loss": loss,
                "accuracy": history.history["accuracy"][0],
                **scores,
                "learning_rate": float(
                    keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
                ),
                "seconds": time.time() - began,
                "images_per_second": len(train_rows) / trained_in,
            }
            # In this order: killed in between, the epoch is repeated rather than left unlisted.
            self.metrics.write("epoch", **values)
            checkpoint.save(self.model, epoch + 1, self._score(epoch + 1, scores))
            self.whole.write_status(
                epoch=self.epochs_before + epoch + 1, seconds=time.time() - self.started
            )
            self.tracker.log_epoch({k: v for k, v in values.items() if not isinstance(v, list)})
            log.info(
                "epoch %d/%d: loss %.4f, accuracy %.3f; validation loss %.4f, accuracy %.3f",
                epoch + 1,
                config.epochs,
                loss,
                values["accuracy"],
                scores["val_loss"],
                scores["val_accuracy"],
            )

    def _fit_head(self, weights: NDArray[np.float32]) -> None:
        """Fits the linear head to the pretrained network's embeddings, before anything is tuned.

        A head that starts at random would first spoil the features it is given (LP-FT; Kumar et
        al., "Fine-tuning can distort pretrained features and underperform out-of-distribution",
        2022). Validation chooses how strongly its weights are kept small.
        """
        rows = np.concatenate([self.rows("train"), self.rows("validation")])
        train, validation = np.split(np.arange(len(rows)), [len(self.rows("train"))])
        embeddings, labels = self._embeddings(rows), self.labels[rows]
        heads = []
        for strength in _HEAD_STRENGTHS:
            fitted = LogisticRegression(C=strength, max_iter=2000).fit(
                embeddings[train], labels[train], sample_weight=weights[labels[train]]
            )
            kernel, bias = _linear_map(fitted)
            loss = negative_log_likelihood(
                embeddings[validation] @ kernel + bias, labels[validation]
            )
            heads.append((loss, strength, kernel, bias))
            self.on_progress(len(heads), len(_HEAD_STRENGTHS), "Fitting the head")
        _, strength, kernel, bias = min(heads, key=lambda head: head[0])
        log.info("head fitted with C = %g", strength)
        set_head(self.model, kernel, bias)

    def _embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The pretrained network's mean feature maps of plain photos, `(n, d)`."""
        network, found = embedder(self.model), []
        for batch in plain_batches(self.pixels, rows, self.config.batch_size):
            found.append(network.predict_on_batch(batch))
            done = min(len(found) * self.config.batch_size, len(rows))
            self.on_progress(done, len(rows), "Embedding photos")
        return np.concatenate(found)

    def _score(self, epoch: int, scores: dict[str, Any]) -> tuple[float, ...]:
        """What the kept epoch is best in."""
        if self.config.schedule == "cosine":  # its last epochs are the ones that settle
            return (epoch,)
        return scores["val_accuracy"], -scores["val_loss"]

    def _validate(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        batches = plain_batches(self.pixels, rows, self.config.batch_size)
        logits = np.concatenate([self.answering.predict_on_batch(batch) for batch in batches])
        scores = report(logits, self.labels[rows], self.run.classes)
        return {
            "val_loss": scores["nll"],
            "val_accuracy": scores["accuracy"],
            "val_macro_f1": scores["macro_f1"],
            "val_recall": [scores["per_class"][c]["recall"] for c in self.run.classes],
            "val_confusion_matrix": scores["confusion_matrix"],
        }

    # ------------------------------------------------------------ finish

    def _finish(self) -> None:
        self.on_progress(0, 1, "Exporting the model")
        checkpoint = Checkpoint(self.run.path)
        model = checkpoint.best()
        if self.config.interpolation < 1:
            interpolate(checkpoint.pretrained(), model, self.config.interpolation)
        model = deployed(model)
        if self.config.mirrored_views:
            model = with_mirrored_views(model)
        write_atomically(self.run.path / "model.keras", model.save)
        self._export(model)
        predictions = self._predict()
        write_atomically(
            self.run.path / "predictions.parquet",
            lambda path: predictions.to_parquet(path, index=False),
        )
        evaluation = evaluate(predictions, self.run.classes)
        write_json(self.run.path / "evaluation.json", evaluation)
        self.tracker.log_evaluation(evaluation, self.run.classes)
        test = predictions[predictions.split == "test"]
        said = answers(test, self.run.classes, evaluation["temperature"])
        root = Path(self.run.config["data"]["root"])
        self.tracker.log_mistakes(said[said.label != said.predicted], root)
        self.tracker.log_model(self.run)

    def _export(self, model: keras.Model) -> None:
        """Writes `model.tflite` and `head.npz`, and checks the export on real photos."""
        content = to_litert(with_feature_map(model))
        some = self.pixels[self.rows("validation")[:64]]

        def write(path: Path) -> None:
            path.write_bytes(content)
            check_export(model, LiteModel(path), some)  # what fails it never gets its name

        write_atomically(self.run.path / "model.tflite", write)
        if (head := linear_head(model)) is not None:
            kernel, bias = map(keras.ops.convert_to_numpy, head)
            write_atomically(
                self.run.path / "head.npz", lambda path: np.savez(path, kernel=kernel, bias=bias)
            )

    def _predict(self) -> pd.DataFrame:
        """Answers for every photo through the exported model, as an upload will be answered."""
        lite = LiteModel(self.run.path / "model.tflite")
        logits, embeddings = [], []
        for i, photo in enumerate(self.pixels, start=1):
            logit, feature_map = lite(photo)
            logits.append(logit)
            embeddings.append(feature_map.mean(axis=(0, 1)))
            if i % 10 == 0 or i == len(self.pixels):
                self.on_progress(i, len(self.pixels), "Predicting every photo")
        vectors = np.stack(embeddings)
        train = self.rows("train")
        projection = Projection.fit(vectors[train])
        write_atomically(
            self.run.path / "projection.npz",
            lambda path: np.savez(path, mean=projection.mean, components=projection.components),
        )
        vectors = projection(vectors)
        own = np.full(len(vectors), -1)
        own[train] = np.arange(len(train))
        table = self.index[["file", "split", "label", "unreviewed_split", "original_label"]].copy()
        return table.assign(
            logits=logits,
            embedding=list(vectors),
            distance=distance_to_training(vectors, vectors[train], own),
        )


def _linear_map(
    fitted: LogisticRegression,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Kernel `(d, classes)` and bias `(classes,)`; of two classes scikit-learn keeps one column."""
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if len(bias) == 1:
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return kernel, bias


def _check_loss(loss: float) -> None:
    if not np.isfinite(loss):
        raise RunError(
            "The loss is no longer a number; start a new run with a lower learning rate."
        )


class _Ticks(keras.callbacks.Callback):
    """Leaves progress within an epoch on disk and ends it when a stop is asked for."""

    def __init__(self, training: _Training, epoch: int, steps: int) -> None:
        super().__init__()
        self._training, self._epoch, self._steps = training, epoch, steps
        self._began = self._ticked = time.time()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        training, now = self._training, time.time()
        if training.run.stop_requested:
            raise _Stopped
        training.tell(
            self._epoch * self._steps + batch + 1,
            training.config.epochs * self._steps,
            f"Training, epoch {self._epoch + 1} of {training.config.epochs}",
        )
        if now - self._ticked > _TICK_SECONDS:
            self._ticked = now
            done = (batch + 1) * training.config.batch_size
            training.ticks.write(
                "tick",
                what="Training",
                epoch=training.epochs_before + self._epoch,
                done=batch + 1,
                total=self._steps,
                images_per_second=done / (now - self._began),
                **{k: float(v) for k, v in (logs or {}).items()},
            )
