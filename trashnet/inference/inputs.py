"""The photos that paths, folders, zips, patterns and standard input name."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from trashnet.data.archive import is_picture_name, read_pictures
from trashnet.data.image_io import Source
from trashnet.errors import DataError, PhotoError

Named = tuple[str, Source | PhotoError]
"""A photo's name, and where it is or the error that says why it is nowhere."""


def named_photos(paths: Iterable[str], stdin: BinaryIO) -> Iterator[Named]:
    """Yields the photos that arguments of the command line mean.

    Args:
        paths: Photos, folders of photos at any depth, zips, patterns such as `*.jpg`, and `-` for
            standard input.
        stdin: Names of photos, one a line, or one photo itself.
    """
    for path in paths:
        if path == "-":
            yield from _from_stdin(stdin)
        elif Path(path).is_dir():
            inside = sorted(p for p in Path(path).rglob("*") if is_picture_name(p.name))
            yield from ((str(p), p) for p in inside)
        # A link to nothing is there, although it does not exist, and would match itself for ever.
        elif not os.path.lexists(path) and (matching := sorted(glob.glob(path, recursive=True))):
            yield from named_photos(matching, stdin)
        elif path.lower().endswith(".zip") and os.path.isfile(path):
            yield from _from_zip(Path(path))
        else:
            yield path, Path(path)


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
            yield os.fsdecode(line), Path(os.fsdecode(line))
        lines = [line] if (line := stdin.readline()) else []


def _from_zip(path: Path) -> Iterator[Named]:
    try:
        for name, content in read_pictures(path):
            yield f"{path}/{name}", content
    except DataError as error:  # the photos before and after it are answered all the same
        yield str(path), PhotoError(str(error))
