"""What the photos of each class look like on the whole: mean picture, colours, and quality."""

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES, load_photo
from trashnet.errors import PhotoError
from trashnet.files import Cache, digest
from trashnet.progress import Progress, parallel, silent

PER_CLASS = 1000
"""Photos of a class that are looked at: more would change no figure that anybody can see."""

BINS = 32
"""Of a colour channel's 256 values."""

_WIDTH = 160


@dataclass(frozen=True)
class PixelStatistics:
    """Of each class, in the data set's order of classes.

    Attributes:
        counts: `(classes,) int`, photos looked at.
        mean: `(classes, h, w, 3) uint8`, the mean picture; h by the usual shape of the photos.
        colours: `(classes, 3, BINS) float32`, the share of pixels by red, green and blue.
    """

    counts: NDArray[np.int64]
    mean: NDArray[np.uint8]
    colours: NDArray[np.float32]


def pixel_statistics(
    photos: Photos, scanned: pd.DataFrame, cache_folder: Path, on_progress: Progress = silent
) -> PixelStatistics:
    """Looks at up to `PER_CLASS` photos of each class, once; later calls read what was found.

    Args:
        photos: The data set.
        scanned: What `scan` returned of it; photos that cannot be read are passed over.
        cache_folder: Where the statistics are kept, by the photos' content.
        on_progress: Told of the photos read.
    """
    readable = scanned[scanned.error.isna()]
    cache = Cache(cache_folder)
    file = f"pixels-by-class-{digest(''.join(readable.file + readable.sha256))}.npz"
    found = cache.load(file, _read)
    if found is None:
        found = _look(photos, readable, on_progress)
        with contextlib.suppress(OSError):  # a full disk costs the next visit's time, nothing else
            cache.store(file, lambda path: np.savez_compressed(path, **vars(found)))
    return found


def _read(path: Path) -> PixelStatistics:
    with np.load(path, allow_pickle=False) as kept:
        return PixelStatistics(kept["counts"], kept["mean"], kept["colours"])


def _look(photos: Photos, readable: pd.DataFrame, on_progress: Progress) -> PixelStatistics:
    rows = readable.groupby("label", group_keys=False).sample(frac=1, random_state=0)
    rows = rows.groupby("label").head(PER_CLASS)
    shape = float((readable.height / readable.width).median()) if len(readable) else 0.75
    height = int(np.clip(round(_WIDTH * shape), _WIDTH // 4, 4 * _WIDTH))
    n = len(photos.classes)
    # Whole numbers add up to the same whatever the order in which threads finish.
    sums = np.zeros((n, height, _WIDTH, 3), np.int64)
    colours = np.zeros((n, 3, BINS), np.int64)
    counts, lock = np.zeros(n, np.int64), threading.Lock()
    files, numbers = rows.file.tolist(), rows.label.map(photos.classes.index).tolist()

    def look(i: int) -> None:
        try:
            pixels = load_photo(photos.root / files[i], (height, _WIDTH))
        except PhotoError:  # damaged since it was scanned
            return
        shades = [np.bincount(pixels[..., c].ravel() >> 3, minlength=BINS) for c in range(3)]
        with lock:
            sums[numbers[i]] += pixels
            colours[numbers[i]] += shades
            counts[numbers[i]] += 1

    parallel(look, range(len(files)), on_progress, "Looking at the photos of each class")
    seen = np.maximum(counts, 1)
    mean = np.rint(sums / seen[:, None, None, None]).astype(np.uint8)
    share = colours / np.maximum(colours.sum(axis=2, keepdims=True), 1)
    return PixelStatistics(counts, mean, share.astype(np.float32))


def class_differences(index: pd.DataFrame) -> pd.DataFrame:
    """Says how much of each quality's variation lies between classes, most first.

    What differs between classes besides the thing shown is what a model can mistake for it.

    Args:
        index: Rows of label and a column for each of `QUALITIES`.

    Returns:
        One row a quality: quality, share (of its variance that classes account for, 0 to 1: eta
        squared), highest and lowest (classes), highest_median and lowest_median.
    """
    rows = []
    for quality in QUALITIES:
        values, by_class = index[quality], index.groupby("label")[quality]
        between = ((by_class.transform("mean") - values.mean()) ** 2).sum()
        within = ((values - values.mean()) ** 2).sum()
        medians = by_class.median()
        rows.append(
            {
                "quality": quality,
                "share": float(between / within) if within > 0 else 0.0,
                "highest": medians.idxmax(),
                "lowest": medians.idxmin(),
                "highest_median": float(medians.max()),
                "lowest_median": float(medians.min()),
            }
        )
    return pd.DataFrame(rows).sort_values("share", ascending=False, ignore_index=True)
