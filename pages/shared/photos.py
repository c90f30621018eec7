"""The data set that pages show: found or fetched, scanned, divided, and its thumbnails."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.caching import cached, stamp
from pages.shared.owner import locked, owner_only
from pages.shared.progress import progress_bar, sentence
from trashnet.data.dataset import Photos, find_photos, has_photos, use_samples
from trashnet.data.download import fetch_trashnet
from trashnet.data.image_io import inside
from trashnet.data.index import deal, known_groups, review_of, reviewed
from trashnet.data.scan import scan
from trashnet.data.thumbnails import stored_thumbnail
from trashnet.environment import Environment, environment
from trashnet.errors import PhotoError, disk_refusals
from trashnet.progress import Progress, parallel, silent

# ---------------------------------------------------------------- the data set


@disk_refusals()
def photos_if_any() -> Photos | None:
    """Returns the data set, or None where there is none yet.

    Raises:
        TrashnetError: What is there is damaged.
    """
    env = environment()
    if not has_photos(env):
        return None
    kept, key = _opened(), (env.home, env.data)
    photos = kept.get(key)
    if photos is None or photos[1] != _stamps(photos[0]):
        found = find_photos(env, progress_bar())
        photos = kept[key] = (found, _stamps(found))
    return photos[0]


@st.cache_resource(show_spinner=False)
def _opened() -> dict[Any, tuple[Photos, tuple[int | None, ...]]]:
    """Data sets that were opened: every part of a page asks for them, and 40,000 take a while."""
    return {}


def _stamps(photos: Photos) -> tuple[int | None, ...]:
    """What changes when a photo or class comes or goes, or the zip they are from does."""
    folders = [photos.root.parent, photos.root, *(photos.root / name for name in photos.folders)]
    return tuple(stamp(path) for path in (*folders, environment().data) if path is not None)


def require_photos(otherwise: Callable[[], None] | None = None) -> Photos:
    """Returns the data set; where there is none, offers to get one and ends the page there.

    Args:
        otherwise: Draws what the page has to offer without photos, before it ends.
    """
    photos = None
    with sentence():
        photos = photos_if_any()
        if photos is None:
            _offer_photos()
    if photos is None:
        if otherwise is not None:
            otherwise()
        st.stop()
    if photos.is_sample:
        st.info(
            "These are drawn sample pictures, not photos: every page works with them, but no "
            "figure says anything about waste.",
            icon=":material/draw:",
        )
        if environment().data is None and st.button(
            "Fetch TrashNet (43 MB) instead",
            icon=":material/download:",
            key="photos_instead",
            **locked(),
        ):
            _get(fetch_trashnet)
    return photos


def _offer_photos() -> None:
    st.subheader("No photos on this machine yet")
    st.write(
        f"TrashNet is a 43 MB download from the Hugging Face Hub; it is kept in "
        f"`{environment().photos}`. Sample pictures are drawn here in a few seconds and need no "
        "network."
    )
    with st.container(horizontal=True):
        fetch = st.button(
            "Fetch TrashNet (43 MB)",
            type="primary",
            icon=":material/download:",
            key="photos_fetch",
            **locked(),
        )
        draw = st.button(
            "Draw sample pictures", icon=":material/draw:", key="photos_draw", **locked()
        )
    st.caption(
        "Photos of your own: set `TRASHNET_DATA` to a folder of class folders, or a zip of one, "
        "and start the app again."
    )
    if fetch or draw:
        _get(fetch_trashnet if fetch else use_samples)


@owner_only
def _get(photos_from: Callable[[Environment, Progress], Photos]) -> None:
    """Gets photos under a progress bar and starts the page again; or says why it cannot."""
    with sentence():
        photos_from(environment(), progress_bar())
        st.rerun()
    st.stop()


# ---------------------------------------------------------------- scanned and divided


def scan_of(photos: Photos) -> pd.DataFrame:
    """Returns the scan of the photos; the first time it reads them all, under a bar."""
    cache = environment().cache
    if len(photos.files) < _MANY:
        return scan(photos, cache, progress_bar())
    kept, key = _scans(), (photos.root, cache)
    table, stamps, at = kept.get(key, (None, None, 0.0))
    now = time.monotonic()
    if table is None or stamps != _stamps(photos) or now - at > _SCAN_SECONDS:
        table = scan(photos, cache, progress_bar())
        kept[key] = (table, _stamps(photos), now)
    return table


_MANY, _SCAN_SECONDS = 5_000, 30.0
"""From so many photos on, one that was overwritten in place is noticed only after so long: to ask
the disk about 40,000 at every click takes half a second."""


@st.cache_resource(show_spinner=False)
def _scans() -> dict[Any, tuple[pd.DataFrame, tuple[int | None, ...], float]]:
    return {}


def splits_of(photos: Photos, groups: pd.Series | None) -> list[str]:
    """Returns the ways these photos can be split, the best first; by object if these are known."""
    return ["object"] * (groups is not None) + ["random"] + ["authors"] * photos.is_trashnet


def groups_of(photos: Photos, scanned: pd.DataFrame) -> pd.Series | None:
    """Returns the object of each photo by file, or None before an audit."""
    return known_groups(photos, scanned, environment().cache)


def index_of(
    photos: Photos, scanned: pd.DataFrame, split: str, groups: pd.Series | None
) -> pd.DataFrame:
    """Returns the index of the photos under a way of splitting, reviews honoured."""
    dealt = _dealt(photos, scanned, split, groups)
    return reviewed(dealt, decisions=review_of(photos, environment()).latest())


@cached(max_entries=8, show_spinner="Dividing the photos")
def _dealt(
    _photos: Photos,  # the scan tells two data sets apart
    scanned: pd.DataFrame,
    split: str,
    groups: pd.Series | None,
) -> pd.DataFrame:
    return deal(_photos, scanned, split, 0, groups)


# ---------------------------------------------------------------- the pictures


def photo_path(root: Path, file: str) -> Path | None:
    """Returns where a photo is, or None where it is not on this machine."""
    try:
        path = inside(root, file)
    except PhotoError:  # a run's tables may be from somebody else
        return None
    return path if path.is_file() else None


def thumbnails(root: Path, files: Iterable[str], size: int) -> list[bytes | None]:
    """Returns each photo's thumbnail as JPEG bytes, or None where it cannot be read."""
    folder = environment().cache / "thumbnails"

    def read(file: str) -> bytes | None:
        try:
            return stored_thumbnail(inside(root, file), size, folder)
        except (OSError, PhotoError):
            return None

    return parallel(read, files, silent, "Making thumbnails")
