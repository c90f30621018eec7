"""A fine-tuning step: ours, what the same network costs elsewhere, and what kept memory saves."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.measuring import Row, by_turns, output, row
from trashnet.config import TrainConfig

CLASSES, BATCH = 6, 32

_HOW = ("kept", "given back")
"""What becomes of freed memory."""

_ESTIMATE = """
import sys
from trashnet.config import TrainConfig
from trashnet.training import profiling

if sys.argv[2] == "given back":
    profiling.keep_freed_memory = lambda: None
print(profiling.measure(TrainConfig.recipe(sys.argv[1]).replace(precision="float32")).step)
"""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about a step on a batch of 32 photos of 224 pixels."""
    size = TrainConfig.recipe("efficientnet_lite0").image_size
    draws = np.random.default_rng(0)
    photos = draws.uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[draws.integers(0, CLASSES, BATCH)]
    works = {
        "the recipe's, with three blocks frozen": our_step,
        "every layer trained": lambda *batch: our_step(*batch, frozen_blocks=0),
        "Keras, BatchNormalization and every layer trained": keras_step,
    }
    if importlib.util.find_spec("torch") is not None:
        works["PyTorch, every layer trained"] = torch_step
    steps = [begin(photos, labels) for begin in works.values()]
    (recipe, every, *others), names = by_turns(2 if quick else 6, *steps), list(works)
    title = "A fine-tuning step of EfficientNet-Lite0, 32 photos"
    rows = []
    for name, seconds, target in zip(names[2:], others, (4, 3), strict=False):
        rows.append(row(f"{title}: {names[0]}", recipe, seconds, "s", name, target))
        rows.append(row(f"{title}: {names[1]}", every, seconds, "s", name))
    return rows + [kept_memory(model) for model in ("efficientnet_lite0", "efficientnet_lite2")]


def kept_memory(model: str) -> Row:
    """Returns the row about a process that keeps the memory it frees; each is one of its own."""
    # By turns, and the faster of two: others may work beside.
    rounds = [[float(output(_ESTIMATE, model, how)) for how in _HOW] for _ in range(2)]
    kept, given_back = map(min, zip(*rounds, strict=True))
    title = f"A training step of {model}, 32 photos, freed memory kept"
    return row(title, kept, given_back, "s", "given back to the system, glibc's default")


def our_step(photos: np.ndarray, labels: np.ndarray, **settings: Any) -> Callable[[], Any]:
    """Returns a step as `train --model efficientnet_lite0` takes it."""
    from trashnet.training.networks import compiled_model

    recipe = TrainConfig.recipe("efficientnet_lite0")
    model = compiled_model(replace(recipe, **settings), CLASSES, 50)
    weights = np.ones(BATCH, np.float32)
    return lambda: model.train_on_batch(photos, labels, sample_weight=weights)


def keras_step(photos: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """Returns a step of the network as published, in Keras: every layer is trained."""
    import keras

    model = keras_model(photos.shape[1:])
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return lambda: model.train_on_batch(photos, labels)


def keras_model(shape: tuple[int, int, int]) -> Any:
    """Returns EfficientNet-Lite0 with a normalization after each convolution, as published."""
    import keras
    from keras import layers

    from trashnet.training.efficientnet_lite import stages

    def normalized(x: Any, convolution: Any, active: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3)(convolution(x))
        return layers.ReLU(6)(x) if active else x

    def convolution(filters: int, kernel: int = 1, strides: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)

    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(inputs)
    x = normalized(x, convolution(32, 3, 2))
    for kernel, first_strides, expansion, filters, blocks in stages("efficientnet_lite0"):
        for block in range(blocks):
            strides, before = first_strides if block == 0 else 1, x
            if expansion > 1:
                x = normalized(x, convolution(before.shape[-1] * expansion))
            depthwise = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False)
            x = normalized(normalized(x, depthwise), convolution(filters), active=False)
            if strides == 1 and before.shape[-1] == filters:
                x = layers.Add()([before, x])
    x = layers.GlobalAveragePooling2D()(normalized(x, convolution(1280)))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def torch_step(photos: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """Returns a step of the network as published, in PyTorch: every layer is trained."""
    import torch
    from torch import nn

    from trashnet.training.efficientnet_lite import stages

    def convolution(
        inputs: int, filters: int, kernel: int = 1, strides: int = 1, groups: int = 1
    ) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, filters, kernel, strides, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(filters, eps=1e-3),
            nn.ReLU6(),
        ]

    class Residual(nn.Sequential):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    parts, channels = convolution(3, 32, 3, 2), 32
    for kernel, first_strides, expansion, filters, blocks in stages("efficientnet_lite0"):
        for block in range(blocks):
            strides, wide = first_strides if block == 0 else 1, channels * expansion
            body = convolution(channels, wide) if expansion > 1 else []
            body += convolution(wide, wide, kernel, strides, groups=wide)
            body += convolution(wide, filters)[:-1]  # the projection has no activation
            same = strides == 1 and channels == filters
            parts.append((Residual if same else nn.Sequential)(*body))
            channels = filters
    parts += convolution(channels, 1280)
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES)]
    model = nn.Sequential(*parts).train()
    optimizer = torch.optim.Adam(model.parameters())
    x = (torch.from_numpy(photos).permute(0, 3, 1, 2) - 127) / 128
    x, y = x.contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)
    model = model.to(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step
