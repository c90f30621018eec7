"""Evaluation, Own photos: a zip of class folders as a test set for the run in view."""

import hashlib

import pandas as pd
import streamlit as st

from pages.sections.classify.photo_input import MOST, ROOM
from pages.shared.answering import batch_turn
from pages.shared.caching import fingerprint
from pages.shared.markdown import plain
from pages.shared.progress import progress_bar, sentence
from pages.shared.widgets import accuracy_text, chart, data_table
from trashnet.charts import confusion
from trashnet.data.archive import Room, read_pictures
from trashnet.evaluation.external_test import OwnTest, evaluate_own
from trashnet.runs.run import Run


def render(run: Run) -> None:
    """Draws what the run makes of labelled photos that were sent."""
    names = plain(", ".join(run.classes))
    st.write(f"A zip with a folder for each class ({names}), photos of your own inside.")
    upload = st.file_uploader("Your test photos", type="zip", key="own_zip")
    if upload is None:
        st.caption("Nothing you upload is kept. On the command line there is no limit:")
        st.code(f"python -m trashnet evaluate {run.id} --photos FOLDER", language="bash")
        return
    content = upload.getvalue()
    key = (fingerprint(run), hashlib.sha256(content).digest())
    with sentence(":material/folder_zip:"):
        if st.session_state.get("own_key") != key:
            photos = list(read_pictures(content, MOST, Room(ROOM)))  # before it is anybody's turn
            with batch_turn():
                found = evaluate_own(run, photos, progress_bar())
            st.session_state["own_key"], st.session_state["own_test"] = key, found
        _render_result(run, st.session_state["own_test"])


def _render_result(run: Run, found: OwnTest) -> None:
    figures = found.figures
    st.metric(
        "Accuracy on your photos",
        f"{figures['accuracy']:.1%}",
        accuracy_text(figures, "yours"),
        delta_color="off",
        delta_arrow="off",
    )
    left, right = st.columns([2, 3], gap="large")
    figure = confusion(
        figures["confusion_matrix"],
        run.classes,
        f"{figures['n']:,} of your photos",
        dark=st.context.theme.type == "dark",
    )
    with left:
        chart(figure, "own_matrix", "Confusion matrix of your photos")
    table = found.table.assign(
        right=found.table.label == found.table.predicted,
        confidence=100 * found.table.confidence,
    )
    with right:
        data_table(
            table.sort_values(["right", "confidence"], ascending=[True, False]),
            hide_index=True,
            column_config={"confidence": st.column_config.NumberColumn(format="%.0f %%")},
        )
    if found.left_out:
        with st.expander(f"{len(found.left_out)} photos were left out"):
            data_table(
                pd.DataFrame(list(found.left_out.items()), columns=["photo", "why"]),
                hide_index=True,
            )
