"""`train_and_evaluate(run)`: takes a run, in its turn, through its folds to an evaluated model."""

import contextlib
import errno
import platform
import shutil
import signal
import threading
import time
from collections.abc import Iterator

import keras
from filelock import FileLock, Timeout

from trashnet.environment import Environment
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluation.report import out_of_fold, report_out_of_fold
from trashnet.files import remove_torn, write_atomically, write_json
from trashnet.progress import Progress, silent
from trashnet.runs.control import check_startable, clear_stop, turn_file
from trashnet.runs.metrics_file import MetricsFile
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import make_fold
from trashnet.training.memory import keep_freed_memory
from trashnet.training.profiling import chosen_precision
from trashnet.training.reporter import Reporter, Stopped
from trashnet.training.trainer import train_fold

_SIGN_OF_LIFE = 60.0
"""Seconds after which a run that waits for its turn writes its state again: other machines see
what is written, not the process."""

_WRITTEN = (".keras", ".tflite", ".npz", ".parquet")
"""What only the training writes; notes and states are written by others, too."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""A full disk, a quota, a limit, a disk that failed."""


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
    keep_freed_memory()
    check_startable(run)
    spent = run.status().seconds
    host = run.status().host and platform.node()
    run.write_status(state="waiting", error=None, host=host, **identity())
    began: float | None = None  # waiting is not counted

    def leave(state: str, error: str | None = None) -> None:
        seconds = spent if began is None else time.time() - began
        run.write_status(state=state, error=error, seconds=seconds)

    try:
        with _full_disk_in_a_sentence(), _terminated_as_interrupted(), _turn(run):
            began = time.time() - spent
            run.write_status(state="running")
            remove_torn(run.path, _WRITTEN)
            _train_folds(_with_precision(run, on_progress), env, on_progress, began)
    except (Stopped, KeyboardInterrupt):
        clear_stop(run)
        leave("stopped")
    except BaseException as error:
        named = f"{type(error).__name__}: {error}".splitlines()[0]
        with contextlib.suppress(OSError):  # there may be no room for this either
            leave("failed", str(error) if isinstance(error, TrashnetError) else named)
        raise
    else:
        leave("finished")


@contextlib.contextmanager
def _full_disk_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise RunError(
            f"The run could not be written ({error.strerror}); free some space and resume it, the "
            "epochs before are kept."
        ) from error


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
            raise Stopped
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
                raise Stopped

        precision, seconds = chosen_precision(run.train_config, config["data"]["photos"], tell)
        changed = {"precision": precision, "step_seconds": seconds}
        write_json(run.path / "config.json", config | changed)
    return Run(run.path)


def _train_folds(run: Run, env: Environment, on_progress: Progress, began: float) -> None:
    """Trains the folds that have no evaluation yet, one after the other, and collects them."""
    for number, fold in enumerate(run.folds):
        if not (fold.path / "evaluation.json").exists():
            make_fold(run, fold)
            with contextlib.closing(Reporter(run, number, on_progress, began)) as reporter:
                train_fold(fold, env, reporter)
        if number and fold.status().state != "finished":
            _tidy(fold)
    if len(run.folds) > 1:
        _collect(run)


def _tidy(fold: Run) -> None:
    """Keeps only the predictions of a further fold; the run's model is the first fold's."""
    shutil.rmtree(fold.path / "checkpoint", ignore_errors=True)
    for name in ("model.keras", "model.tflite"):
        (fold.path / name).unlink(missing_ok=True)
    keras.utils.clear_session(free_memory=True)
    fold.write_status(state="finished", epoch=fold.train_config.epochs)  # last: it is tidied once


def _collect(run: Run) -> None:
    """Gathers the folds' predictions into one table and adds its figures to the evaluation.

    Raises:
        RunError: A photo was tested in two folds.
    """
    table = out_of_fold([(fold.predictions(), fold.evaluation()) for fold in run.folds])
    if not table.file.is_unique:  # folds before and after the photos were split anew
        raise RunError("The folds of this run come from different splits; start a new run.")
    write_atomically(
        run.path / "out_of_fold.parquet", lambda path: table.to_parquet(path, index=False)
    )
    evaluation = run.evaluation() | {"out_of_fold": report_out_of_fold(table, run.classes)}
    write_json(run.path / "evaluation.json", evaluation)
