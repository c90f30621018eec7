"""What each part of the recipe is worth: trains its variations and writes their table.

python -m tools.ablations --train    # the variations that no run is of yet, one after the other
python -m tools.ablations --write    # docs/ablations.json and the table in docs/method.md
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from trashnet.config import TrainConfig, option
from trashnet.environment import environment
from trashnet.errors import TrashnetError
from trashnet.evaluation.comparison import answers_of, mcnemar
from trashnet.files import write_atomically
from trashnet.hub.model_card import command_for
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "ablations.json"
PAGE = ROOT / "docs" / "method.md"
BEGIN, END = "<!-- ablations: begin -->", "<!-- ablations: end -->"

BASE = TrainConfig.recipe("cnn").replace(
    epochs=50, image_size=96, mirrored_views=False, tracking="off"
)
"""One view, so that a network that never saw a mirrored photo is not asked about one."""

_NO_MOVES: dict[str, Any] = {"zoom": 0.0, "stretch": 0.0, "shift": 0.0}
_NO_LIGHT: dict[str, Any] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "tint": 0.0}
_NO_FLIPS: dict[str, Any] = {"horizontal_flip": False, "vertical_flip": False}
_NONE = _NO_MOVES | _NO_LIGHT | _NO_FLIPS | {"rotation": 0.0, "mixup": 0.0}

VARIATIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "another seed": {"seed": 1},
    "10 epochs": {"epochs": 10},
    "150 epochs": {"epochs": 150},
    "10 epochs, photos of 224 pixels": {"epochs": 10, "image_size": 224},
    "no augmentation": _NONE,
    "the promised augmentation: mirrored, ± 15°, ± 20 % light": _NONE
    | {"horizontal_flip": True, "rotation": 15.0, "brightness": 0.2},
    "no flips": _NO_FLIPS,
    "no rotation": {"rotation": 0.0},
    "no zoom, stretch and shift": _NO_MOVES,
    "no class weights": {"class_weights": False},
    "dropout 0.3": {"dropout": 0.3},
    "Adam at 0.001": {"optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0},
    "answers by four views": {"mirrored_views": True},
}
"""What is changed in `BASE`, one thing a row."""


def configuration(changes: dict[str, Any]) -> TrainConfig:
    """Returns the settings of a row."""
    return BASE.replace(**changes)


def run_of(config: TrainConfig, runs: list[Run]) -> Run | None:
    """Returns a finished run of these settings, or None.

    Wherever it was tracked, and whether or not other folds were trained after it.
    """
    for run in runs:
        if not run.is_finished:
            continue
        if run.train_config.replace(tracking="off", folds=1) == config:
            return run
    return None


def p_value(run: Run, base: Run | None) -> float | None:
    """Returns McNemar's p-value against the base, or None where the photos are others."""
    if base is None or run.id == base.id:
        return None
    ours, theirs = (answers_of(r, "validation").set_index("file").sort_index() for r in (run, base))
    if not ours.index.equals(theirs.index):
        return None
    return mcnemar(*((said.predicted == said.label).to_numpy() for said in (ours, theirs)))


def _found(runs: list[Run]) -> dict[str, Run | None]:
    return {what: run_of(configuration(c), runs) for what, c in VARIATIONS.items()}


def row(what: str, run: Run, base: Run | None) -> dict[str, Any]:
    """Returns what a run says of its variation, on its validation photos."""
    scores, epochs = run.evaluation()["splits"]["validation"], run.epochs()
    return {
        "what": what,
        "options": " ".join(
            option(name, value)
            for name, value in VARIATIONS[what].items()
            if value != getattr(BASE, name)
        ),
        "n": scores["n"],
        "accuracy": scores["accuracy"],
        "accuracy_interval": scores["accuracy_interval"],
        "p_value": p_value(run, base),
        "macro_f1": scores["macro_f1"],
        "recall": {label: s["recall"] for label, s in scores["per_class"].items()},
        "nll": scores["nll"],
        "seconds_per_epoch": float(epochs.seconds.median()),
        "precision": run.config["precision"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows in Markdown; the options are those added to the base's command."""
    lines = [
        "| what is changed | accuracy | p | macro F1 | NLL | trash recall | s an epoch | options |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        low, high = (100 * edge for edge in r["accuracy_interval"])
        options = f"`{r['options']}`" if r["options"] else ""
        p = "–" if r["p_value"] is None else f"{r['p_value']:.2g}"
        lines.append(
            f"| {r['what']} | {r['accuracy']:.1%} ({low:.1f}–{high:.1f}) | {p} "
            f"| {r['macro_f1']:.3f} | {r['nll']:.3f} | {r['recall']['trash']:.0%} "
            f"| {r['seconds_per_epoch']:.1f} | {options} |"
        )
    return "\n".join(lines)


def train(missing: list[str]) -> None:
    """Trains variations, each in a process of its own."""
    for what in missing:
        print(f"{what}", file=sys.stderr)
        words = shlex.split(command_for(configuration(VARIATIONS[what])))
        subprocess.run([sys.executable, *words[1:], "--tracking", "off"], cwd=ROOT, check=True)


def write(rows: list[dict[str, Any]]) -> None:
    """Writes the results and the page's table."""
    write_atomically(RESULTS, lambda path: path.write_text(json.dumps(rows, indent=1) + "\n"))
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page = f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"
    write_atomically(PAGE, lambda path: path.write_text(page))


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="train what no run is of yet")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    arguments = parser.parse_args()
    folder = environment().runs
    found = _found(list_runs(folder))
    if arguments.train:
        train([what for what, run in found.items() if run is None])
        found = _found(list_runs(folder))
    try:
        base = found["as it is"]
        rows = [row(what, run, base) for what, run in found.items() if run is not None]
    except TrashnetError as error:
        print(error, file=sys.stderr)
        return 2
    missing = [what for what, run in found.items() if run is None]
    if missing:
        print(f"No finished run of: {', '.join(missing)}.", file=sys.stderr)
    if arguments.write:
        write(rows)
    print(table(rows))
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
