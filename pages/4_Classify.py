"""Classify: what is this? Photos in, ranked answers and the reasons out."""

import streamlit as st

from pages.sections.classify import batch_table, photo_input
from pages.shared.answer_card import render_photo
from pages.shared.page import page_header
from pages.shared.runs import answering_runs
from pages.shared.widgets import pick_run, warn_of_damage

MOST_CARDS = 3  # more photos get a row each
ALONE = "no other"


def main() -> None:
    """Draws the page."""
    page_header("Classify", "What is this?")
    runs = answering_runs()
    above = st.container()  # on a phone the photo and its answer come before the choice of models
    one, two = st.columns(2)
    with one:
        warn_of_damage()
        run = pick_run("classify_run", runs)
    others = {other.id: other for other in runs if other.path != run.path}
    second = two.selectbox(
        "Compare with",
        [ALONE, *others],
        key="classify_second",
        disabled=not others,
        help="Another model's answers to the same photos, side by side.",
    )
    with above:
        photos = photo_input.render(run)
        chosen = [run, others[second]] if second in others else [run]
        if len(photos) > MOST_CARDS:
            batch_table.render(chosen, photos)
        else:
            for number, (name, source) in enumerate(photos):
                render_photo(chosen, name, source, f"classify_{number}")


main()
