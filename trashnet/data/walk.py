"""Which files of a folder or zip are photos, and why the others are left out: for every command."""

import contextlib
import os
import re
import unicodedata
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trashnet.data.image_io import is_picture_head

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp"}

PICTURE_SUFFIXES = _JPEG | {".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
PICTURE_SUFFIXES |= {".avif", ".heic", ".heif", ".hif"}

_SYSTEM = frozenset(
    ["@eadir", "$recycle.bin", "#recycle", "system volume information", "lost+found"]
)
"""Folders that file servers and Windows fill with copies."""

_LITTER = frozenset([".ds_store", "thumbs.db", "desktop.ini", "__macosx"])
"""What every folder of a Mac or a PC holds; not worth a word."""

_HEAD = 32
"""Bytes at the start of a file that show whether it is a picture."""

ABOUT_FILE = ".about.json"
"""In the folder of an extracted zip: what was not extracted, and what the photos are."""


@dataclass
class Walk:
    """What a folder holds.

    Attributes:
        files: Photos, as paths from the folder with `/`, sorted.
        folders: All folders that were entered, in the same form.
        left_out: Why other files and folders were not taken, by path.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def is_visible(name: str) -> bool:
    """Whether a file or folder is no litter such as `.DS_Store`, `__MACOSX` or `@eaDir`."""
    return not name.startswith((".", "__")) and name.lower() not in _SYSTEM | _LITTER


def is_visible_path(path: str) -> bool:
    """Whether every part of a path with `/` is visible."""
    return all(map(is_visible, path.split("/")))


def is_picture_name(name: str) -> bool:
    """Whether a file name is that of a picture: visible, with a picture's suffix."""
    return is_visible(name) and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def class_key(name: str) -> str:
    """Returns what two spellings of a class's name share: case and Unicode form do not count."""
    return unicodedata.normalize("NFC", name).casefold()


def printable(name: str) -> str:
    """Returns a file's name as it can be printed and stored, also one that is not UTF-8."""
    return name.encode(errors="replace").decode()


def reasons(left_out: Mapping[str, str], most: int = 3) -> str:
    """Returns how many files were left out for each reason, with an example.

    `not a picture (3, such as notes.txt), hidden (.git)`
    """
    names: dict[str, list[str]] = {}
    for name, why in left_out.items():
        file, why = f"{Path(name).name} ", why.rstrip(".")
        why = f"it {why.removeprefix(file)}" if why.startswith(file) else why
        names.setdefault(why, []).append(name)
    common = sorted(names, key=lambda why: -len(names[why]))
    said = []
    for why in common[:most]:
        first, *more = names[why]
        said.append(f"{why} ({len(more) + 1}, such as {first})" if more else f"{why} ({first})")
    if rest := sum(len(names[why]) for why in common[most:]):
        said.append(f"{rest} others")
    return ", ".join(said)


# ---------------------------------------------------------------- folders


def walk_folder(root: Path) -> Walk:
    """Returns the photos at any depth; links are followed, and each folder is entered once."""
    # Unlike Path's, scandir's entries know what they are without a question to the disk each,
    # which everyone who opens 40,000 photos would wait for.
    found, entered = Walk(), set()
    waiting = deque([(os.fspath(root), "")])
    while waiting:
        folder, prefix = waiting.popleft()
        try:
            status, entries = os.stat(folder), list(os.scandir(folder))
        except OSError as error:
            found.left_out[printable(prefix or folder)] = f"cannot be opened ({error.strerror})"
            continue
        if (here := (status.st_dev, status.st_ino)) in entered:
            found.left_out[printable(prefix.rstrip("/"))] = "a link to a folder read already"
            continue
        entered.add(here)
        if prefix:
            found.folders.append(prefix.rstrip("/"))
        for entry in entries:
            name = prefix + entry.name
            if why := _why_not(entry):
                _leave_out(found.left_out, name, entry.name, why)
            elif not entry.is_dir():
                found.files.append(name)
            elif entry.is_symlink():  # after what lies here itself
                waiting.append((entry.path, f"{name}/"))
            else:
                waiting.appendleft((entry.path, f"{name}/"))
    found.files.sort()
    return found


def _why_not(entry: os.DirEntry[str]) -> str | None:
    if not is_visible(entry.name):
        return "hidden"
    if printable(entry.name) != entry.name:
        return "with a name that is not UTF-8; rename it"
    try:
        if entry.is_dir():
            return None
        if not entry.is_file():
            return "a link that leads nowhere" if entry.is_symlink() else "no file"
    except OSError:  # a link to itself
        return "a link that leads nowhere"
    return _no_picture(entry.name, lambda: _head(entry.path))


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD)


def _no_picture(name: str, head: Callable[[], bytes]) -> str | None:
    """Judges by the ending, and a file without one by its first bytes."""
    suffix = os.path.splitext(name)[1]
    if suffix:
        return None if suffix.lower() in PICTURE_SUFFIXES else "not a picture"
    try:
        return None if is_picture_head(head()) else "not a picture"
    except Exception as error:  # zipfile raises almost anything when it is fed damaged bytes
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def _leave_out(left_out: MutableMapping[str, str], path: str, name: str, why: str) -> None:
    if name.lower() not in _LITTER and not name.startswith("._") and name != ABOUT_FILE:
        left_out[printable(path)] = why


# ---------------------------------------------------------------- zips


def walk_zip(
    bundle: zipfile.ZipFile, left_out: MutableMapping[str, str]
) -> dict[str, zipfile.ZipInfo]:
    """Returns the photos of a zip by path, as `walk_folder` would of the same folder.

    Encrypted ones are among them. Names are labels here, and may lead anywhere.

    Args:
        bundle: The open zip.
        left_out: Takes the other members, and why they are left out.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in bundle.infolist():
        name = member_name(member)
        if name.endswith("/"):  # a folder
            continue
        if hidden := _hidden_part(name):
            _leave_out(left_out, hidden, hidden.rpartition("/")[2], "hidden")
        elif why := _no_picture(name.rpartition("/")[2], partial(_member_head, bundle, member)):
            left_out[name] = why
        elif name in members:
            left_out[f"{name} (again)"] = "a second file of that name"
        else:
            members[name] = member
    return members


def member_name(member: zipfile.ZipInfo) -> str:
    """Returns a member's path with `/`, in composed Unicode.

    Without the flag for UTF-8, which macOS does not set, zipfile takes names for cp437; what is
    valid UTF-8 all the same is no coincidence.
    """
    name = member.filename
    if not member.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def leads_outside(name: str) -> bool:
    """Whether a path in a zip is absolute or goes up; a colon counts only in a drive's name."""
    return name.startswith("/") or ".." in name.split("/") or bool(re.match("[A-Za-z]:", name))


def _hidden_part(name: str) -> str | None:
    """The path down to the first part that is not visible."""
    parts = name.split("/")
    for depth, part in enumerate(parts, start=1):
        if part and not is_visible(part):
            return "/".join(parts[:depth])
    return None


def _member_head(bundle: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with bundle.open(member) as file:
        return file.read(_HEAD)


# ---------------------------------------------------------------- layouts


def unwrapped(found: Walk) -> tuple[str, Walk]:
    """Steps into a folder that only wraps the class folders, as data sets often come.

    Returns:
        The path to the class folders, empty or with `/` at its end, and what they hold.
    """
    path = ""
    for _ in range(3):
        tops = [folder for folder in found.folders if "/" not in folder]
        if len(tops) != 1 or any(file.count("/") == 1 for file in found.files):
            break
        path, found = f"{path}{tops[0]}/", _below(found, f"{tops[0]}/")
    return path, found


def _below(found: Walk, prefix: str) -> Walk:
    def short(names: Iterable[str]) -> list[str]:
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    left_out = {name.removeprefix(prefix): why for name, why in found.left_out.items()}
    loose = {file: "outside the class folders" for file in found.files if "/" not in file}
    return Walk(short(found.files), short(found.folders), left_out | loose)
