"""The photos that are measured on: real ones where there are some, else drawn ones."""

import shutil
from itertools import chain, zip_longest
from pathlib import Path

from trashnet.data.dataset import Photos, find_photos, has_photos, open_folder
from trashnet.data.synthetic import SAMPLE_CLASSES, draw_sample
from trashnet.environment import environment
from trashnet.progress import parallel, silent


def some_photos(folder: Path, count: int) -> tuple[Photos, str]:
    """Copies or draws up to so many photos, of all classes alike, and says what they are.

    Real photos are those of `TRASHNET_DATA` or `TRASHNET_HOME`; a drawn one is a JPEG of 512 × 384
    pixels, as TrashNet's are.
    """
    env = environment()
    real = find_photos(env) if has_photos(env) else None
    if real is None or real.is_sample:
        classes, labels = SAMPLE_CLASSES, [SAMPLE_CLASSES[i % 6] for i in range(count)]

        def write(i: int) -> None:
            draw_sample(labels[i], i).save(_path(folder, labels[i], i), quality=90)
    else:
        classes = real.classes
        by_class = ([f for f in real.files if f.startswith(f"{c}/")] for c in classes)
        files = [file for file in chain(*zip_longest(*by_class)) if file][:count]

        def write(i: int) -> None:
            # By another name, or most of TrashNet would be taken for an incomplete copy of it.
            shutil.copyfile(real.root / files[i], _path(folder, files[i].split("/")[0], i))

        count = len(files)
    for label in classes:
        (folder / label).mkdir(parents=True)
    parallel(write, range(count), silent, "Writing photos")
    what = "drawn pictures" if real is None or real.is_sample else f"photos of {real.name}"
    return open_folder(folder, "benchmark", "folder"), f"{count:,} {what}"


def _path(folder: Path, label: str, number: int) -> Path:
    return folder / label / f"photo{number:05}.jpg"
