"""While a page works: how far it is, or in a sentence why it cannot go on."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from trashnet.errors import TrashnetError, disk_refusals
from trashnet.progress import Progress


def progress_bar() -> Progress:
    """Returns a progress callback that draws a bar where it is first called, until it is full."""
    bar = None

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal bar
        if bar is None:
            bar = st.progress(0.0)
        bar.progress(min(1.0, done / max(1, total)), f"{what}: {done:,} of {total:,}")
        if done >= total:
            bar.empty()
            bar = None

    return on_progress


@contextmanager
def sentence(icon: str = ":material/error:") -> Iterator[None]:
    """Draws an error that a person can act on in place of what is left of the block."""
    try:
        with disk_refusals():
            yield
    except TrashnetError as error:
        st.error(str(error), icon=icon)


@contextmanager
def toasted() -> Iterator[None]:
    """As `sentence`, for callbacks, which have no place of their own on the page."""
    try:
        with disk_refusals():
            yield
    except TrashnetError as error:
        st.toast(str(error), icon=":material/error:")


def duration(seconds: float) -> str:
    """Says how long something takes: `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
