"""Zip files of photos: only pictures come out, and only inside the folder they were meant for."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trashnet.errors import DataError, PhotoError
from trashnet.files import Progress, silent

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
    return is_visible(name) and PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


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
    return not member.is_dir() and is_picture_name(path.name) and all(map(is_visible, path.parts))


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def is_zip(content: bytes) -> bool:
    """Whether bytes are those of a zip, whatever its file is called."""
    return content[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def read_pictures(content: bytes, most: int) -> Iterator[tuple[str, bytes | PhotoError]]:
    """Yields the pictures of a zip one after the other; nothing is written to disk.

    Names are labels here and lead nowhere. What a member claims of its size is not trusted.
    One that cannot be taken out comes as the error that says why.

    Args:
        content: The zip.
        most: How many pictures it may hold.

    Raises:
        DataError: No zip, damaged, or too many pictures.
    """
    try:
        bundle = zipfile.ZipFile(io.BytesIO(content))
        members = [
            m
            for m in bundle.infolist()
            if not m.is_dir()
            and all(map(is_visible, _path(m).parts))
            and is_picture_name(m.filename)
        ]
    except Exception as error:  # zipfile raises almost anything when it is fed damaged bytes
        raise DataError(f"The zip is damaged or cut short ({error}); make it again.") from error
    if len(members) > most:
        raise DataError(f"The zip holds {len(members):,} pictures; send at most {most:,} at once.")
    for member in members:
        try:
            with bundle.open(member) as file:
                photo = file.read(MAX_PHOTO_BYTES + 1)
        except Exception as error:  # as above
            yield member.filename, PhotoError(f"It cannot be taken out of the zip ({error}).")
            continue
        if len(photo) > MAX_PHOTO_BYTES:
            limit = f"It is larger than {MAX_PHOTO_BYTES // 10**6} MB: make it smaller first."
            yield member.filename, PhotoError(limit)
        else:
            yield member.filename, photo
