"""What a run answered to the photos of a split, for the tabs of the evaluation page."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import loaders
from pages.shared.widgets import OUT_OF_FOLD
from trashnet.evaluation.report import answers
from trashnet.evaluation.report_tables import precision_recall
from trashnet.inference.calibration import probabilities
from trashnet.runs.run import Run


def answers_to(run: Run, split: str, temperature: float) -> pd.DataFrame:
    """Returns file, label, predicted and confidence of each photo, the surest first.

    Args:
        run: A finished run.
        split: A split, or `OUT_OF_FOLD`, whose folds each have a temperature of their own.
        temperature: Of the run.
    """
    return _answers_to(str(run.path), loaders.stamp(run), split, temperature)


@st.cache_data(max_entries=16, show_spinner=False)
def _answers_to(path: str, stamp: int, split: str, temperature: float) -> pd.DataFrame:
    run = Run(Path(path))
    table, of_each = _table(run, split, temperature)
    return answers(table, run.classes, of_each)


def curves_of(run: Run, split: str, temperature: float) -> pd.DataFrame:
    """Returns each class's precision against recall, as `report_tables.precision_recall`."""
    return _curves_of(str(run.path), loaders.stamp(run), split, temperature)


@st.cache_data(max_entries=16, show_spinner=False)
def _curves_of(path: str, stamp: int, split: str, temperature: float) -> pd.DataFrame:
    run = Run(Path(path))
    table, of_each = _table(run, split, temperature)
    p = probabilities(np.stack(table.logits.to_numpy()), of_each)
    return precision_recall(p, table.label.map(run.classes.index).to_numpy(np.int64), run.classes)


def _table(run: Run, split: str, temperature: float) -> tuple[pd.DataFrame, Any]:
    """The rows of file, label and logits, and their temperature, or temperatures."""
    if split == OUT_OF_FOLD:
        table = loaders.out_of_fold(run)
        return table, table.temperature.to_numpy()[:, None]
    table = loaders.predictions(run)
    return table[table.split == split], temperature
