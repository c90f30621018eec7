"""Files on disk: written all at once or not at all, and read whether or not they are whole."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import reprlib
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import pandas as pd
from pydantic import ValidationError

T = TypeVar("T")

HOUR, DAY = 3_600, 86_400
"""Seconds."""

_UNUSED = 30 * DAY


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in place in one step.

    Both are on the disk when this returns: a power cut leaves the old file or the new one.

    Raises:
        OSError: The disk refused; its `filename` is `path`, its `errno` is never None.
    """
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        partial = Path(name)
        write(partial)
        partial.chmod(0o644)  # mkstemp makes files that nobody else can read
        _sync(partial, os.O_RDWR)
        os.replace(partial, path)
        with contextlib.suppress(OSError):  # not every system syncs folders
            _sync(path.parent, os.O_RDONLY)
    except OSError as error:  # libraries leave out the number, and all name the temporary file
        why = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, why, str(path)) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_torn(folder: Path, suffixes: Collection[str]) -> None:
    """Removes what `write_atomically` left in a folder, or below, when its process was killed.

    Args:
        folder: Where nobody else writes such files now.
        suffixes: Of the files.
    """
    for path in folder.rglob(".*-*"):
        if path.suffix in suffixes and path.is_file():
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented for people."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))


def read_json(path: Path) -> Any:
    """Returns the file's JSON, or None when the file is absent or torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None


def mistake(error: ValidationError, file: str) -> str:
    """Returns the first thing that is wrong in a file: the field, what is there, what should be."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if not field:
        return f"{file} is missing or torn"
    if first["type"] == "missing":
        return f"{field} is missing in {file}"
    allowed = first["msg"].replace("Input", "it").replace("'", "")
    return f"{field} is {reprlib.repr(first['input'])} in {file}; {allowed}"


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder beside `target` and removes it, and any an interruption left behind.

    That is what nobody wrote to for a day: another process may be at work beside this one. The new
    folder may be moved to `target`; then nothing is left to remove.
    """
    prefix = f".partial-{target.name}-"
    for left_over in target.parent.glob(f"{glob.escape(prefix)}*"):
        if _age(left_over) > DAY:
            shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _age(path: Path) -> float:
    """Seconds since a file was changed, or a folder's entries; 0 of what is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def digest(text: str) -> str:
    """Returns twelve hexadecimal digits that name a content."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# ---------------------------------------------------------------- what can be computed again


def write_table(path: Path, table: pd.DataFrame, index: bool | None = None) -> None:
    """Writes Parquet with checksums, so that `read_table` notices what a disk made of it."""
    table.to_parquet(path, index=index, write_page_checksum=True)


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Reads columns of what `write_table` wrote.

    Raises:
        OSError: It is damaged, or gone.
    """
    with path.open("rb") as file:  # a path is opened twice, and may be another file by then
        return pd.read_parquet(file, columns=columns, page_checksum_verification=True)


@dataclass(frozen=True)
class Cache:
    """A folder of files that can be computed again, so that it may lack any of them.

    Attributes:
        folder: Created when the first file is stored.
    """

    folder: Path

    def load(self, name: str, read: Callable[[Path], T]) -> T | None:
        """Returns what `read` makes of a file, or None where it is absent, torn or older."""
        try:
            return read(self.folder / name)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def store(self, name: str, write: Callable[[Path], Any]) -> None:
        """Lets `write` fill a file; of several processes at once, the last one's file stays.

        Raises:
            OSError: The folder cannot be written, or the disk is full.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)

    def table(self, name: str, content: str, columns: list[str]) -> pd.DataFrame | None:
        """Returns these columns of the table `store_table` kept for this content, or None."""
        file = f"{name}-{digest(content)}.parquet"
        return self.load(file, lambda path: read_table(path, columns))

    def store_table(self, name: str, content: str, table: pd.DataFrame) -> None:
        """Keeps a table, without its index; `content` names what it is about."""
        file = f"{name}-{digest(content)}.parquet"
        self.store(file, lambda path: write_table(path, table, index=False))


def mark_used(path: Path) -> None:
    """Makes now the time of last use, which is the modification time; once an hour is enough."""
    with contextlib.suppress(OSError):
        # Not each time: the app takes another modification time of a folder for a change in it.
        if time.time() - path.stat().st_mtime > HOUR:
            os.utime(path)


def unused(
    paths: Iterable[Path],
    most: float,
    size: Callable[[Path], float] = lambda path: 1,
    spared: float = 0,
) -> list[Path]:
    """Returns what to remove: not used for 30 days, or the longest unused beyond a bound.

    Args:
        paths: Files or folders; their modification time is their last use.
        most: What may be left, in all.
        size: What each counts for; by default, they are counted.
        spared: Seconds since the last use in which nothing goes for the bound's sake.
    """
    found, total = [], 0.0
    with contextlib.suppress(OSError):  # one is gone: another process removes them, too
        for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
            total += size(path)
            age = time.time() - path.stat().st_mtime
            if age > _UNUSED or (total > most and age > spared):
                found.append(path)
    return found
