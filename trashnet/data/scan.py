"""Reads every photo once and keeps what it measured."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import pandas as pd

from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES, photo_facts
from trashnet.errors import DataError, PhotoError
from trashnet.files import Cache
from trashnet.progress import Progress, parallel, silent

_STEP = 1000
"""Photos read between two times that what was measured is stored."""


def scan(photos: Photos, cache_folder: Path, on_progress: Progress = silent) -> pd.DataFrame:
    """Reads every photo once and remembers what it saw; later calls only look at changed files.

    It stores as it goes: what is interrupted, as by a click on the page that waits for it, goes on
    from there.

    Returns:
        One row a photo, in the order of `photos.files`: file, label, width, height, bytes,
        mtime and ctime (ns), sha256, the qualities of `photo_facts`, and error (None, or the
        sentence that says why it cannot be read).

    Raises:
        DataError: A photo is gone since the folder was opened.
    """
    try:
        stats = [os.stat(f"{photos.root}/{file}") for file in photos.files]
    except OSError as error:
        raise DataError(f"The photo {error.filename} is gone; open the folder again.") from error
    now = pd.DataFrame(
        {
            "file": photos.files,
            "bytes": [s.st_size for s in stats],
            "mtime": [s.st_mtime_ns for s in stats],
            "ctime": [s.st_ctime_ns for s in stats],  # also of a file put in another's place
        }
    )
    cache, root = Cache(cache_folder), str(photos.root)
    known = cache.table("scan", root, list(_TYPES))
    if known is None:
        known = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in _TYPES.items()})
    table = now.merge(known, on=list(_FILE), how="left")
    todo = table.index[table.sha256.isna()]
    for start in range(0, len(todo), _STEP):
        step = todo[start : start + _STEP]

        def told(done: int, _: int, what: str, before: int = start) -> None:
            on_progress(before + done, len(todo), what)

        facts: dict[int, dict[str, Any]] = {}
        try:
            _read_into(facts, photos, step, told)
        finally:
            for column, dtype in _FACTS.items():
                values = [row.get(column) for row in facts.values()]
                table.loc[list(facts), column] = pd.Series(values, index=list(facts), dtype=dtype)
            with contextlib.suppress(OSError):  # a full disk costs the next visit's time
                cache.store_table("scan", root, table[table.sha256.notna() | table.error.notna()])
    table.insert(1, "label", photos.labels)
    table["error"] = table.error.astype(object).where(table.error.notna(), None)
    return table.fillna({"width": 0, "height": 0}).astype({"width": "int64", "height": "int64"})


def is_scanned(photos: Photos, cache_folder: Path) -> bool:
    """Whether the photos were scanned before, so that another scan is quick."""
    known = Cache(cache_folder).table("scan", str(photos.root), ["file"])
    return known is not None and len(known) >= len(photos.files)


_FACTS = {
    "width": "float64",
    "height": "float64",
    "sha256": "str",
    **dict.fromkeys(QUALITIES, "float64"),
    "error": "str",
}
"""What reading a photo tells, and the type it is kept as; sizes are missing where it fails."""

_FILE = {"file": "str", "bytes": "int64", "mtime": "int64", "ctime": "int64"}
"""What tells a photo that was read from one put in its place."""

_TYPES = {**_FILE, **_FACTS}


def _read_into(
    facts: dict[int, dict[str, Any]], photos: Photos, rows: pd.Index, on_progress: Progress
) -> None:
    """Reads photos by their numbers; an interruption leaves those that were read."""

    def read(i: int) -> None:
        facts[i] = _read_facts(photos.root / photos.files[i])

    parallel(read, rows, on_progress, "Reading photos")


def read_known(path: Path, sha256: str) -> bytes:
    """Returns the bytes of a photo that was scanned.

    Raises:
        PhotoError: It is gone, or another one lies in its place now.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path.name} cannot be opened ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PhotoError(f"{path.name} is another picture now.")
    return content


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:  # without a sha256, so it is tried again next time
        return {"error": f"{path.name} cannot be opened ({error.strerror}); check its rights."}
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return {"sha256": sha256, **photo_facts(content)}
    except PhotoError as error:
        return {"sha256": sha256, "error": str(error)}
