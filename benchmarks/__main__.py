"""`python -m benchmarks`: measures, prints, and writes `docs/performance.md` with `--write`.

Each group is measured in a process of its own, so that none finds another's memory or threads, and
one that fails leaves the others their rows.
"""

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import time

from benchmarks.measuring import ROOT, Row
from benchmarks.page import as_markdown, by_hand
from trashnet.environment import quiet_tensorflow

GROUPS = ("answers", "pipeline", "epoch", "tuning", "app", "people", "growth", "audit")


def main() -> int:
    """Runs the benchmarks that were asked for; returns 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("group", nargs="*", choices=[*GROUPS, []], help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer photos and repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    if options.write and options.group:
        parser.error("--write writes the page of all groups; name none.")
    groups = options.group or list(GROUPS)
    rows: list[Row] = []
    failed: list[str] = []
    for group in groups:
        began = time.perf_counter()
        try:
            rows += measure(group, options.quick, alone=len(groups) == 1)
            if len(groups) > 1:  # one alone may be the process of a group, which is timed already
                seconds = time.perf_counter() - began
                print(f"{group}: {seconds:.0f} s", file=sys.stderr, flush=True)
        except Exception as error:  # whatever it was, the other groups are still worth measuring
            print(f"{group} failed: {error}", file=sys.stderr)
            failed.append(group)
    if options.write:
        page = ROOT / "docs" / "performance.md"
        page.write_text(as_markdown(rows, failed, options.quick) + by_hand(page))
    told = json.dumps({"rows": rows}) if options.json else as_markdown(rows, failed, options.quick)
    print(told)
    return 1 if failed else 0


def measure(group: str, quick: bool, alone: bool) -> list[Row]:
    """Returns a group's rows; measured right here if it is the only one, else in a new process."""
    if alone:
        quiet_tensorflow()
        with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for the result
            return importlib.import_module(f"benchmarks.{group}").measure(quick)
    command = [sys.executable, "-m", "benchmarks", group, "--json", *["--quick"] * quick]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"its process ended with code {done.returncode}")
    return json.loads(done.stdout)["rows"]


if __name__ == "__main__":
    raise SystemExit(main())
