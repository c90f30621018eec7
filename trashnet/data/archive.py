"""Zip files of photos: only pictures come out, and only inside the folder they were meant for."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trashnet.errors import DataError, PhotoError
from trashnet.progress import Progress, silent

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)

_MAX_EXTRACTED = 20 * 1024**3

MAX_PHOTO_BYTES = 50_000_000
"""Of one photo in a zip; a phone's are 3 to 8 million."""


def is_visible(name: str) -> bool:
    """Whether a file or folder is no litter such as `.DS_Store`, `._x.jpg` or `__MACOSX`."""
    return not name.startswith((".", "__"))


def is_picture_name(name: str) -> bool:
    """Whether a file name is that of a picture: visible, with a picture's suffix."""
    return is_visible(name) and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def extract_pictures(archive: Path, target: Path, on_progress: Progress = silent) -> None:
    """Extracts the pictures of a zip to `target`; litter and other files are left out.

    Raises:
        DataError: No zip, damaged, larger than 20 GB, or with paths that lead outside.
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [m for m in bundle.infolist() if _is_wanted(m, archive)]
            if sum(m.file_size for m in members) > _MAX_EXTRACTED:
                raise DataError(f"{archive} would unpack to more than 20 GB; extract it yourself.")
            for done, member in enumerate(members, start=1):
                bundle.extract(member, target)
                if done % 50 == 0 or done == len(members):
                    on_progress(done, len(members), "Extracting the photos")
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{archive} could not be extracted ({error.strerror or error}); "
            "check the free space and the rights of the folder."
        ) from error
    except Exception as error:  # zipfile raises almost anything when it is fed damaged bytes
        raise DataError(
            f"{archive} is not a complete zip file ({error}); download it again."
        ) from error


def _is_wanted(member: zipfile.ZipInfo, archive: Path) -> bool:
    path = _path(member)
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        raise DataError(
            f"{archive} holds the path {member.filename!r}, which leads outside its folder; "
            "nothing was extracted."
        )
    return _is_picture(member)


def is_zip(content: bytes) -> bool:
    """Whether bytes are those of a zip, whatever its file is called."""
    return content[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def read_pictures(
    source: bytes | Path, most: int | None = None, room: int | None = None
) -> Iterator[tuple[str, bytes | PhotoError]]:
    """Yields the pictures of a zip one after the other; nothing is written to disk.

    Names are labels here and lead nowhere. What a member claims of its size is not trusted.
    One that cannot be taken out comes as the error that says why.

    Args:
        source: The zip's bytes or path.
        most: How many pictures it may hold.
        room: How many bytes they may be, unpacked.

    Raises:
        DataError: No zip, damaged, without pictures, or too many of them or of their bytes.
    """
    try:
        bundle = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        members = [m for m in bundle.infolist() if _is_picture(m)]
    except Exception as error:  # zipfile raises almost anything when it is fed damaged bytes
        raise DataError("The zip is damaged or cut short; make it again.") from error
    if not members:
        raise DataError("The zip holds no pictures; make one of JPEG, PNG or other photos.")
    if most is not None and len(members) > most:
        raise DataError(f"The zip holds {len(members):,} pictures; send at most {most:,} at once.")
    taken = 0
    for member in members:
        try:
            with bundle.open(member) as file:
                photo = file.read(MAX_PHOTO_BYTES + 1)
        except Exception:  # as above
            yield member.filename, PhotoError("It cannot be taken out of the zip; pack it again.")
            continue
        taken += len(photo)
        if room is not None and taken > room:
            raise DataError(
                f"The zip unpacks to more than {room / 1e6:.0f} MB; send fewer or smaller photos."
            )
        if len(photo) > MAX_PHOTO_BYTES:
            limit = f"It is larger than {MAX_PHOTO_BYTES // 10**6} MB: make it smaller first."
            yield member.filename, PhotoError(limit)
        else:
            yield member.filename, photo


def _is_picture(member: zipfile.ZipInfo) -> bool:
    path = _path(member)
    return not member.is_dir() and is_picture_name(path.name) and all(map(is_visible, path.parts))


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))
