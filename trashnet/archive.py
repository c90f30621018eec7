"""Zip files of photos: only pictures come out, and only inside the folder they were meant for."""

import zipfile
from pathlib import Path, PurePosixPath

from trashnet.errors import DataError
from trashnet.files import Progress, silent

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
)
_MAX_EXTRACTED = 20 * 1024**3


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
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        raise DataError(
            f"{archive} holds the path {member.filename!r}, which leads outside its folder; "
            "nothing was extracted."
        )
    return not member.is_dir() and is_picture_name(path.name) and all(map(is_visible, path.parts))
