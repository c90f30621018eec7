"""What is known of the photos besides their index: findings, places, statistics, and answers."""

from pathlib import Path

import pandas as pd
import streamlit as st

from pages.shared import loaders
from pages.shared.predictions import answers_to
from pages.shared.widgets import OUT_OF_FOLD
from trashnet.data.audit_findings import findings, known_pairs, known_places
from trashnet.data.dataset import Photos
from trashnet.data.pixel_statistics import PixelStatistics, pixel_statistics
from trashnet.evaluation.label_errors import suspects
from trashnet.runs.run import Run


def answering_run(photos: Photos) -> Run | None:
    """Returns the run to answer these photos with: the best that knows their classes, or None.

    One that was trained on them comes before others, also where they are drawings.
    """
    fitting = [run for run in loaders.answering_runs() if run.classes == photos.classes]
    fitting.sort(key=lambda run: run.config["data"]["name"] != photos.name)
    return next(iter(fitting), None)


def judging_run(photos: Photos) -> Run | None:
    """Returns the best run with an answer to every photo by a model that never saw it, or None."""
    files = set(photos.files)
    for run in loaders.answering_runs():
        table = loaders.out_of_fold(run) if run.classes == photos.classes else None
        if table is not None and files.issuperset(table.file):
            return run
    return None


def answers_of(run: Run) -> pd.DataFrame:
    """Returns file, label, predicted, confidence and split of every photo the run answered.

    Where the run has folds, the answers are those of models that never saw the photo.
    """
    temperature = run.evaluation()["temperature"]
    if loaders.out_of_fold(run) is not None:
        return answers_to(run, OUT_OF_FOLD, temperature).assign(split="out of fold")
    splits = loaders.predictions(run).split.unique()
    return pd.concat([answers_to(run, s, temperature).assign(split=s) for s in splits])


def pairs(photos: Photos, scanned: pd.DataFrame) -> pd.DataFrame | None:
    """Returns the similar pairs, or None where no audit was made."""
    return known_pairs(photos, scanned, loaders.env().cache)


def places(photos: Photos, scanned: pd.DataFrame) -> pd.DataFrame | None:
    """Returns where each photo lies on the map, or None where no audit was made."""
    return known_places(photos, scanned, loaders.env().cache)


def all_findings(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Returns everything somebody should look at (`trashnet.data.audit_findings`)."""
    run = judging_run(photos)
    suspected = None
    if run is not None:
        suspected = suspects_of(str(run.path), loaders.stamp(run))
        suspected = suspected[suspected.file.isin(index.file)]
    facts = index[["file", "flag", "original_label"]]
    near, spots = pairs(photos, scanned), places(photos, scanned)
    return _findings(scanned[["file", "label", "sha256", "error"]], facts, near, spots, suspected)


@st.cache_data(max_entries=4, show_spinner=False)
def suspects_of(path: str, stamp: int) -> pd.DataFrame:
    """Returns a run's suspected labels (`trashnet.evaluation.label_errors`); it must have folds."""
    run = Run(Path(path))
    return suspects(run.out_of_fold(), run.classes)


@st.cache_data(max_entries=4, show_spinner=False)
def _findings(
    scanned: pd.DataFrame,
    index: pd.DataFrame,
    pairs: pd.DataFrame | None,
    places: pd.DataFrame | None,
    suspected: pd.DataFrame | None,
) -> pd.DataFrame:
    return findings(scanned, index, pairs, places, suspected)


def statistics(photos: Photos, scanned: pd.DataFrame) -> PixelStatistics:
    """Returns the pixel statistics of each class; the first time under a bar."""
    return pixel_statistics(photos, scanned, loaders.env().cache, loaders.progress_bar())
