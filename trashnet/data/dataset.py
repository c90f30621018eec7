"""A data set on this disk: found, opened, extracted."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import pandas as pd
from filelock import FileLock

from trashnet.data.archive import extract_pictures
from trashnet.data.synthetic import is_sample_folder, write_samples
from trashnet.data.walk import (
    LEFT_OUT_FILE,
    Walk,
    class_key,
    printable,
    reasons,
    unwrapped,
    walk_folder,
)
from trashnet.environment import PACKAGE, Environment
from trashnet.errors import DataError
from trashnet.files import digest, mark_used, read_json, temporary_folder, unused, write_json
from trashnet.progress import Progress, silent

_ASSETS = PACKAGE / "assets"


@dataclass(frozen=True)
class Photos:
    """A data set on this disk.

    Attributes:
        root: Folder that holds one folder of photos per class.
        name: What to call it: `trashnet`, `samples`, or the folder's or zip's own name.
        source: Where it was found: `folder`, `zip`, `cache`, `hub` or `samples`.
        classes: Names of the class folders, alphabetical.
        files: Keys of all photos (`glass/glass115.jpg`), sorted.
        left_out: Why other files are none of them, by path.
    """

    root: Path
    name: str
    source: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)

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
    def is_sample(self) -> bool:
        """Whether these are the generated pictures, not photos."""
        return self.source == "samples"

    @property
    def is_trashnet(self) -> bool:
        """Whether these are exactly TrashNet's 2,527 photos, so its facts apply."""
        return set(self.files) == set(trashnet_facts().index)


@cache
def trashnet_facts() -> pd.DataFrame:
    """Returns the shipped facts about the 2,527 TrashNet photos, indexed by file."""
    return pd.read_csv(_ASSETS / "trashnet.csv", index_col="file", keep_default_na=False)


@cache
def trashnet_pairs() -> pd.DataFrame:
    """Returns the shipped pairs of similar TrashNet photos: one, two (files) and similarity."""
    return pd.read_csv(_ASSETS / "trashnet-pairs.csv")


# ---------------------------------------------------------------- find


def has_photos(env: Environment) -> bool:
    """Whether `find_photos` has something to open; a look, not a reading."""
    return (
        env.data is not None
        or (env.photos / "trashnet").is_dir()
        or is_sample_folder(env.photos / "samples")
    )


def find_photos(env: Environment, on_progress: Progress = silent) -> Photos:
    """Returns the data set to use: `TRASHNET_DATA`, else fetched TrashNet, else the samples.

    A zip is extracted once, into `env.photos`. Nothing is downloaded.

    Raises:
        DataError: None is there, or what is there is damaged; the sentence says what to do.
    """
    if env.data is not None:
        return _open_source(env.data, env, on_progress)
    if (fetched := env.photos / "trashnet").is_dir():
        return open_folder(fetched, "trashnet", "cache")
    if is_sample_folder(samples := env.photos / "samples"):
        return open_folder(samples, "samples", "samples")
    raise DataError(
        "There are no photos on this machine yet; fetch TrashNet with "
        "'python -m trashnet data --fetch', or set TRASHNET_DATA to a folder of class folders "
        "or a zip of one."
    )


def _open_source(path: Path, env: Environment, on_progress: Progress) -> Photos:
    if not os.path.exists(path):  # unlike Path's, False for a name that is too long
        raise DataError(f"There are no photos at {path}; correct TRASHNET_DATA or --data.")
    if (shown := printable(str(path))) != str(path):
        raise DataError(f"The path to the photos, {shown}, is not UTF-8; rename it.")
    if is_sample_folder(path):
        return open_folder(path, "samples", "samples")
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
    root: Path, name: str, source: str, left_out: Mapping[str, str] | None = None
) -> Photos:
    """Opens a folder of class folders, or a folder that wraps one.

    Args:
        root: The folder.
        name: What to call it.
        source: Where it was found.
        left_out: What is known to be missing in it, and why, by name.

    Raises:
        DataError: It is gone, holds no class folders, or is an incomplete copy of TrashNet.
    """
    if not root.is_dir():
        raise DataError(f"The photo folder {root} is gone; bring it back or choose other photos.")
    path, found = unwrapped(walk_folder(root))
    root = root / path
    files = tuple(file for file in found.files if "/" in file)
    loose = {file: "outside the class folders" for file in found.files if "/" not in file}
    left_out = {**(left_out or _stored_left_out(root)), **found.left_out, **loose}
    if not files:
        because = f" (left out: {reasons(left_out)})" if left_out else ""
        raise DataError(
            f"{root} holds no class folders with photos{because}; it must hold one folder per "
            "class."
        )
    _check_layout(root, files, found, source)
    classes = _class_names(file.split("/")[0] for file in files)
    photos = Photos(root, name, source, classes, files, {} if source == "samples" else left_out)
    _check_trashnet(photos)
    return replace(photos, name="trashnet") if photos.is_trashnet else photos


def _class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """The names of classes: of spellings that differ in case or Unicode form alone, the first."""
    names: dict[str, str] = {}
    for folder in sorted(set(folders)):
        names.setdefault(class_key(folder), unicodedata.normalize("NFC", folder))
    return tuple(sorted(names.values()))


def _stored_left_out(root: Path) -> dict[str, str]:
    stored = read_json(root / LEFT_OUT_FILE)
    return stored if isinstance(stored, dict) else {}


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


def _check_trashnet(photos: Photos) -> None:
    """A folder that is TrashNet for the most part must hold all of it, or counts are wrong."""
    facts = trashnet_facts()
    if len(set(photos.files) & set(facts.index)) <= len(facts) // 2:
        return
    for label, count in facts.label.value_counts().sort_index().items():
        found = sum(file.startswith(f"{label}/") for file in photos.files)
        if found < count:
            raise DataError(
                f"{photos.root} holds {found} of TrashNet's {count} photos of {label}, so it is "
                "an incomplete copy; get the whole data set again."
            )


# ---------------------------------------------------------------- extract


def use_samples(env: Environment, on_progress: Progress = silent) -> Photos:
    """Draws the generated sample pictures, once, and returns them as a data set."""
    root = write_samples(
        env.photos / "samples",
        on_progress=lambda done, total: on_progress(done, total, "Drawing sample pictures"),
    )
    return open_folder(root, "samples", "samples")


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
            write_json(photos.root / LEFT_OUT_FILE, dict(photos.left_out))
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
