"""Compares what the released model says of TrashNet's photos in both editions, as a table.

python -m tools.compare_editions dataset-resized.zip
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

from trashnet.cli.output import progress_bar
from trashnet.data.dataset import extract_photos, small_folder
from trashnet.environment import environment
from trashnet.inference.classifier import Classifier
from trashnet.progress import Progress
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED


def compare(full: Path, small: Path, on_progress: Progress) -> pd.DataFrame:
    """Returns a row per split: photos, accuracy in each edition, predictions that differ."""
    run = Run(RELEASED)
    classifier, photos = Classifier(run), run.predictions(["file", "label", "split"])
    for name, root in {"full": full, "small": small}.items():
        said = []
        for done, file in enumerate(photos.file, 1):
            said.append(classifier.classify(root / file).label)
            on_progress(done, len(photos), f"Classifying, {name}")
        photos[name] = said
    rows = [
        {
            "split": split,
            "n": len(group),
            "full size": f"{(group.full == group.label).mean():.1%}",
            "small": f"{(group.small == group.label).mean():.1%}",
            "predictions that differ": int((group.full != group.small).sum()),
        }
        for split, group in photos.groupby("split", sort=False)
    ]
    return pd.DataFrame(rows)


def main() -> None:
    """Runs as a script."""
    with tempfile.TemporaryDirectory() as folder, progress_bar() as on_progress:
        full = Path(folder) / "photos"
        extract_photos(Path(sys.argv[1]), full, on_progress)
        table = compare(full, small_folder(environment(), on_progress), on_progress)
    for row in [table.columns, ["---"] * len(table.columns), *table.to_numpy()]:
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
