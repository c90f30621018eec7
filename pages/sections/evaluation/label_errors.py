"""Evaluation, Label errors: photos that a model which never saw them is sure are something else."""

import streamlit as st

from pages.shared.markdown import bold, plain
from pages.shared.photos import thumbnails
from pages.shared.review_buttons import UNCHANGED, open_desk, render_review, render_undo
from pages.shared.runs import RunView, out_of_fold, suspects_of
from pages.shared.widgets import paged, render_thumbnail


def render(view: RunView) -> None:
    """Draws the suspected photos, the surest first, each with what to do about it."""
    table = out_of_fold(view.run)
    if table is None:
        st.info(
            "Suspected labels need a run with five folds: only a model that never saw a photo can "
            "doubt its label.",
            icon=":material/info:",
        )
        return
    found = suspects_of(view.run)
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
    shown = found.iloc[first:last]
    contents = thumbnails(view.root, shown.file, 360)
    with st.container(horizontal=True):
        for row, content in zip(shown.itertuples(), contents, strict=True):
            with st.container(width=200, border=True, gap="xsmall"):
                render_thumbnail(content, f"{row.file}: {row.label}")
                named = f"{bold(row.label)} → {plain(row.suspected)}"
                st.markdown(f"{named}, {row.confidence:.0%}")
                st.caption(plain(row.file))
                if desk is not None:
                    render_review(desk, row.file, row.label, "label_errors", row.suspected)
    if desk is not None:
        render_undo(desk, "label_errors_undo")
