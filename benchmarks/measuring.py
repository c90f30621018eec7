"""How the benchmarks take time and write a row."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Row = dict[str, Any]


def row(
    name: str, ours: float, other: float, unit: str, against: str, target: float | None = None
) -> Row:
    """Returns one line of the table; `ratio` says how many times better ours is.

    Args:
        name: What is measured.
        ours: Our figure, in `unit`.
        other: The alternative's, in the same unit.
        unit: `s`, `ms`, `MB` (less is better) or `photos/s` (more is).
        against: The alternative.
        target: The ratio aimed at, or None.
    """
    ratio = ours / other if unit.endswith("/s") else other / ours
    return {
        "name": name,
        "ours": ours,
        "other": other,
        "unit": unit,
        "ratio": ratio,
        "target": target,
        "against": against,
    }


def by_turns(repeats: int, *works: Callable[[], Any]) -> list[float]:
    """Returns the median seconds of each work; they take turns, so that all share bad moments."""
    seconds: list[list[float]] = [[] for _ in works]
    for work in works:
        work()  # warm: the first call pays for what is set up once
    for _ in range(repeats):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


def output(script: str, *arguments: str) -> str:
    """Runs a script in a new interpreter, from the checkout; returns what it printed."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def fresh_process(script: str, *arguments: str) -> tuple[float, float]:
    """Runs a script in a new interpreter; returns its seconds and its memory at the end in MB."""
    tail = "\nimport psutil\nprint('memory', psutil.Process().memory_info().rss / 1e6)\n"
    began = time.perf_counter()
    printed = output(script + tail, *arguments)
    seconds = time.perf_counter() - began
    return seconds, float(printed.split("memory ")[-1])
