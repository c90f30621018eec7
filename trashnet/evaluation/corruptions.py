"""Corruptions of photos, by which robustness is measured."""

import functools
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from trashnet.evaluation.backgrounds import Photo, replace_background, shrink, to_bytes

SCHEMA = 1
"""Raise it when a transformation draws something else: stored figures are then measured anew."""

SEED = 0


@dataclass(frozen=True)
class Transformation:
    """One way to change a photo.

    Attributes:
        strengths: How far, from mild to severe.
        unit: What a strength counts.
        apply: Maps a photo `(h, w, 3) uint8`, a strength and a generator to `(h, w, 3) uint8`, not
            always of the same shape, or to None where the photo cannot be changed so.
    """

    strengths: tuple[float, ...]
    unit: str
    apply: Callable[[Photo, float, np.random.Generator], Photo | None]


# ---------------------------------------------------------------- view


def _rotate(photo: Photo, degrees: float, rng: np.random.Generator) -> Photo:
    """Turns left or right; what comes in is mirrored, and a quarter turn swaps the sides."""
    angle = degrees * rng.choice((-1, 1))
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(photo, round(angle / 90)))
    height, width = photo.shape[:2]
    pad = int(np.hypot(height, width) - min(height, width)) // 2 + 1
    padded = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BILINEAR)
    return np.array(turned.crop((pad, pad, pad + width, pad + height)))


def _flip(axis: int, photo: Photo, strength: float, rng: np.random.Generator) -> Photo:
    return np.ascontiguousarray(np.flip(photo, axis)) if strength else photo


def _crop(photo: Photo, share: float, rng: np.random.Generator) -> Photo:
    """Keeps a part of this share of the area, in the photo's proportions, anywhere."""
    height, width = (max(1, round(side * share**0.5)) for side in photo.shape[:2])
    top = rng.integers(photo.shape[0] - height + 1)
    left = rng.integers(photo.shape[1] - width + 1)
    return photo[top : top + height, left : left + width]


# ---------------------------------------------------------------- light and camera


def _brighten(photo: Photo, factor: float, rng: np.random.Generator) -> Photo:
    return to_bytes(photo * np.float32(factor))


def _cast(photo: Photo, warmth: float, rng: np.random.Generator) -> Photo:
    """Takes red from or gives it to blue, as a wrong white balance does; brightness is kept."""
    gains = np.array((1 + warmth, 1, 1 - warmth), np.float32)
    return to_bytes(photo * (gains / (gains @ np.array((0.299, 0.587, 0.114), np.float32))))


def _stretch_contrast(photo: Photo, factor: float, rng: np.random.Generator) -> Photo:
    mean = np.float32(photo.mean())
    return to_bytes((photo - mean) * np.float32(factor) + mean)


def _blur(photo: Photo, pixels: float, rng: np.random.Generator) -> Photo:
    return np.array(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(pixels)))


def _add_noise(photo: Photo, deviation: float, rng: np.random.Generator) -> Photo:
    return to_bytes(photo + np.float32(deviation) * rng.standard_normal(photo.shape, np.float32))


def _compress(photo: Photo, quality: float, rng: np.random.Generator) -> Photo:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=round(quality))
    return np.array(Image.open(buffer))


TRANSFORMS: dict[str, Transformation] = {
    "rotation": Transformation((15, 45, 90, 180), "degrees", _rotate),
    "horizontal_flip": Transformation((1,), "flip", functools.partial(_flip, 1)),
    "vertical_flip": Transformation((1,), "flip", functools.partial(_flip, 0)),
    "crop": Transformation((0.7, 0.4), "share of the area", _crop),
    "scale": Transformation((0.7, 0.4), "times the size", shrink),
    "brightness": Transformation((0.7, 0.4, 1.3, 1.7), "times the light", _brighten),
    "contrast": Transformation((0.5, 1.5), "times the contrast", _stretch_contrast),
    "colour_cast": Transformation((-0.25, 0.25), "red gained, blue lost", _cast),
    "blur": Transformation((2, 4), "pixels of 512", _blur),
    "noise": Transformation((15, 40), "grey levels", _add_noise),
    "jpeg": Transformation((30, 10), "quality", _compress),
    "background": Transformation((0, 0.5, 1), "texture", replace_background),
}
"""Every way in which photos are changed, by name."""


def change_photo(photo: Photo, file: str, name: str, strength: float) -> Photo | None:
    """Changes one photo; the same arguments give the same pixels.

    Args:
        photo: `(h, w, 3) uint8`.
        file: The photo's key.
        name: One of `TRANSFORMS`.
        strength: Need not be one of the declared strengths.

    Returns:
        `(h', w', 3) uint8`, or None where the object cannot be told from its background.
    """
    key = hashlib.sha256(f"{SEED}/{file}/{name}/{float(strength)}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(key[:8]))
    return TRANSFORMS[name].apply(photo, strength, rng)
