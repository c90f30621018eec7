"""The photos that are measured on."""

import shutil
from itertools import chain, zip_longest
from pathlib import Path

from trashnet.data.dataset import Photos, find_photos, open_folder, small_trashnet
from trashnet.environment import environment
from trashnet.progress import parallel, silent


def some_photos(folder: Path, count: int) -> tuple[Photos, str]:
    """Copies up to so many photos of those in use, of all classes alike, and says what they are."""
    real = find_photos(environment())
    by_class = ([f for f in real.files if f.startswith(f"{c}/")] for c in real.classes)
    files = [file for file in chain(*zip_longest(*by_class)) if file][:count]

    def write(i: int) -> None:
        # By another name, or most of TrashNet would be taken for a copy of it.
        shutil.copyfile(real.root / files[i], _path(folder, files[i].split("/")[0], i))

    for label in real.classes:
        (folder / label).mkdir(parents=True)
    parallel(write, range(len(files)), silent, "Writing photos")
    return open_folder(folder, "benchmark", "folder"), f"{len(files):,} photos of {real.name}"


def paths_of(count: int) -> list[Path]:
    """Returns so many photos of TrashNet, as the package ships them, of all classes alike."""
    photos = small_trashnet(environment())
    step = len(photos.files) / count
    return [photos.root / photos.files[int(i * step)] for i in range(count)]


def _path(folder: Path, label: str, number: int) -> Path:
    return folder / label / f"photo{number:05}.jpg"
