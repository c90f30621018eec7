"""A data set on this disk: found, opened, extracted."""

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from filelock import FileLock

from trashnet.data.archive import extract_pictures, is_picture_name, is_visible
from trashnet.data.synthetic import SAMPLE_CLASSES, is_sample_folder, write_samples
from trashnet.environment import PACKAGE, Environment
from trashnet.errors import DataError
from trashnet.files import digest, mark_used, read_json, temporary_folder, unused
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
    """

    root: Path
    name: str
    source: str
    classes: tuple[str, ...]
    files: tuple[str, ...]

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
    if is_sample_folder(path):
        return open_folder(path, "samples", "samples")
    if path.is_dir():
        return open_folder(path, path.name, "folder")
    stamp = f"{path}{path.stat().st_size}{path.stat().st_mtime_ns}"
    target = env.photos / f"{path.stem}-{digest(stamp)}"
    if not target.is_dir():
        for old in old_extractions(env):
            with contextlib.suppress(OSError):  # it costs only space
                remove_extraction(old)
        extract_photos(path, target, on_progress)
    mark_used(target)
    return open_folder(target, path.stem, "zip")


def open_folder(root: Path, name: str, source: str) -> Photos:
    """Opens a folder of class folders, or a folder that wraps one.

    Raises:
        DataError: It is gone, holds no class folders, or is an incomplete copy of TrashNet.
    """
    if not root.is_dir():
        raise DataError(f"The photo folder {root} is gone; bring it back or choose other photos.")
    root = _class_parent(root)
    files = tuple(sorted(_photo_files(root)))
    classes = tuple(sorted(d.name for d in root.iterdir() if d.is_dir() and is_visible(d.name)))
    filled = {file.split("/")[0] for file in files}
    empty = [c for c in classes if c not in filled]
    if not files:
        raise DataError(
            f"{root} holds no class folders with photos; it must hold one folder per class."
        )
    if empty:
        raise DataError(
            f"The class folder {empty[0]!r} in {root} holds no photos; fill it or remove it."
        )
    photos = Photos(root, name, source, classes, files)
    _check_trashnet(photos)
    return Photos(root, "trashnet", source, classes, files) if photos.is_trashnet else photos


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


def _class_parent(root: Path) -> Path:
    """Data sets often come wrapped in one more folder; steps into it."""
    for _ in range(3):
        folders = [d for d in root.iterdir() if d.is_dir() and is_visible(d.name)]
        if len(folders) != 1 or any(is_picture_name(p.name) for p in folders[0].iterdir()):
            break
        root = folders[0]
    return root


def _photo_files(root: Path) -> Iterable[str]:
    # Unlike Path's, scandir's entries know what they are without a question to the disk each,
    # which every look at a page of 40,000 photos would wait for.
    for folder in os.scandir(root):
        if folder.is_dir() and is_visible(folder.name):
            for entry in os.scandir(folder):
                if is_picture_name(entry.name) and entry.is_file():
                    yield f"{folder.name}/{entry.name}"


# ---------------------------------------------------------------- extract


def use_samples(env: Environment, on_progress: Progress = silent) -> Photos:
    """Draws the generated sample pictures, once, and returns them as a data set."""
    root = write_samples(
        env.photos / "samples",
        on_progress=lambda done, total: on_progress(done, total, "Drawing sample pictures"),
    )
    return Photos(root, "samples", "samples", SAMPLE_CLASSES, tuple(sorted(_photo_files(root))))


def extract_photos(
    archive: Path, target: Path, on_progress: Progress, expect_trashnet: bool = False
) -> None:
    """Extracts a zip of class folders to `target`, all or nothing; other processes wait."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():  # another process was faster
            return
        with temporary_folder(target) as partial:
            extract_pictures(archive, partial, on_progress)
            try:
                photos = open_folder(partial, target.name, "zip")
            except DataError as error:
                # The person never sees the temporary folder, so the sentence names the zip.
                raise DataError(str(error).replace(str(partial), str(archive))) from error
            if expect_trashnet and not photos.is_trashnet:
                raise DataError(f"{archive} is not TrashNet's 2,527 photos; fetch it again.")
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
