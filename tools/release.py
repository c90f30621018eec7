"""Copies a run that trained every fold into `trashnet/released`, with a model card.

python -m tools.release RUN
"""

import argparse
import json
import shutil
from pathlib import Path

from trashnet.config import environment
from trashnet.errors import RunError
from trashnet.files import read_json, write_json
from trashnet.runs import RELEASED, Run, open_run

FILES = (
    "status.json",
    "index.parquet",
    "model.tflite",
    "head.npz",
    "projection.npz",
    "predictions.parquet",
    "out_of_fold.parquet",
    "evaluation.json",
    "robustness.json",
)
LARGEST = 10_000_000
"""Bytes a shipped file may have."""


def release(run: Run, folder: Path) -> None:
    """Writes the shipped form of a run: no checkpoint, no paths of this machine.

    Raises:
        RunError: The run is unfinished, has no folds or robustness figures, or is too large.
    """
    if not run.is_finished or run.out_of_fold() is None:
        raise RunError(f"The run {run.id} is not finished with all five folds.")
    if not (run.path / "robustness.json").exists():
        raise RunError(f"Measure it first: python -m trashnet robustness {run.id}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in FILES:
        shutil.copyfile(run.path / name, folder / name)
    config = run.config | {"data": run.config["data"] | {"root": "", "name": "trashnet"}}
    write_json(folder / "config.json", config)
    epochs = [row for row in run.metrics() if row["kind"] == "epoch"]
    lines = "".join(json.dumps(row) + "\n" for row in epochs)
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "README.md").write_text(model_card(run))
    large = [path.name for path in folder.iterdir() if path.stat().st_size > LARGEST]
    if large:
        raise RunError(f"Too large to ship: {', '.join(large)}.")


def model_card(run: Run) -> str:
    """Returns what a person must know before using the model, in Markdown."""
    evaluation, config = run.evaluation(), run.train_config
    test, whole = evaluation["splits"]["test"], evaluation["out_of_fold"]
    robust = read_json(run.path / "robustness.json")
    plain, changed = robust["plain"]["accuracy"], robust["mean_transformed"]
    train, validation = (evaluation["splits"][name]["n"] for name in ("train", "validation"))
    trash = whole["per_class"]["trash"]["support"]
    shown = {"test": test, "out of fold": whole}
    figures = "\n".join(
        f"| {name} | {r['n']:,} | {percent(r['accuracy'])} ({interval(r['accuracy_interval'])}) "
        f"| {r['macro_f1']:.3f} | {r['ece']:.3f} | {percent(r['coverage'])} "
        f"| {percent(r['answered_accuracy'])} |"
        for name, r in shown.items()
    )
    per_class = "\n".join(
        f"| {name} | {s['precision']:.3f} | {s['recall']:.3f} | {s['f1']:.3f} | {s['support']} |"
        for name, s in whole["per_class"].items()
    )
    return f"""# The released model

EfficientNet-Lite0, fine-tuned on TrashNet: a photo of one piece of waste in, one of
{len(run.classes)} classes out ({", ".join(run.classes)}).
It is what every page answers with until you train your own, and
`python -m trashnet evaluate released` prints its figures.

Made by

    {command(run)}
    python -m trashnet robustness RUN
    python -m tools.release RUN

## How good it is

| photos | n | accuracy (95 % interval) | macro F1 | calibration error | answered | right of these |
|---|---|---|---|---|---|---|
{figures}

*Test* is a fifth of the photos, which nothing was chosen by. *Out of fold* is the recipe's figure:
each photo answered by one of five models, none of which saw its object. *Answered* are the photos
on which the model is sure.

| class, out of fold | precision | recall | F1 | photos |
|---|---|---|---|---|
{per_class}

On validation photos that were turned, cropped, blurred, relit, compressed or put before another
background, accuracy falls from {percent(plain)} to {percent(changed)} on
average (`robustness.json` lists each change).

## What it was trained on

TrashNet (Gary Thung and Mindy Yang, 2016, MIT licence): 2,527 photos of one object each on a plain,
light background. Six photos filed under two labels were left out. Photos of the same object are
kept on one side: train {train:,}, validation {validation:,}, test {test["n"]:,}.
The network starts from ImageNet weights (Apache-2.0; see
[`../assets/README.md`](../assets/README.md)); nothing else was used. {config.epochs} epochs.

## What it does not know

- **One kind of photo.** One object, plain background, good light. On other photos it is less often
  right than these figures say, and says "not sure" more often.
- **Six classes.** What is none of them should come out as "not sure" or "unlike anything in
  training", and not always does.
- **Trash is rare** ({trash} photos), so its figures are the least certain.
- **Labels are the authors'.** Some are arguable, a few are wrong (`docs/data.md`).

MIT licence, as the rest of the project.
"""


def command(run: Run) -> str:
    """Returns the command that trained the run."""
    config = run.train_config
    recipe = config.recipe(config.model).to_dict() | {"folds": 5, "tracking": config.tracking}
    if config.to_dict() != recipe:
        raise RunError(f"The run {run.id} was not trained by its network's recipe.")
    return f"python -m trashnet train --model {config.model} --folds 5"


def percent(share: float) -> str:
    """Writes a share for people."""
    return f"{share:.1%}".replace("%", " %")


def interval(edges: list[float]) -> str:
    """Writes an interval of shares."""
    return f"{100 * edges[0]:.1f}–{100 * edges[1]:.1f}"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run id or directory")
    run = open_run(environment().runs, parser.parse_args().run)
    release(run, RELEASED)
    for path in sorted(RELEASED.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path.name}")


if __name__ == "__main__":
    main()
