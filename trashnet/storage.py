"""Folders on disks and in object stores, and the Parquet files of answers in one.

Object stores (`s3://`, `gs://`, `abfs://`, …) are reached through `pyarrow.fs`.
"""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from trashnet.config import absolute
from trashnet.errors import DataError

ANSWERS, FAILED = "answers", "failed"
"""Folders of an output: what was answered, and what could not be read, with the reason."""

_HALF = re.compile(r"\.[0-9a-f]{32}")
"""Names of files that are being written."""

_HALF_SECONDS = 3600
"""How long a file may be in the making before it counts as left by a process that was killed."""


@dataclass(frozen=True)
class Place:
    """A folder or file that every machine at work must reach.

    Raises:
        DataError: The address is none, or its store cannot be reached.
    """

    address: str
    _path: str = field(init=False, repr=False)  # of this process, wherever it is used

    def __post_init__(self) -> None:
        object.__setattr__(self, "_path", str(absolute(self.address)) if self.is_local else "")

    @property
    def is_local(self) -> bool:
        """Whether it is a path, as opposed to an address such as `s3://bucket/folder`."""
        return "://" not in self.address

    @property
    def shown(self) -> str:
        """The address as it may be shown and written: without keys and options."""
        if self.is_local:
            return str(Path(self.address))
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        if self.is_local:
            return fs.LocalFileSystem(), self._path
        try:
            return fs.FileSystem.from_uri(self.address.rstrip("/"))
        except (OSError, ValueError, ImportError) as error:
            said = one_line(error).replace(self.address, self.shown)
            raise DataError(f"{self.shown} cannot be opened ({said}).") from error

    @property
    def store(self) -> fs.FileSystem:
        """What reads and writes there."""
        return self._opened[0]

    @property
    def root(self) -> str:
        """The path within `store`."""
        return self._opened[1]

    def name(self, path: str) -> str:
        """Returns what to call a path of `store`, in the words of the address."""
        whole = self.shown + path.removeprefix(self.root)
        return whole.encode("utf-8", "backslashreplace").decode()  # Parquet's texts are UTF-8

    def files(self, folder: str = "") -> list[str]:
        """Returns the paths of all files at any depth, sorted; a file alone is its own.

        Raises:
            DataError: The store cannot be reached or refuses.
        """
        where = f"{self.root}/{folder}".rstrip("/")
        if self.is_local:  # names that are no UTF-8 are not for pyarrow
            walked = os.walk(where, onerror=self._refused)
            inside = (os.path.join(at, name) for at, _, names in walked for name in names)
            return [where] if os.path.isfile(where) else sorted(inside)
        selector = fs.FileSelector(where, recursive=True, allow_not_found=True)
        try:
            if not folder and self.store.get_file_info(where).type == fs.FileType.File:
                return [where]
            found = self.store.get_file_info(selector)
        except OSError as error:
            raise DataError(f"{self.shown} cannot be read ({one_line(error)}).") from error
        return sorted(info.path for info in found if info.type == fs.FileType.File)

    def _refused(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # what is not there has no files
            raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, or None where there is none."""
        try:
            with self.store.open_input_stream(f"{self.root}/{path}") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self, path: str, write: Callable[[Any], None]) -> None:
        """Lets `write` fill an open file, which gets its path in one step when it is whole."""
        folder, _, name = f"{self.root}/{path}".rpartition("/")
        self.store.create_dir(folder)
        half = f"{folder}/.{uuid.uuid4().hex}"
        with self.store.open_output_stream(half) as stream:
            write(stream)
        self.store.move(half, f"{folder}/{name}")

    def remove(self, path: str) -> None:
        """Removes a file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self.store.delete_file(f"{self.root}/{path}")


def write_answers(place: Place, rows: list[dict[str, Any]], classes: Iterable[str]) -> int:
    """Writes rows as the command line prints them; returns how many could not be answered.

    A row whose `file` may be another's, too, says in `source` where it is from. The files are named
    by where the photos are, so that writing the same photos again replaces what was written.
    """
    name = _file([row.get("source") or row["file"] for row in rows])
    failed = [row for row in rows if "error" in row]
    kinds = ((ANSWERS, [row for row in rows if "error" not in row]), (FAILED, failed))
    for folder, some in kinds:
        if some:
            table = pa.Table.from_pylist(some, schema=_schema(folder, classes))
            place.write(
                f"{folder}/{name}", lambda stream, table=table: pq.write_table(table, stream)
            )
        else:
            place.remove(f"{folder}/{name}")
    return len(failed)


def remove_answers(place: Place, sources: list[str]) -> None:
    """Removes what `write_answers` wrote for these photos together."""
    for folder in (ANSWERS, FAILED):
        place.remove(f"{folder}/{_file(sources)}")


def _file(sources: list[str]) -> str:
    return f"{_fingerprint(chr(10).join(sources)).hex()}.parquet"


def _schema(folder: str, classes: Iterable[str]) -> pa.Schema:
    """Of every file the same: a class that no photo of a part is of keeps its column."""
    if folder == FAILED:
        return pa.schema({"file": pa.string(), "error": pa.string(), "source": pa.string()})
    return pa.schema(
        {
            "file": pa.string(),
            "label": pa.string(),
            "confidence": pa.float64(),
            "probabilities": pa.struct({name: pa.float64() for name in classes}),
            "sure": pa.bool_(),
            "familiar": pa.bool_(),
            "source": pa.string(),
        }
    )


def fingerprints(sources: Iterable[str]) -> NDArray[np.bytes_]:
    """Returns 16 bytes a photo: a hundred million are 1.6 GB, and no two are mistaken."""
    return np.array([_fingerprint(source) for source in sources], "S16")


def _fingerprint(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def written(place: Place) -> NDArray[np.bytes_]:
    """Returns the fingerprints, sorted, of where the photos are that an output holds already.

    What a killed process left half written is removed.

    Raises:
        DataError: A file is none of ours, or cannot be read.
    """
    found = [np.empty(0, "S16")]
    for path in (path for folder in (ANSWERS, FAILED) for path in place.files(folder)):
        name = path.rpartition("/")[2]
        try:
            if _HALF.fullmatch(name):
                if time.time() - place.store.get_file_info(path).mtime.timestamp() > _HALF_SECONDS:
                    place.store.delete_file(path)
            elif name.endswith(".parquet"):
                with place.store.open_input_file(path) as stream:
                    table = pq.read_table(stream, columns=["source", "file"])
                sources = pc.coalesce(table["source"], table["file"])
                found.append(fingerprints(sources.to_pylist()))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(
                f"{place.name(path)} cannot be read ({one_line(error)}); remove it, and its photos "
                "are answered again."
            ) from error
    return np.sort(np.concatenate(found))


def is_among(source: str, known: NDArray[np.bytes_]) -> bool:
    """Whether the fingerprint of where a photo is is among sorted ones."""
    (wanted,) = fingerprints([source])
    position = int(np.searchsorted(known, wanted))
    return position < len(known) and known[position] == wanted


def one_line(error: Exception) -> str:
    """Returns what an error says, to be a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".")
