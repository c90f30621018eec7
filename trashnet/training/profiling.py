"""Measures what a training costs on this machine, by a few steps on noise."""

import logging
import math
import time

import keras
import numpy as np
import psutil

from trashnet.config import TRAIN_SHARE, TrainConfig
from trashnet.progress import Progress, silent
from trashnet.runs.cost_estimate import Cost
from trashnet.training.input_pipeline import TrainingBatches
from trashnet.training.memory import keep_freed_memory
from trashnet.training.networks import compiled_model, with_mirrored_views

log = logging.getLogger("trashnet")

_CLASSES = 6

_STEPS = 5

_PRECISIONS = ("float32", "bfloat16")

_GAIN = 1.1
"""How many times faster bfloat16 must be to be worth its rounding."""

_WORTH_STEPS = 500
"""Shorter trainings than that would spend on measuring what they could gain."""


def measure(config: TrainConfig) -> Cost:
    """Returns seconds per step and photo, and memory, of a run of this configuration."""
    keep_freed_memory()  # as `train_and_evaluate` does
    precisions = _PRECISIONS if config.precision == "auto" else (config.precision,)
    step = min(_step(config, p)[0] for p in precisions) if config.epochs else 0.0
    model = compiled_model(config, _CLASSES, 1)
    if config.mirrored_views:
        model = with_mirrored_views(model)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    photos = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    model.predict_on_batch(photos)
    began = time.perf_counter()
    model.predict_on_batch(photos)
    photo = (time.perf_counter() - began) / len(photos)
    return Cost(step, photo, psutil.Process().memory_info().rss)


def chosen_precision(
    config: TrainConfig, photos: int, on_progress: Progress = silent
) -> tuple[str, dict[str, float]]:
    """Returns what the layers of a run shall compute in, and the seconds per step that say so.

    Args:
        config: What to train.
        photos: How many photos there are, of which a share is trained on.
        on_progress: Told of each precision that is measured.

    Returns:
        `float32` or `bfloat16`; and the measured seconds of each, none where nothing was measured
        because the configuration decides or the training is a short one.
    """
    if config.precision != "auto":
        return config.precision, {}
    steps = config.total_epochs * math.ceil(TRAIN_SHARE * photos / config.batch_size)
    if steps < _WORTH_STEPS:
        return "float32", {}
    seconds, losses = {}, {}
    for done, precision in enumerate(_PRECISIONS):
        on_progress(done, len(_PRECISIONS), "Measuring which precision is faster")
        seconds[precision], losses[precision] = _step(config, precision)
    keras.utils.clear_session(free_memory=True)
    log.info("seconds a step: %s", ", ".join(f"{p} {s:.3f}" for p, s in seconds.items()))
    faster = seconds["bfloat16"] * _GAIN <= seconds["float32"]
    # The same photos and weights: anything but rounding between the losses would be harm.
    harmless = abs(losses["bfloat16"] - losses["float32"]) <= 0.1 * abs(losses["float32"])
    return ("bfloat16" if faster and harmless else "float32"), seconds


def _step(config: TrainConfig, precision: str) -> tuple[float, float]:
    """The fastest step's seconds, as others may work beside, and the first step's loss."""
    rng = np.random.default_rng(0)
    count = config.batch_size * (_STEPS + 1)
    size = config.image_size
    pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, _CLASSES, count)
    weights = np.ones(_CLASSES, np.float32)
    batches = TrainingBatches(pixels, np.arange(count), labels, weights, config)
    model = compiled_model(config, _CLASSES, batches.steps, precision)
    took, losses = [], []
    for photos, targets, sample_weight in batches.epoch(0):
        began = time.perf_counter()
        logs = model.train_on_batch(photos, targets, sample_weight=sample_weight, return_dict=True)
        took.append(time.perf_counter() - began)
        losses.append(logs["loss"])
    return float(min(took[1:])), float(losses[0])  # the first one builds the graph
