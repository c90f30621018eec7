"""What training does to its photos so that a network sees each of them anew every epoch.

Flips, rotation, zoom, stretch and shift are one projective transform, and brightness, contrast,
saturation and tint one colour matrix: each photo is resampled once, whatever is switched on, which
is several times faster than a layer for each. `docs/method.md` says what they are worth.
"""

import tensorflow as tf

from trashnet.config import TrainConfig

_LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue add to grey (ITU-R BT.601, as in Pillow's conversion)."""


def augment(pixels: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Changes each photo at random, by the strengths of the configuration.

    Args:
        pixels: `(n, h, w, 3)`, 0–255.
        config: Strengths; a transformation of strength 0 is left out.
        seed: `(2,) int32`; the same seed gives the same pictures.

    Returns:
        `(n, h, w, 3) float32`, 0–255.
    """
    photos = tf.cast(pixels, tf.float32)
    moving, lighting = tf.unstack(tf.random.split(seed, 2))
    if _moves(config):
        photos = _move(photos, config, moving)
    if _lights(config):
        photos = _light(photos, config, lighting)
    return photos


def mix(
    photos: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Blends each photo, its label and its weight with those of another photo of the batch.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018).

    Args:
        photos: `(n, h, w, 3) float32`.
        labels: `(n, classes) float32`, one-hot.
        weights: `(n,) float32`.
        alpha: Both parameters of the Beta distribution that says how much; 0 blends nothing.
        seed: `(2,) int32`.
    """
    if not alpha:
        return photos, labels, weights
    one, two, three = tf.unstack(tf.random.split(seed, 3))
    n = tf.shape(photos)[:1]
    partner = tf.random.experimental.stateless_shuffle(tf.range(n[0]), three)
    # A ratio of Gamma draws is a Beta draw. The larger share stays with the photo itself, and all
    # of it if both draws vanish, as they do for a small alpha.
    x = tf.random.stateless_gamma(n, one, alpha)
    y = tf.random.stateless_gamma(n, two, alpha)
    share = (tf.maximum(x, y) + 1e-6) / (x + y + 1e-6)

    def blend(values: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(share, tf.concat([n, tf.ones(tf.rank(values) - 1, tf.int32)], 0))
        return own * values + (1 - own) * tf.gather(values, partner)

    return blend(photos), blend(labels), blend(weights)


def _moves(config: TrainConfig) -> bool:
    flips = config.horizontal_flip or config.vertical_flip
    return bool(flips or config.rotation or config.zoom or config.stretch or config.shift)


def _lights(config: TrainConfig) -> bool:
    return bool(config.brightness or config.contrast or config.saturation or config.tint)


class _Draws:
    """Numbers for one batch, each kind from a stream of its own.

    So switching one transformation off leaves what the others draw as it was.
    """

    def __init__(self, seed: tf.Tensor, count: int, photos: tf.Tensor) -> None:
        self._streams = iter(tf.unstack(tf.random.split(seed, count)))
        self._n = tf.shape(photos)[0]

    def uniform(self, strength: float, columns: int = 1) -> tf.Tensor:
        """Returns `(n, columns)` numbers between -strength and strength."""
        seed = next(self._streams)
        shape = (self._n, columns)
        return strength * tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)

    def sign(self, switched_on: bool) -> tf.Tensor:
        """Returns `(n, 1)` ones, half of them negative if switched on."""
        draw = self.uniform(1.0)
        return tf.where(draw < 0, -1.0, 1.0) if switched_on else tf.ones_like(draw)


def _move(photos: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Flips, turns, zooms, stretches and shifts about the middle; what comes in is mirrored."""
    draws = _Draws(seed, 6, photos)
    flip_x, flip_y = draws.sign(config.horizontal_flip), draws.sign(config.vertical_flip)
    angle = draws.uniform(config.rotation) * (3.141592653589793 / 180)
    zoom = draws.uniform(tf.math.log(1 + config.zoom))
    stretch = draws.uniform(tf.math.log(1 + config.stretch) / 2)
    size = tf.cast(tf.shape(photos)[1:3], tf.float32)
    shift = draws.uniform(config.shift, 2) * size[::-1]
    # From a pixel of the result to where in the photo it comes from.
    scale_x, scale_y = flip_x * tf.exp(zoom + stretch), flip_y * tf.exp(zoom - stretch)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    a, b, c, d = cosine * scale_x, -sine * scale_y, sine * scale_x, cosine * scale_y
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    offset_x = middle_x - a * middle_x - b * middle_y + shift[:, :1]
    offset_y = middle_y - c * middle_x - d * middle_y + shift[:, 1:]
    nothing = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=photos,
        transforms=tf.concat([a, b, offset_x, c, d, offset_y, nothing, nothing], axis=1),
        output_shape=tf.shape(photos)[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _light(photos: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Changes saturation, tint, contrast about the photo's mean, and brightness, in that order."""
    draws = _Draws(seed, 4, photos)
    brightness = 255 * draws.uniform(config.brightness)
    if not (config.contrast or config.saturation or config.tint):  # the matrix would change nothing
        return tf.clip_by_value(photos + brightness[:, None, None, :], 0.0, 255.0)
    contrast = 1 + draws.uniform(config.contrast)
    saturation = 1 + draws.uniform(config.saturation)
    tint = 1 + draws.uniform(config.tint, 3)
    grey = tf.tile(tf.constant(_LUMA)[:, None], (1, 3))  # photo @ grey: each channel is luma
    matrix = saturation[..., None] * tf.eye(3) + (1 - saturation)[..., None] * grey
    matrix *= tint[:, None, :]
    mean = tf.reduce_mean(photos, axis=(1, 2)) if config.contrast else tf.zeros_like(tint)
    mean = tf.linalg.matvec(matrix, mean, transpose_a=True)
    offset = brightness + (1 - contrast) * mean
    shape = tf.shape(photos)
    flat = tf.reshape(photos, (shape[0], -1, 3)) @ (contrast[..., None] * matrix)
    return tf.reshape(tf.clip_by_value(flat + offset[:, None, :], 0.0, 255.0), shape)
