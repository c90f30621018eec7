"""Evaluation, Label errors: photos that a model which never saw them is sure are something else."""

import streamlit as st

from pages.shared.markdown import bold, plain
from pages.shared.photos import thumbnails
from pages.shared.review_buttons import UNCHANGED, open_desk, render_review, render_undo
from pages.shared.runs import RunView, out_of_fold, suspects_of
from pages.shared.widgets import paged, render_missing, render_thumbnail


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
    if desk is None or not any(desk.holds(view.photos.path(file)) for file in found.file):
        st.caption("These are not the photos in use, so there is nothing to review.")
        desk = None
    first, last = paged(found.file, "label_errors_page", per_page=12)
    shown = found.iloc[first:last]
    rows = zip(shown.itertuples(), thumbnails(view.photos, shown.file, 360), strict=True)
    missing: list[tuple[str, str]] = []
    with st.container(horizontal=True):
        for row, content in rows:
            named = f"{bold(row.label)} → {plain(row.suspected)}, {row.confidence:.0%}"
            if content is None:
                missing.append((row.file, named))
                continue
            with st.container(width=200, border=True, gap="xsmall"):
                render_thumbnail(content, f"{row.file}: {row.label}")
                st.markdown(named)
                st.caption(plain(row.file))
                if desk is not None and desk.holds(view.photos.path(row.file)):
                    render_review(desk, row.file, row.label, "label_errors", row.suspected)
    if missing:
        render_missing(missing)
    if desk is not None:
        render_undo(desk, "label_errors_undo")
