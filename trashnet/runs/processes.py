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
"""`pid` and `process_started` (s since boot): a pid alone may have been given anew."""

_YEARS = 1e9
"""Seconds no machine has been running for: a larger start is one since 1970."""


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
        return {"pid": pid, "process_started": _started(psutil.Process(pid))}
    except psutil.Error:
        return {"pid": pid, "process_started": 0.0}


def living(pid: int | None, process_started: float | None) -> psutil.Process | None:
    """Returns the process, or None where it has ended or its pid is another's by now."""
    if pid is None or process_started is None:
        return None
    try:
        process = psutil.Process(pid)
        if process_started > _YEARS:  # by an older version, or where only the time of day is known
            same = abs(process.create_time() - process_started) < 1.5
        else:
            same = abs(_started(process) - process_started) < 0.005  # a clock tick is 0.01 s
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _started(process: psutil.Process) -> float:
    """Returns when a process started, in seconds that do not change when the clock is set."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # since boot; after pid and name
    except (OSError, IndexError):  # gone, or not Linux, where psutil's figure stays as it is
        return process.create_time()


def tail(log: Path, lines: int = 20) -> str:
    """Returns the last lines of a log, however long it is."""
    try:
        with open(log, "rb") as content:
            content.seek(max(0, content.seek(0, os.SEEK_END) - 200 * lines))
            return "\n".join(content.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
