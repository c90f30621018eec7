"""Copies a run that trained every fold into `trashnet/released`, with a model card.

python -m tools.release RUN
"""

import argparse
import shutil
from pathlib import Path

from trashnet.environment import environment
from trashnet.errors import RunError
from trashnet.hub.bundle import ship
from trashnet.hub.model_card import model_card, train_command
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, open_run

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
    ship(run, folder)
    (folder / "README.md").write_text(released_card(run))
    large = [path.name for path in folder.iterdir() if path.stat().st_size > LARGEST]
    if large:
        raise RunError(f"Too large to ship: {', '.join(large)}.")


def released_card(run: Run) -> str:
    """Returns the card of the model that the project ships."""
    return model_card(
        run,
        "The released model",
        "It is what every page answers with until you train your own, and\n"
        "`python -m trashnet evaluate released` prints its figures.",
        [
            train_command(run),
            "python -m trashnet robustness RUN",
            "python -m tools.release RUN",
        ],
    )


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
