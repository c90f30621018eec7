"""The networks, as Keras models."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.optimizers.schedules import LearningRateSchedule
from numpy.typing import NDArray

from trashnet.config import FROM_SCRATCH, TrainConfig
from trashnet.errors import ConfigError
from trashnet.training import efficientnet_lite
from trashnet.training.weight_standardization import StandardizedConv2D

FEATURES = "features"
"""Name of the layer whose output is the last feature map."""

CNN_FILTERS = (32, 48, 96, 128, 192)
"""Filters of the stages of `cnn`."""

_DOWNLOAD_SECONDS = 20
"""How long a download of weights may stand still."""

_ADAM_BESIDE_MUON = 0.5
"""Share of Muon's rate at which Adam moves the weights that are no kernels."""

_MIRRORS = ((), (2,), (1,), (1, 2))
"""Axes of a batch of photos along which each view is mirrored: none, width, height, both."""

_CNN_BASELINE_SMALLEST = 22
"""Side of the smallest photo, in pixels, of which three convolutions and poolings leave one."""


def compiled_model(
    config: TrainConfig, num_classes: int, steps: int, precision: str = "float32"
) -> keras.Model:
    """Returns the configuration's network ready to train.

    Args:
        config: What to train.
        num_classes: Number of logits.
        steps: Batches of an epoch.
        precision: What the layers compute in, `float32` or `bfloat16`; weights stay float32.
    """
    with _computing_in(precision):
        model = build_model(
            config.model,
            config.image_size,
            num_classes,
            config.seed,
            config.frozen_blocks,
            config.dropout,
            config.backbone,
        )
    model.compile(
        _optimizer(config, steps),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        ),
        # Unweighted and unsmoothed, so they compare with validation's.
        metrics=[
            "accuracy",
            keras.metrics.CategoricalCrossentropy("cross_entropy", from_logits=True),
        ],
    )
    return model


@contextlib.contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy({"bfloat16": "mixed_bfloat16"}.get(precision, precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """`steps` are those of an epoch."""
    rate = _learning_rate(config, steps)
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate, weight_decay=config.weight_decay or None)
    # The kernels, which are matrices here; gains, biases and the head are left to Adam.
    return keras.optimizers.Muon(
        rate,
        weight_decay=config.weight_decay or None,
        adam_weight_decay=None,
        adam_lr_ratio=_ADAM_BESIDE_MUON,
        exclude_layers=["logits"],
    )


def _learning_rate(config: TrainConfig, steps: int) -> float | LearningRateSchedule:
    """The rate of each step; `steps` are those of an epoch."""
    if config.schedule == "constant":
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, (config.epochs - 1) * steps),
        warmup_target=config.learning_rate,
        warmup_steps=steps,
    )


def build_model(
    name: str,
    image_size: int,
    num_classes: int,
    seed: int = 0,
    frozen_blocks: int = 3,
    dropout: float = 0.0,
    backbone: str = "efficientnet_lite0",
) -> keras.Model:
    """Builds a network that has not seen the photos yet.

    Args:
        name: One of `trashnet.config.MODELS`.
        image_size: Side of the square input, in pixels.
        num_classes: Number of logits.
        seed: Decides the initial weights.
        frozen_blocks: Blocks of an EfficientNet-Lite that training leaves as they are, and with
            them the stem: they see edges and textures. Leaving three saves a quarter of a step.
        dropout: Share of what the last layer sees that is left out at random while training.
        backbone: The EfficientNet-Lite whose features `frozen_features` classifies.

    Returns:
        `(n, image_size, image_size, 3) float32` in 0–255 → `(n, num_classes) float32` logits.

    Raises:
        ConfigError: The photos are too small for the network, it is unknown, or its pretrained
            weights cannot be downloaded.
    """
    keras.utils.set_random_seed(seed)
    if name == "cnn_baseline":
        return _cnn_baseline(image_size, num_classes, dropout)
    if name == "cnn":
        return _with_linear_head(_cnn_trunk(image_size), num_classes, dropout)
    if name in efficientnet_lite.SCALES or name == "frozen_features":
        frozen = name == "frozen_features"
        lite = efficientnet_lite.backbone(backbone if frozen else name, image_size)
        early = tuple(f"block_{number:02d}" for number in range(1, frozen_blocks + 1))
        if early:
            _freeze(lite, lambda layer: layer.name.startswith(("stem", *early)))
        if frozen:
            lite.trainable = False
        return _with_linear_head(lite, num_classes, dropout)
    if name == "efficientnetv2_b0":
        other = keras_application(keras.applications.EfficientNetV2B0, image_size)
        # Their statistics are ImageNet's, and batches of 32 estimate none better.
        _freeze(other, lambda layer: isinstance(layer, layers.BatchNormalization))
        return _with_linear_head(other, num_classes, dropout)
    raise ConfigError(f"Unknown model {name!r}.")


def is_pretrained(name: str) -> bool:
    """Whether a network starts from ImageNet weights, so that its head is fitted first."""
    return name not in FROM_SCRATCH


def keras_application(
    application: Callable[..., keras.Model],
    image_size: int,
    weights: str | None = "imagenet",
) -> keras.Model:
    """Returns one of `keras.applications` up to its last feature map; it scales photos itself.

    Args:
        application: A function of `keras.applications` with `include_preprocessing`.
        image_size: Side of the square input, in pixels.
        weights: `imagenet`, which Keras downloads once, or None for random ones.

    Raises:
        ConfigError: The weights cannot be downloaded.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_SECONDS)  # Keras sets none and would wait for ever
    try:
        return application(
            include_top=False,
            weights=weights,
            input_shape=(image_size, image_size, 3),
            include_preprocessing=True,
        )
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        if weights is None:
            raise
        raise ConfigError(
            f"The ImageNet weights of {application.__name__} cannot be downloaded here; connect "
            "to the internet, or choose efficientnet_lite0, whose weights are on this machine."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _freeze(model: keras.Model, which: Callable[[keras.Layer], bool]) -> None:
    for layer in filter(which, model.layers):
        layer.trainable = False


def _with_linear_head(backbone: keras.Model, num_classes: int, dropout: float) -> keras.Model:
    """Averages the last feature map over its area and maps it linearly to logits."""
    # `features` is what is exported beside the logits, whatever the backbone calls its last layer.
    features = layers.Identity(name=FEATURES)(backbone.output)
    # From here on float32, whatever the layers before compute in.
    x = layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
    if dropout:
        x = layers.Dropout(dropout, name="dropout", dtype="float32")(x)
    logits = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(backbone.input, logits, name=backbone.name)


def _cnn_trunk(image_size: int) -> keras.Model:
    """Our own network up to its last feature map: pairs of convolutions, pooled in between.

    The first convolution strides: maps of the photos' full size would be the largest of all. The
    second of each pair adds to what the first found instead of replacing it (He et al. 2016).
    """
    photo = keras.Input((image_size, image_size, 3), name="photo")
    # In float32: bfloat16 would round light shades to whole numbers.
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale", dtype="float32")(photo)
    x = StandardizedConv2D(CNN_FILTERS[0], 5, strides=2, name="conv_1")(x)
    for stage, filters in enumerate(CNN_FILTERS[1:], start=2):
        # Padded, so that photos of any size leave something to pool.
        x = layers.MaxPooling2D(2, padding="same", name=f"pool_{stage - 1}")(x)
        x = StandardizedConv2D(filters, 3, name=f"conv_{stage}a")(x)
        y = StandardizedConv2D(filters, 3, name=f"conv_{stage}b")(x)
        x = layers.Add(name=f"add_{stage}")([x, y])
        # A sum of two is twice as variable as each; the next layer is to see what this one saw.
        x = layers.Rescaling(0.5**0.5, name=f"scale_{stage}")(x)
    return keras.Model(photo, x, name="cnn")


def _cnn_baseline(image_size: int, num_classes: int, dropout: float) -> keras.Model:
    """The described recipe's network: three convolutions, each pooled, and two dense layers."""
    if image_size < _CNN_BASELINE_SMALLEST:
        raise ConfigError(
            f"image_size is {image_size}; cnn_baseline needs at least {_CNN_BASELINE_SMALLEST}."
        )
    photo = keras.Input((image_size, image_size, 3), name="photo")
    x = layers.Rescaling(1 / 255, name="scale")(photo)
    for stage, filters in enumerate((32, 64, 128), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv_{stage}")(x)
        pool = FEATURES if filters == 128 else f"pool_{stage}"
        x = layers.MaxPooling2D(2, name=pool)(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    # Logits stay float32 whatever the layers before compute in.
    logits = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(photo, logits, name="cnn_baseline")


def with_feature_map(model: keras.Model) -> keras.Model:
    """Returns the same network with two outputs: logits and last feature map."""
    return keras.Model(model.input, [model.output, model.get_layer(FEATURES).output])


def with_mirrored_views(model: keras.Model) -> keras.Model:
    """Returns the network that looks at a photo and at its three mirror images.

    Their last feature maps, mirrored back, are averaged into one, so the answer stays a linear
    function of a map's mean and can be explained by it.

    Args:
        model: A network that ends in a linear head.
    """
    trunk = keras.Model(model.input, model.get_layer(FEATURES).output, name="one_view")
    photo = keras.Input(model.input.shape[1:], name="photo")
    maps = ops.split(trunk(ops.concatenate(_mirrored([photo] * len(_MIRRORS)))), len(_MIRRORS))
    features = layers.Average(name=FEATURES)(_mirrored(maps))
    logits = model.get_layer("logits")(model.get_layer("embedding")(features))
    return keras.Model(photo, logits, name=model.name)


def _mirrored(pictures: list[Any]) -> list[Any]:
    """Mirrors each of four batches its own way; twice is not at all."""
    return [ops.flip(p, axes) if axes else p for p, axes in zip(pictures, _MIRRORS, strict=True)]


def linear_head(model: keras.Model) -> tuple[keras.Variable, keras.Variable] | None:
    """Returns kernel and bias of a head that sees only the mean feature map, else None."""
    head = model.get_layer("logits")
    *_, seen = (layer for layer in model.layers[:-1] if not isinstance(layer, layers.Dropout))
    return (head.kernel, head.bias) if isinstance(seen, layers.GlobalAveragePooling2D) else None


def embedder(model: keras.Model) -> keras.Model:
    """Returns the network up to its mean feature map, which its linear head sees."""
    return keras.Model(model.input, model.get_layer("embedding").output)


def set_head(model: keras.Model, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
    """Gives the linear head its kernel `(d, classes)` and bias `(classes,)`."""
    head = model.get_layer("logits")
    head.kernel.assign(kernel)
    head.bias.assign(bias)


def interpolate(pretrained: keras.Model, trained: keras.Model, share: float) -> None:
    """Moves the trained weights towards the pretrained ones; `share` is what is kept of them.

    Between the two lie networks that lose little on photos like the training's and gain on others.
    Source: WiSE-FT, Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
    """
    for start, end in zip(pretrained.weights, trained.weights, strict=True):
        end.assign((1 - share) * start + share * end)
