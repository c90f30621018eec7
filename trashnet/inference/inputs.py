"""The photos that paths, folders, zips, patterns and standard input name."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import BinaryIO

from trashnet.data.archive import read_pictures
from trashnet.data.image_io import Source
from trashnet.data.walk import printable, walk_folder
from trashnet.errors import DataError, PhotoError

Named = tuple[str, Source | PhotoError]
"""A photo's name, and where it is or the error that says why it is nowhere."""


def named_photos(
    paths: Iterable[str],
    stdin: BinaryIO,
    left_out: MutableMapping[str, str] | None = None,
) -> Iterator[Named]:
    """Yields the photos that arguments of the command line mean.

    Args:
        paths: Photos, folders of photos at any depth, zips, patterns such as `*.jpg`, and `-` for
            standard input.
        stdin: Names of photos, one a line, or one photo itself.
        left_out: Takes the other files of folders and zips, and why they are left out.
    """
    left_out = {} if left_out is None else left_out
    for path in paths:
        if path == "-":
            yield from _from_stdin(stdin)
        elif Path(path).is_dir():
            found = walk_folder(Path(path))
            _add(left_out, path, found.left_out)
            yield from ((printable(str(p)), p) for p in (Path(path, f) for f in found.files))
        # A link to nothing is there, although it does not exist, and would match itself for ever.
        elif not os.path.lexists(path) and (matching := sorted(glob.glob(path, recursive=True))):
            yield from named_photos(matching, stdin, left_out)
        elif path.lower().endswith(".zip") and os.path.isfile(path):
            yield from _from_zip(Path(path), left_out)
        else:
            yield printable(path), Path(path)


def _from_stdin(stdin: BinaryIO) -> Iterator[Named]:
    # What is there, without waiting. Every binary stream has it, but `BinaryIO` does not say so.
    start: bytes = stdin.read1(4096)  # type: ignore[attr-defined]
    if b"\0" in start:  # as in the head of every picture format, and in no name
        yield "-", start + stdin.read()
        return
    lines = start.split(b"\n")
    if lines[-1]:  # what was there ends within a name
        lines[-1] += stdin.readline()
    while lines:
        for line in filter(None, map(bytes.strip, lines)):
            yield printable(os.fsdecode(line)), Path(os.fsdecode(line))
        lines = [line] if (line := stdin.readline()) else []


def _from_zip(path: Path, left_out: MutableMapping[str, str]) -> Iterator[Named]:
    others: dict[str, str] = {}
    try:
        for name, content in read_pictures(path, left_out=others):
            yield printable(f"{path}/{name}"), content
    except DataError as error:  # the photos before and after it are answered all the same
        yield printable(str(path)), PhotoError(str(error))
    _add(left_out, str(path), others)


def _add(left_out: MutableMapping[str, str], path: str, others: Mapping[str, str]) -> None:
    left_out.update({printable(str(Path(path, name))): why for name, why in others.items()})
