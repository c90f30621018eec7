"""Trains a run and reports it against the released one, for the training workflow.

python -m tools.train_and_report --summary summary.md -- --model frozen_features
"""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

import pandas as pd

from trashnet.cli.main import main as trashnet
from trashnet.environment import environment
from trashnet.errors import RunError
from trashnet.evaluation.comparison import compare
from trashnet.evaluation.report_tables import as_markdown
from trashnet.hub.model_card import train_command
from trashnet.runs.annotations import zip_run
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, open_run

_CURVES = {"loss": "training", "val_loss": "validation"}


def train(options: list[str]) -> Run | None:
    """Trains with these options of `python -m trashnet train`; None where it did not finish."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = trashnet(["train", *options, "--json"])
    if code:
        return None
    result = json.loads(said.getvalue())
    run = open_run(environment().runs, result["run"])
    return run if run.is_finished else None


def summary(run: Run, released: Run) -> str:
    """Returns the job's summary in Markdown: metrics, curves and confusion matrix."""
    sections = [
        f"# {run.id}",
        f"`{train_command(run)}`",
        _figures({run.id: run, "released": released}),
        _verdict(run, released),
        _curves(run.epochs()),
        *(
            _folded(name, as_markdown(r.evaluation()["splits"]["test"], f"{name}, test"))
            for name, r in ((run.id, run), ("released", released))
        ),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _figures(by_name: dict[str, Run]) -> str:
    rows = []
    for name, run in by_name.items():
        evaluation = run.evaluation()
        reports = {s: evaluation["splits"][s] for s in ("validation", "test")}
        if "out_of_fold" in evaluation:
            reports["out of fold"] = evaluation["out_of_fold"]
        for split, report in reports.items():
            low, high = report["accuracy_interval"]
            rows.append(
                f"| {name} | {split} | {report['n']:,} | {report['accuracy']:.1%} "
                f"({low:.1%}–{high:.1%}) | {report['macro_f1']:.3f} | {report['ece']:.3f} |"
            )
    head = "| run | photos | n | accuracy (95 % interval) | macro F1 | calibration error |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _verdict(run: Run, released: Run) -> str:
    names = [r.config["data"]["name"] for r in (run, released)]
    if names[0] != names[1]:  # their files may be called the same
        return (
            f"It cannot be compared with the released model: it knows {names[0]}, not {names[1]}."
        )
    try:
        return f"**{compare(run, released).finding}.**"
    except RunError as error:  # of other photos, or other classes
        return f"It cannot be compared with the released model. {error}"


def _curves(epochs: pd.DataFrame) -> str:
    """The losses as a chart that GitHub draws, and every epoch as a table."""
    if epochs.empty or not set(_CURVES) <= set(epochs):
        return "No epochs: the head was fitted in one step."
    table = epochs.dropna(subset=list(_CURVES))
    lines = [f"    line [{', '.join(f'{v:.4f}' for v in table[name])}]" for name in _CURVES]
    numbers = ", ".join(str(int(epoch)) for epoch in table.epoch)
    chart = ["```mermaid", "xychart-beta", f'    title "{" and ".join(_CURVES.values())} loss"']
    chart += [f'    x-axis "epoch" [{numbers}]', '    y-axis "loss"', *lines, "```"]
    columns = [c for c in ("epoch", *_CURVES, "accuracy", "val_accuracy") if c in table]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for values in table[columns].itertuples(index=False):
        cells = (
            f"{v:.4f}" if c != "epoch" else f"{int(v)}"
            for c, v in zip(columns, values, strict=True)
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(chart) + "\n\n" + _folded("Every epoch", "\n".join(rows))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n</details>"


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", metavar="FILE", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path(), help="for run.zip and run-id.txt")
    parser.add_argument("options", nargs="*", help="of 'python -m trashnet train'")
    options = parser.parse_args(arguments)
    run = train(options.options)
    if run is None:
        print("The training did not finish; its log says why.", file=sys.stderr)
        return 1
    zip_run(run, options.folder / "run.zip")
    (options.folder / "run-id.txt").write_text(f"{run.id}\n")
    with options.summary.open("a", encoding="utf-8") as file:
        file.write(summary(run, Run(RELEASED)))
    print(f"{run.id} is in run.zip, its report in {options.summary.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
