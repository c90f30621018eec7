"""Run directories: what a training run leaves on disk, and the process that fills one.

A run's truth is its directory alone, so a page, a second tab, the command line and a restarted
app all see the same. Layout of `runs/<run id>/`:

- `config.json`: schema version, every setting, classes, data set, package versions, commit.
- `status.json`: state, process, epoch, error in one sentence.
- `metrics.jsonl`: one line per epoch and per progress tick.
- `index.parquet`: every photo, its label and its split, as this run saw them.
- `train.log`, `checkpoint/`, `model.keras`, `model.tflite`, `head.npz`, `projection.npz`,
  `predictions.parquet`, `evaluation.json`, and `wandb/` when tracking is on.
- `folds/1` to `folds/4`, and `out_of_fold.parquet`, of a run that trains every fold: the run is
  fold 0 itself, the others are runs in its directory.
"""

import platform
import time
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from trashnet.config import TrainConfig
from trashnet.data.nearest_neighbours import Projection
from trashnet.data.review import Decision
from trashnet.errors import RunError
from trashnet.files import mistake, read_json, write_json
from trashnet.runs.contents import Evaluation, RunConfig
from trashnet.runs.metrics_file import read_rows
from trashnet.runs.processes import living, tail

SCHEMA = 1

State = Literal["waiting", "running", "stopping", "stopped", "finished", "failed", "lost"]

STATES = get_args(State)

ACTIVE = ("waiting", "running", "stopping")

_START_GRACE = 120.0
"""Seconds a new process has to report itself before its run counts as lost."""

_SILENCE = 600.0
"""Seconds a process on another machine may write nothing before its run counts as lost."""


_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
"""What readers of arrays and tables raise at a damaged file; Arrow's errors are among them."""


class Status(BaseModel):
    """The state of a run, as `status.json` holds it.

    Attributes:
        state: One of `STATES`; `lost` is never written, it is what a reader makes of a run
            whose process is gone.
        epoch: Epochs completed.
        pid: The training process.
        process_started: When it started (s since boot): a pid alone may have been given anew.
        updated: When this was written (s since 1970).
        seconds: Time spent so far, over all processes that worked on the run.
        error: Why it failed, in one sentence.
        host: The machine, where several share the folder of runs; None is the reader's own.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    state: State = "waiting"
    epoch: int = 0
    pid: int | None = None
    process_started: float | None = None
    updated: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    host: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether a process works on the run or is about to."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class Run:
    """One run directory, opened for reading; the methods read what is there now."""

    path: Path

    @property
    def id(self) -> str:
        """Name of the run: that of its directory."""
        return self.path.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`."""
        values = read_json(self.path / "config.json")
        version = values.get("schema") if isinstance(values, dict) else None
        if isinstance(version, int) and version > SCHEMA:
            raise RunError(
                f"{self.path} was written by a newer version (schema {version}); "
                "update TrashNet Explorer to read it."
            )
        try:
            return RunConfig.model_validate(values).model_dump()
        except ValidationError as error:
            raise RunError(
                f"{self.path} holds no complete run ({mistake(error, 'config.json')}); "
                "delete the folder or choose another run."
            ) from None

    @property
    def train_config(self) -> TrainConfig:
        """The settings the run was started with."""
        return TrainConfig.from_dict(self.config["train_config"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return tuple(self.config["classes"])

    @property
    def decisions(self) -> dict[str, Decision]:
        """The review decisions it was trained under, by what they are about."""
        made = [Decision(**entry) for entry in self.config["review"]]
        return {decision.about: decision for decision in made}

    @property
    def is_finished(self) -> bool:
        """Whether the run has a model and an evaluation."""
        files = ("model.tflite", "evaluation.json", "predictions.parquet")
        return self.status().state == "finished" and all((self.path / f).exists() for f in files)

    @property
    def has_begun(self) -> bool:
        """Whether a process has worked on the run, beyond waiting for its turn."""
        return (self.path / "metrics.jsonl").exists()

    def status(self) -> Status:
        """Reads the state; a run whose process is gone reads as `lost`."""
        status = read_status(self.path)
        if status is None:
            return Status(state="lost", error="status.json is missing or torn; resume the run.")
        if status.is_active and not self._is_alive(status):
            error = "The training process ended without a word; resume the run."
            return status.model_copy(update={"state": "lost", "error": error})
        if status.is_active and self.stop_requested:
            return status.model_copy(update={"state": "stopping"})
        return status

    def write_status(self, **changes: Any) -> Status:
        """Changes the given fields of the state, atomically."""
        before = read_status(self.path) or Status()
        status = Status(**before.model_dump() | changes | {"updated": time.time()})
        write_json(self.path / "status.json", status.model_dump())
        return status

    def _is_alive(self, status: Status) -> bool:
        if status.pid is None:
            return time.time() - status.updated < _START_GRACE
        if _is_elsewhere(status):  # its process cannot be seen from here, what it writes can
            return time.time() - self._last_written(status) < _SILENCE
        return process_of(status) is not None

    def _last_written(self, status: Status) -> float:
        try:
            return max(status.updated, (self.path / "metrics.jsonl").stat().st_mtime)
        except OSError:
            return status.updated

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of `metrics.jsonl`, as `read_rows` does."""
        return read_rows(self.path / "metrics.jsonl")

    def epochs(self) -> pd.DataFrame:
        """Returns one row per epoch; of an epoch that was repeated after a resume, the last."""
        rows = [row for row in self.metrics() if row["kind"] == "epoch"]
        latest = {row["epoch"]: row for row in rows}
        return pd.DataFrame([latest[epoch] for epoch in sorted(latest)])

    def evaluation(self) -> dict[str, Any]:
        """Returns the content of `evaluation.json`.

        Raises:
            RunError: The run has not been evaluated, or the file lacks what it should hold.
        """
        evaluation = read_json(self.path / "evaluation.json")
        if not isinstance(evaluation, dict):
            raise self._lacks("evaluation.json", "evaluation")
        try:
            Evaluation.model_validate(evaluation)
        except ValidationError as error:
            raise RunError(
                f"The evaluation of the run {self.id} is damaged: "
                f"{mistake(error, 'evaluation.json')}. Train it again."
            ) from None
        return evaluation

    def predictions(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Returns one row a photo: file, split, label, logits and embedding (arrays).

        Args:
            columns: Those to read; None reads all.

        Raises:
            RunError: The run has no predictions, or they cannot be read.
        """
        try:
            return pd.read_parquet(self.path / "predictions.parquet", columns=columns)
        except _UNREADABLE as error:
            raise self._lacks("predictions.parquet", "predictions") from error

    def index(self) -> pd.DataFrame | None:
        """Returns every photo as this run saw it, or None where it kept no index.

        Raises:
            RunError: It cannot be read.
        """
        path = self.path / "index.parquet"
        try:
            return pd.read_parquet(path) if path.exists() else None
        except _UNREADABLE as error:
            raise self._damaged("index.parquet") from error

    def _lacks(self, file: str, what: str) -> RunError:
        """What to say where a file cannot be read: damaged, or not there yet."""
        if (self.path / file).exists() and self.status().state == "finished":
            return self._damaged(file)
        return RunError(f"The run {self.id} has no {what} yet; let it finish first.")

    def _damaged(self, file: str) -> RunError:
        return RunError(
            f"The run {self.id} is damaged: {file} is cut short or overwritten. Train it again."
        )

    def head(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the linear head's kernel `(d, classes)` and bias `(classes,)`, if it has one.

        Raises:
            RunError: It cannot be read.
        """
        try:
            with np.load(self.path / "head.npz", allow_pickle=False) as arrays:
                return arrays["kernel"], arrays["bias"]
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            raise self._damaged("head.npz") from error

    def out_of_fold(self) -> pd.DataFrame | None:
        """Returns one row a photo, answered by a model that never saw it, or None.

        Columns: file, label, fold, logits (arrays), and the fold's temperature and threshold.
        """
        try:
            return pd.read_parquet(self.path / "out_of_fold.parquet")
        except _UNREADABLE:
            return None

    def projection(self) -> Projection:
        """Returns what maps a mean feature map to an embedding of `predictions.parquet`.

        Raises:
            RunError: The run has none, or it cannot be read.
        """
        try:
            with np.load(self.path / "projection.npz", allow_pickle=False) as arrays:
                return Projection(arrays["mean"], arrays["components"])
        except _UNREADABLE as error:
            raise RunError(
                f"The run {self.id} cannot answer: projection.npz is missing or torn; it was "
                "trained by an older version, or is not finished. Train it again."
            ) from error

    def log_tail(self, lines: int = 20) -> str:
        """Returns the last lines the training said."""
        return tail(self.path / "train.log", lines)

    def memory(self) -> int | None:
        """Returns the bytes of memory the training process has, or None without one."""
        process = process_of(self.status())
        try:
            return process.memory_info().rss if process else None
        except psutil.Error:
            return None

    @property
    def folds(self) -> list["Run"]:
        """The runs of the folds, this one being the first; without folds, this one alone."""
        others = range(1, self.train_config.folds)
        return [self, *(Run(self.path / "folds" / str(number)) for number in others)]

    @property
    def first_fold(self) -> "Run":
        """The run of the first fold, whose directory holds the others; without folds, this one."""
        folder = self.path.parent
        return Run(folder.parent) if folder.name == "folds" else self

    @property
    def stop_file(self) -> Path:
        """What asks for a stop; a file of its own, as the state has one writer, the training."""
        return self.first_fold.path / "stop"

    @property
    def stop_requested(self) -> bool:
        """Whether someone asked the training to stop."""
        return self.stop_file.exists()


def read_status(folder: Path) -> Status | None:
    """Returns what `status.json` says, or None when it is absent, torn or none of ours."""
    try:
        # A later version may add to it.
        return Status.model_validate(read_json(folder / "status.json"), extra="ignore")
    except ValidationError:
        return None


def _is_elsewhere(status: Status) -> bool:
    return status.host not in (None, platform.node())


def process_of(status: Status) -> psutil.Process | None:
    """Returns the process that trains, if it lives on this machine."""
    return None if _is_elsewhere(status) else living(status.pid, status.process_started)
