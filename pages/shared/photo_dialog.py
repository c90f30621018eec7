"""One photo in full: what was answered and why, what it is like, and what to do about its label."""

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import loaders
from pages.shared.answers import render_similar
from pages.shared.owner import locked, owner_only
from pages.shared.widgets import photo_grid
from trashnet.data import Photos
from trashnet.errors import TrashnetError
from trashnet.explain import overlay
from trashnet.figures import probability_bars
from trashnet.index import review_of
from trashnet.photos import load_photo, thumbnail
from trashnet.review import Review
from trashnet.runs import Run

PARAMETER = "photo"
"""Of the address: the photo that is open, so that it can be shared."""


def open_if_asked(run: Run, said: pd.DataFrame) -> None:
    """Opens the photo that the address names, if it is among these answers."""
    file = st.query_params.get(PARAMETER)
    row = said[said.file == file]
    if len(row):
        _show(run, row.iloc[0])


def open_photo(file: str) -> None:
    """Has the next run of the script open a photo."""
    st.query_params[PARAMETER] = file


def _close() -> None:
    st.query_params.pop(PARAMETER, None)


@st.dialog("Photo", width="large", on_dismiss=_close)
def _show(run: Run, row: pd.Series) -> None:
    right = row.label == row.predicted
    st.markdown(
        f"`{row.file}` · true **{row.label}**, predicted **{row.predicted}** with "
        f"{row.confidence:.0%}"
    )
    path = loaders.photo_file(run, row.file)
    if path is None:
        st.info("The photo itself is not on this machine.", icon=":material/broken_image:")
        return
    try:
        content = path.read_bytes()
        prediction = loaders.answer(run, content)
        picture = load_photo(thumbnail(content, 720))
        labels = [row.predicted] if right else [row.predicted, row.label]
        maps = [overlay(picture, loaders.evidence(run, content, label), 0.45) for label in labels]
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        return
    for column, label, drawn in zip(st.columns(2), labels, maps, strict=False):
        what = "predicted" if label == row.predicted else "true"
        column.image(
            drawn,
            caption=f"what spoke for {label} ({what})",
            alt=f"{row.file}, and where it looks like {label}",
            output_format="JPEG",
        )
    st.plotly_chart(
        probability_bars(prediction.probabilities, run.classes),
        key="dialog_bars",
        config={"displayModeBar": False},
        alt="Probability of each class",
    )
    if not np.isclose(prediction.confidence, row.confidence, atol=0.005):
        st.caption(
            "Maps and bars are of the run's own model; out of fold, this photo was answered by "
            "another of its five, which never saw it."
        )
    render_similar(run, loaders.classifier(run).similar(prediction))
    _render_object(run, row.file)
    _render_review(row)


def _render_object(run: Run, file: str) -> None:
    """Draws the other photos of the same object."""
    index = loaders.run_index(run)
    if index is None:
        return
    group = index.group[index.file == file]
    same = index[index.group.isin(group) & (index.file != file)].head(8)
    if len(same):
        st.markdown("**Other photos of the same object**")
        captions = [f"{r.file.split('/')[-1]}  \n{r.split}" for r in same.itertuples()]
        photo_grid(loaders.photo_root(run), same.file, captions, width=110)


def _render_review(row: pd.Series) -> None:
    """Lets a person say that the label is wrong; the photo itself is not touched."""
    try:
        photos = loaders.photos_if_any()
        if photos is None or row.file not in photos.files:
            return
        review = review_of(photos, loaders.env())
        decision = review.latest().get(row.file)
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        return
    if decision is not None:
        st.caption(f":material/rate_review: In the review file: {decision.words}.")
    others = [name for name in photos.classes if name != row.label]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "Suspect label: it should be",
            others,
            index=others.index(row.predicted) if row.predicted in others else 0,
            key="dialog_label",
        )
        icon = ":material/rate_review:"
        if st.button("Note it in the review", key="dialog_suspect", icon=icon, **locked()):
            _suspect(review, row.file, label, photos)


@owner_only
def _suspect(review: Review, file: str, label: str, photos: Photos) -> None:
    review.decide(file, "relabel", label, files=photos.files, classes=photos.classes)
    st.rerun()
