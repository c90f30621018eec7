"""A folder on disk or in an object store, read and written alike."""

import contextlib
import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from trashnet.environment import absolute
from trashnet.errors import DataError

HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}")
"""Names of files that are being written."""

HALF_SECONDS = 3600
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


def one_line(error: Exception) -> str:
    """Returns what an error says, to be a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".")
