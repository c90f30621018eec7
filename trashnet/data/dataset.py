"""A data set on this disk: found, opened, extracted."""

import contextlib
import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from filelock import FileLock

from trashnet.data.archive import extract_pictures
from trashnet.data.editions import FULL, SMALL, contents, recognise, unpack
from trashnet.data.walk import (
    ABOUT_FILE,
    Walk,
    class_key,
    printable,
    reasons,
    unwrapped,
    walk_folder,
)
from trashnet.environment import PACKAGE, Environment
from trashnet.errors import DataError
from trashnet.files import (
    digest,
    mark_used,
    read_json,
    temporary_folder,
    unused,
    write_atomically,
    write_json,
)
from trashnet.progress import Progress, parallel, silent

_ASSETS = PACKAGE / "assets"


@dataclass(frozen=True)
class Photos:
    """A data set on this disk.

    Attributes:
        root: Folder that holds one folder of photos per class.
        name: What to call it: `trashnet`, or the folder's or zip's own name.
        source: Where it was found: `folder`, `zip`, `cache`, `hub` or `package`.
        classes: Names of the class folders, alphabetical.
        files: Keys of all photos (`glass/glass115.jpg`), sorted.
        left_out: Why other files are none of them, by path.
        edition: Which of TrashNet's they are (`trashnet.data.editions`); None if they are others.
        warning: What to know about them, in a sentence, or "".
    """

    root: Path
    name: str
    source: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)
    edition: str | None = None
    warning: str = ""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The class of each photo, in the order of `files`; `Glass` and `glass` are one."""
        names = {class_key(name): name for name in reversed(self.classes)}
        folders = [file.split("/")[0] for file in self.files]
        label_of = {folder: names.get(class_key(folder), folder) for folder in set(folders)}
        return tuple(label_of[folder] for folder in folders)

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The folders that hold photos, as paths from `root`."""
        return tuple(sorted({file.rpartition("/")[0] for file in self.files}))

    @property
    def is_trashnet(self) -> bool:
        """Whether these are exactly TrashNet's 2,527 photos, so its facts apply."""
        return self.edition is not None


@cache
def trashnet_facts() -> pd.DataFrame:
    """Returns the shipped facts about the 2,527 TrashNet photos, indexed by file."""
    return pd.read_csv(_ASSETS / "trashnet.csv", index_col="file", keep_default_na=False)


@cache
def trashnet_pairs() -> pd.DataFrame:
    """Returns the shipped pairs of similar TrashNet photos, as `known_pairs` does."""
    return pd.read_parquet(_ASSETS / "trashnet-pairs.parquet")


# ---------------------------------------------------------------- find


def find_photos(env: Environment, on_progress: Progress = silent) -> Photos:
    """Returns the data set to use: `TRASHNET_DATA`, else what was chosen, else TrashNet.

    That is the full-size photos where they were fetched, else the small ones of the package. A zip
    is extracted once, into `env.photos`. Nothing is downloaded.

    Raises:
        DataError: What was named is gone or damaged; the sentence says what to do.
    """
    named = env.data or chosen_photos(env)
    if named is not None:
        return _open_source(named, env, on_progress)
    if (fetched := env.photos / "trashnet").is_dir():
        return open_folder(fetched, "trashnet", "cache", edition=FULL)
    return small_trashnet(env, on_progress)


def small_trashnet(env: Environment, on_progress: Progress = silent) -> Photos:
    """Returns TrashNet as the package ships it; the first time it is unpacked, in a second.

    Raises:
        DataError: There is no room for it.
    """
    return open_folder(small_folder(env, on_progress), "trashnet", "package", edition=SMALL)


def small_folder(env: Environment, on_progress: Progress = silent) -> Path:
    """Returns the folder of `small_trashnet`, without a look into it.

    Raises:
        DataError: There is no room for it.
    """
    try:
        return unpack(env.photos / "trashnet-small", on_progress)
    except OSError as error:
        raise DataError(
            f"TrashNet's photos could not be unpacked to {env.photos} ({error.strerror}); free "
            "some space or set TRASHNET_HOME to a larger disk."
        ) from error


def chosen_photos(env: Environment) -> Path | None:
    """Returns the folder or zip that `choose_photos` was given, if any."""
    stored = read_json(env.photos / _CHOSEN)
    return Path(stored["path"]) if isinstance(stored, dict) and "path" in stored else None


def choose_photos(env: Environment, path: Path | None, on_progress: Progress = silent) -> Photos:
    """Opens a folder or zip of one's own and remembers it; None goes back to TrashNet.

    Raises:
        DataError: It cannot be used; the sentence says why, and what was chosen before stays.
    """
    if path is None:
        (env.photos / _CHOSEN).unlink(missing_ok=True)
        return find_photos(env, on_progress)
    photos = _open_source(path, env, on_progress)
    env.photos.mkdir(parents=True, exist_ok=True)
    write_json(env.photos / _CHOSEN, {"path": str(path)})
    return photos


def keep_photos(env: Environment, contents: Mapping[str, bytes]) -> Path:
    """Writes files that were sent to `env.photos` and returns the folder, or the zip if it is one.

    Args:
        env: The environment.
        contents: By name, which may be a path.

    Raises:
        DataError: A name leads outside of a folder.
    """
    names = {name: PurePath(name.replace("\\", "/")) for name in contents}
    if odd := [name for name, path in names.items() if path.is_absolute() or ".." in path.parts]:
        raise DataError(f"The name {odd[0]!r} leads outside of its folder; nothing was kept.")
    own = env.photos / "own"
    own.mkdir(parents=True, exist_ok=True)
    if len(contents) == 1 and (name := next(iter(contents))).lower().endswith(".zip"):
        write_atomically(own / names[name].name, lambda path: path.write_bytes(contents[name]))
        return own / names[name].name
    stamp = digest("".join(f"{name}{len(content)}" for name, content in sorted(contents.items())))
    target = own / stamp
    with temporary_folder(target) as partial:
        for name, content in contents.items():
            path = partial / names[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    tops = {path.parts[0] for path in names.values()}
    # One folder was sent: it names the photos.
    return target / tops.pop() if len(tops) == 1 else target


_CHOSEN = "chosen.json"


def _open_source(path: Path, env: Environment, on_progress: Progress) -> Photos:
    if not os.path.exists(path):  # unlike Path's, False for a name that is too long
        raise DataError(f"There are no photos at {path}; correct the path.")
    if (shown := printable(str(path))) != str(path):
        raise DataError(f"The path to the photos, {shown}, is not UTF-8; rename it.")
    if path.is_dir():
        return open_folder(path, path.name, "folder")
    # With the rules of what is extracted, or an extraction by older ones would stay for good.
    stamp = f"{_RULES}{path}{path.stat().st_size}{path.stat().st_mtime_ns}"
    target = env.photos / f"{path.stem}-{digest(stamp)}"
    if not target.is_dir():
        for old in old_extractions(env):
            with contextlib.suppress(OSError):  # it costs only space
                remove_extraction(old)
        extract_photos(path, target, on_progress)
    mark_used(target)
    return open_folder(target, path.stem, "zip")


_RULES = "2:"
"""Changes when other files of a zip are taken for photos."""


def open_folder(
    root: Path,
    name: str,
    source: str,
    left_out: Mapping[str, str] | None = None,
    edition: str | None = None,
) -> Photos:
    """Opens a folder of class folders, or a folder that wraps one.

    Args:
        root: The folder.
        name: What to call it.
        source: Where it was found.
        left_out: What is known to be missing in it, and why, by name.
        edition: Of TrashNet, where that is known; else the photos are looked at.

    Raises:
        DataError: It is gone, or holds no class folders.
    """
    if not root.is_dir():
        raise DataError(f"The photo folder {root} is gone; bring it back or choose other photos.")
    path, found = unwrapped(walk_folder(root))
    root = root / path
    files = tuple(file for file in found.files if "/" in file)
    loose = {file: "outside the class folders" for file in found.files if "/" not in file}
    stored = _stored(root) if source == "zip" else {}
    left_out = {**(left_out or stored.get("left_out", {})), **found.left_out, **loose}
    if not files:
        because = f" (left out: {reasons(left_out)})" if left_out else ""
        raise DataError(
            f"{root} holds no class folders with photos{because}; it must hold one folder per "
            "class."
        )
    _check_layout(root, files, found, source)
    classes = _class_names(file.split("/")[0] for file in files)
    warning = ""
    if stored:
        edition, warning = stored["edition"], stored["warning"]
    elif edition is None:
        edition, warning = _recognised(root, files)
    name = name if edition is None else "trashnet"
    return Photos(root, name, source, classes, files, left_out, edition, warning)


def _recognised(root: Path, files: tuple[str, ...]) -> tuple[str | None, str]:
    """As `recognise`, for photos of which most are called like TrashNet's; others are not read."""
    named = set(files) & set(contents().index)
    if len(named) <= len(contents()) // 2:
        return None, ""

    def read(file: str) -> str:
        try:
            return hashlib.sha256((root / file).read_bytes()).hexdigest()
        except OSError:  # said where it is scanned
            return ""

    return recognise(dict(zip(files, parallel(read, files, silent, ""), strict=True)))


def reopen_photos(root: Path, name: str, source: str, env: Environment) -> Photos:
    """Opens photos again by what a run keeps of them; those of the package are never gone.

    Raises:
        DataError: They are gone.
    """
    if source == "package" and not root.is_dir():
        return small_trashnet(env)
    return open_folder(root, name, source)


def _class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """The names of classes: of spellings that differ in case or Unicode form alone, the first."""
    names: dict[str, str] = {}
    for folder in sorted(set(folders)):
        names.setdefault(class_key(folder), unicodedata.normalize("NFC", folder))
    return tuple(sorted(names.values()))


_ABOUT = ("left_out", "edition", "warning")
"""What is kept of an extracted zip."""


def _stored(root: Path) -> dict[str, Any]:
    stored = read_json(root / ABOUT_FILE)
    return stored if isinstance(stored, dict) and set(stored) == set(_ABOUT) else {}


_SPLIT_NAMES = frozenset(
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing"]
)


def _check_layout(root: Path, files: tuple[str, ...], found: Walk, source: str) -> None:
    """Folders at the top must be classes: neither splits, nor a wrapper among others, nor empty."""
    tops = [folder for folder in found.folders if "/" not in folder]
    filled = {file.split("/")[0] for file in files}
    deep = filled - {file.split("/")[0] for file in files if file.count("/") == 1}
    name_it = "unpack it and name its folder" if source == "zip" else "name its folder"
    splits = sorted(top for top in tops if top.lower() in _SPLIT_NAMES)
    if len(splits) > 1 and deep & set(splits):
        chosen = max(sorted(deep & set(splits)), key=lambda name: name.lower().startswith("train"))
        raise DataError(
            f"{root} holds the folders {', '.join(splits)}, so its photos are split already; "
            f"{name_it} {chosen!r}, whose photos are then split anew."
        )
    empty = sorted(set(tops) - filled)
    if not empty:
        return
    if len(filled) == 1 and filled == deep:
        raise DataError(
            f"{root} holds photos only deeper down; {name_it} {deep.pop()!r}, or remove "
            f"{', '.join(map(repr, empty))}."
        )
    inside = {n: why for n, why in found.left_out.items() if n.startswith(f"{empty[0]}/")}
    because = f" (left out: {reasons(inside)})" if inside else ""
    raise DataError(
        f"The class folder {empty[0]!r} in {root} holds no photos{because}; fill it or remove it."
    )


# ---------------------------------------------------------------- extract


def extract_photos(
    archive: Path, target: Path, on_progress: Progress, expect_trashnet: bool = False
) -> None:
    """Extracts a zip of class folders to `target`, all or nothing; other processes wait."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():  # another process was faster
            return
        with temporary_folder(target) as partial:
            left_out = extract_pictures(archive, partial, on_progress)
            try:
                photos = open_folder(partial, target.name, "zip", left_out)
            except DataError as error:
                # The person never sees the temporary folder, so the sentence names the zip.
                raise DataError(str(error).replace(str(partial), str(archive))) from error
            if expect_trashnet and not photos.is_trashnet:
                raise DataError(f"{archive} is not TrashNet's 2,527 photos; fetch it again.")
            found = (dict(photos.left_out), photos.edition, photos.warning)
            write_json(photos.root / ABOUT_FILE, dict(zip(_ABOUT, found, strict=True)))
            os.replace(photos.root, target)


# ---------------------------------------------------------------- extracted before


def extractions(env: Environment) -> dict[str, list[Path]]:
    """Returns the folders of extracted zips by the zip's name; a changed zip is another folder."""
    found: dict[str, list[Path]] = {}
    for path in env.photos.glob("*"):
        match = re.fullmatch(r"(.+)-[0-9a-f]{12}", path.name)
        if match and path.is_dir() and not path.is_symlink():
            found.setdefault(match[1], []).append(path)
    return found


def old_extractions(env: Environment) -> list[Path]:
    """Returns the extracted zips to remove: all but the last used of each name, and the unused.

    What a run that is not finished was made from is not among them: it would be lost to the run.
    """
    needed = _needed_folders(env.runs)
    old = [path for folders in extractions(env).values() for path in unused(folders, most=1)]
    return [path for path in old if path.name not in needed]


def remove_extraction(path: Path) -> None:
    """Removes an extracted zip; what an interruption leaves of it is never taken for the whole.

    Raises:
        OSError: It is gone already, or may not be removed.
    """
    with FileLock(path.parent / f".{path.name}.lock"), temporary_folder(path) as leaving:
        os.replace(path, leaving / path.name)


def _needed_folders(runs: Path) -> set[str]:
    """The names of all folders on the paths to the photos of runs that are not finished."""
    names: set[str] = set()
    for file in runs.glob("*/config.json"):
        status = read_json(file.with_name("status.json"))
        if isinstance(status, dict) and status.get("state") == "finished":
            continue
        with contextlib.suppress(TypeError, KeyError):  # torn: no run can go on from it
            names.update(Path(read_json(file)["data"]["root"]).parts)
    return names
