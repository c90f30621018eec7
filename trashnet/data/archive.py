"""Zip files of photos: only pictures come out, and only inside the folder they were meant for."""

import io
import sys
import zipfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from trashnet.data.walk import leads_outside, member_name, reasons, walk_zip
from trashnet.errors import DataError, PhotoError
from trashnet.progress import Progress, silent

_MAX_EXTRACTED = 20 * 1024**3

MAX_PHOTO_BYTES = 50_000_000
"""Of one photo in a zip; a phone's are 3 to 8 million."""


_AT_ONCE = 1 << 16
"""Bytes unpacked between two looks at how many there are."""

_READ_BIT_BY_BIT = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members are packed that can be unpacked a little at a time; of the others a few bytes may
come out as gigabytes at once."""


@dataclass
class Room:
    """How many bytes may be unpacked, of one zip or of several together.

    Attributes:
        size: All of them.
        taken: Those that came out already, of members that then failed, too.
    """

    size: int
    taken: int = 0

    def take(self, count: int) -> None:
        """Counts bytes that came out.

        Raises:
            DataError: There is no room for them.
        """
        self.taken += count
        if self.taken > self.size:
            raise DataError(
                f"The zip unpacks to more than {self.size / 1e6:.0f} MB; "
                "send fewer or smaller photos."
            )


def extract_pictures(archive: Path, target: Path, on_progress: Progress = silent) -> dict[str, str]:
    """Extracts the pictures of a zip to `target`; litter and other files are left out.

    Returns:
        What was left out, and why, by name.

    Raises:
        DataError: No zip, damaged, encrypted, larger than 20 GB, or with paths that lead outside.
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            members, left_out = _wanted(bundle, archive)
            for done, (name, member) in enumerate(members.items(), start=1):
                member.filename = name
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
    return left_out


def _wanted(
    bundle: zipfile.ZipFile, archive: Path
) -> tuple[dict[str, zipfile.ZipInfo], dict[str, str]]:
    """The pictures to extract, and why the other members are left out."""
    for name in map(member_name, bundle.infolist()):
        if leads_outside(name):
            raise DataError(
                f"{archive} holds the path {name!r}, which leads outside its folder; "
                "nothing was extracted."
            )
    left_out: dict[str, str] = {}
    members = walk_zip(bundle, left_out)
    encrypted = [name for name, member in members.items() if _is_encrypted(member)]
    if encrypted and len(encrypted) == len(members):
        raise DataError(
            f"The {len(encrypted)} photos in {archive} are encrypted; unpack it with its "
            "password and use the folder."
        )
    for name in encrypted:
        left_out[name] = "encrypted"
        del members[name]
    if sum(member.file_size for member in members.values()) > _MAX_EXTRACTED:
        raise DataError(f"{archive} would unpack to more than 20 GB; extract it yourself.")
    return members, left_out


def _is_encrypted(member: zipfile.ZipInfo) -> bool:
    return bool(member.flag_bits & 1)


def is_zip(content: bytes) -> bool:
    """Whether bytes are those of a zip, whatever its file is called."""
    return content[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def read_pictures(
    source: bytes | Path,
    most: int | None = None,
    room: Room | None = None,
    left_out: MutableMapping[str, str] | None = None,
) -> Iterator[tuple[str, bytes | PhotoError]]:
    """Yields the pictures of a zip one after the other; nothing is written to disk.

    Names are labels here and lead nowhere. What a member claims of its size is not trusted.
    One that cannot be taken out comes as the error that says why.

    Args:
        source: The zip's bytes or path.
        most: How many pictures it may hold.
        room: How many bytes may come out; those of members that fail count, too.
        left_out: Takes the names of its other files, and why they are left out.

    Raises:
        DataError: No zip, damaged, without pictures, or too many of them or of their bytes.
    """
    left_out = {} if left_out is None else left_out
    try:
        bundle = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        members = walk_zip(bundle, left_out)
    except Exception as error:  # zipfile raises almost anything when it is fed damaged bytes
        raise DataError("The zip is damaged or cut short; make it again.") from error
    if not members:
        because = f" ({reasons(left_out)})" if left_out else ""
        raise DataError(
            f"The zip holds no pictures{because}; make one of JPEG, PNG or other photos."
        )
    if most is not None and len(members) > most:
        raise DataError(f"The zip holds {len(members):,} pictures; send at most {most:,} at once.")
    for name, member in members.items():
        yield name, _unpacked(bundle, member, room or Room(sys.maxsize))


def _unpacked(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, room: Room) -> bytes | PhotoError:
    """One picture of a zip, or why it cannot be had."""
    if _is_encrypted(member):
        return PhotoError("It is encrypted: unpack the zip with its password first.")
    if member.compress_type not in _READ_BIT_BY_BIT:
        return PhotoError("It is packed in an unusual way; make an ordinary zip.")
    photo = bytearray()
    try:
        with bundle.open(member) as file:
            while len(photo) <= MAX_PHOTO_BYTES and (part := file.read(_AT_ONCE)):
                photo += part
                room.take(len(part))
    except DataError:
        raise
    except Exception:  # as above
        room.take(_AT_ONCE)  # what came out last is not told; it may be as much
        return PhotoError("It cannot be taken out of the zip; pack it again.")
    if len(photo) > MAX_PHOTO_BYTES:
        return PhotoError(
            f"It is larger than {MAX_PHOTO_BYTES // 10**6} MB: make it smaller first."
        )
    return bytes(photo)
