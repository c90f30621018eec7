"""From the index to batches: photos decoded once, then shuffled and augmented per epoch."""

import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from trashnet.config import TrainConfig
from trashnet.data import Photos
from trashnet.errors import DataError, PhotoError
from trashnet.files import Progress, digest, parallel, silent, write_atomically
from trashnet.photos import load_photo

_READING = 1
"""Counted up when `load_photo` changes what it returns, so that older caches are left alone."""


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
    path = cache_folder / f"pixels-{image_size}-{digest(contents)}.npy"
    shape = (len(index), image_size, image_size, 3)
    if not _is_whole(path, shape):
        cache_folder.mkdir(parents=True, exist_ok=True)
        for left_over in cache_folder.glob(f".{path.stem}-*"):  # by a decoding that was killed
            left_over.unlink(missing_ok=True)

        def write(partial: Path) -> None:
            pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            _reserve(partial)

            def decode(i: int) -> None:
                pixels[i] = load_photo(photos.root / index.file[i], image_size)

            parallel(decode, range(len(index)), on_progress, "Decoding photos")
            pixels.flush()

        try:
            write_atomically(path, write)
        except PhotoError as error:
            raise DataError(f"The photos changed since they were listed: {error}") from error
        except OSError as error:
            raise DataError(
                f"The decoded photos could not be stored in {cache_folder} ({error.strerror}); "
                "free some space or set TRASHNET_HOME to a larger disk."
            ) from error
    return np.load(path, mmap_mode="r")


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether the file is there and as long as its header says: a copied cache may be cut short."""
    try:
        return np.load(path, mmap_mode="r").shape == shape
    except (OSError, ValueError, EOFError):
        return False


def _reserve(path: Path) -> None:
    """Claims the file's space now: writing a mapped page to a full disk would end the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def augmentation(config: TrainConfig) -> list[keras.layers.Layer]:
    """Returns the training's augmentation layers, each taking 0–255 RGB; none when all are off."""
    layers: list[keras.layers.Layer] = []
    if config.horizontal_flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    if config.brightness:
        # Without the range Keras may take 0–255 pixels for 0–1 and clip them to black.
        layers.append(keras.layers.RandomBrightness(config.brightness, value_range=(0, 255)))
    if config.rotation:
        layers.append(keras.layers.RandomRotation(config.rotation / 360, fill_mode="reflect"))
    return layers


def reseed(layers: list[keras.layers.Layer], seed: int, epoch: int) -> None:
    """Makes what the layers draw next a function of seed, epoch and their place in the list.

    So an epoch repeated after a resume sees the same pictures as it would have without one.
    """
    for place, layer in enumerate(layers):
        generator = getattr(layer, "generator", None) or getattr(layer, "seed_generator", None)
        if generator is not None:
            drawn = np.random.default_rng((seed, epoch, place)).integers(2**31, size=2)
            generator.state.assign(drawn.astype(generator.state.dtype))


class TrainingBatches:
    """Endless supply of epochs of augmented training batches.

    Args:
        pixels: `(n, size, size, 3) uint8`, as `decode_photos` returns.
        rows: Rows of `pixels` to train on.
        labels: `(n,)` class numbers.
        weights: `(classes,)` weight of each class in the loss.
        config: Batch size, seed and augmentation strengths.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        weights: NDArray[np.float32],
        config: TrainConfig,
    ) -> None:
        self._pixels, self._rows, self._labels = pixels, rows, labels
        self._weights, self._config = weights, config
        self._layers = augmentation(config)
        self._epoch = 0
        size = pixels.shape[1]
        signature = (
            tf.TensorSpec((None, size, size, 3), tf.uint8),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.float32),
        )
        raw = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        # One batch at a time: the layers draw from a state, so order decides what they draw.
        # It costs nothing, because the batch is made while the network trains on the last one.
        augmented = raw.map(self._augment, num_parallel_calls=1).prefetch(2)
        self._dataset = augmented.apply(tf.data.experimental.assert_cardinality(self.steps))

    @property
    def steps(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-len(self._rows) // self._config.batch_size)

    def epoch(self, number: int) -> tf.data.Dataset:
        """Returns epoch `number` (from 0) as batches of photos, labels and sample weights."""
        self._epoch = number
        reseed(self._layers, self._config.seed, number)
        return self._dataset

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        order = np.random.default_rng((self._config.seed, self._epoch)).permutation(self._rows)
        for start in range(0, len(order), self._config.batch_size):
            # Sorted within the batch: the photos are read from one file on disk.
            batch = np.sort(order[start : start + self._config.batch_size])
            labels = self._labels[batch]
            yield self._pixels[batch], labels, self._weights[labels]

    def _augment(
        self, pixels: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return augment(pixels, self._layers), labels, weights


def augment(pixels: tf.Tensor, layers: list[keras.layers.Layer]) -> tf.Tensor:
    """Applies augmentation layers to `(n, h, w, 3)` photos; returns float32, 0–255."""
    result = tf.cast(pixels, tf.float32)
    for layer in layers:
        result = layer(result, training=True)
    return result


def plain_batches(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Yields the rows' photos as they are, `(batch, size, size, 3) float32`, in order."""
    for start in range(0, len(rows), batch_size):
        yield pixels[rows[start : start + batch_size]].astype(np.float32)
