"""Starts and stops the training process of a run."""

import contextlib
import os
import platform
import time

import psutil

from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.runs.processes import launch
from trashnet.runs.run import Run, process_of

STOP_GRACE = 30.0
"""Seconds a process has to stop at its next step before it is ended."""


def turn_file() -> str:
    """Name of the file whose lock is the turn to train; machines that share a folder have own."""
    return f".train-{platform.node()}.lock"


def start(run: Run, env: Environment, is_shared: bool = False) -> None:
    """Starts, or resumes, the run's training as a process that outlives this one.

    Args:
        run: What to train.
        env: Its home.
        is_shared: Whether other machines read the run, too, which cannot see its process.

    Raises:
        RunError: A process works on it already, or it is finished.
    """
    check_startable(run)
    clear_stop(run)
    host = platform.node() if is_shared else None
    run.write_status(state="waiting", pid=None, process_started=None, error=None, host=host)
    command = ["resume"] if run.has_begun else ["train", "--run"]
    process = launch([*command, str(run.path)], env, run.path / "train.log")
    # Said here, because the process needs seconds to say so itself, and a second press is quicker.
    run.write_status(**process)


def check_startable(run: Run) -> None:
    """Raises `RunError` when the run is being trained or is finished."""
    status = run.status()
    if status.state == "finished":
        raise RunError(f"The run {run.id} is finished; start a new one.")
    # A run that waits without a process is new.
    if status.is_active and status.pid not in (None, os.getpid()):
        raise RunError(f"The run {run.id} is being trained already; stop it first.")


def stop(run: Run) -> None:
    """Asks the run's process to stop at its next step; what is trained so far is kept.

    Raises:
        RunError: No process works on it.
    """
    status = run.status()
    if not status.is_active:
        raise RunError(f"The run {run.id} is not being trained; its state is {status.state}.")
    run.stop_file.touch()


def end_if_overdue(run: Run) -> bool:
    """Ends a process that was asked to stop and has not for `STOP_GRACE`; returns whether it did.

    What its last epoch left is kept, as after any other sudden end.
    """
    status = run.status()
    try:
        waited = time.time() - run.stop_file.stat().st_mtime
    except OSError:
        return False
    process = process_of(status)
    if process is None or not status.is_active or waited < STOP_GRACE:
        return False
    with contextlib.suppress(psutil.Error):
        process.kill()
        process.wait(10)
    clear_stop(run)
    run.write_status(state="stopped", error=None)
    return True


def clear_stop(run: Run) -> None:
    """Forgets a request to stop: it was obeyed, or the training is to go on."""
    run.stop_file.unlink(missing_ok=True)
