"""The input pipeline: photos on disk to augmented batches, three ways, the same augmentations."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row, row
from benchmarks.photos import some_photos
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.scan import scan
from trashnet.progress import silent

BATCH, SIZE = 32, 224
FLIP, DEGREES, BRIGHTNESS = True, 15, 0.2
"""The promised recipe's augmentations: mirrored, turned by up to so much, lighter or darker."""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about batches; each way has an epoch at its first and at a later turn."""
    # Imported here, lest the first way's first epoch pays for what all of them use.
    import datasets  # noqa: F401
    import keras  # noqa: F401

    import trashnet.training.input_pipeline  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        photos, what = some_photos(Path(name) / "photos", 320 if quick else 1920)
        ways: dict[str, Callable[[], Callable[[int], Iterable[Any]]]] = {
            "ours": lambda: our_epochs(photos, Path(name) / "cache"),
            "ImageDataGenerator.flow_from_directory": lambda: generator_epochs(photos),
            "datasets.to_tf_dataset and Keras layers": lambda: datasets_epochs(photos),
        }
        epochs, first = {}, {}
        for way, begin in ways.items():  # the first epoch includes what has to be set up for it
            began = time.perf_counter()
            epochs[way] = begin()
            _exhaust(epochs[way](0))
            first[way] = len(photos.files) / (time.perf_counter() - began)
        later: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(1, 2 if quick else 4):
            for way, epoch in epochs.items():
                began = time.perf_counter()
                _exhaust(epoch(number))
                later[way].append(len(photos.files) / (time.perf_counter() - began))
    rows = []
    for title, rates, target in (
        ("first epoch", first, None),
        ("later epochs", {way: float(np.median(rates)) for way, rates in later.items()}, 4),
    ):
        ours, *others = rates.items()
        for way, rate in others:
            name = f"Augmented batches, {title}, {what}"
            rows.append(row(name, ours[1], rate, "photos/s", way, target))
    return rows


def _exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def our_epochs(photos: Photos, cache: Path) -> Callable[[int], Iterable[Any]]:
    """Returns our epochs, by number; asking for them decodes the photos into the cache."""
    from trashnet.training.input_pipeline import TrainingBatches, decode_photos

    config = TrainConfig(
        image_size=SIZE,
        batch_size=BATCH,
        horizontal_flip=FLIP,
        rotation=float(DEGREES),
        brightness=BRIGHTNESS,
    )
    index = scan(photos, cache, silent)
    pixels = decode_photos(photos, index, SIZE, cache)
    labels = index.label.map(photos.classes.index).to_numpy(np.int64)
    weights = np.ones(len(photos.classes), np.float32)
    return TrainingBatches(pixels, np.arange(len(index)), labels, weights, config).epoch


def generator_epochs(photos: Photos) -> Callable[[int], Iterator[Any]]:
    """Returns the epochs of `ImageDataGenerator`, which most TrashNet scripts use."""
    batches = flow_from_directory(photos)
    return lambda number: islice(batches, len(batches))


def flow_from_directory(photos: Photos) -> Any:
    """Returns the endless batches of `ImageDataGenerator` over a folder of class folders."""
    import tensorflow as tf  # Keras 3 keeps the generator under TensorFlow's old name only

    return tf.keras.preprocessing.image.ImageDataGenerator(
        horizontal_flip=FLIP,
        rotation_range=DEGREES,
        brightness_range=(1 - BRIGHTNESS, 1 + BRIGHTNESS),
    ).flow_from_directory(str(photos.root), target_size=(SIZE, SIZE), batch_size=BATCH)


def datasets_epochs(photos: Photos) -> Callable[[int], Iterable[Any]]:
    """Returns the epochs of a Hugging Face data set, augmented by Keras' layers."""
    import keras
    import tensorflow as tf
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    columns = {
        "image": [str(photos.root / file) for file in photos.files],
        "label": [file.split("/")[0] for file in photos.files],
    }
    features = Features(image=ImageFeature(), label=ClassLabel(names=list(photos.classes)))
    augment = keras.Sequential(
        [
            keras.layers.Resizing(SIZE, SIZE),
            *[keras.layers.RandomFlip("horizontal")] * FLIP,
            keras.layers.RandomRotation(DEGREES / 360, fill_mode="reflect"),
            keras.layers.RandomBrightness(BRIGHTNESS, value_range=(0, 255)),
        ]
    )
    batches = (
        Dataset.from_dict(columns, features=features)
        .to_tf_dataset(BATCH, columns="image", label_cols="label", shuffle=True)
        .map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )
    return lambda number: batches
