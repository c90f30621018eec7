"""What an audit found: kept for the pages, which read it and never make one; shipped for TrashNet.

An audit embeds photos with TensorFlow, in a process of its own. What is left of it are tables: the
similar pairs.
"""

from pathlib import Path

import pandas as pd

from trashnet.data import Photos, trashnet_pairs
from trashnet.files import digest, write_atomically

SAME_OBJECT = 0.80
"""Cosine similarity from which two photos count as one object; `docs/data.md` says why."""

SIMILAR = 0.75
"""Cosine similarity from which a pair is listed for people to look at."""

_PAIRS = ["one", "two", "similarity"]


def store_table(name: str, table: pd.DataFrame, scanned: pd.DataFrame, cache_folder: Path) -> None:
    """Keeps a table of an audit, `pairs`, for as long as the photos stay the same."""
    path = _path(name, scanned, cache_folder)
    write_atomically(path, lambda partial: table.to_parquet(partial, index=False))


def known_pairs(photos: Photos, scanned: pd.DataFrame, cache_folder: Path) -> pd.DataFrame | None:
    """Returns the similar pairs (one, two, similarity), the most similar first; None before an
    audit.
    """
    if photos.is_trashnet:
        return trashnet_pairs()
    return _read(_path("pairs", scanned, cache_folder), _PAIRS)


def _path(name: str, scanned: pd.DataFrame, cache_folder: Path) -> Path:
    content = "".join(scanned.file + scanned.sha256.fillna(""))
    return cache_folder / f"{name}-{digest(content)}.parquet"


def _read(path: Path, columns: list[str]) -> pd.DataFrame | None:
    try:
        return pd.read_parquet(path)[columns]
    except (OSError, ValueError, KeyError):  # absent, torn or older
        return None
