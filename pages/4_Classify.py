"""Classify: what is this? Photos in, ranked answers and the reasons out."""

import streamlit as st

from pages.sections import batch_table, photo_input
from pages.shared import loaders
from pages.shared.answers import render_answer
from pages.shared.page import page_header
from pages.shared.widgets import pick_run, warn_of_samples
from trashnet.batch import Named
from trashnet.errors import PhotoError
from trashnet.runs import Run

MOST_CARDS = 3  # more photos get a row each
ALONE = "no other"


def render_cards(runs: list[Run], photos: list[Named]) -> None:
    """Draws an answer for each photo, of two models side by side."""
    for number, (name, content) in enumerate(photos):
        with st.container(border=True):
            st.caption(name.replace("`", "'"))
            if isinstance(content, PhotoError):
                st.error(str(content), icon=":material/broken_image:")
                continue
            for column, run in zip(st.columns(len(runs)), runs, strict=True):
                with column:
                    render_answer(run, content, f"classify_{number}_{run.id}")


def main() -> None:
    """Draws the page."""
    page_header("Classify", "What is this?")
    runs = loaders.answering_runs()
    above = st.container()  # on a phone the photo and its answer come before the choice of models
    one, two = st.columns(2)
    with one:
        run = pick_run("classify_run", runs)
    others = {other.id: other for other in runs if other.path != run.path}
    second = two.selectbox(
        "Beside it",
        [ALONE, *others],
        key="classify_second",
        disabled=not others,
        help="Another model's answers to the same photos, side by side.",
    )
    warn_of_samples(run)
    with above:
        photos = photo_input.render(run)
        if len(photos) <= MOST_CARDS:
            render_cards([run, *([others[second]] if second in others else [])], photos)
        else:
            batch_table.render(run, photos)


main()
