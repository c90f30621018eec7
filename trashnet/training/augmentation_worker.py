"""What training makes of a photo: its own pictures of the first epochs, asked for line by line.

The worker of `trashnet.runs.augmentation_preview`: it holds TensorFlow, so that the app need not.
"""

import base64
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trashnet.config import TrainConfig
from trashnet.data.image_io import as_png, load_photo
from trashnet.errors import ConfigError, TrashnetError
from trashnet.runs.augmentation_preview import MOST_PHOTOS, MOST_VARIANTS
from trashnet.training.input_pipeline import TrainingBatches


def variants(pixels: NDArray[np.uint8], config: TrainConfig, epochs: int) -> NDArray[np.uint8]:
    """Returns what a training on these photos alone would be fed in its first epochs.

    Args:
        pixels: `(n, size, size, 3) uint8`, as `load_photo` returns them.
        config: Strengths and seed; all photos make one batch.
        epochs: How many.

    Returns:
        `(epochs, n, size, size, 3) uint8`, 0–255.
    """
    rows = np.arange(len(pixels))
    whole = TrainConfig.from_dict(config.to_dict() | {"batch_size": len(pixels)})
    weights = np.ones(1, np.float32)
    batches = TrainingBatches(pixels, rows, np.zeros(len(rows), np.int64), weights, whole)
    fed = [batches.batch(epoch, 0)[0].numpy() for epoch in range(epochs)]
    return np.clip(np.rint(np.stack(fed)), 0, 255).astype(np.uint8)


def serve(lines: BinaryIO, idle: float) -> Iterator[dict[str, Any]]:
    """Yields one answer a line, first that it is ready; ends with the input, or when idle.

    Args:
        lines: JSON objects of `photos` (paths), `settings` (of `TrainConfig`) and `variants`.
        idle: Seconds without a question after which nobody is taken to be there.

    Yields:
        `pictures`: for each variant, for each photo, a PNG in base64; or `error`: a sentence.
    """
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in lines:
            asked.put(line)
        asked.put(b"")  # whoever asked is gone

    threading.Thread(target=read, daemon=True).start()
    yield {"ready": True}
    while True:
        try:
            line = asked.get(timeout=idle)
        except queue.Empty:
            return
        if not line:
            return
        try:
            yield {"pictures": _answer(line)}
        except TrashnetError as error:
            yield {"error": str(error)}


def _answer(line: bytes) -> list[list[str]]:
    photos, settings, count = _question(line)
    config = TrainConfig.from_dict(settings)
    pixels = np.stack([load_photo(path, config.image_size) for path in photos])
    epochs = variants(pixels, config, count)
    return [[base64.b64encode(as_png(p)).decode() for p in epoch] for epoch in epochs]


def _question(line: bytes) -> tuple[list[str], dict[str, Any], int]:
    """The parts of a question, each of its type."""
    try:
        question = json.loads(line)
        photos, settings = question["photos"], question["settings"]
        count = question["variants"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            "A question is one line of JSON: an object of photos, settings and variants."
        ) from error
    if not (
        isinstance(photos, list)
        and 1 <= len(photos) <= MOST_PHOTOS
        and all(isinstance(path, str) for path in photos)
    ):
        raise ConfigError(f"photos must be a list of 1 to {MOST_PHOTOS} paths.")
    if not isinstance(settings, dict):
        raise ConfigError("settings must be an object of settings and their values.")
    if type(count) is not int or not 1 <= count <= MOST_VARIANTS:
        raise ConfigError(f"variants is {count!r}; it must be from 1 to {MOST_VARIANTS}.")
    return photos, settings, count
