"""Evaluation, Label errors: photos that a model which never saw them is sure are something else."""

import streamlit as st

from pages.shared import loaders
from pages.shared.dataset_facts import suspects_of
from pages.shared.markdown import bold, plain
from pages.shared.review_buttons import UNCHANGED, open_desk, render_review, render_undo
from pages.shared.widgets import paged
from trashnet.errors import PhotoError
from trashnet.runs.run import Run


def render(run: Run) -> None:
    """Draws the suspected photos, the surest first, each with what to do about it."""
    table = loaders.out_of_fold(run)
    if table is None:
        st.info(
            "Suspected labels need a run with five folds: only a model that never saw a photo can "
            "doubt its label.",
            icon=":material/info:",
        )
        return
    found = suspects_of(str(run.path), loaders.stamp(run))
    st.markdown(
        f"**{len(found)} of {len(table):,} photos are answered with another class, as surely as "
        "photos of that class are**, the surest first."
    )
    st.caption(UNCHANGED)
    desk = open_desk()
    if found.empty:
        return
    if desk is None or found.file[0] not in desk.photos.files:
        st.caption("The photos themselves are not on this machine, so there is nothing to review.")
        desk = None
    first, last = paged(found.file, "label_errors_page", per_page=12)
    root = loaders.photo_root(run)
    with st.container(horizontal=True):
        for row in found.iloc[first:last].itertuples():
            with st.container(width=200, border=True, gap="xsmall"):
                try:
                    st.image(loaders.thumb(root, row.file, 360), alt=f"{row.file}: {row.label}")
                except (OSError, PhotoError):
                    st.caption(":material/broken_image: photo not on this machine")
                named = f"{bold(row.label)} → {plain(row.suspected)}"
                st.markdown(f"{named}, {row.confidence:.0%}")
                st.caption(plain(row.file))
                if desk is not None:
                    render_review(desk, row.file, row.label, "label_errors", row.suspected)
    if desk is not None:
        render_undo(desk, "label_errors_undo")
