"""TrashNet in two editions: small, shipped with the package, and full size, from the Hub.

The small one holds all 2,527 photos at 384 × 288 pixels as WebP; docs/data.md says what that
changes. A photo is the same photo in both: `photo_ids` says so by content, whatever it is called.
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from filelock import FileLock

from trashnet.environment import PACKAGE
from trashnet.files import temporary_folder
from trashnet.progress import Progress, silent

FOLDER = PACKAGE / "assets" / "photos"

CONTENTS = FOLDER / "contents.csv"

SMALL, FULL = "small", "full"

DESCRIBED = {SMALL: "384 × 288 pixels, shipped", FULL: "512 × 384 pixels, from the Hub"}
"""The editions, for people."""


@cache
def contents() -> pd.DataFrame:
    """Returns the SHA-256 of every photo of TrashNet in each edition, indexed by file."""
    return pd.read_csv(CONTENTS, index_col="file", dtype=str)


@cache
def _full_of() -> dict[str, str]:
    return dict(zip(contents()[SMALL], contents()[FULL], strict=True))


def photo_ids(sha256: pd.Series) -> pd.Series:
    """Returns what tells photos apart by content, and is the same in both editions of TrashNet."""
    return sha256.map(lambda content: _full_of().get(content, content))


def photo_id(sha256: str) -> str:
    """Returns `photo_ids` of one photo."""
    return _full_of().get(sha256, sha256)


def unpack(target: Path, on_progress: Progress = silent) -> Path:
    """Writes the small edition's photos to a folder, once, all or nothing.

    Returns:
        The folder, with a folder of photos per class.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return target
        with temporary_folder(target) as partial:
            for label in sorted({file.split("/")[0] for file in contents().index}):
                (partial / label).mkdir()
            done, total = 0, len(contents())
            for path in sorted(FOLDER.glob("*.parquet")):
                for image in pq.read_table(path, columns=["image"])["image"].to_pylist():
                    (partial / image["path"]).write_bytes(image["bytes"])
                    done += 1
                    if done % 500 == 0 or done == total:
                        on_progress(done, total, "Unpacking TrashNet's photos")
            os.replace(partial, target)
    return target


def recognise(hashes: Mapping[str, str]) -> tuple[str | None, str]:
    """Says whether photos are TrashNet's.

    Args:
        hashes: The SHA-256 of every photo by its key.

    Returns:
        The edition, if they are exactly TrashNet's; and for a changed copy, how it differs, in a
        sentence, else "".
    """
    for edition in (FULL, SMALL):
        known = contents()[edition]
        if dict(hashes) == known.to_dict():
            return edition, ""
        if len(set(known) & set(hashes.values())) > len(known) // 2:
            return None, _difference(dict(hashes), known)
    return None, ""


def is_trashnet(index: pd.DataFrame) -> bool:
    """Whether an index's photos, by file and sha256, are exactly TrashNet's in one edition."""
    edition, _ = recognise(dict(zip(index.file, index.sha256, strict=True)))
    return edition is not None


def _difference(here: dict[str, str], known: pd.Series) -> str:
    """How a copy differs from an edition, in a sentence."""
    missing = {file: content for file, content in known.items() if here.get(file) != content}
    added = {file: content for file, content in here.items() if known.get(file) != content}
    moved = []
    for old, content in list(missing.items()):
        new = next((file for file, other in added.items() if other == content), None)
        if new is not None:
            moved.append(f"{old} is now {new}")
            del missing[old], added[new]
    changed = missing.keys() & added.keys()
    kinds = {
        "missing": missing.keys() - changed,
        "moved": moved,
        "changed": changed,
        "added": added.keys() - changed,
    }
    said = [
        f"{len(files)} {kind} ({', '.join(sorted(files)[:3])}{', …' if len(files) > 3 else ''})"
        for kind, files in kinds.items()
        if files
    ]
    return (
        f"This is a changed copy of TrashNet: {'; '.join(said)}. It counts as photos of your own: "
        "TrashNet's objects and published splits are not used."
    )
