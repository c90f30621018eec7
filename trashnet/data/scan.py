"""Reads every photo once and keeps what it measured."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES, photo_facts
from trashnet.errors import DataError, PhotoError
from trashnet.files import Cache
from trashnet.progress import Progress, parallel, silent


def scan(photos: Photos, cache_folder: Path, on_progress: Progress = silent) -> pd.DataFrame:
    """Reads every photo once and remembers what it saw; later calls only look at changed files.

    Returns:
        One row a photo, in the order of `photos.files`: file, label, width, height, bytes,
        mtime (ns), sha256, the qualities of `photo_facts`, and error (None, or the sentence that
        says why it cannot be read).

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
        }
    )
    cache, root = Cache(cache_folder), str(photos.root)
    known = cache.table("scan", root, list(_TYPES))
    if known is None:
        known = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in _TYPES.items()})
    table = now.merge(known, on=["file", "bytes", "mtime"], how="left")
    todo = np.flatnonzero(table.sha256.isna())
    if len(todo):
        rows = parallel(
            lambda i: _read_facts(photos.root / table.file[i]), todo, on_progress, "Reading photos"
        )
        for column, dtype in _FACTS.items():
            values = [row.get(column) for row in rows]
            table.loc[todo, column] = pd.Series(values, index=todo, dtype=dtype)
        cache.store_table("scan", root, table)
    table.insert(1, "label", photos.labels)
    table["error"] = table.error.astype(object).where(table.error.notna(), None)
    return table.fillna({"width": 0, "height": 0}).astype({"width": "int64", "height": "int64"})


def is_scanned(photos: Photos, cache_folder: Path) -> bool:
    """Whether the photos were scanned before, so that another scan is quick."""
    return Cache(cache_folder).table("scan", str(photos.root), ["file"]) is not None


_FACTS = {
    "width": "float64",
    "height": "float64",
    "sha256": "str",
    **dict.fromkeys(QUALITIES, "float64"),
    "error": "str",
}
"""What reading a photo tells, and the type it is kept as; sizes are missing where it fails."""

_TYPES = {"file": "str", "bytes": "int64", "mtime": "int64", **_FACTS}


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
