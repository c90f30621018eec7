"""One photo of the data set in full: what it is like, what a model says, what to do about it."""

import pandas as pd
import streamlit as st

from pages.shared import dataset_facts as known
from pages.shared import loaders
from pages.shared.markdown import bold, plain
from pages.shared.photo_dialog import PARAMETER, close_photo, render_object
from pages.shared.review_buttons import open_desk, render_review
from trashnet.charts import probability_bars
from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES, file_format, load_photo, thumbnail
from trashnet.errors import PhotoError, TrashnetError
from trashnet.inference.explain import overlay
from trashnet.runs.run import Run

LARGEST = 2048
"""Longer side of the photo as it is shown, in pixels: larger ones would take long on a phone."""


def open_if_asked(photos: Photos, index: pd.DataFrame) -> None:
    """Opens the photo that the address names, if the data set has it."""
    row = index[index.file == st.query_params.get(PARAMETER)]
    if len(row):
        _show(photos, index, row.iloc[0])


@st.dialog("Photo", width="large", on_dismiss=close_photo)
def _show(photos: Photos, index: pd.DataFrame, row: pd.Series) -> None:
    st.markdown(f"{plain(row.file)} · {bold(row.label)} · {row.split}")
    try:
        content = (photos.root / row.file).read_bytes()
        picture = thumbnail(content, LARGEST)
        stored = file_format(content)
    except OSError:
        st.info("The photo is gone; reload the page.", icon=":material/broken_image:")
        return
    except PhotoError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    run = known.answering_run(photos)
    left, right = st.columns([3, 2])
    with left:
        st.image(picture, alt=f"{row.file}, full size")
        if (desk := open_desk()) is not None:
            said = _answer_to(run, row.file).predicted.tolist()
            render_review(desk, row.file, row.label, "dataset_dialog", *said)
    with right:
        _render_facts(index, row, stored)
    render_object(index, photos.root, row.file)
    if run is None:
        st.caption("No finished run knows these classes, so no model answers here yet.")
    else:
        _render_answer(run, content, row)


def _answer_to(run: Run | None, file: str) -> pd.DataFrame:
    """The row of what a run answered to the photo; none where it was not asked."""
    if run is None:
        return pd.DataFrame(columns=["predicted"])
    said = known.answers_of(run)
    return said[said.file == file].head(1)


def _render_facts(index: pd.DataFrame, row: pd.Series, stored: str) -> None:
    facts = {
        "pixels": f"{row.width:,} × {row.height:,}",
        "file": f"{row.bytes / 1000:,.0f} kB, {stored}",
        "flags": row.flag.replace(";", ", ") or "none",
    }
    if row.label != row.original_label:
        facts["filed under"] = plain(row.original_label)
    for quality in QUALITIES:
        share = (index[quality] < row[quality]).mean()
        facts[quality] = f"{row[quality]:.3f}, above {share:.0%} of the photos"
    first, *lines = [f"| {name} | {value} |" for name, value in facts.items()]
    st.markdown("\n".join([first, "|---|---|", *lines]))


def _render_answer(run: Run, content: bytes, row: pd.Series) -> None:
    """Draws what a model says of the photo, and what spoke for it."""
    st.markdown(f"**What the run “{run.id}” says**")
    try:
        prediction = loaders.answer(run, content)
        shown = load_photo(thumbnail(content, 480))
        drawn = overlay(shown, loaders.evidence(run, content, prediction.label), 0.45)
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        return
    left, right = st.columns(2)
    left.image(
        drawn,
        caption=f"what spoke for {plain(prediction.label)}",
        alt=f"{row.file}, and where it looks like {prediction.label}",
        output_format="JPEG",
    )
    right.plotly_chart(
        probability_bars(prediction.probabilities, run.classes),
        key="dataset_dialog_bars",
        config={"displayModeBar": False},
        alt="Probability of each class",
    )
    for answer in _answer_to(run, row.file).itertuples():
        how = (
            "A model that never saw its object"
            if answer.split == "out of fold"
            else f"In this run the photo was in {answer.split}; the run"
        )
        right.caption(f"{how} answered {bold(answer.predicted)} with {answer.confidence:.0%}.")
