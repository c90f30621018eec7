"""Processes of this package: starts them, and finds those again that outlive their starter."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from trashnet.environment import CHECKOUT, Environment

Identity = dict[str, Any]
"""`pid` and `process_started` (s since 1970): a pid alone may have been given anew."""


def child(arguments: Sequence[str], env: Environment, **how: Any) -> subprocess.Popen[bytes]:
    """Starts `python -m trashnet` with these arguments in the same home.

    Args:
        arguments: A command and its options.
        env: Of the process.
        how: As of `subprocess.Popen`; without `stdin` there is nothing to read.
    """
    return subprocess.Popen(**_command(arguments, env) | how)


def run_child(
    arguments: Sequence[str], env: Environment, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m trashnet` with these arguments to its end and returns what it printed.

    Raises:
        subprocess.TimeoutExpired: It took longer than `seconds`, and was ended.
    """
    how = _command(arguments, env)
    return subprocess.run(**how, capture_output=True, text=True, timeout=seconds)


def _command(arguments: Sequence[str], env: Environment) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", "trashnet", *arguments],
        "cwd": CHECKOUT,
        "env": env.variables(),
        "stdin": subprocess.DEVNULL,
    }


def launch(arguments: Sequence[str], env: Environment, log: Path) -> Identity:
    """Starts `python -m trashnet` with these arguments; what it says is added to the log.

    Returns:
        What `living` finds it by, later and from other processes.
    """
    with open(log, "ab") as output:
        # In a session of its own: closing the terminal of the app must not end it.
        process = child(arguments, env, stdout=output, stderr=output, start_new_session=True)
    return identity(process.pid)


def limit_memory(size: int = 4 << 30) -> None:
    """Bounds what this process may allocate, in bytes, where the system can; then `MemoryError`."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows; a lower limit; macOS
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def identity(pid: int | None = None) -> Identity:
    """Returns what a process, by default the calling one, is found by; it may be gone by then."""
    pid = pid or os.getpid()
    try:
        return {"pid": pid, "process_started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "process_started": 0.0}


def living(pid: int | None, process_started: float | None) -> psutil.Process | None:
    """Returns the process, or None where it has ended or its pid is another's by now."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - (process_started or 0)) < 1.5
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def tail(log: Path, lines: int = 20) -> str:
    """Returns the last lines of a log, however long it is."""
    try:
        with open(log, "rb") as content:
            content.seek(max(0, content.seek(0, os.SEEK_END) - 200 * lines))
            return "\n".join(content.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
