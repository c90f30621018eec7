"""Classify, many photos: a table that fills as the answers come, and what to take along."""

import base64
import contextlib
import json
from typing import Any

import pandas as pd
import streamlit as st

from pages.sections.classify.photo_input import Sent
from pages.shared.answer_card import KNOWS, render_photo
from pages.shared.answering import batch_turn
from pages.shared.caching import fingerprint
from pages.shared.progress import sentence
from pages.shared.widgets import chart, data_table
from trashnet.charts import class_counts
from trashnet.data.image_io import thumbnail
from trashnet.errors import PhotoError
from trashnet.evaluation.report_tables import as_csv
from trashnet.inference.batch import as_row, classify_each
from trashnet.runs.run import Run

_THUMB = 96


def render(runs: list[Run], photos: list[Sent]) -> None:
    """Answers many photos under a bar; what is answered survives a reload of the script."""
    run = runs[0]
    rows = _rows_of(run, photos)
    with sentence():
        if len(rows) < len(photos) and not st.session_state["classify_stopped"]:
            _answer_the_rest(run, photos, rows)
        if len(rows) < len(photos):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"Stopped after {len(rows):,} of {len(photos):,} photos.")
                st.button("Go on", key="classify_go_on", on_click=_set_stopped, args=(False,))
        if rows:
            _render_summary(run, rows)
            _render_table(runs, photos, rows)


def _rows_of(run: Run, photos: list[Sent]) -> list[dict[str, Any]]:
    """The answers so far to exactly these photos by this run; other photos begin anew."""
    contents = tuple(
        (name, hash(source) if isinstance(source, bytes) else str(source))
        for name, source in photos
    )
    about = (fingerprint(run), contents)
    if st.session_state.get("classify_about") != about:
        st.session_state["classify_about"] = about
        st.session_state["classify_rows"] = []
        st.session_state["classify_stopped"] = False
        st.session_state["classify_batch"] = st.session_state.get("classify_batch", 0) + 1
    return st.session_state["classify_rows"]


def _set_stopped(stopped: bool) -> None:
    st.session_state["classify_stopped"] = stopped


def _answer_the_rest(run: Run, photos: list[Sent], rows: list[dict[str, Any]]) -> None:
    """Answers until all are, or until the person does something, which starts the script anew."""
    stop, bar = st.empty(), st.progress(0.0)
    stop.button(
        "Stop", icon=":material/stop:", key="classify_stop", on_click=_set_stopped, args=(True,)
    )
    with batch_turn(), contextlib.closing(classify_each(run, photos[len(rows) :])) as answers:
        for name, answer in answers:
            content = photos[len(rows)][1]
            rows.append({"thumbnail": _data_url(content), **as_row(name, answer)})
            bar.progress(len(rows) / len(photos), f"{len(rows):,} of {len(photos):,} photos")
    bar.empty()
    stop.empty()


def _data_url(content: Any) -> str | None:
    try:
        small = thumbnail(content, _THUMB) if isinstance(content, bytes) else None
    except PhotoError:
        small = None
    return None if small is None else f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"


def _render_summary(run: Run, rows: list[dict[str, Any]]) -> None:
    answered = [row for row in rows if "error" not in row]
    sure = sum(row["sure"] for row in answered)
    failed = len(rows) - len(answered)
    st.markdown(f"**{len(answered):,} photos answered, {sure:,} of them surely.**")
    if failed:
        names = [f"`{row['file'].replace('`', chr(39))}`" for row in rows if "error" in row]
        more = f" and {failed - 5} more" if failed > 5 else ""
        st.warning(
            f"{failed} could not be read: {', '.join(names[:5])}{more}.",
            icon=":material/broken_image:",
        )
    if answered:
        counts = pd.Series([row["label"] for row in answered]).value_counts()
        figure = class_counts({c: int(counts.get(c, 0)) for c in run.classes}, run.classes)
        chart(figure, "classify_counts", "How many photos were given each class")


def _render_table(runs: list[Run], photos: list[Sent], rows: list[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows).reindex(
        columns=["thumbnail", "label", "confidence", "sure", "file", "error"]
    )
    table["sure"] = table.sure.map({True: "sure", False: "not sure"})
    table["confidence"] *= 100
    if table.error.isna().all():
        table = table.drop(columns="error")
    chosen = st.container()  # above the table, where it is seen at once
    st.caption("Choose a row to see its photo and why; a column's head sorts.")
    event = data_table(
        table,
        key=f"classify_table_{st.session_state['classify_batch']}",  # no row chosen at first
        hide_index=True,
        row_height=56,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        column_config={
            "thumbnail": st.column_config.ImageColumn("photo", width="small"),
            "confidence": st.column_config.ProgressColumn(
                format="%.0f %%", min_value=0, max_value=100
            ),
        },
    )
    plain = [{k: v for k, v in row.items() if k != "thumbnail"} for row in rows]
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: answers_as_csv(plain),
            file_name="answers.csv",
            mime="text/csv",
            icon=":material/download:",
            key="classify_csv",
            on_click="ignore",
        )
        st.download_button(
            "JSON",
            lambda: json.dumps(plain, indent=1),
            file_name="answers.json",
            mime="application/json",
            icon=":material/download:",
            key="classify_json",
            on_click="ignore",
        )
    st.caption(f"{KNOWS} Answered by {runs[0].id}.")
    for number in event["selection"]["rows"]:
        if number < len(rows):
            with chosen:
                name, source = photos[number]
                render_photo(runs, name, source, "classify_chosen")


def answers_as_csv(rows: list[dict[str, Any]]) -> str:
    """Returns answers as CSV, a column for each class's probability."""
    flat = [
        {k: v for k, v in row.items() if k != "probabilities"}
        | {f"p_{c}": p for c, p in row.get("probabilities", {}).items()}
        for row in rows
    ]
    return as_csv(pd.DataFrame(flat))
