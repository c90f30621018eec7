"""From the index to batches: photos decoded once, then shuffled and augmented per epoch."""

import contextlib
import math
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.data.scan import read_known
from trashnet.errors import DataError, PhotoError
from trashnet.files import DAY, Cache, digest, mark_used, unused
from trashnet.progress import Progress, parallel, silent
from trashnet.training.augmentation import augment, mix

_READING = 2
"""Counted up when `load_photo` or this file's form changes, so that older caches are left alone."""

_MOST = 2_000_000_000
"""Bytes of decoded photos that are kept; TrashNet's are 380 million at 224 pixels."""


def decode_photos(
    photos: Photos,
    index: pd.DataFrame,
    image_size: int,
    cache_folder: Path,
    on_progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Decodes all photos of the index once, into a file that later runs map into memory.

    Returns:
        `(n, image_size, image_size, 3) uint8`, read-only, in the index's order.

    Raises:
        DataError: A photo of the index is gone or can no longer be read, or the disk is full.
    """
    contents = "".join(index.sha256) + f"{image_size} {_READING} {pillow_version}"
    cache, file = Cache(cache_folder), f"pixels-{image_size}-{digest(contents)}.npy"
    pixels = cache.load(file, _map)
    if pixels is None:
        shape = (len(index), image_size, image_size, 3)
        _make_room(cache_folder, math.prod(shape))

        def write(partial: Path) -> None:
            pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            _reserve(partial)

            def decode(i: int) -> None:
                content = read_known(photos.root / index.file[i], index.sha256[i])
                pixels[i] = load_photo(content, image_size)

            parallel(decode, range(len(index)), on_progress, "Decoding photos")
            pixels.flush()
            with open(partial, "ab") as file:
                file.write(_checksum(pixels))

        try:
            cache.store(file, write)
        except PhotoError as error:
            raise DataError(f"The photos changed since they were listed: {error}") from error
        except OSError as error:
            raise DataError(
                f"The decoded photos could not be stored in {cache_folder} ({error.strerror}); "
                "free some space or set TRASHNET_HOME to a larger disk."
            ) from error
        pixels = _map(cache_folder / file)
    mark_used(cache_folder / file)
    return pixels


def _map(path: Path) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    with open(path, "rb") as file:  # behind the array, where NumPy reads nothing
        file.seek(-_CHECKSUM, os.SEEK_END)
        if file.read() != _checksum(pixels):
            raise ValueError(f"{path.name} is damaged.")
    return pixels


_CHECKSUM = 4
"""Bytes of `_checksum`."""


def _checksum(pixels: NDArray[np.uint8]) -> bytes:
    """Costs a tenth of a second for TrashNet's photos, which are read into memory by it."""
    return zlib.crc32(pixels.data).to_bytes(_CHECKSUM, "big")


def _make_room(folder: Path, size: int) -> None:
    """Removes what killed decodings left, and decoded photos that are long unused or too many.

    A training that reads a removed file goes on: the system keeps it until it is closed. That does
    not hold for another machine, on a disk that both share, so what was opened within a day stays.
    """
    killed = unused(folder.glob(".pixels-*"), 0, spared=DAY)
    decoded = unused(folder.glob("pixels-*.npy"), _MOST - size, lambda p: p.stat().st_size, DAY)
    for path in [*killed, *decoded]:
        with contextlib.suppress(OSError):  # Windows keeps what is open
            path.unlink()


def _reserve(path: Path) -> None:
    """Claims the file's space now: writing a mapped page to a full disk would end the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class TrainingBatches:
    """Endless supply of epochs of augmented training batches.

    Args:
        pixels: `(n, size, size, 3) uint8`, as `decode_photos` returns.
        rows: Rows of `pixels` to train on.
        labels: `(n,)` class numbers.
        weights: `(classes,)` weight of each class in the loss, which also counts the classes.
        config: Batch size, seed and augmentation strengths.
        parts: Devices among which each batch is divided. Every part has the same number of photos,
            so up to `parts` - 1 photos, others in each epoch, are left out of its last batch.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        weights: NDArray[np.float32],
        config: TrainConfig,
        parts: int = 1,
    ) -> None:
        self._pixels, self._rows, self._labels = pixels, rows, labels
        self._weights, self._config = weights, config
        self._used = len(rows) - len(rows) % config.batch_size % parts
        self._epoch = 0

    @cached_property
    def _dataset(self) -> tf.data.Dataset:
        size = self._pixels.shape[1]
        signature = (
            tf.TensorSpec((None, size, size, 3), tf.uint8),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((2,), tf.int32),
        )
        raw = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        # It costs little, because a batch is made while the network trains on the last one.
        augmented = raw.map(self._augment, num_parallel_calls=2).prefetch(2)
        exact = augmented.apply(tf.data.experimental.assert_cardinality(self.steps))
        # Tuning nothing here, its thread would still hold up the end of about every other epoch:
        # it may miss being called off and sleeps on, 10, 20 or 40 seconds from the epoch's start.
        options = tf.data.Options()
        options.autotune.enabled = False
        return exact.with_options(options)

    @property
    def steps(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-self._used // self._config.batch_size)

    def epoch(self, number: int) -> tf.data.Dataset:
        """Returns epoch `number` (from 0) as batches of photos, one-hot labels and weights.

        It is a function of seed and number, so that an epoch repeated after a resume is the same.
        """
        self._epoch = number
        return self._dataset

    def batch(self, epoch: int, number: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns one batch of an epoch, worked out by itself: photos, labels and weights."""
        self._epoch = epoch
        return self._augment(*next(islice(self._batches(), number, None)))

    def _batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        draws = np.random.default_rng((self._config.seed, self._epoch))
        order = draws.permutation(self._rows)[: self._used]
        for start in range(0, len(order), self._config.batch_size):
            # Sorted within the batch: the photos are read from one file on disk.
            batch = np.sort(order[start : start + self._config.batch_size])
            labels = self._labels[batch]
            seed = draws.integers(2**31, size=2, dtype=np.int32)
            yield self._pixels[batch], labels, self._weights[labels], seed

    def _augment(
        self, pixels: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        changing, mixing = tf.unstack(tf.random.split(seed, 2))
        photos = augment(pixels, self._config, changing)
        labels = tf.one_hot(labels, len(self._weights))
        return mix(photos, labels, weights, self._config.mixup, mixing)


def plain_batches(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Yields the rows' photos as they are, `(batch, size, size, 3) float32`, in order."""
    for start in range(0, len(rows), batch_size):
        yield pixels[rows[start : start + batch_size]].astype(np.float32)
