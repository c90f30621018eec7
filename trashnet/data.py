"""The photos on this disk: find or fetch them, and read each once."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from trashnet.archive import extract_pictures, is_picture_name, is_visible
from trashnet.config import Environment
from trashnet.errors import DataError, PhotoError
from trashnet.files import Progress, digest, parallel, silent, temporary_folder, write_atomically
from trashnet.photos import QUALITIES, photo_facts
from trashnet.samples import SAMPLE_CLASSES, is_sample_folder, write_samples

HUB_REPO = "garythung/trashnet"
HUB_FILE = "dataset-resized.zip"
HUB_SIZE = 42_834_870
"""Bytes of `dataset-resized.zip` on the Hub (the repository also holds 3.6 GB of originals)."""

_ASSETS = Path(__file__).parent / "assets"


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
        _extract_photos(path, target, on_progress)
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


# ---------------------------------------------------------------- fetch and extract


def fetch_trashnet(env: Environment, on_progress: Progress = silent) -> Photos:
    """Downloads TrashNet's resized photos (43 MB) from the Hugging Face Hub and extracts them.

    Safe to interrupt and repeat: a half download resumes, a half extraction is thrown away.

    Raises:
        DataError: The Hub cannot be reached, or the file it served is damaged.
    """
    target = env.photos / "trashnet"
    if not target.is_dir():
        archive = _download(env, on_progress)
        try:
            _extract_photos(archive, target, on_progress, expect_trashnet=True)
        finally:  # a damaged one too, or the Hub's client would take it for whole next time
            archive.unlink(missing_ok=True)
    photos = open_folder(target, "trashnet", "cache")
    return Photos(photos.root, photos.name, "hub", photos.classes, photos.files)


def _download(env: Environment, on_progress: Progress) -> Path:
    # Imported here: it costs a second that a start with photos at hand need not pay.
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from tqdm import tqdm

    way_on = "set TRASHNET_DATA to a copy of dataset-resized.zip, or use the sample pictures"
    if env.hub_offline:
        raise DataError(f"HF_HUB_OFFLINE is set, so TrashNet cannot be fetched; {way_on}.")

    class Bar(tqdm):
        """Hands the download's progress on instead of drawing it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": open(os.devnull, "w")})

        def update(self, n: float | None = 1) -> bool | None:
            result = super().update(n)
            on_progress(int(self.n), HUB_SIZE, "Downloading TrashNet from the Hugging Face Hub")
            return result

    on_progress(0, HUB_SIZE, "Connecting to the Hugging Face Hub (up to 10 seconds)")
    try:
        # One quick question first: the download itself retries for long before it gives up.
        get_hf_file_metadata(hf_hub_url(HUB_REPO, HUB_FILE, repo_type="dataset"), timeout=10)
        path = hf_hub_download(
            HUB_REPO,
            HUB_FILE,
            repo_type="dataset",
            local_dir=env.cache / "downloads",
            etag_timeout=10,
            tqdm_class=Bar,
        )
    except Exception as error:  # the client's error classes change with its HTTP library
        reason = type(error).__name__
        raise DataError(
            f"The Hugging Face Hub could not be reached ({reason}); check the connection and try "
            f"again, or {way_on}."
        ) from error
    return Path(path)


def use_samples(env: Environment, on_progress: Progress = silent) -> Photos:
    """Draws the generated sample pictures, once, and returns them as a data set."""
    root = write_samples(
        env.photos / "samples",
        on_progress=lambda done, total: on_progress(done, total, "Drawing sample pictures"),
    )
    return Photos(root, "samples", "samples", SAMPLE_CLASSES, tuple(sorted(_photo_files(root))))


def _extract_photos(
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


# ---------------------------------------------------------------- scan


def scan(photos: Photos, cache_folder: Path, on_progress: Progress = silent) -> pd.DataFrame:
    """Reads every photo once and remembers what it saw; later calls only look at changed files.

    Returns:
        One row a photo, in the order of `photos.files`: file, label, width, height, bytes,
        mtime (ns), sha256, the qualities of `photo_facts`, and error (None, or the sentence that
        says why it cannot be read).

    Raises:
        DataError: A photo is gone since the folder was opened.
    """
    cache_file = _scan_file(photos, cache_folder)
    try:
        stats = [os.stat(f"{photos.root}/{file}") for file in photos.files]
    except OSError as error:
        raise DataError(f"The photo {error.filename} is gone; open the folder again.") from error
    now = pd.DataFrame(
        {
            "file": photos.files,
            "bytes": [s.st_size for s in stats],
            "mtime": [s.st_mtime_ns for s in stats],
        }
    )
    for file in photos.files:
        try:
            file.encode()
        except UnicodeEncodeError as error:
            shown = file.encode(errors="replace").decode()
            raise DataError(f"The name of a photo, {shown}, is not UTF-8; rename it.") from error
    known = _read_scan(cache_file)
    table = now.merge(known, on=["file", "bytes", "mtime"], how="left")
    todo = np.flatnonzero(table.sha256.isna())
    if len(todo):
        rows = parallel(
            lambda i: _read_facts(photos.root / table.file[i]), todo, on_progress, "Reading photos"
        )
        for column, dtype in _FACTS.items():
            values = [row.get(column) for row in rows]
            table.loc[todo, column] = pd.Series(values, index=todo, dtype=dtype)
        cache_folder.mkdir(parents=True, exist_ok=True)
        write_atomically(cache_file, lambda path: table.to_parquet(path, index=False))
    table.insert(1, "label", table.file.str.split("/").str[0])
    table["error"] = table.error.astype(object).where(table.error.notna(), None)
    return table.fillna({"width": 0, "height": 0}).astype({"width": "int64", "height": "int64"})


def is_scanned(photos: Photos, cache_folder: Path) -> bool:
    """Whether the photos were scanned before, so that another scan is quick."""
    return _scan_file(photos, cache_folder).exists()


def _scan_file(photos: Photos, cache_folder: Path) -> Path:
    return cache_folder / f"scan-{digest(str(photos.root))}.parquet"


_FACTS = {
    "width": "float64",
    "height": "float64",
    "sha256": "str",
    **dict.fromkeys(QUALITIES, "float64"),
    "error": "str",
}
"""What reading a photo tells, and the type it is kept as; sizes are missing where it fails."""


def _read_scan(path: Path) -> pd.DataFrame:
    types = {"file": "str", "bytes": "int64", "mtime": "int64", **_FACTS}
    try:
        return pd.read_parquet(path)[list(types)]
    except (OSError, ValueError, KeyError):  # absent, torn or older: read the photos again
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in types.items()})


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:  # without a sha256, so it is tried again next time
        return {"error": f"{path.name} cannot be opened ({error.strerror}); check its rights."}
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return {"sha256": sha256, **photo_facts(content)}
    except PhotoError as error:
        return {"sha256": sha256, "error": str(error)}
