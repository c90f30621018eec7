"""A photo of each class to try a model on, which it was not trained on."""

from pages.shared.runs import photos_of, stored_predictions
from trashnet.data.dataset import small_folder, trashnet_facts
from trashnet.environment import environment
from trashnet.runs.run import Run


def examples_of(run: Run) -> dict[str, bytes]:
    """Returns a test photo of each class, by class; of TrashNet where a run's are not here."""
    found: dict[str, bytes] = {}
    table, photos = stored_predictions(run), photos_of(run)
    for label in run.classes:
        files = table.file[(table.split == "test") & (table.label == label)]
        path = photos.path(files.iloc[0]) if len(files) else None
        if path is not None:
            found[label] = path.read_bytes()
    return found or _of_trashnet()


def _of_trashnet() -> dict[str, bytes]:
    facts = trashnet_facts()
    files = facts[facts.split == "test"].groupby("label").head(1)
    root = small_folder(environment())
    return {label: (root / file).read_bytes() for file, label in files.label.items()}
