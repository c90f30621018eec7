"""Evaluation, Errors: the confusion matrix, and the photos behind each of its cells."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.markdown import bold
from pages.shared.photo_dialog import open_photo
from pages.shared.runs import RunView
from pages.shared.widgets import chart, choose_one, data_table, photo_cards, split_name
from trashnet.charts import confusion
from trashnet.data.image_io import QUALITIES
from trashnet.evaluation.report_tables import disarmed
from trashnet.evaluation.slices import slice_of

ANY = "any"
COUNTS, SHARES, TABLE = "photos", "share of the true class", "table"
QUARTERS = [f"{end} {quality}" for quality in QUALITIES for end in ("lowest", "highest")]


def render(view: RunView) -> None:
    """Draws the matrix beside the photos of the chosen cell, the surest mistakes first."""
    left, right = st.columns([5, 6], gap="large")
    with left:
        _render_matrix(np.array(view.figures["confusion_matrix"]), view.run.classes)
    with right:
        _render_photos(view)


# ---------------------------------------------------------------- the matrix


def _render_matrix(matrix: np.ndarray, classes: tuple[str, ...]) -> None:
    way = choose_one(
        "Cells show",
        [COUNTS, SHARES, TABLE],
        COUNTS,
        key="evaluation_cells",
        help="The table holds the same numbers for the keyboard and for screen readers: the arrow "
        "keys choose the cell.",
    )
    finding = _finding(matrix, classes)
    if way == TABLE:
        _render_table(matrix, classes, finding)
    else:
        figure = confusion(
            matrix.tolist(),
            classes,
            finding,
            dark=st.context.theme.type == "dark",
            as_shares=way == SHARES,
            totals=ANY,
        )
        chart(
            figure,
            "evaluation_matrix",
            "Confusion matrix: rows are true classes, columns predicted classes",
            on_select=_choose_in_matrix,
            selection_mode="points",
        )
    st.caption(
        "Rows are true classes, columns what the model said. Choose a cell for its photos, or a "
        f"sum under “{ANY}” for a whole row or column."
    )


def _finding(matrix: np.ndarray, classes: tuple[str, ...]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    if not wrong.any():
        return "No mistakes"
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    return f"Most often, {classes[true]} is taken for {classes[predicted]} ({wrong.max()} photos)"


def _render_table(matrix: np.ndarray, classes: tuple[str, ...], finding: str) -> None:
    table = pd.DataFrame(matrix, index=list(classes), columns=list(classes))
    table[ANY] = table.sum(axis=1)
    table.loc[ANY] = table.sum()
    st.markdown(f"{bold(finding)}")
    data_table(
        table.rename_axis("true ↓ predicted →"),
        key="evaluation_table",
        on_select=lambda: _choose_in_table(list(table.index)),
        selection_mode="single-cell",
        height="content",
        column_config={name: st.column_config.NumberColumn(width=52) for name in table},
    )


def _choose_in_matrix() -> None:
    points = st.session_state["evaluation_matrix"]["selection"]["points"]
    if points:
        _choose(*points[0]["customdata"][:2])


def _choose_in_table(names: list[str]) -> None:
    shown = [disarmed(name) for name in names]
    for row, predicted in st.session_state["evaluation_table"]["selection"]["cells"]:
        if predicted in shown:  # else it is the name of a row
            _choose(names[row], names[shown.index(predicted)])


def _choose(true: str, predicted: str) -> None:
    """Turns a choice in the matrix into the two filters beside it."""
    st.session_state["evaluation_true"] = true
    st.session_state["evaluation_predicted"] = predicted


# ---------------------------------------------------------------- the photos


def _render_photos(view: RunView) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        options = [ANY, *view.run.classes]
        true = st.selectbox("True class", options, key="evaluation_true", bind="query-params")
        said = st.selectbox("Predicted", options, key="evaluation_predicted", bind="query-params")
        rows, filters = _filtered(view.predictions, view.index)
    whose = split_name(view.split)
    if true == said == ANY:
        rows = rows[rows.label != rows.predicted]
        what = f"{len(rows)} of the {whose} photos are misclassified"
    else:
        rows = rows[(rows.label == true) | (true == ANY)]
        rows = rows[(rows.predicted == said) | (said == ANY)]
        what = f"{len(rows)} {whose} photos: true {true}, predicted {said}"
    st.markdown(f"{bold('; '.join([what, *filters]))}, the surest first.")
    if not rows.empty:
        photo_cards(view.photos, rows, _caption, "evaluation_page", per_page=24, on_open=open_photo)


def _caption(row: Any) -> str:
    predicted = f" taken for {bold(row.predicted)}" if row.label != row.predicted else ""
    return f"{bold(row.label)}{predicted}, {row.confidence:.0%}"


def _filtered(rows: pd.DataFrame, index: pd.DataFrame | None) -> tuple[pd.DataFrame, list[str]]:
    """Lets a person narrow the photos down; returns the rest, and the filters in words."""
    if index is None:  # nothing is known of how the photos look
        return rows, []
    flags = sorted(set(";".join(index.flag).split(";")) - {""})
    with st.popover("More filters", icon=":material/tune:"):
        low, high = st.slider(
            "Confidence in the answer",
            0,
            100,
            (0, 100),
            format="%d %%",
            key="evaluation_confidence",
            bind="query-params",
        )
        quarter = st.selectbox(
            "The quarter of the photos with the",
            [ANY, *QUARTERS],
            key="evaluation_quality",
            bind="query-params",
        )
        flag = st.selectbox(
            "Flagged by the audit as",
            [ANY, *flags],
            key="evaluation_flag",
            bind="query-params",
            help="None of these photos is flagged." if not flags else None,
        )
    said = []
    if quarter != ANY:  # first: a quarter is one of all photos, not of those left
        end, quality = quarter.split()
        rows = slice_of(rows, index, quality, end)
        said.append(f"the quarter with the {quarter}")
    if (low, high) != (0, 100):
        rows = rows[rows.confidence.between(low / 100, high / 100)]
        said.append(f"confidence {low} to {high} %")
    if flag != ANY:
        flagged = index.flag.str.split(";").map(lambda names: flag in names)
        rows = rows[rows.file.isin(index.file[flagged])]
        said.append(f"flagged as {flag}")
    return rows, said
