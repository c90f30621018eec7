"""Evaluation, Label errors: photos that a model which never saw them is sure are something else."""

from typing import Any

import streamlit as st

from pages.shared import loaders
from pages.shared.owner import locked, owner_only
from pages.shared.widgets import paged
from trashnet.data import Photos
from trashnet.errors import PhotoError, TrashnetError
from trashnet.index import review_of
from trashnet.review import Decision, Review
from trashnet.runs import Run
from trashnet.suspects import suspects


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
    found = suspects(table, run.classes)
    st.markdown(
        f"**{len(found)} of {len(table):,} photos are answered with another class, as surely as "
        "photos of that class are**, the surest first."
    )
    st.caption("A decision changes no photo; it is kept in the review file and can be undone.")
    try:
        photos = loaders.photos_if_any()
        review = review_of(photos, loaders.env()) if photos else None
        decided = review.latest() if review else {}
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        return
    if photos is None or found.empty or found.file[0] not in photos.files:
        st.caption("The photos themselves are not on this machine, so there is nothing to review.")
        photos = None
    first, last = paged(found.file, "label_errors_page", per_page=12)
    root = loaders.photo_root(run)
    with st.container(horizontal=True):
        for row in found.iloc[first:last].itertuples():
            with st.container(width=200, border=True, gap="xsmall"):
                try:
                    st.image(loaders.thumb(root, row.file, 360), alt=f"{row.file}: {row.label}")
                except (OSError, PhotoError):
                    st.caption(":material/broken_image: photo not on this machine")
                st.markdown(f"**{row.label}** → {row.suspected}, {row.confidence:.0%}")
                st.caption(row.file)
                if photos is not None:
                    _render_decision(review, photos, row, decided.get(row.file))
    if photos is not None and decided:
        st.button(
            "Undo the last decision",
            icon=":material/undo:",
            key="label_errors_undo",
            on_click=owner_only(review.undo),
            **locked(),
        )


def _render_decision(review: Review, photos: Photos, row: Any, decision: Decision | None) -> None:
    if decision is not None:
        st.caption(f":material/check: {decision.words}")
        return

    @owner_only
    def decide(action: str, label: str | None = None) -> None:
        review.decide(row.file, action, label, files=photos.files, classes=photos.classes)

    with st.container(horizontal=True, gap="xsmall"):
        for word, action, label in (
            ("Keep", "keep", None),
            (row.suspected.capitalize(), "relabel", row.suspected),
            ("Exclude", "exclude", None),
        ):
            st.button(
                word,
                key=f"label_errors_{action}_{row.file}",
                on_click=decide,
                args=(action, label),
                **locked(help="Relabel it" if label else None),
            )
