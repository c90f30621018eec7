"""Measures what a training costs on this machine, by a few steps on noise."""

import time

import numpy as np
import psutil

from trashnet.config import TrainConfig
from trashnet.estimate import Cost
from trashnet.pipeline import TrainingBatches
from trashnet.train import compiled_model

_CLASSES = 6
_STEPS = 3


def measure(config: TrainConfig) -> Cost:
    """Returns seconds per step and photo, and memory, of a run of this configuration."""
    rng = np.random.default_rng(0)
    count = config.batch_size * (_STEPS + 1)
    size = config.image_size
    pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, _CLASSES, count)
    weights = np.ones(_CLASSES, np.float32)
    batches = TrainingBatches(pixels, np.arange(count), labels, weights, config)
    model = compiled_model(config, _CLASSES, batches.steps)
    step = 0.0
    if config.epochs:
        took = []
        for photos, targets, sample_weight in batches.epoch(0):
            began = time.perf_counter()
            model.train_on_batch(photos, targets, sample_weight=sample_weight)
            took.append(time.perf_counter() - began)
        step = float(np.median(took[1:]))  # the first one builds the graph
    photos = pixels[: config.batch_size].astype(np.float32)
    model.predict_on_batch(photos)
    began = time.perf_counter()
    model.predict_on_batch(photos)
    photo = (time.perf_counter() - began) / len(photos)
    return Cost(step, photo, psutil.Process().memory_info().rss)
