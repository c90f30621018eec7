"""`python -m benchmarks`: measures, prints, and writes `docs/performance.md` with `--write`."""

import argparse
import json
import os
import platform
import sys
from datetime import date

from benchmarks import answers, people
from benchmarks.measuring import ROOT, Row
from trashnet.config import quiet_tensorflow

GROUPS = {"answers": answers.measure, "people": people.measure}


def main() -> int:
    """Runs the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("group", nargs="*", choices=[*GROUPS, []], help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    quiet_tensorflow()
    rows: list[Row] = []
    for group in options.group or GROUPS:
        print(f"measuring {group}", file=sys.stderr)
        rows += GROUPS[group](options.quick)
    if options.write:
        (ROOT / "docs" / "performance.md").write_text(as_markdown(rows))
    print(json.dumps({"rows": rows}) if options.json else as_markdown(rows))
    return 0


def as_markdown(rows: list[Row]) -> str:
    """Returns the rows as a page for people."""
    lines = [
        "# Speed and memory",
        "",
        "Written by `python -m benchmarks --write`. Each row measures ours and a named alternative "
        "in the same run; the ratio is what carries over to other machines, the times do not.",
        "",
        f"{_machine()}, {date.today()}.",
        "",
        "| what | ours | the other | ratio | against |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        target = "" if row["target"] is None else f" (aim: {row['target']:g})"
        alone = f" (one alone {row['alone']:.0f})" if "alone" in row else ""
        lines.append(
            f"| {row['name']} | {row['ours']:.3g} {row['unit']}{alone} "
            f"| {row['other']:.3g} {row['unit']} | {row['ratio']:.2g} ×{target} "
            f"| {row['against']} |"
        )
    return "\n".join(lines) + "\n"


def _machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    raise SystemExit(main())
