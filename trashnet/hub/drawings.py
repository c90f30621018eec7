"""Figures as PNG files, for where nobody can hover: a model card. Drawn with Pillow alone."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_CELL, _MARGIN, _TITLE = 92, 26, 58

_INK, _PAPER, _FULL = (15, 26, 22), (255, 255, 255), (5, 74, 66)

_TEXT, _NUMBER, _HEADING = 20, 22, 24


def confusion_matrix_png(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str
) -> bytes:
    """Draws a confusion matrix, each cell with its count, shaded by its share of the true class.

    Args:
        matrix: Counts, `(n, n)`; rows are true classes, columns predicted ones.
        classes: Their names, in order.
        title: What the counts are of.

    Returns:
        A PNG file.
    """
    text, number, heading = (ImageFont.load_default(size) for size in (_TEXT, _NUMBER, _HEADING))
    names = [_short(name) for name in classes]
    longest = int(max(text.getlength(name) for name in names))
    left, top = _MARGIN + 34 + longest + 14, _TITLE + _MARGIN + longest + 44
    side = _CELL * len(names)
    width = max(left + side, int(heading.getlength(title)) + _MARGIN) + _MARGIN
    picture = Image.new("RGB", (width, top + side + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, _INK, heading)
    draw.text((left + side / 2, _TITLE + 20), "predicted", _INK, text, anchor="mm")
    _upright(picture, "true", text, (_MARGIN + 10, top + side // 2))
    for i, (name, row) in enumerate(zip(names, matrix, strict=True)):
        middle = top + _CELL * (i + 0.5)
        draw.text((left - 12, middle), name, _INK, text, anchor="rm")
        _upright(picture, name, text, (int(left + _CELL * (i + 0.5)), top - 12), above=True)
        for j, count in enumerate(row):
            share = count / max(1, sum(row))
            x, y = left + _CELL * j, top + _CELL * i
            draw.rectangle((x, y, x + _CELL - 3, y + _CELL - 3), _shade(share))
            ink = _PAPER if share > 0.5 else _INK
            centre = (x + _CELL / 2 - 1, middle - 1)
            draw.text(centre, f"{count:,}", ink, number, anchor="mm")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _shade(share: float) -> tuple[int, ...]:
    """From a tint for nothing to full for all; the square root lets a few mistakes be seen."""
    weight = 0.06 + 0.94 * share**0.5
    return tuple(round(p + weight * (f - p)) for p, f in zip(_PAPER, _FULL, strict=True))


def _upright(
    picture: Image.Image,
    words: str,
    font: ImageFont.FreeTypeFont,
    at: tuple[int, int],
    above: bool = False,
) -> None:
    """Writes from bottom to top, centred on a point, or ending above it."""
    label = Image.new("L", (int(font.getlength(words)) + 4, _TEXT + 8))
    ImageDraw.Draw(label).text((2, 2), words, 255, font)
    label = label.rotate(90, expand=True)
    x = at[0] - label.width // 2
    y = at[1] - (label.height if above else label.height // 2)
    picture.paste(_INK, (x, y), label)
