"""The rows as a page for people, `docs/performance.md`."""

import importlib.util
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.measuring import Row
from trashnet.progress import cores

MARKER = "<!-- What follows is written by hand; --write keeps it. -->"


def as_markdown(rows: Sequence[Row], failed: Sequence[str] = (), quick: bool = False) -> str:
    """Returns the page: what was measured, on which machine, and what was not."""
    options = "--quick --write" if quick else "--write"
    lines = [
        "# Speed and memory",
        "",
        f"Written by `python -m benchmarks {options}`. Each row measures ours and a named "
        "alternative in the same run; the ratio, how many times better ours is, carries over to "
        "other machines, the times do not.",
        "",
        f"{_machine()}, {date.today()}.",
        "",
    ]
    if failed:
        lines += [f"Failed and missing: {', '.join(failed)}.", ""]
    if importlib.util.find_spec("torch") is None:
        lines += ["PyTorch was not measured: it is not installed here.", ""]
    lines += ["| what | ours | the other | ratio | against |", "|---|---|---|---|---|"]
    for row in rows:
        target = "" if row["target"] is None else f" (aim: {row['target']:g})"
        alone = f" (one alone {_figure(row['alone'])})" if "alone" in row else ""
        lines.append(
            f"| {row['name']} | {_figure(row['ours'])} {row['unit']}{alone} "
            f"| {_figure(row['other'])} {row['unit']} | {_ratio(row['ratio'])} ×{target} "
            f"| {row['against']} |"
        )
    return "\n".join(lines) + "\n"


def by_hand(page: Path) -> str:
    """Returns what people wrote below the marker of the page, with the marker."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, marker, below = text.partition(MARKER)
    return f"\n{marker}{below}" if marker else ""


def _figure(value: float) -> str:
    """Three figures, and no exponent where there are more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {cores()} cores, Python {platform.python_version()}"
