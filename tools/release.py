"""Copies a run that trained every fold into `trashnet/released`, with a model card.

python -m tools.release RUN --elsewhere FOLDER
"""

import argparse
import shutil
import sys
from pathlib import Path

from trashnet.environment import environment
from trashnet.errors import RunError
from trashnet.evaluation.external_test import evaluate_own
from trashnet.files import write_json
from trashnet.hub.bundle import ship
from trashnet.hub.model_card import ELSEWHERE, front_matter, model_card, train_command
from trashnet.inference.inputs import named_photos
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, open_run

LARGEST = 10_000_000
"""Bytes a shipped file may have."""


SOURCES = [
    "GitHub's cardstdani/WasteClassificationNeuralNetwork",
    "EliSchwartz/imagenet-sample-images",
]
"""Of the photos from elsewhere that the recipe was chosen on."""


def release(run: Run, folder: Path, elsewhere: str | None = None) -> None:
    """Writes the shipped form of a run: no checkpoint, no paths of this machine.

    Args:
        run: A finished run.
        folder: What is replaced.
        elsewhere: Folder of class folders with photos that are not TrashNet's, to measure it on.

    Raises:
        RunError: The run is unfinished, has no folds or robustness figures, or is too large.
    """
    if not run.is_finished or run.out_of_fold() is None:
        raise RunError(f"The run {run.id} is not finished with all five folds.")
    if not (run.path / "robustness.json").exists():
        raise RunError(f"Measure it first: python -m trashnet robustness {run.id}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ship(run, folder)
    if elsewhere:
        found = evaluate_own(run, named_photos([elsewhere], sys.stdin.buffer), root=elsewhere)
        kept = ("n", "mean_recall", "per_class", "coverage", "answered_accuracy")
        figures = {name: found.figures[name] for name in kept}
        write_json(folder / ELSEWHERE, figures | {"unknown": found.unknown, "sources": SOURCES})
    run = Run(folder)
    (folder / "README.md").write_text(released_card(run))
    large = [path.name for path in folder.iterdir() if path.stat().st_size > LARGEST]
    if large:
        raise RunError(f"Too large to ship: {', '.join(large)}.")


def released_card(run: Run) -> str:
    """Returns the card of the model that the project ships."""
    return front_matter(run) + model_card(
        run,
        "The released model",
        "It is what every page answers with until you train your own, and\n"
        "`python -m trashnet evaluate released` prints its figures.",
        [
            train_command(run),
            "python -m trashnet robustness RUN",
            "python -m tools.release RUN --elsewhere FOLDER",
        ],
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run id or directory")
    parser.add_argument("--elsewhere", metavar="FOLDER", help="class folders of other photos")
    options = parser.parse_args()
    release(open_run(environment().runs, options.run), RELEASED, options.elsewhere)
    for path in sorted(RELEASED.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path.name}")


if __name__ == "__main__":
    main()
