"""One photo in full: what was answered and why, what it is like, and what to do about its label."""

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import loaders
from pages.shared.answer_card import render_similar
from pages.shared.markdown import bold, plain
from pages.shared.review_buttons import open_desk, render_review
from pages.shared.widgets import photo_grid
from trashnet.charts import probability_bars
from trashnet.data.image_io import load_photo, thumbnail
from trashnet.errors import TrashnetError
from trashnet.inference.explain import overlay
from trashnet.runs.run import Run

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


def close_photo() -> None:
    """Has the next run of the script show the page alone."""
    st.query_params.pop(PARAMETER, None)


@st.dialog("Photo", width="large", on_dismiss=close_photo)
def _show(run: Run, row: pd.Series) -> None:
    right = row.label == row.predicted
    st.markdown(
        f"{plain(row.file)} · true {bold(row.label)}, predicted {bold(row.predicted)} with "
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
            caption=f"what spoke for {plain(label)} ({what})",
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
    if (index := loaders.run_index(run)) is not None:
        render_object(index, loaders.photo_root(run), row.file)
    if (desk := open_desk()) is not None:
        render_review(desk, row.file, row.label, "dialog", suggested=row.predicted)


def render_object(index: pd.DataFrame, root: Path, file: str) -> None:
    """Draws the other photos of the same object."""
    group = index.group[index.file == file]
    same = index[index.group.isin(group) & (index.file != file)].head(8)
    if len(same):
        st.markdown("**Other photos of the same object**")
        captions = [f"{plain(r.file.split('/')[-1])}  \n{r.split}" for r in same.itertuples()]
        photo_grid(root, same.file, captions, width=110)
