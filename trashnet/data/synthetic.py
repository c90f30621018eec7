"""Drawn sample pictures of six classes: something to try the app on while there are no photos."""

import functools
import json
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from trashnet.errors import PhotoError

SAMPLE_CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")

Floats = NDArray[np.floating]

Rng = np.random.Generator

Pen = ImageDraw.ImageDraw

Box = tuple[float, float, float, float]

Point = tuple[float, float]

Outline = tuple[Point, ...]

_VERSION = 1

_MARKER = "SAMPLES"

# TrashNet's own numbers of photos, so that samples are unbalanced in the same way.
_SHARES = {"cardboard": 403, "glass": 501, "metal": 410, "paper": 594, "plastic": 482, "trash": 137}

_BRIGHT = ("#d8402f", "#2f6fd0", "#2e9e5b", "#f0b429", "#8a4fbf", "#e8e8e6", "#20252c", "#e77fa6")

# Outlines of turned bodies as (height from the top, radius), both 0 to 1.
_BOTTLE = ((0, 0.3), (0.06, 0.3), (0.26, 0.34), (0.46, 1), (0.94, 1), (1, 0.92))

_ROUND_BOTTLE = ((0, 0.36), (0.12, 0.36), (0.36, 0.9), (0.5, 1), (0.95, 1), (1, 0.86))

_JAR = ((0, 0.78), (0.12, 0.78), (0.24, 1), (0.93, 1), (1, 0.9))

_CUP = ((0, 1), (0.05, 1), (0.06, 0.95), (1, 0.7))

_CAN = ((0, 0.84), (0.02, 0.84), (0.1, 1), (0.93, 1), (0.98, 0.86), (1, 0.86))

_TIN = ((0, 1), (0.03, 1), (0.05, 0.96), (0.95, 0.96), (0.97, 1), (1, 1))


def draw_sample(label: str, seed: int, size: tuple[int, int] = (512, 384)) -> Image.Image:
    """Draws one generated RGB picture of a class: the same label and seed, the same picture.

    Args:
        label: One of `SAMPLE_CLASSES`.
        seed: Any number from 0 up.
        size: Width and height in pixels.

    Raises:
        PhotoError: There is no such class, or the seed or size is out of range.
    """
    if label not in SAMPLE_CLASSES or seed < 0 or min(size) < 32:
        raise PhotoError(
            f"Cannot draw {label!r} with seed {seed} at {size}: choose one of "
            f"{', '.join(SAMPLE_CLASSES)}, a seed from 0 up and at least 32 × 32 pixels."
        )
    rng = np.random.default_rng((SAMPLE_CLASSES.index(label), seed))
    picture = _posterboard(rng, size)
    # Drawn half as large again, then reduced: that smooths every edge.
    unit = int(1.5 * min(size) * rng.uniform(0.68, 0.94))
    thing = _DRAW[label](rng, unit)
    smaller = (int(thing.width / 1.5), int(thing.height / 1.5))
    thing = thing.resize(smaller, Image.Resampling.BILINEAR)
    thing = thing.rotate(_angle(rng, label), Image.Resampling.BILINEAR, expand=True)
    thing.thumbnail((int(size[0] * 0.94), int(size[1] * 0.94)))
    free = (size[0] - thing.width, size[1] - thing.height)
    x, y = (int(f * np.clip(rng.normal(0.5, 0.18), 0.04, 0.96)) for f in free)
    _cast_shadow(picture, thing, (x, y), rng)
    picture.paste(thing, (x, y), thing)
    return _finish(picture, rng)


def _angle(rng: Rng, label: str) -> float:
    """Mostly upright, sometimes lying: things with a top are photographed both ways."""
    lying = rng.random() < (0.3 if label in ("glass", "plastic", "metal") else 0.15)
    return float(rng.normal(0, 9) + (rng.choice((-90, 90, 55, -55)) if lying else 0))


def _posterboard(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """A light board, brighter on one side."""
    y, x = np.mgrid[-1:1:24j, -1:1:32j]
    slope = rng.uniform(-0.05, 0.05, 2)
    light = 1 + slope[0] * x + slope[1] * y - 0.05 * (x * x + y * y)
    tint = rng.uniform(205, 238) + rng.normal(0, 2, 3) + (3, 1, -4)
    board = np.clip(light[..., None] * tint, 0, 255).astype(np.uint8)
    return Image.fromarray(board).resize(size, Image.Resampling.BICUBIC)


def _cast_shadow(picture: Image.Image, thing: Image.Image, at: tuple[int, int], rng: Rng) -> None:
    """A tight contact shadow and a wide soft one, on the side away from the light."""
    side = int(rng.choice((-1, 1)))
    alpha = Image.new("L", (picture.width // 4, picture.height // 4))
    alpha.paste(thing.getchannel("A").reduce(4), (at[0] // 4, at[1] // 4))
    tight = alpha.filter(ImageFilter.GaussianBlur(1.2)).point(lambda a: a * 35 // 100)
    wide = alpha.filter(ImageFilter.GaussianBlur(5)).point(lambda a: a * 30 // 100)
    shadow = ImageChops.add(ImageChops.offset(tight, side, 0), ImageChops.offset(wide, 2 * side, 2))
    shadow = shadow.resize(picture.size, Image.Resampling.BILINEAR)
    picture.paste((58, 52, 50), (0, 0), shadow)


def _finish(picture: Image.Image, rng: Rng) -> Image.Image:
    """The camera's share: exposure, white balance, grain; then the word that says it is drawn."""
    exposure = rng.normal(1, 0.05) * (1 + rng.normal(0, 0.008, 3))
    picture = picture.point([min(255, int(v * e)) for e in exposure for v in range(256)])
    grain = rng.integers(-5, 6, (picture.height, picture.width, 1), dtype=np.int16)
    picture = Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
    caption = _caption(max(9, picture.height // 32))
    corner = (picture.width - caption.width - 5, picture.height - caption.height - 4)
    picture.paste((70, 70, 70), corner, caption)
    return picture


@functools.cache
def _caption(height: int) -> Image.Image:
    """The word "sample" as a half transparent mask."""
    font = ImageFont.load_default(height)
    left, top, right, bottom = (int(v) for v in font.getbbox("sample"))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), "sample", 150, font)
    return mask


def _colour(rng: Rng, choices: tuple[str, ...] = _BRIGHT) -> Floats:
    """One of the colours, slightly changed: `(3,) float32`."""
    value = choices[rng.integers(len(choices))].lstrip("#")
    rgb = np.array([int(value[i : i + 2], 16) for i in (0, 2, 4)], np.float32)
    return np.clip(rgb + rng.normal(0, 8) + rng.normal(0, 2.5, 3), 0, 255).astype(np.float32)


def _rgba(colour: Floats, light: float) -> tuple[int, int, int, int]:
    """A colour under more or less light, for Pillow's pen."""
    r, g, b = (int(c) for c in np.clip(colour * light, 0, 255))
    return (r, g, b, 255)


def _picture(colour: Floats, alpha: Floats) -> Image.Image:
    """Colour 0–255 `(h, w, 3)` and alpha 0–1 `(h, w)` as one RGBA picture."""
    rgba = np.dstack([colour, alpha * 255])
    return Image.fromarray(np.clip(rgba, 0, 255).astype(np.uint8))


class _Turned:
    """A body turned on a lathe, seen a little from above: where each pixel lies on it."""

    def __init__(self, rng: Rng, unit: int, slim: float, outline: Outline) -> None:
        self.width, self.tilt = int(unit * slim), 0.13 * slim
        tall = np.linspace(0, 1, 201, dtype=np.float32)
        radius = np.interp(tall, *np.array(outline, np.float32).T)
        # Blown and moulded shapes have no corners: a moving average rounds the outline.
        radius = np.convolve(np.pad(radius, 7, "edge"), np.ones(15) / 15, "valid")
        x = np.linspace(-1, 1, self.width, dtype=np.float32)[None]
        # An ellipse's height is left free above (for the lid) and below (for the base).
        y = np.linspace(-self.tilt, 1 + self.tilt, unit, dtype=np.float32)[:, None]
        rough = x / np.interp(y, tall, radius)
        front = np.sqrt(np.clip(1 - rough**2, 0, 1)) * np.interp(y, tall, radius)
        self.along = (y - self.tilt * front).astype(np.float32)
        self.across = (x / np.interp(self.along, tall, radius)).astype(np.float32)
        self.inside = (abs(self.across) <= 1) & (self.along >= 0) & (self.along <= 1)
        self.side = float(rng.choice((-1, 1)) * rng.uniform(0.35, 0.65))
        self.edge = np.clip(abs(self.across), 0, 1) ** 5
        bend = np.sqrt(np.clip(1 - self.across**2, 0, 1))
        self.light = 0.5 + 0.5 * np.clip(self.side * self.across + bend * 0.75, 0, 1)
        self.unit, self.top = unit, float(radius[0])

    def gleam(self, where: float, wide: float) -> Floats:
        """A bright reflection running along the body, `where` across it."""
        return np.exp(-(((self.across - where) / wide) ** 2))

    def band(self, start: float, end: float) -> Any:
        """The part between two heights, as a mask."""
        return (self.along >= start) & (self.along <= end)

    def lid(self, grow: float = 1.0) -> Box:
        """The box of the ellipse that closes the body's top."""
        scale = self.unit / (1 + 2 * self.tilt)
        rx, ry = self.width / 2 * self.top * grow, self.tilt * scale * self.top * grow
        cx, cy = self.width / 2, self.tilt * scale
        return (cx - rx, cy - ry, cx + rx, cy + ry)


def _wrap_label(body: _Turned, rng: Rng, colour: Floats, span: Point, light: Floats) -> None:
    """Prints a label on a body, between two heights: a ground, a stripe, an emblem."""
    inks = np.stack([_colour(rng) for _ in range(3)])
    (low, high), long = span, span[1] - span[0]
    tilted = body.along + rng.uniform(-0.08, 0.08) * body.across
    ink = (tilted > low + long * rng.uniform(0.6, 0.8)).astype(np.uint8)
    x = (body.across - rng.uniform(-0.3, 0.3)) * body.width / body.unit * 0.5
    ink[x**2 + (body.along - low - long * 0.36) ** 2 < (long * rng.uniform(0.16, 0.26)) ** 2] = 2
    rows = np.flatnonzero(body.band(low, high).any(1))
    part = slice(rows[0], rows[-1] + 1)
    where = body.band(low, high)[part, :, None]
    np.copyto(colour[part], inks[ink[part]] * light[part, :, None], where=where)


def _glass(rng: Rng, unit: int) -> Image.Image:
    """A green, brown or clear bottle or jar."""
    shapes = ((_BOTTLE, 0.32), (_BOTTLE, 0.32), (_ROUND_BOTTLE, 0.4), (_JAR, 0.58))
    outline, slim = shapes[rng.integers(len(shapes))]
    body = _Turned(rng, unit, slim * rng.uniform(0.9, 1.1), outline)
    tint = _colour(rng, ("#3f7d4a", "#6b3d1c", "#b9cdc4", "#b9cdc4", "#7fa9a8", "#54703a"))
    clear = float(tint.mean() > 150)
    colour = tint * (0.45 + 0.75 * body.light - 0.45 * body.edge)[..., None]
    alpha = (0.86 - 0.42 * clear) + (0.14 + 0.3 * clear) * body.edge
    if rng.random() < 0.5:  # what is left inside, seen through the glass
        colour[body.along > rng.uniform(0.55, 0.85)] *= 0.78
    if rng.random() < 0.45:
        span = (0.56, rng.uniform(0.76, 0.86))
        _wrap_label(body, rng, colour, span, 0.5 + 0.55 * body.light)
        alpha = np.where(body.band(*span), 1, alpha)
    for height in (0.0, 0.05, 0.955):  # lip and thick base
        colour[body.band(height, height + 0.025)] *= 0.72
    shine = 0.85 * body.gleam(body.side, 0.07) + 0.5 * body.gleam(-body.side * 1.35, 0.05)
    shine = shine * body.band(0.07, 0.93)
    colour, alpha = colour + (255 - colour) * shine[..., None], np.maximum(alpha, shine)
    image = _picture(colour, alpha * body.inside)
    pen = ImageDraw.Draw(image)
    pen.ellipse(body.lid(), _rgba(tint, 0.8))
    pen.ellipse(body.lid(0.7), _rgba(tint, 0.4))
    return image


def _plastic(rng: Rng, unit: int) -> Image.Image:
    """A bottle with cap and label, or a cup."""
    cup = rng.random() < 0.25
    outline = _CUP if cup else (_BOTTLE, _ROUND_BOTTLE, _ROUND_BOTTLE)[rng.integers(3)]
    body = _Turned(rng, unit, (0.62 if cup else 0.38) * rng.uniform(0.9, 1.1), outline)
    clear = rng.random() < 0.45
    tint = _colour(rng, ("#c9dbe6", "#bcd8d2", "#a9c9e4")) if clear else _colour(rng)
    ribs = 0.06 * np.sin(body.along * rng.uniform(70, 130)) * body.band(0.45, 0.95)
    colour = tint * (0.5 + 0.62 * body.light - 0.22 * body.edge + ribs)[..., None]
    alpha = 0.55 + 0.4 * body.edge if clear else np.ones_like(body.edge)
    span = (0.3, rng.uniform(0.6, 0.8)) if cup else (0.52, rng.uniform(0.7, 0.84))
    if rng.random() < 0.8:
        _wrap_label(body, rng, colour, span, 0.55 + 0.5 * body.light)
        alpha = np.where(body.band(*span), 1, alpha)
    shine = 0.5 * body.gleam(body.side, 0.13) + 0.25 * body.gleam(-body.side * 1.3, 0.08)
    shine = shine * body.band(0.1, 0.96)
    colour = colour + (255 - colour) * shine[..., None]
    cap = tint if cup or rng.random() < 0.15 else _colour(rng)
    if cap is not tint:
        grip = 0.9 + 0.1 * np.sign(np.sin(np.arcsin(np.clip(body.across, -1, 1)) * 26))
        capped = body.band(0, 0.085)
        colour[capped] = cap * ((0.4 + 0.6 * body.light) * grip)[capped][:, None]
        alpha = np.where(capped, 1, alpha)
    image = _picture(colour, np.maximum(alpha, shine) * body.inside)
    pen = ImageDraw.Draw(image)
    pen.ellipse(body.lid(), _rgba(cap + 18, 0.95))
    if cap is tint:
        pen.ellipse(body.lid(0.92), _rgba(tint, 0.6))
    return image


def _metal(rng: Rng, unit: int) -> Image.Image:
    """A drinks can, printed or bare, or a ribbed tin."""
    tin = rng.random() < 0.3
    slim = rng.uniform(0.62, 0.9) if tin else rng.uniform(0.5, 0.58)
    body = _Turned(rng, unit, slim, _TIN if tin else _CAN)
    brushed = rng.normal(0, 0.025, (unit, 1)).astype(np.float32)
    mirrored = 0.16 * np.cos(body.across * 7 + rng.uniform(0, 6))
    steel = 0.5 + 0.35 * body.light + brushed + mirrored - 0.3 * body.edge
    if tin:
        ribbed = body.band(0.2, 0.42) | body.band(0.58, 0.8)
        steel = steel + 0.1 * np.sin(body.along * 95) * ribbed
    tint = (rng.uniform(205, 228) + np.array((0, 1, 4)) * rng.uniform(-1, 1)).astype(np.float32)
    colour = tint * steel[..., None]
    if rng.random() < 0.6:
        span = (0.1, 0.9) if tin else (0.085, 0.935)
        _wrap_label(body, rng, colour, span, 0.35 + 0.7 * steel)
    shine = 0.6 * body.gleam(body.side, 0.09) + 0.35 * body.gleam(-body.side * 1.2, 0.05)
    colour = colour + (255 - colour) * shine[..., None]
    image = _picture(colour, body.inside.astype(np.float32))
    _draw_lid(ImageDraw.Draw(image), body, tin)
    return image


def _draw_lid(pen: Pen, body: _Turned, tin: bool) -> None:
    """Rim, sunken lid, and the tab of a can or the rings of a tin."""
    for grow, grey in ((1, 232), (0.93, 150), (0.86, 192 if not tin else 176)):
        pen.ellipse(body.lid(grow), (grey, grey + 1, grey + 4, 255))
    if tin:
        for grow in (0.66, 0.44):
            pen.ellipse(body.lid(grow), outline=(140, 142, 146, 255), width=4)
        return
    left, top, right, bottom = body.lid(0.5)
    middle = (left + right) / 2
    pen.ellipse((middle - 8, (top + bottom) / 2, right, bottom + 3), (70, 72, 76, 255))
    tab = (left, top, middle + 12, (top + bottom) / 2 + 7)
    pen.ellipse(tab, (226, 227, 230, 255), (120, 122, 126, 255), 3)


def _crumpled(
    rng: Rng, unit: int, sheet: Image.Image, rough: float, folds: int, aspect: float, square: float
) -> Image.Image:
    """A crumpled sheet: facets that catch the light differently, inside a ragged outline.

    `square` shapes the outline: 2 is an ellipse, more comes closer to a rectangle.
    """
    w, h = unit, max(8, int(unit * aspect))
    y = np.linspace(0, 1, max(3, h // 5), dtype=np.float32)[:, None]
    x = np.linspace(0, 1, max(3, w // 5), dtype=np.float32)[None]
    points, slopes = rng.random((folds, 2)), rng.normal(0, 0.03 * min(folds, 30), (folds, 2))
    gap = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    facet = gap.argmin(-1)
    light = 0.98 - 0.003 * folds + rng.normal(0, 0.02 + 0.002 * folds, folds)[facet]
    for axis, where in enumerate((x, y)):
        light = light + slopes[facet, axis] * (where - points[facet, axis]) * 0.6
    shade = Image.fromarray(np.clip(light * 255, 120, 255).astype(np.uint8))
    shade = shade.filter(ImageFilter.GaussianBlur(0.6)).resize((w, h), Image.Resampling.BILINEAR)
    image = ImageChops.multiply(sheet.resize((w, h)), Image.merge("RGB", (shade,) * 3))
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False) + rng.uniform(-0.06, 0.06, 40)
    bulge = (abs(np.cos(turns)) ** square + abs(np.sin(turns)) ** square) ** (-1 / square)
    reach = (1 - rough * rng.random(40)) / 2 * bulge
    corners = np.stack([w * (0.5 + reach * np.cos(turns)), h * (0.5 + reach * np.sin(turns))], 1)
    mask = Image.new("L", (w, h))
    ImageDraw.Draw(mask).polygon(corners.ravel().tolist(), 255)
    image.putalpha(mask)
    return image


def _cardboard(rng: Rng, unit: int) -> Image.Image:
    """A closed or open box, or a flattened one."""
    kraft = _colour(rng, ("#b58a5c", "#a87c4f", "#c49f70", "#b9956b", "#c8ad86"))
    image = Image.new("RGBA", (int(unit * 1.15), int(unit * 1.0)))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.4:
        _draw_flat_box(pen, rng, kraft, image.size)
        return image
    w, h = unit * rng.uniform(0.5, 0.7), unit * rng.uniform(0.3, 0.48)
    dx, dy = unit * rng.uniform(0.14, 0.26), unit * rng.uniform(0.14, 0.22)
    x, y = unit * 0.12, unit * 0.97 - h
    top = [(x, y), (x + dx, y - dy), (x + w + dx, y - dy), (x + w, y)]
    pen.polygon(_flap(top[3], top[2], 0, h), _rgba(kraft, 0.7))
    pen.polygon(_flap(top[0], top[3], 0, h), _rgba(kraft, 0.94))
    _draw_flutes(pen, kraft, (x, y, x + w, y + h), 0.91)
    (_draw_open_top if rng.random() < 0.55 else _draw_closed_top)(pen, rng, kraft, top, h)
    _draw_print(pen, rng, kraft, (x + w * 0.62, y + h * 0.5, w * 0.28, h * 0.36))
    return image


def _flap(a: Point, b: Point, right: float, down: float) -> list[Point]:
    """The parallelogram that hangs on the edge from a to b."""
    return [a, b, (b[0] + right, b[1] + down), (a[0] + right, a[1] + down)]


def _draw_open_top(pen: Pen, rng: Rng, kraft: Floats, top: list[Point], deep: float) -> None:
    """A look inside, and four flaps; `top` starts at the front left and goes round the back."""
    a, b, c, d = top
    pen.polygon(top, _rgba(kraft, 0.4))
    pen.polygon([a, b, (b[0], b[1] + deep * 0.4)], _rgba(kraft, 0.55))
    lift, out = (a[1] - b[1]) * rng.uniform(0.4, 0.8), (b[0] - a[0]) * rng.uniform(0.3, 0.6)
    pen.polygon(_flap(b, c, out / 2, -lift), _rgba(kraft, 0.86))
    pen.polygon(_flap(c, d, out, -lift / 3), _rgba(kraft, 1.06))
    pen.polygon(_flap(a, b, -out, -lift / 2), _rgba(kraft, 0.98))
    pen.polygon([(x + 5, y + 9) for x, y in _flap(a, d, -out, lift)], _rgba(kraft, 0.76))
    pen.polygon(_flap(a, d, -out, lift), _rgba(kraft, 1.1))


def _draw_closed_top(pen: Pen, rng: Rng, kraft: Floats, top: list[Point], deep: float) -> None:
    """A lid with its seam, and tape over it and down the front."""
    a, b, _, d = top
    (dx, dy), wide = (b[0] - a[0], b[1] - a[1]), d[0] - a[0]
    pen.polygon(top, _rgba(kraft, 1.1))
    seam = (a[0] + dx / 2, a[1] + dy / 2)
    pen.line([seam, (seam[0] + wide, seam[1])], _rgba(kraft, 0.7), 3)
    left, right = (a[0] + wide * 0.42, a[1]), (a[0] + wide * 0.58, a[1])
    glossy = _colour(rng, ("#d9bd8d", "#c9a46c", "#e6dcc6"))
    pen.polygon(_flap(left, right, dx, dy), _rgba(glossy, 1.04))
    pen.polygon(_flap(left, right, 0, deep * 0.22), _rgba(glossy, 0.92))


def _draw_flutes(pen: Pen, kraft: Floats, box: Box, light: float) -> None:
    """The corrugation that shows through: faint upright lines."""
    for x in np.arange(box[0] + 5, box[2], 9):
        pen.line((x, box[1], x, box[3]), _rgba(kraft, light), 3)


def _draw_print(pen: Pen, rng: Rng, kraft: Floats, box: Box) -> None:
    """What boxes carry: a white address label, or two arrows that point up."""
    x, y, w, h = box
    if rng.random() < 0.4:
        pen.rectangle((x, y, x + w, y + h), (240, 238, 232, 255))
        for row in np.arange(y + h * 0.2, y + h * 0.9, h * 0.2):
            pen.line((x + w * 0.1, row, x + w * rng.uniform(0.5, 0.9), row), (90, 86, 82, 255), 4)
        return
    for left in (x, x + w * 0.5):
        head = [(left, y + h * 0.4), (left + w * 0.18, y), (left + w * 0.36, y + h * 0.4)]
        pen.polygon(head, _rgba(kraft, 0.45))
        pen.rectangle((left + w * 0.12, y + h * 0.38, left + w * 0.24, y + h), _rgba(kraft, 0.45))


def _draw_flat_box(pen: Pen, rng: Rng, kraft: Floats, size: tuple[int, int]) -> None:
    """A box taken apart: two panels, creases, flaps with slits, a torn corrugated edge."""
    w, h = size
    left, right = w * 0.06, w * rng.uniform(0.78, 0.95)
    top, bottom = h * 0.24, h * rng.uniform(0.66, 0.78)
    cuts = [left, left + (right - left) * rng.uniform(0.52, 0.66), right]
    for a, b in pairwise(cuts):
        light, slant = rng.uniform(0.93, 1.06), h * 0.02
        pen.rectangle((a, top, b, bottom), _rgba(kraft, light))
        _draw_flutes(pen, kraft, (a, top, b, bottom), light * 0.965)
        for edge, way in ((top, -1), (bottom, 1)):
            end = edge + way * h * rng.uniform(0.12, 0.2)
            flap = (a + 4, edge, b - 4, edge, b - 4 - slant, end, a + 4 + slant, end)
            pen.polygon(flap, _rgba(kraft, light * rng.uniform(0.86, 1.1)))
            pen.line((a, edge, b, edge), _rgba(kraft, 0.72), 4)
    pen.line((cuts[1], top, cuts[1], bottom), _rgba(kraft, 0.66), 5)
    for y in np.arange(top, bottom, 10):  # the cut edge shows the wave between the liners
        pen.ellipse((right - 9, y, right + 5, y + 10), _rgba(kraft, 0.62))
    _draw_print(pen, rng, kraft, (left + w * 0.08, top + h * 0.12, w * 0.2, h * 0.2))


def _paper(rng: Rng, unit: int) -> Image.Image:
    """A printed or lined sheet, flat or crumpled; now and then a brown envelope's tint."""
    tint = _colour(rng, ("#f7f6f2", "#f7f6f2", "#f1ead6", "#f3f3f6", "#d2b48a", "#e9dfa8"))
    w, h = int(unit * rng.uniform(0.62, 0.78)), int(unit * rng.uniform(0.84, 1))
    sheet = Image.new("RGB", (w, h), _rgba(tint, 1)[:3])
    _draw_text(ImageDraw.Draw(sheet), rng, w, h)
    if rng.random() < 0.4:
        return _crumpled(rng, int(unit * 0.86), sheet, 0.22, 34, rng.uniform(0.75, 1), 2)
    image = _crumpled(rng, w, sheet, 0, 4, h / w, 2)
    mask = Image.new("L", image.size)
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)]) * 0.92 + 0.04 * w
    corners = corners + rng.uniform(-0.035, 0.035, (4, 2)) * w
    ImageDraw.Draw(mask).polygon(corners.ravel().tolist(), 255)
    image.putalpha(mask)
    (x, y), curl = corners[2], w * rng.uniform(0.08, 0.2)
    pen = ImageDraw.Draw(image)
    pen.polygon([(x + 4, y - curl), (x + 4, y + 4), (x - curl, y + 4)], (0, 0, 0, 0))
    fold = [(x, y - curl), (x - curl, y), (x - curl * 0.85, y - curl * 0.85)]
    pen.polygon(fold, _rgba(tint, 0.8))
    return image


def _draw_text(pen: Pen, rng: Rng, w: int, h: int) -> None:
    """Headline, paragraphs and perhaps a picture, as on a printed page; or ruled lines."""
    if rng.random() < 0.25:
        for y in np.arange(h * 0.16, h, h * 0.045):
            pen.line((0, y, w, y), (150, 178, 214), 3)
        pen.line((w * 0.15, 0, w * 0.15, h), (222, 130, 130), 4)
        return
    if rng.random() < 0.8:
        pen.rectangle((w * 0.12, h * 0.1, w * rng.uniform(0.5, 0.85), h * 0.135), (62, 64, 72))
    picture = rng.random() < 0.35
    for y in np.arange(h * 0.2, h * 0.9, h * 0.032):
        if rng.random() < 0.88 and not (picture and 0.4 < y / h < 0.62):
            pen.line(
                (w * 0.12, y, w * rng.choice((0.88, 0.87, 0.6)), y),
                (108, 110, 118),
                max(3, h // 110),
            )
    if picture:
        r, g, b, _ = _rgba(_colour(rng), 0.95)
        pen.rectangle((w * 0.12, h * 0.41, w * 0.88, h * 0.6), (r, g, b))


def _trash(rng: Rng, unit: int) -> Image.Image:
    """A crumpled wrapper, or a heap of scraps."""
    if rng.random() < 0.5:
        y, x = np.mgrid[0:1:150j, 0:1:250j].astype(np.float32)
        stripes = np.sin((x * rng.normal() + y * rng.normal()) * rng.uniform(8, 16))[..., None]
        print_, ground, foil = _colour(rng), _colour(rng), _colour(rng, ("#cfd2d6", "#d8c48a"))
        colour = np.where(stripes > 0.35, print_, ground)
        ends = (x < 0.1) | (x > 0.9)
        colour = np.where(ends[..., None], foil * (0.85 + 0.2 * np.sin(x * 260))[..., None], colour)
        wrapper = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
        return _crumpled(rng, unit, wrapper, 0.09, 40, rng.uniform(0.5, 0.75), 7)
    heap = Image.new("RGBA", (unit, int(unit * 0.85)))
    for _ in range(rng.integers(5, 9)):
        colour = _colour(rng, (*_BRIGHT, "#b58a5c", "#f1ead6", "#cfd2d6", "#6b5a45"))
        plain = Image.new("RGB", (1, 1), _rgba(colour, 1)[:3])
        wide, aspect, square = unit * rng.uniform(0.3, 0.6), *rng.uniform((0.45, 2), (1, 6))
        scrap = _crumpled(rng, int(wide), plain, 0.16, 22, aspect, square)
        scrap = scrap.rotate(rng.uniform(0, 360), expand=True)
        free = np.maximum(1, np.subtract(heap.size, scrap.size))
        at = np.clip(rng.normal(0.5, 0.24, 2), 0, 1) * free
        heap.alpha_composite(scrap, (int(at[0]), int(at[1])))
    return heap


_DRAW: dict[str, Callable[[Rng, int], Image.Image]] = {
    "cardboard": _cardboard,
    "glass": _glass,
    "metal": _metal,
    "paper": _paper,
    "plastic": _plastic,
    "trash": _trash,
}


def write_samples(
    root: Path,
    per_class: int = 40,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes drawn pictures to `root/<class>/<class>1.jpg` …, all or none, and returns root.

    The classes are as unbalanced as TrashNet's (137 trash to 594 paper); `per_class` is their mean,
    rounding apart. A root that already holds this very set is left as it is, another set of
    samples is replaced.

    Args:
        root: The folder to create; it may exist if it is empty or holds samples.
        per_class: Mean number of pictures in a class.
        seed: Another seed draws other pictures.
        on_progress: Called with the pictures done and their total.

    Raises:
        PhotoError: root holds something else or cannot be written, or a number is out of range.
    """
    if per_class < 1 or seed < 0:
        raise PhotoError("Samples need at least 1 picture a class and a seed from 0 up.")
    mean = sum(_SHARES.values()) / len(_SHARES)
    counts = {c: max(1, round(per_class * n / mean)) for c, n in _SHARES.items()}
    marker = {"version": _VERSION, "per_class": per_class, "seed": seed, "drawn": counts}
    if _holds(root, marker):
        return root
    try:
        if root.exists() and not is_sample_folder(root) and any(root.iterdir()):
            raise PhotoError(f"{root} holds other files: choose an empty folder for the samples.")
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samples-", dir=root.parent) as staging:
            fresh = Path(staging, "fresh")
            _write_pictures(fresh, counts, seed, on_progress)
            (fresh / _MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
            if not _holds(root, marker):  # else another process has just written the same
                if root.exists():
                    os.replace(root, Path(staging, "old"))
                os.replace(fresh, root)
    except OSError as error:
        if not _holds(root, marker):
            raise PhotoError(f"The samples cannot be written to {root}: {error}.") from error
    return root


def is_sample_folder(root: Path) -> bool:
    """Whether a folder holds drawn samples, so that pages can say so."""
    return (root / _MARKER).is_file()


def _holds(root: Path, marker: dict[str, Any]) -> bool:
    """Whether root is the complete set that the marker describes."""
    try:
        found = json.loads((root / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found == marker and all(
        len(list((root / c).glob("*.jpg"))) == n for c, n in marker["drawn"].items()
    )


def _write_pictures(
    root: Path, counts: dict[str, int], seed: int, on_progress: Callable[[int, int], None] | None
) -> None:
    """Draws every class into its folder."""
    done, total = 0, sum(counts.values())
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(1, count + 1):
            picture = draw_sample(label, seed * 100_000 + number)
            picture.save(root / label / f"{label}{number}.jpg", quality=90)
            done += 1
            if on_progress is not None:
                on_progress(done, total)
