"""Evaluation, Errors: the confusion matrix, and the photos behind each of its cells."""

from typing import Any

import numpy as np
import streamlit as st

from pages.shared import loaders, photo_dialog
from pages.shared.answered import answers_to
from pages.shared.widgets import paged, photo_grid, split_name
from trashnet.figures import confusion
from trashnet.runs import Run

ANY = "any"
COUNTS, SHARES = "photos", "share of the true class"


def render(run: Run, split: str, figures: dict[str, Any]) -> None:
    """Draws the matrix beside the photos of the chosen cell, the surest mistakes first."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _render_matrix(run, figures)
    with right:
        _render_photos(run, split, figures["temperature"])


def _render_matrix(run: Run, figures: dict[str, Any]) -> None:
    matrix = np.array(figures["confusion_matrix"])
    shares = st.segmented_control(
        "Cells show",
        [COUNTS, SHARES],
        default=COUNTS,
        required=True,
        key="evaluation_cells",
        bind="query-params",
    )
    st.plotly_chart(
        confusion(
            matrix.tolist(),
            run.classes,
            _finding(matrix, run.classes),
            dark=st.context.theme.type == "dark",
            as_shares=shares == SHARES,
        ),
        key="evaluation_matrix",
        on_select=_choose_cell,
        selection_mode="points",
        config={"displayModeBar": False},
        alt="Confusion matrix: rows are true classes, columns predicted classes",
    )
    st.caption("Rows are true classes, columns what the model said. Click a cell for its photos.")


def _finding(matrix: np.ndarray, classes: tuple[str, ...]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    if not wrong.any():
        return "No mistakes"
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    return f"Most often, {classes[true]} is taken for {classes[predicted]} ({wrong.max()} photos)"


def _choose_cell() -> None:
    """Turns a click on the matrix into the two filters beside it."""
    points = st.session_state["evaluation_matrix"]["selection"]["points"]
    if points:
        true, predicted = points[0]["customdata"][:2]
        st.session_state["evaluation_true"] = true
        st.session_state["evaluation_predicted"] = predicted


def _render_photos(run: Run, split: str, temperature: float) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        options = [ANY, *run.classes]
        true = st.selectbox("True class", options, key="evaluation_true", bind="query-params")
        said = st.selectbox("Predicted", options, key="evaluation_predicted", bind="query-params")
    rows = everything = answers_to(run, split, temperature)
    split = split_name(split)
    if true == said == ANY:
        rows = rows[rows.label != rows.predicted]
        what = f"{len(rows)} of the {split} photos are misclassified"
    else:
        rows = rows[(rows.label == true) | (true == ANY)]
        rows = rows[(rows.predicted == said) | (said == ANY)]
        what = f"{len(rows)} {split} photos: true {true}, predicted {said}"
    st.markdown(f"**{what}**, the surest first.")
    photo_dialog.open_if_asked(run, everything)
    if rows.empty:
        return
    first, last = paged(rows.file, "evaluation_page", per_page=24)
    shown = rows.iloc[first:last]
    captions = [
        f"**{row.label}** taken for **{row.predicted}**, {row.confidence:.0%}"
        if row.label != row.predicted
        else f"**{row.label}**, {row.confidence:.0%}"
        for row in shown.itertuples()
    ]
    photo_grid(loaders.photo_root(run), shown.file, captions, on_open=photo_dialog.open_photo)
