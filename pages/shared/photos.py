"""The data set that pages show: found or fetched, scanned, divided, and its thumbnails."""

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.caching import cached, stamp
from pages.shared.owner import locked, owner_only
from pages.shared.progress import progress_bar, sentence
from trashnet.data.dataset import Photos, choose_photos, chosen_photos, find_photos
from trashnet.data.editions import photo_id
from trashnet.data.image_io import inside
from trashnet.data.index import deal, known_groups, review_of, reviewed
from trashnet.data.scan import scan
from trashnet.data.thumbnails import stored_thumbnail
from trashnet.environment import environment
from trashnet.errors import PhotoError, disk_refusals
from trashnet.progress import parallel, silent

# ---------------------------------------------------------------- the data set


@disk_refusals()
def photos_in_use() -> Photos:
    """Returns the data set.

    Raises:
        TrashnetError: It is damaged, or gone.
    """
    env = environment()
    kept, key = _opened(), (env.home, env.data, chosen_photos(env))
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
    """Returns the data set; where it cannot be opened, says why and ends the page there.

    Args:
        otherwise: Draws what the page has to offer without photos, before it ends.
    """
    with sentence():
        return photos_in_use()
    if chosen_photos(environment()) is not None:
        back_to_trashnet()
    if otherwise is not None:
        otherwise()
    st.stop()


CHOICES = "photos_choices"
"""How often this visit chose photos; widgets that are named by it begin anew with each."""


def back_to_trashnet() -> None:
    """Draws the button that leaves the photos which were chosen."""
    if st.button("Back to TrashNet", icon=":material/undo:", key="photos_back", **locked()):
        _leave_chosen_photos()


@owner_only
def _leave_chosen_photos() -> None:
    use_photos(functools.partial(choose_photos, path=None))


@owner_only
def use_photos(photos_from: Callable[..., Photos]) -> None:
    """Gets photos under a progress bar and starts the page again; or says why it cannot.

    Args:
        photos_from: Takes the environment and `on_progress`.
    """
    with sentence():
        photos_from(environment(), on_progress=progress_bar())
        st.session_state[CHOICES] = st.session_state.get(CHOICES, 0) + 1
        st.rerun()


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


@dataclass(frozen=True)
class PhotoSource:
    """Where photos are found by their keys: a file of another content is another photo.

    Attributes:
        roots: Folders to look in, one after the other.
        ids: Of each photo by key, as `photo_ids` makes them; None takes the files as they are.
    """

    roots: tuple[Path, ...]
    ids: Mapping[str, str] | None = None

    def path(self, file: str) -> Path | None:
        """Returns where a photo is, or None where it is not on this machine."""
        for root in self.roots:
            with contextlib.suppress(OSError, PhotoError):  # a table may be from elsewhere
                path = inside(root, file)
                if path.is_file() and (self.ids is None or self.ids.get(file) == _id_of(path)):
                    return path
        return None


def _id_of(path: Path) -> str:
    about = path.stat()
    return _id_of_content(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@functools.lru_cache(maxsize=20_000)
def _id_of_content(path: Path, *_: int) -> str:
    return photo_id(hashlib.sha256(path.read_bytes()).hexdigest())


def thumbnails(source: PhotoSource, files: Iterable[str], size: int) -> list[bytes | None]:
    """Returns each photo's thumbnail as JPEG bytes, or None where it cannot be read."""
    folder = environment().cache / "thumbnails"

    def read(file: str) -> bytes | None:
        try:
            path = source.path(file)
            return None if path is None else stored_thumbnail(path, size, folder)
        except (OSError, PhotoError):
            return None

    return parallel(read, files, silent, "Making thumbnails")


def source_of(photos: Photos) -> PhotoSource:
    """Returns where the photos in use are found."""
    return PhotoSource((photos.root,))
