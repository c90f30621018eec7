"""Separates an object from its posterboard and lays it on another background."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull

Photo = NDArray[np.uint8]

Floats = NDArray[np.float32]

LONGEST = 512
"""Photos are changed at TrashNet's size, so that a strength in pixels means the same for all."""

_THIRDS = np.full(3, 1 / 3, np.float32)
"""`photo @ _THIRDS` is the mean over colours, many times faster than `mean(axis=2)`."""


def to_bytes(values: NDArray[np.floating]) -> Photo:
    """Rounds to what a photo can hold."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def resized(photo: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """As `load_photo` resizes; also `(h, w) float32`."""
    return np.array(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))


def replace_background(photo: Photo, texture: float, rng: np.random.Generator) -> Photo | None:
    """Lays the object on wood, grass, fabric or tiles; texture 0 is a plain colour of these.

    The light on the board is kept, and so is what a clear object lets through.
    """
    found = _separate_once(photo.tobytes(), photo.shape)
    if found is None:
        return None
    mask, board = found
    height, width = photo.shape[:2]
    draw, dark, bright = _TEXTURES[rng.integers(len(_TEXTURES))]
    pattern = draw(rng, *np.indices((height, width), np.float32))
    pattern = 0.5 + texture * (np.clip(pattern, 0, 1) - 0.5)
    colours = np.array((dark, bright), np.float32) + rng.uniform(-20, 20, 3).astype(np.float32)
    ground = colours[0] + pattern[..., None] * (colours[1] - colours[0])
    light = board @ _THIRDS
    light = np.clip(light / light[~mask].mean(), 0.3, 1.5)
    return _laid(photo, mask, ground * resized(light, width, height)[..., None])


def shrink(photo: Photo, scale: float, rng: np.random.Generator) -> Photo | None:
    """Shows the object smaller on its own board; what leaves the frame goes on leaving it there."""
    found = _separate_once(photo.tobytes(), photo.shape)
    if found is None:
        return None
    mask, board = found
    height, width = photo.shape[:2]
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    room_y, room_x = height - inner_height, width - inner_width
    top = {(True, False): 0, (False, True): room_y, (False, False): room_y // 2}
    left = {(True, False): 0, (False, True): room_x, (False, False): room_x // 2}
    y = top.get((bool(mask[0].any()), bool(mask[-1].any())))
    x = left.get((bool(mask[:, 0].any()), bool(mask[:, -1].any())))
    if y is None or x is None:
        return None  # it reaches from side to side: how it goes on is not known
    ground = np.stack([resized(board[..., c], width, height) for c in range(3)], axis=2)
    place = slice(y, y + inner_height), slice(x, x + inner_width)
    ground[place] = _laid(resized(photo, inner_width, inner_height), mask, ground[place])
    return to_bytes(ground)


def _laid(photo: Photo, mask: NDArray[np.bool_], ground: Floats) -> Photo:
    """The photo's object on another ground, both `(h, w, 3)`; the mask may be smaller."""
    # A little inside: the mask is generous, and at its edge the object is mixed with the board.
    inside = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=2, border_value=1)
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.8)
    alpha = resized(soft, photo.shape[1], photo.shape[0])[..., None]
    return to_bytes(alpha * photo + (1 - alpha) * ground)


@functools.lru_cache(maxsize=8)
def _separate_once(
    pixels: bytes, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], Floats] | None:
    """As `separate`, which takes longer than all else, for several strengths of one photo."""
    return separate(np.frombuffer(pixels, np.uint8).reshape(shape))


def separate(photo: Photo) -> tuple[NDArray[np.bool_], Floats] | None:
    """Tells the object from the plain, pale board it lies on.

    Args:
        photo: `(h, w, 3) uint8`.

    Returns:
        The object's mask `(h', w') bool` and the board without it `(h', w', 3) float32`, 0–255,
        both 256 pixels long; None where no plain board or no whole object is found.
    """
    height, width = photo.shape[:2]
    scale = 256 / max(height, width)
    size = max(32, round(width * scale)), max(32, round(height * scale))
    small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX), np.float32)
    channels = [ndimage.gaussian_gradient_magnitude(small[..., c], 1.0) for c in range(3)]
    edges = np.linalg.norm(channels, axis=0) / 3**0.5
    fitted = _fit_board(small, edges)
    if fitted is None:
        return None
    surface, is_far = fitted
    mask = _clean(is_far | (edges > 4))
    if not _is_plausible(mask, edges, small):
        return None
    # The board itself where it is seen; under the object, and there only, the fitted surface.
    seen = ndimage.gaussian_filter((~mask)[..., None].astype(np.float32), (6, 6, 0))
    board = ndimage.gaussian_filter(np.where(mask[..., None], 0, small), (6, 6, 0))
    return mask, (board + 0.02 * np.clip(surface, 0, 255)) / (seen + 0.02)


def _fit_board(small: Floats, edges: Floats) -> tuple[Floats, NDArray[np.bool_]] | None:
    """The board as a smooth surface per channel, and which pixels are far from it.

    It is first fitted to the frame's smooth pixels, then to all that look like it; whatever is far
    off is left out of the next fit.
    """
    border, smooth, grey = _border(small.shape[:2]), edges < 3, small @ _THIRDS
    board = border & smooth
    if board.any():
        board &= grey >= 0.8 * np.median(grey[board])
    pixels = small.reshape(-1, 3)
    for degree, everywhere in ((2, False), (2, False), (2, True), (3, True), (3, True)):
        if board.sum() < 300:
            return None
        rows = np.flatnonzero(board)[::7]
        terms = _polynomial(small.shape[0], small.shape[1], degree)
        surface = terms @ np.linalg.lstsq(terms[rows], pixels[rows], rcond=None)[0]
        surface = np.maximum(surface, 1).reshape(small.shape)
        distance = _distance(small, surface)
        spread = 1.4826 * float(np.median(distance[board]))
        near = distance <= max(2.5 * spread, 6)
        board = ndimage.binary_erosion(near, iterations=2) & smooth if everywhere else border & near
    return (surface, distance > np.clip(5 * spread, 20, 30)) if spread < 6 else None


def _distance(small: Floats, surface: Floats) -> Floats:
    """Colour difference in grey levels, in which darkening counts little: it may be a shadow."""
    difference = small - surface
    lighter = difference @ _THIRDS
    hue = difference - (lighter / (surface @ _THIRDS))[..., None] * surface
    return np.hypot(np.linalg.norm(hue, axis=2), np.where(lighter < 0, 0.3 * lighter, lighter))


@functools.lru_cache(maxsize=8)
def _polynomial(height: int, width: int, degree: int) -> Floats:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].reshape(2, -1)
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([x**i * y**j for i, j in powers], axis=1).astype(np.float32)


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    border = np.ones(shape, bool)
    border[8:-8, 8:-8] = False
    return border


def _clean(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Closes gaps, fills what is enclosed, drops thin and small pieces."""
    mask = ndimage.binary_closing(np.pad(mask, 8, mode="edge"), iterations=4)[8:-8, 8:-8]
    holes, n = ndimage.label(~mask)
    sides = (holes[0], holes[-1], holes[:, 0], holes[:, -1])
    open_to = np.sum([np.bincount(side, minlength=n + 1) > 0 for side in sides], axis=0)
    enclosed = open_to < 2  # an object that leaves the frame is closed by one of its sides
    areas = np.bincount(holes.ravel(), minlength=n + 1)
    areas[0] = 0
    enclosed[areas.argmax()] = False  # the board itself may show on one side only
    mask = ndimage.binary_opening(mask | enclosed[holes], np.ones((3, 3)), iterations=2)
    pieces, _ = ndimage.label(mask)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    return (areas > 0.25 * areas.max())[pieces]


def _is_plausible(mask: NDArray[np.bool_], edges: Floats, small: Floats) -> bool:
    """Whether it is one thing on a board: of some size, not all around, and ending at edges."""
    if not 0.03 <= mask.mean() <= 0.85 or mask[_border(mask.shape)].mean() > 0.7:
        return False
    outline = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask, border_value=1)
    outline[[0, -1]] = outline[:, [0, -1]] = False
    if (ndimage.maximum_filter(edges, 5)[outline] > 4).mean() < 0.6:
        return False  # it ends where a shadow or a glow fades
    if mask.sum() < 0.78 * ConvexHull(np.argwhere(mask)).volume:
        return False  # pieces of an object, or one with a long shadow
    if small[~mask].mean() < small[mask].mean() - 15:
        return False  # the board is the brighter one
    highest, lowest = small[~mask].max(axis=1), small[~mask].min(axis=1)
    return bool(np.median((highest - lowest) / np.maximum(highest, 1)) < 0.28)  # and no cardboard


def _clouds(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[int, int]) -> Floats:
    """Smooth noise from 0 to 1, `(h, w) float32`, that changes within a cell's height and width."""
    height, width = (side // step + 2 for side, step in zip(shape, cell, strict=True))
    noise = Image.fromarray(rng.random((height, width), np.float32))
    return np.array(noise.resize(shape[::-1], Image.Resampling.BICUBIC))


def _wood(rng: np.random.Generator, y: Floats, x: Floats) -> Floats:
    plank = rng.integers(90, 160)
    bend = _clouds(rng, y.shape, (40, 300)) * 9 + (y // plank) * rng.uniform(2, 9)
    grain = _clouds(rng, y.shape, (3, 70))
    return 0.45 + 0.2 * np.sin(bend + y / 5) + 0.5 * (grain - 0.5) - 0.4 * (y % plank < 2)


def _grass(rng: np.random.Generator, y: Floats, x: Floats) -> Floats:
    blades = [_clouds(rng, y.shape, cell) for cell in ((16, 3), (8, 2), (60, 60))]
    return 0.5 + 0.8 * (blades[0] - 0.5) + 0.5 * (blades[1] - 0.5) + 0.5 * (blades[2] - 0.5)


def _fabric(rng: np.random.Generator, y: Floats, x: Floats) -> Floats:
    period, share = rng.integers(36, 80), rng.uniform(0.3, 0.6)
    checks = (y % period < share * period) + 1.0 * (x % period < share * period)
    return 0.15 + 0.35 * checks + 0.12 * ((x + y) % 4 < 2) + 0.1 * _clouds(rng, y.shape, (2, 2))


def _tiles(rng: np.random.Generator, y: Floats, x: Floats) -> Floats:
    side = rng.integers(60, 120)
    tones = rng.uniform(0.45, 0.85, (y.shape[0] // side + 1, y.shape[1] // side + 1))
    tone = tones[y.astype(int) // side, x.astype(int) // side]
    joints = (y % side < 4) | (x % side < 4)
    return np.where(joints, 0.05, tone + 0.3 * (_clouds(rng, y.shape, (25, 25)) - 0.5))


_TEXTURES = (
    (_wood, (70, 40, 20), (200, 150, 100)),
    (_grass, (20, 50, 15), (150, 185, 80)),
    (_fabric, (40, 50, 95), (205, 190, 180)),
    (_fabric, (110, 25, 35), (215, 195, 165)),
    (_tiles, (75, 75, 75), (190, 195, 190)),
    (_tiles, (95, 60, 45), (205, 150, 115)),
)
"""How to draw a pattern `(h, w)` from 0 to 1, and the colours that its 0 and 1 stand for."""
