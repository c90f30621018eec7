"""Reports how far a training is, to its caller and on disk, and obeys a request to stop it."""

import time
from typing import Any

import keras

from trashnet.progress import Progress
from trashnet.runs.metrics_file import MetricsFile
from trashnet.runs.run import Run

_TICK_SECONDS = 1.0


class Stopped(Exception):
    """A user asked the run to stop."""


class Reporter:
    """Reports the work on one fold as progress of the whole run.

    Args:
        run: The whole run, whose state and progress these are.
        number: Of the fold.
        on_progress: Told of the long steps.
        began: When the run would have begun, had it never been interrupted (s since 1970).
    """

    def __init__(self, run: Run, number: int, on_progress: Progress, began: float) -> None:
        self._run, self._tell, self._began = run, on_progress, began
        folds = len(run.folds)
        self._prefix = "" if folds == 1 else f"Fold {number + 1} of {folds}: "
        self._epochs_before = number * run.train_config.epochs
        self._metrics = MetricsFile(run.path / "metrics.jsonl")
        self._ticked = 0.0

    def tell(self, done: int, total: int, what: str) -> None:
        """Passes progress on to the caller."""
        self._tell(done, total, self._prefix + what)

    def on_progress(self, done: int, total: int, what: str) -> None:
        """Passes progress on, leaves it on disk for the pages, and obeys a request to stop."""
        self.tell(done, total, what)
        if time.time() - self._ticked > _TICK_SECONDS or done == total:
            self._ticked = time.time()
            self._metrics.write("tick", what=self._prefix + what, done=done, total=total)
        self.obey_stop()

    def tick(self, epoch: int, **values: Any) -> None:
        """Leaves progress within an epoch (from 0) of the fold on disk."""
        self._metrics.write("tick", what="Training", epoch=self._epochs_before + epoch, **values)

    def completed(self, epochs: int) -> None:
        """Notes in the run's state how many epochs of the fold are trained."""
        seconds = time.time() - self._began
        self._run.write_status(epoch=self._epochs_before + epochs, seconds=seconds)

    def obey_stop(self) -> None:
        """Raises `Stopped` when the run was asked to stop."""
        if self._run.stop_requested:
            raise Stopped

    def close(self) -> None:
        """Closes the file the ticks are in."""
        self._metrics.close()


class EpochTicks(keras.callbacks.Callback):
    """Reports every step of an epoch, and ends it when a stop is asked for.

    Args:
        reporter: What the steps are reported to.
        epoch: Its number, from 0.
        epochs: How many there are.
        steps: Batches of an epoch.
        batch_size: Photos of a batch.
    """

    def __init__(
        self, reporter: Reporter, epoch: int, epochs: int, steps: int, batch_size: int
    ) -> None:
        super().__init__()
        self._reporter, self._epoch, self._epochs = reporter, epoch, epochs
        self._steps, self._batch_size = steps, batch_size
        self._began = self._ticked = time.time()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reports one step."""
        now = time.time()
        self._reporter.obey_stop()
        self._reporter.tell(
            self._epoch * self._steps + batch + 1,
            self._epochs * self._steps,
            f"Training, epoch {self._epoch + 1} of {self._epochs}",
        )
        if now - self._ticked > _TICK_SECONDS:
            self._ticked = now
            done = (batch + 1) * self._batch_size
            self._reporter.tick(
                self._epoch,
                done=batch + 1,
                total=self._steps,
                images_per_second=done / (now - self._began),
                **{k: float(v) for k, v in (logs or {}).items()},
            )
