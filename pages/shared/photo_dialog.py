"""One photo in full: what it is like, what a model answers and why, and what to do about it."""

import pandas as pd
import streamlit as st

from pages.shared.answer_card import render_bars, render_similar
from pages.shared.answering import answer_of, evidence_of
from pages.shared.markdown import bold, plain
from pages.shared.photos import PhotoSource
from pages.shared.progress import sentence
from pages.shared.review_buttons import open_desk, render_review
from pages.shared.runs import OUT_OF_FOLD, maps_of, photos_of
from pages.shared.widgets import photo_grid
from trashnet.data.image_io import QUALITIES, file_format, load_photo, thumbnail
from trashnet.inference.explain import overlay
from trashnet.runs.run import Run

PARAMETER = "photo"
"""Of the address: the photo that is open, so that it can be shared."""

LARGEST = 2048
"""Longer side of the photo as it is shown, in pixels: larger ones would take long on a phone."""


def asked_photo(files: pd.Series) -> str | None:
    """Returns the photo that the address names, if it is one of these."""
    file = st.query_params.get(PARAMETER)
    return file if file is not None and (files == file).any() else None


def open_photo(file: str) -> None:
    """Has the next run of the script open a photo."""
    st.query_params[PARAMETER] = file


def close_photo() -> None:
    """Has the next run of the script show the page alone."""
    st.query_params.pop(PARAMETER, None)


@st.dialog("Photo", width="large", on_dismiss=close_photo)
def show_photo(
    file: str,
    source: PhotoSource,
    index: pd.DataFrame | None,
    run: Run | None,
    predictions: pd.DataFrame | None,
) -> None:
    """Opens a photo.

    Args:
        file: The photo, of the index or of the predictions.
        source: Where its photos are found.
        index: Every photo of the data set or run, where they are known.
        run: Whose model answers, if one can.
        predictions: What the run answered: `file`, `predicted`, `confidence` and `split`.
    """
    row, said = _row_of(index, file), _row_of(predictions, file)
    label = (said if row is None else row).label  # type: ignore[union-attr]  # one knows it
    split = "" if row is None else f" · {row.split}"
    st.markdown(f"{plain(file)} · {bold(label)}{split}")
    path = source.path(file)
    if path is None:
        st.info("The photo itself is not on this machine.", icon=":material/broken_image:")
        if said is not None:
            st.markdown(_in_words(said))
        if row is not None:
            _render_facts(index, row)
        return
    with sentence(":material/broken_image:"):
        content = path.read_bytes()
        picture = thumbnail(content, LARGEST)
        stored = f"{file_format(content)}, {len(content) / 1000:,.0f} kB"
        left, right = st.columns([3, 2])
        with left:
            st.image(picture, alt=f"{file}, full size")
            if (desk := open_desk()) is not None and desk.holds(path):
                suggested = None if said is None else said.predicted
                render_review(desk, file, label, "dialog", suggested)
        if row is not None:
            with right:
                _render_facts(index, row, stored)
        if run is None:
            st.caption("No finished run knows these classes, so no model answers here yet.")
        else:
            with sentence():  # what follows needs no model
                _render_answer(run, file, content, label, said)
        if row is not None:
            _render_object(index, row, source)


def _row_of(table: pd.DataFrame | None, file: str) -> pd.Series | None:
    rows = pd.DataFrame() if table is None else table[table.file == file]
    return rows.iloc[0] if len(rows) else None


def _render_facts(index: pd.DataFrame, row: pd.Series, stored: str = "unknown") -> None:
    facts = {
        "file": stored,
        "flags": row.flag.replace(";", ", ") or "none",
    }
    if row.label != row.original_label:
        facts["filed under"] = plain(row.original_label)
    for quality in QUALITIES:
        share = (index[quality] < row[quality]).mean()
        facts[quality] = f"{row[quality]:.3f}, above {share:.0%} of the photos"
    first, *lines = [f"| {name} | {value} |" for name, value in facts.items()]
    st.markdown("\n".join([first, "|---|---|", *lines]))


def _render_object(index: pd.DataFrame, row: pd.Series, source: PhotoSource) -> None:
    """Draws the other photos of the same object."""
    same = index[(index.group == row.group) & (index.file != row.file)].head(8)
    if len(same):
        st.markdown("**Other photos of the same object**")
        captions = [f"{plain(r.file.split('/')[-1])}  \n{r.split}" for r in same.itertuples()]
        photo_grid(source, same.file, captions, width=110)


def _render_answer(run: Run, file: str, content: bytes, label: str, said: pd.Series | None) -> None:
    """Draws what a model says of the photo, and the evidence for it and for the true class."""
    st.markdown(f"**What the run “{run.id}” says**")
    answer = answer_of(run, content)
    predicted = answer.prediction.label if said is None else said.predicted
    # Rows keep the numbers of the table that they are taken from.
    kept = maps_of(run, said.name) if said is not None and said.split == OUT_OF_FOLD else None
    if said is not None:
        st.caption(_in_words(said, has_maps=kept is not None and said.label == label))
    # The true class is the one the run knew; the label may have been changed since.
    maps = {} if kept is None or said is None else {said.label: kept[1], said.predicted: kept[0]}
    picture = load_photo(thumbnail(content, 720))
    kinds = {label: "true", predicted: "predicted"}
    columns = st.columns(len(kinds) + 1)
    for column, (name, kind) in zip(columns, reversed(kinds.items()), strict=False):
        if name in maps:
            evidence = maps[name]
        else:
            evidence = evidence_of(run, content, name, answer.prediction)
        column.image(
            overlay(picture, evidence, 0.45),
            caption=f"evidence for {plain(name)} ({kind})",
            alt=f"{file}, and where it looks like {name}",
            output_format="JPEG",
        )
    with columns[-1]:
        render_bars(answer.prediction, run.classes, "dialog")
    render_similar(photos_of(run), answer.similar)


def _in_words(said: pd.Series, has_maps: bool = False) -> str:
    what = f"answered {bold(said.predicted)} with {said.confidence:.0%}"
    if said.split == OUT_OF_FOLD:
        own = "the maps are its own, the bars" if has_maps else "maps and bars"
        return f"A model that never saw this photo {what}; {own} are of the run's model."
    return f"In this run the photo was in {said.split}; the run {what}."
