"""`train_and_evaluate(run)`: fills a run directory, from the photos to an evaluated model."""

import contextlib
import io
import logging
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from trashnet.audit import audit
from trashnet.config import Environment
from trashnet.data import Photos, open_folder, scan
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluate import evaluate, probabilities, report
from trashnet.files import Progress, read_json, silent, write_atomically, write_json
from trashnet.index import class_weights, known_groups, load_index
from trashnet.models import build_model, linear_head, with_feature_map
from trashnet.pipeline import TrainingBatches, decode_photos, plain_batches
from trashnet.predict import LiteModel
from trashnet.runs import Run, check_startable, clear_stop, this_process
from trashnet.tracking import MetricsFile, WandbRun

log = logging.getLogger("trashnet")

EXPORT_TOLERANCE = 0.01
"""Largest difference in a probability that the exported model may make on a real photo."""

_TICK_SECONDS = 1.0


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
    run.write_status(state="waiting", error=None, **this_process())
    started: float | None = None  # waiting is not counted

    def leave(state: str, error: str | None = None) -> None:
        worked = 0.0 if started is None else time.time() - started
        run.write_status(state=state, error=error, seconds=spent + worked)

    try:
        with _terminated_as_interrupted(), _turn(run):
            started = time.time()
            run.write_status(state="running")
            _Training(run, env, on_progress, spent).go()
    except (_Stopped, KeyboardInterrupt):
        clear_stop(run)
        leave("stopped")
    except TrashnetError as error:
        leave("failed", str(error))
        raise
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
    """Waits for the machine: one run trains at a time in a folder of runs."""
    lock = FileLock(run.path.parent / ".train.lock")
    while True:
        if run.stop_requested:
            raise _Stopped
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


class _Training:
    """The state of one process's work on a run."""

    def __init__(self, run: Run, env: Environment, on_progress: Progress, spent: float) -> None:
        self.run, self.env, self.config = run, env, run.train_config
        self.started, self.spent = time.time(), spent
        self.metrics = MetricsFile(run.path / "metrics.jsonl")
        self._tell = on_progress
        self._ticked = 0.0

    def on_progress(self, done: int, total: int, what: str) -> None:
        """Passes progress on, leaves it on disk for the pages, and obeys a request to stop."""
        self._tell(done, total, what)
        if time.time() - self._ticked > _TICK_SECONDS or done == total:
            self._ticked = time.time()
            self.metrics.write("tick", what=what, done=done, total=total)
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

    def _index(self, photos: Photos) -> pd.DataFrame:
        """Divides the photos under the decisions of the time the run was made, once for good."""
        stored, config = self.run.path / "index.parquet", self.config
        if stored.exists():
            return pd.read_parquet(stored)
        scanned = scan(photos, self.env.cache, self.on_progress)
        if config.split == "object" and known_groups(photos, scanned, self.env.cache) is None:
            audit(photos, scanned, self.env.cache, self.on_progress)
        index = load_index(
            photos,
            self.env,
            config.split,
            config.seed,
            config.exclude_conflicts,
            self.run.decisions,
        )
        write_atomically(stored, lambda path: index.to_parquet(path, index=False))
        return index

    def rows(self, split: str) -> NDArray[np.int64]:
        """Returns the index rows of one split."""
        return np.flatnonzero(self.index.split == split)

    # ------------------------------------------------------------ fit

    def _fit(self) -> None:
        config, checkpoint = self.config, _Checkpoint(self.run.path)
        self.model = checkpoint.load() or self._new_model()
        self.run.write_status(epoch=checkpoint.epoch)
        train_rows, validation_rows = self.rows("train"), self.rows("validation")
        weights = class_weights(self.index.label.iloc[train_rows], self.run.classes)
        batches = TrainingBatches(
            self.pixels,
            train_rows,
            self.labels,
            weights if config.class_weights else np.ones_like(weights),
            config,
        )
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
            checkpoint.save(self.model, epoch + 1, (scores["val_accuracy"], -scores["val_loss"]))
            spent = self.spent + time.time() - self.started
            self.run.write_status(epoch=epoch + 1, seconds=spent)
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

    def _new_model(self) -> keras.Model:
        config = self.config
        model = build_model(config.model, config.image_size, len(self.run.classes), config.seed)
        model.compile(
            keras.optimizers.Adam(config.learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            # Unweighted, so they compare with validation's.
            metrics=[
                "accuracy",
                keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True),
            ],
        )
        return model

    def _validate(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        batches = plain_batches(self.pixels, rows, self.config.batch_size)
        logits = np.concatenate([self.model.predict_on_batch(batch) for batch in batches])
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
        self.on_progress(0, 1, "Exporting the best epoch's model")
        model = keras.saving.load_model(self.run.path / "model.keras", compile=False)
        self._export(model)
        predictions = self._predict()
        write_atomically(
            self.run.path / "predictions.parquet",
            lambda path: predictions.to_parquet(path, index=False),
        )
        evaluation = evaluate(predictions, self.run.classes)
        write_json(self.run.path / "evaluation.json", evaluation)
        self.tracker.log_evaluation(evaluation, self.run.classes)

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
        table = self.index[["file", "split", "label", "unreviewed_split", "original_label"]].copy()
        return table.assign(logits=logits, embedding=embeddings)


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
        training._tell(
            self._epoch * self._steps + batch + 1,
            training.config.epochs * self._steps,
            f"Training, epoch {self._epoch + 1} of {training.config.epochs}",
        )
        if now - self._ticked > _TICK_SECONDS:
            self._ticked = now
            done = (batch + 1) * training.config.batch_size
            training.metrics.write(
                "tick",
                what="Training",
                epoch=self._epoch,
                done=batch + 1,
                total=self._steps,
                images_per_second=done / (now - self._began),
                **{k: float(v) for k, v in (logs or {}).items()},
            )


class _Checkpoint:
    """The last epoch, with its optimizer, and the best epoch by validation.

    `state.json` is replaced last, so a process killed at any moment leaves a usable checkpoint.
    """

    def __init__(self, run_path: Path) -> None:
        self._run, self._folder = run_path, run_path / "checkpoint"
        self._folder.mkdir(exist_ok=True)
        state = read_json(self._folder / "state.json") or {"epoch": 0, "best": None}
        self.epoch: int = state["epoch"]
        self._best = tuple(state["best"]) if state["best"] else None

    def load(self) -> keras.Model | None:
        """Returns the model as it was after epoch `self.epoch`, or None before the first."""
        if self.epoch == 0:
            return None
        try:
            return keras.saving.load_model(self._file(self.epoch))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The checkpoint of epoch {self.epoch} cannot be read; delete {self._folder} to "
                "train the run from its first epoch."
            ) from error

    def save(self, model: keras.Model, epoch: int, score: tuple[float, ...]) -> None:
        """Keeps the model after `epoch`; the highest score (compared in order) is the best."""
        write_atomically(self._file(epoch), model.save)
        if self._best is None or score > self._best:
            self._best = score
            # The same layers in a model that was never compiled: the optimizer is twice their size.
            bare = keras.Model(model.input, model.output, name=model.name)
            write_atomically(self._run / "model.keras", bare.save)
        write_json(self._folder / "state.json", {"epoch": epoch, "best": self._best})
        self.epoch = epoch
        for path in self._folder.glob("epoch-*.keras"):
            if path != self._file(epoch):
                path.unlink()

    def _file(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:04d}.keras"


def to_litert(model: keras.Model) -> bytes:
    """Converts a network to LiteRT with float16 weights."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    with contextlib.redirect_stdout(io.StringIO()):  # it lists every variable
        return converter.convert()


def check_export(model: keras.Model, lite: LiteModel, pixels: NDArray[np.uint8]) -> None:
    """Compares the exported model with Keras on real photos.

    Raises:
        RunError: A probability differs by more than `EXPORT_TOLERANCE`.
    """
    ours = probabilities(np.stack([lite(photo)[0] for photo in pixels]))
    theirs = probabilities(model.predict_on_batch(np.asarray(pixels, np.float32)))
    difference = float(np.abs(ours - theirs).max())
    log.info("exported model: largest difference in a probability %.2g", difference)
    if not difference <= EXPORT_TOLERANCE:  # so that a difference of nan is refused too
        raise RunError(
            f"The exported model differs from the trained one by {difference:.3f} in a "
            "probability; the run is not usable."
        )
