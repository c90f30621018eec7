"""Evaluation, Own photos: a zip of class folders as a test set for the run in view."""

import hashlib
from typing import Any

import pandas as pd
import streamlit as st

from pages.sections.classify.photo_input import MOST, ROOM
from pages.shared.answering import batch_turn
from pages.shared.caching import fingerprint
from pages.shared.markdown import plain
from pages.shared.progress import progress_bar, sentence
from pages.shared.widgets import accuracy_text, chart, data_table, share_text
from trashnet.charts import confusion
from trashnet.data.archive import Room, read_pictures
from trashnet.evaluation.external_test import OwnTest, evaluate_own
from trashnet.runs.run import Run


def render(run: Run) -> None:
    """Draws what the run makes of labelled photos that were sent."""
    names = plain(", ".join(run.classes))
    st.write(
        f"A zip with a folder for each class ({names}), photos of your own inside. Folders "
        "of other names are for things the model does not know: it should not be sure of them."
    )
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
    accuracy = figures["answered_accuracy"]
    with st.container(horizontal=True):
        for label, value, detail in (
            ("Accuracy on your photos", figures["accuracy"], accuracy_text(figures, "yours")),
            ("Mean recall", figures["mean_recall"], "every class counts the same"),
            (
                "Sure",
                figures["coverage"],
                "of none" if accuracy is None else f"{accuracy:.1%} of these are right",
            ),
        ):
            st.metric(label, f"{value:.1%}", detail, delta_color="off", delta_arrow="off")
    if found.unknown:
        _render_unknown(found.unknown)
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
    classes = {name: c for name, c in figures["per_class"].items() if c["support"]}
    data_table(
        pd.DataFrame(
            {
                "class": list(classes),
                "recall": [share_text(c["recall"], c["recall_interval"]) for c in classes.values()],
                "photos": [c["support"] for c in classes.values()],
            }
        ),
        hide_index=True,
    )
    if found.left_out:
        with st.expander(f"Left out: {len(found.left_out)}"):
            data_table(
                pd.DataFrame(list(found.left_out.items()), columns=["photo", "why"]),
                hide_index=True,
            )


def _render_unknown(unknown: dict[str, dict[str, Any]]) -> None:
    """Draws how often the model was sure of what is no class of it."""
    st.markdown("**Folders that are no class: how often the model was sure**")
    table = pd.DataFrame(
        {
            "folder": list(unknown),
            "sure": [share_text(u["share"], u["interval"]) for u in unknown.values()],
            "photos": [u["n"] for u in unknown.values()],
        }
    )
    data_table(table, hide_index=True)
