"""Runs, and what a finished one measured and predicted, read once for a page and handed on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pages.shared.caching import cached
from pages.shared.photos import PhotoSource, photos_in_use
from trashnet.data.dataset import Photos, small_folder
from trashnet.data.editions import photo_id, photo_ids
from trashnet.environment import environment
from trashnet.errors import RunError, TrashnetError
from trashnet.evaluation.known_objects import of_known_objects
from trashnet.evaluation.label_errors import suspects
from trashnet.evaluation.report import answers
from trashnet.inference.explain import kept_maps
from trashnet.runs.damage import damage_of
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, best_first, list_runs, unreadable_runs

OUT_OF_FOLD = "out_of_fold"
"""Named like a split: the answers of models that never saw the photo's object."""

# ---------------------------------------------------------------- which runs there are


def all_runs() -> list[Run]:
    """Returns all runs, newest first."""
    return list_runs(environment().runs)


def active_run() -> Run | None:
    """Returns the run that trains, else one that waits to, else None."""
    states = [(run.status(), run) for run in all_runs()]
    active = [(status.state != "waiting", run) for status, run in states if status.is_active]
    return max(active, key=lambda pair: pair[0])[1] if active else None


def finished_runs() -> list[Run]:
    """Returns the runs with a model and an evaluation: own ones, newest first, then the shipped.

    Damaged ones are left out; `damaged_runs` has them.
    """
    finished = [run for run in [*all_runs(), Run(RELEASED)] if run.is_finished]
    return [run for run in finished if _damage(run) is None]


def damaged_runs() -> dict[str, str]:
    """Returns the runs of which something cannot be read, and what is wrong, by their ids."""
    found = {run.id: _damage(run) for run in all_runs() if run.status().state == "finished"}
    return unreadable_runs(environment().runs) | {name: why for name, why in found.items() if why}


@cached(max_entries=500)
def _damage(run: Run) -> str | None:
    return damage_of(run)


def answering_runs() -> list[Run]:
    """Returns the finished runs, the one to classify with first (`trashnet.runs.store`)."""
    photos = _photos_or_none()
    return best_first(finished_runs(), None if photos is None else photos.classes)


def run_for(photos: Photos) -> Run | None:
    """Returns the run to classify these photos with: the best that knows their classes, or None."""
    best = next(iter(best_first(finished_runs(), photos.classes)), None)
    return best if best is not None and best.classes == photos.classes else None


def _photos_or_none() -> Photos | None:
    try:
        return photos_in_use()
    except TrashnetError:
        return None


# ---------------------------------------------------------------- what one measured


def figures_of(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the reports of an evaluation by split, the out-of-fold one among them."""
    folds = {OUT_OF_FOLD: evaluation[OUT_OF_FOLD]} if OUT_OF_FOLD in evaluation else {}
    order = ("test", "validation", "train")
    splits = evaluation["splits"]
    return {"test": splits["test"]} | folds | {s: splits[s] for s in order if s in splits}


def photos_of(run: Run) -> PhotoSource:
    """Returns where a run's photos are found: those in use, where it was trained, TrashNet.

    Only the contents that it saw are its photos, whatever has the same name.
    """
    root, index, photos = run.config["data"]["root"], seen_index(run), _photos_or_none()
    own = (Path(root),) if root else ()
    if index is None:  # by an early version, which kept none
        return PhotoSource(own)
    in_use = (photos.root,) if photos else ()
    return PhotoSource((*in_use, *own, small_folder(environment())), _ids(run))


def object_of(run: Run, content: bytes) -> frozenset[str]:
    """Returns the photos of the same object as one that a run saw, itself among them; else none."""
    index, ids = seen_index(run), _ids(run)
    one = photo_id(hashlib.sha256(content).hexdigest())
    if index is None or one not in ids.values():
        return frozenset()
    itself = index.file.map(ids) == one
    return frozenset(index.file[itself | index.group.isin(index.group[itself])])


@cached(max_entries=8)
def _ids(run: Run) -> dict[str, str]:
    index = seen_index(run)
    return {} if index is None else dict(zip(index.file, photo_ids(index.sha256), strict=True))


# ---------------------------------------------------------------- what one predicted


@cached(max_entries=8)
def stored_predictions(run: Run) -> pd.DataFrame:
    """Returns a finished run's predictions table."""
    return run.predictions()


@cached(max_entries=8)
def out_of_fold(run: Run) -> pd.DataFrame | None:
    """Returns a run's out-of-fold table, or None where there are no folds."""
    return run.out_of_fold()


def maps_of(run: Run, row: int) -> NDArray[np.float32] | None:
    """Returns the evidence for the predicted and the true class of an out-of-fold prediction.

    Args:
        run: A run with folds.
        row: Of its out-of-fold table.

    Returns:
        `(2, h, w)`, from the model that made the prediction; None where the run keeps none.
    """
    table = out_of_fold(run)
    kept = None if table is None or "maps" not in table else table.maps[row]
    return kept_maps(kept) if isinstance(kept, np.ndarray) else None  # or NaN, where no fold has


@cached(max_entries=8)
def seen_index(run: Run) -> pd.DataFrame | None:
    """Returns a run's index, every photo as it saw them, or None without one."""
    return run.index()


def logits_of(run: Run, split: str) -> tuple[pd.DataFrame, Any]:
    """Returns the rows of file, label and logits, and their temperature, or temperatures.

    Args:
        run: A finished run.
        split: A split, or `OUT_OF_FOLD`, whose folds each have a temperature of their own.
    """
    if split == OUT_OF_FOLD:
        table = out_of_fold(run)
        if table is None:
            raise RunError(f"The run {run.id} is damaged: out_of_fold.parquet cannot be read.")
        return table, table.temperature.to_numpy()[:, None]
    table = stored_predictions(run)
    return table[table.split == split], run.evaluation()["temperature"]


@cached(max_entries=16)
def predictions_of(run: Run, split: str) -> pd.DataFrame:
    """Returns file, label, predicted, confidence and split of its photos, most confident first.

    And what makes a prediction sure: the `threshold` of its confidence, and `familiar`.
    """
    table, temperature = logits_of(run, split)
    limits = table if split == OUT_OF_FOLD else run.evaluation()  # each fold has its own
    said = answers(table, run.classes, temperature)
    limit = limits.get("distance_limit")  # none in a run of an early version
    familiar = pd.Series(True if limit is None else table.distance <= limit, table.index)
    threshold = pd.Series(limits["threshold"], table.index)
    return said.assign(split=split, familiar=familiar[said.index], threshold=threshold[said.index])


@cached(max_entries=4)
def all_predictions(run: Run) -> pd.DataFrame:
    """Returns `predictions_of` every photo the run answered.

    Where the run has folds, the answers are those of models that never saw the photo.
    """
    if out_of_fold(run) is not None:
        return predictions_of(run, OUT_OF_FOLD)
    splits = stored_predictions(run).split.unique()
    return pd.concat([predictions_of(run, split) for split in splits])


def named_here(table: pd.DataFrame, run: Run, index: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of a run's table that are about photos in use, under their names here.

    Args:
        table: Of the run; `file` names its photos.
        run: The run.
        index: Rows of file and sha256 of the photos in use.
    """
    here = dict(zip(index.file, photo_ids(index.sha256), strict=True))
    file_of = {content: file for file, content in here.items()}

    def find(file: str, content: str | None) -> str | None:
        return file if here.get(file) == content else file_of.get(content or "")

    ids = _ids(run)
    found = [find(file, ids.get(file)) for file in table.file]
    return table.assign(file=found).dropna(subset="file")


@cached(max_entries=4)
def suspects_of(run: Run) -> pd.DataFrame:
    """Returns a run's suspected labels (`trashnet.evaluation.label_errors`); it must have folds."""
    return suspects(run.out_of_fold(), run.classes)


@cached(max_entries=16)
def known_objects(run: Run, split: str) -> int | None:
    """Returns how many photos of a split show an object that was learned from, if it is known."""
    return of_known_objects(run, split)


@dataclass(frozen=True)
class RunView:
    """A finished run and one of its splits, as the evaluation page shows them.

    Attributes:
        run: The run.
        split: The split, or `OUT_OF_FOLD`.
        evaluation: All that was measured of the run.
        predictions: As `predictions_of`.
        index: Every photo as the run saw it, or None where it kept no index.
        photos: Where its photos are found.
    """

    run: Run
    split: str
    evaluation: dict[str, Any]
    predictions: pd.DataFrame
    index: pd.DataFrame | None
    photos: PhotoSource

    @property
    def figures(self) -> dict[str, Any]:
        """The report of the split."""
        return figures_of(self.evaluation)[self.split]


def view_of(run: Run, split: str, evaluation: dict[str, Any]) -> RunView:
    """Reads what the evaluation page shows of a finished run."""
    predictions = predictions_of(run, split)
    return RunView(run, split, evaluation, predictions, seen_index(run), photos_of(run))
