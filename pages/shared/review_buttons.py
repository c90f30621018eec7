"""Keep, exclude, relabel, undo: the one set of buttons for what a person decides about photos."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from pages.shared.markdown import plain
from pages.shared.owner import locked, owner_only
from pages.shared.photos import photos_in_use
from pages.shared.progress import sentence, toasted
from trashnet.data.dataset import Photos
from trashnet.data.index import review_of
from trashnet.data.review import Action, Decision, Review, pair_key
from trashnet.environment import environment

UNCHANGED = "A decision changes no photo; it is kept in the review file and can be undone."


@dataclass(frozen=True)
class Desk:
    """A data set under review.

    Attributes:
        photos: The data set.
        review: Its review file.
        decisions: What holds now, by photo or pair (`Decision.about`).
    """

    photos: Photos
    review: Review
    decisions: dict[str, Decision]

    @property
    def reviewed(self) -> set[str]:
        """The photos that something was decided about, alone or as one of a pair."""
        made = self.decisions.values()
        return {file for d in made for file in (d.file, d.other) if file is not None}

    def holds(self, path: Path | None) -> bool:
        """Whether a photo that was found is one of the data set under review."""
        return path is not None and path.is_relative_to(self.photos.root)


def open_desk() -> Desk | None:
    """Returns the review of the photos in use; None where there are none.

    Where the review file is damaged, it says so.
    """
    with sentence():
        photos = photos_in_use()
        review = review_of(photos, environment())
        return Desk(photos, review, review.latest())
    return None


@owner_only
def decide(
    desk: Desk, file: str, action: Action, label: str | None = None, other: str | None = None
) -> None:
    """Writes a decision down: the one place where all pages do."""
    with toasted():
        desk.review.decide(
            file, action, label, other=other, files=desk.photos.files, classes=desk.photos.classes
        )


@owner_only
def undo(desk: Desk, about: str | None = None) -> None:
    """Takes the last decision back, or the last about one photo or pair."""
    with toasted():
        if (taken := desk.review.undo(about)) is not None:
            st.toast(plain(f"Taken back: {taken.about}: {taken.words}."), icon=":material/undo:")


def render_review(
    desk: Desk, file: str, label: str, key: str, suggested: str | None = None
) -> None:
    """Draws what was decided about a photo, or the buttons to decide.

    Args:
        desk: The data set under review.
        file: The photo; where it is of another data set, nothing is drawn.
        label: Its class.
        key: Prefix of the buttons' keys.
        suggested: The class that somebody suspects, offered first.
    """
    if file not in desk.photos.files:
        return
    if _render_decided(desk, file, f"{key}_undo_{file}"):
        return
    others = sorted(set(desk.photos.classes) - {label}, key=lambda name: name != suggested)
    with st.container(horizontal=True, gap="xsmall"):
        for word, action, what in (
            ("Keep", "keep", "It is as it should be"),
            ("Exclude", "exclude", "Leave it out of every split"),
        ):
            st.button(
                word,
                key=f"{key}_{action}_{file}",
                on_click=decide,
                args=(desk, file, action),
                **locked(help=what),
            )
        if len(others) == 1 or suggested in others:
            st.button(
                f"→ {plain(others[0])}",
                key=f"{key}_relabel_{file}",
                on_click=decide,
                args=(desk, file, "relabel", others[0]),
                **locked(help=plain(f"Relabel it {others[0]}")),
            )
        if len(others) > 1:
            st.menu_button(
                "Relabel",
                others,
                key=f"{key}_relabel_to_{file}",
                on_click=_relabel_chosen,
                args=(desk, file, f"{key}_relabel_to_{file}"),
                **locked(help="Give it another class"),
            )


def render_pair_review(desk: Desk, one: str, two: str, key: str) -> None:
    """Draws what was decided about two photos, or the buttons to say if they show one object.

    Args:
        desk: The data set under review.
        one: A photo.
        two: Another.
        key: Prefix of the buttons' keys.
    """
    if _render_decided(desk, pair_key(one, two), f"{key}_undo"):
        return
    with st.container(horizontal=True, gap="xsmall"):
        for word, action, what in (
            (
                "Same object",
                "same",
                "Both show the same object. It will not be in both training and test.",
            ),
            ("Not the same", "different", "Two objects that look alike; splits stay as they are"),
        ):
            st.button(
                word,
                key=f"{key}_{action}",
                on_click=decide,
                args=(desk, one, action, None, two),
                **locked(help=what),
            )


def _render_decided(desk: Desk, about: str, key: str) -> bool:
    """Draws what was decided, with its undo; returns whether anything was."""
    decision = desk.decisions.get(about)
    if decision is None:
        return False
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.caption(f":material/check: {plain(decision.words)}", width="content")
        st.button(
            "Undo",
            key=key,
            icon=":material/undo:",
            type="tertiary",
            on_click=undo,
            args=(desk, about),
            **locked(help=plain(f"Take back: {about}: {decision.words}")),
        )
    return True


def _relabel_chosen(desk: Desk, file: str, key: str) -> None:
    if label := st.session_state.get(key):
        decide(desk, file, "relabel", label)


def render_undo(desk: Desk, key: str) -> None:
    """Draws how many decisions hold, and the button that takes the last one back."""
    if not desk.decisions:
        return
    n = len(desk.decisions)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/rate_review: {n} decision{'s' * (n != 1)}", width="content")
        st.button(
            "Undo the last decision",
            icon=":material/undo:",
            key=key,
            on_click=undo,
            args=(desk,),
            **locked(),
        )
