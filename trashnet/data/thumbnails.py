"""Thumbnails on disk: each made once, however often the app is started."""

import contextlib
import os
from pathlib import Path

from trashnet.data.image_io import thumbnail
from trashnet.files import Cache, digest

_END = b"\xff\xd9"
"""Of every whole JPEG file."""


def stored_thumbnail(path: Path, size: int, folder: Path) -> bytes:
    """Returns `trashnet.data.image_io.thumbnail`, from the folder if it was made before.

    Args:
        path: The photo; a changed photo gets a new thumbnail.
        size: Of its longer side, in pixels.
        folder: Where thumbnails are kept; that it cannot be written costs only time.

    Raises:
        OSError: There is no such photo.
        PhotoError: It cannot be read.
    """
    cache, file = Cache(folder), _file(path, size)
    content = cache.load(file, Path.read_bytes)
    if content and content.endswith(_END):
        return content
    content = thumbnail(path, size)
    with contextlib.suppress(OSError):
        cache.store(file, lambda partial: partial.write_bytes(content))
    return content


def _file(path: Path, size: int) -> str:
    """Hundreds of folders, because a single one with 40,000 files is slow to work with."""
    about = os.stat(path)
    name = digest(f"{path} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {size}")
    return f"{name[:2]}/{name[2:]}.jpg"
