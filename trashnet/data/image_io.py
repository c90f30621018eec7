"""Photos as arrays: the one way a file becomes pixels, and thumbnails."""

import contextlib
import io
import re
import threading
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError, features
from pillow_heif import register_heif_opener

from trashnet.errors import PhotoError

register_heif_opener(thumbnails=False)  # Pillow reads everything else itself

MAX_PIXELS = 64_000_000
"""Of a JPEG, which is decoded smaller than it is."""

MAX_WHOLE_PIXELS = {"HEIF": 50_000_000, "AVIF": 50_000_000}
"""Of formats that are decoded whole, at 8 to 24 bytes a pixel; phones take 48 million as HEIC."""

MAX_OTHER_PIXELS = 25_000_000

MAX_SCANS = 100
"""Of a JPEG that is stored from coarse to fine; cameras and programs write up to a dozen. Each is
a pass over all of it, so that thousands keep a processor busy for a minute."""

_LARGE = 16_000_000  # pixels

LARGE_TURN = threading.Lock()
"""Held for a large photo that is decoded whole: several at once need as many times the memory."""

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
"""What ends a JPEG (D9), or begins a part of it that says how long it is."""

QUALITIES = ("brightness", "contrast", "sharpness", "saturation")

Source = str | Path | bytes | BinaryIO

Floats = NDArray[np.float32]

_JPEG = ("JPEG", "MPO")  # MPO, several JPEGs in one file, is opened as a JPEG

_FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF"]

_FORMATS += ["AVIF"] if features.check("avif") else []

_ORIENTATION = 0x0112

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def inside(root: Path, file: str) -> Path:
    """Returns where a photo is, by its key; links in the folder are followed, they are its owner's.

    Raises:
        PhotoError: The key leads out of the folder.
    """
    key = PurePath(file.replace("\\", "/"))
    if key.is_absolute() or ".." in key.parts:
        raise PhotoError(f"{file!r} leads out of the folder of photos; no such photo is opened.")
    return root / file


def is_picture_head(head: bytes) -> bool:
    """Whether a file's first bytes (16 or more) are those of a picture."""
    Image.init()
    tests = (Image.OPEN[name][1] for name in _FORMATS)
    return any(test(head) for test in tests if test is not None)


def load_photo(source: Source, size: int | tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Reads a photo upright, in colour, transparency on white: `(h, w, 3) uint8`, 0–255 RGB.

    Args:
        source: A path, the file's bytes, or an open binary file (read from its start, left open).
        size: Side of a square or `(height, width)` to squash the photo to; None keeps its own.

    Raises:
        PhotoError: The file is missing, empty, no picture, damaged or too large, or size is not
            positive.
    """
    if size is None:
        return np.array(_decode(source))
    height, width = size if isinstance(size, tuple) else (size, size)
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise PhotoError(f"A photo cannot be {width} × {height} pixels: choose a size from 1 up.")
    photo = _decode(source, max(height, width))
    return np.array(photo.resize((width, height), Image.Resampling.BILINEAR))


def as_png(photo: NDArray[np.uint8]) -> bytes:
    """Returns a photo's pixels, `(h, w, 3) uint8`, as a PNG file, quickly and without loss."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def photo_facts(source: Source) -> dict[str, float]:
    """Reads a photo at its own size and measures it.

    Returns:
        width and height (pixels, upright), brightness (mean grey, 0–1), contrast (standard
        deviation of grey, 0–1), sharpness (standard deviation of the Laplacian of grey at 256
        pixels' width, 0–1, so that it does not depend on the file's resolution) and saturation
        (mean of HSV's, 0–1).

    Raises:
        PhotoError: As `load_photo`.
    """
    image = _decode(source)
    facts = {"width": image.width, "height": image.height}
    height = max(3, round(256 * image.height / image.width))
    image = image.resize((256, min(height, 4096)), Image.Resampling.BILINEAR)
    grey = np.asarray(image.convert("L"), np.float32) / 255
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    # Channel by channel: thirty times faster than along an axis of three.
    red, green, blue = map(np.asarray, image.split())
    highest = np.maximum(np.maximum(red, green), blue).astype(np.float32)
    lowest = np.minimum(np.minimum(red, green), blue)
    return facts | {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(laplacian.std()),
        "saturation": float(((highest - lowest) / np.maximum(highest, 1)).mean()),
    }


def thumbnail(source: Source, size: int = 160) -> bytes:
    """Returns the photo as a small JPEG whose longer side is at most `size` pixels.

    Raises:
        PhotoError: As `load_photo`.
    """
    if size < 1:
        raise PhotoError(f"A thumbnail cannot be {size} pixels: choose a size from 1 up.")
    photo = _decode(source, size)
    photo.thumbnail((size, size), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def file_format(source: Source) -> str:
    """Says how a photo is stored, from the file's head: `512 × 384 pixels, JPEG, RGB`.

    Raises:
        PhotoError: As `load_photo`.
    """
    name, data = _read(source)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return f"{image.width:,} × {image.height:,} pixels, {image.format}, {image.mode}"
    except Exception as error:
        raise PhotoError(f"{name} is not a picture that can be read.") from error


def difference(one: Source, two: Source, longest: int = 320) -> NDArray[np.uint8]:
    """Returns where two photos differ, `(h, w, 3) uint8`: black where they are equal.

    The second is brought to the first's shape. Differences are shown at three times their size,
    because those between two shots of one thing are slight.

    Raises:
        PhotoError: As `load_photo`.
    """
    first = _decode(one, longest)
    first.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    second = _decode(two, longest).resize(first.size, Image.Resampling.BILINEAR)
    apart = np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16))
    return np.minimum(3 * apart, 255).astype(np.uint8)


def side_by_side(
    one: Source, two: Source, points: NDArray[np.floating], longest: int = 480
) -> NDArray[np.uint8]:
    """Returns two photos beside each other, with lines between matched points: `(h, w, 3) uint8`.

    Args:
        one: A photo.
        two: Another.
        points: `(m, 4)`, x and y in one, x and y in two, as shares of a photo's longer side.
        longest: Pixels of each photo's longer side.

    Raises:
        PhotoError: As `load_photo`.
    """
    photos = [_decode(source, longest) for source in (one, two)]
    photos = [photo.resize(scaled(photo.size, longest)) for photo in photos]
    left, right = photos
    both = Image.new("RGB", (left.width + right.width + 8, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + 8, 0))
    pen = ImageDraw.Draw(both)
    for number, (x, y, u, v) in enumerate(longest * points):
        colour = _COLOURS[number % len(_COLOURS)]
        ends = [(x, y), (u + left.width + 8, v)]
        pen.line(ends, fill=colour, width=1)
        for a, b in ends:
            pen.ellipse((a - 3, b - 3, a + 3, b + 3), outline=colour, width=2)
    return np.asarray(both)


_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
"""Okabe and Ito's, so that neighbouring lines can be told apart."""


def scaled(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns a size of the same shape, at least 1 × 1, whose longer side is `longest` pixels."""
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _decode(source: Source, longest: int | None = None) -> Image.Image:
    """An upright RGB image; a JPEG is decoded smaller when only `longest` pixels are wanted."""
    name, data = _read(source)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            turn = decoding_turn(image, name, data)
            if longest and image.format in _JPEG:
                # Never below twice the target, so that the resize still does the smoothing.
                image.draft(None, (2 * longest, 2 * longest))
            with turn:
                image.load()
                photo = _rgb(image)
            turned = _TURNS.get(_orientation(image))
        return photo if turned is None else photo.transpose(turned)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read; "
            "use JPEG, PNG, WebP, HEIC, AVIF, BMP, GIF or TIFF."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(
            f"{name} has more than {MAX_PIXELS // 10**6} million pixels: make it smaller first."
        ) from error
    except Exception as error:  # decoders fed with damaged bytes raise almost anything
        why = " ".join(str(error).split())  # some decoders' messages have several lines
        raise PhotoError(
            f"{name} is damaged or cut short: copy or download it again ({why})."
        ) from error


def decoding_turn(
    image: Image.Image, name: str, data: bytes
) -> contextlib.AbstractContextManager[Any]:
    """Returns what to hold while an opened photo is decoded.

    Raises:
        PhotoError: Decoding it would take too much memory or time.
    """
    is_jpeg, pixels = image.format in _JPEG, image.width * image.height
    most = MAX_PIXELS if is_jpeg else MAX_WHOLE_PIXELS.get(image.format or "", MAX_OTHER_PIXELS)
    if pixels > most:  # stricter than Pillow's warning, which is left alone
        other = "" if is_jpeg else ", or save it as JPEG"
        raise PhotoError(
            f"{name} has more than {most // 10**6} million pixels: make it smaller first{other}."
        )
    scans = _scans(data) if is_jpeg else 0
    if scans > MAX_SCANS:
        raise PhotoError(
            f"{name} is a JPEG of more than {MAX_SCANS} passes, which take too long to read: "
            "save it again."
        )
    # A JPEG of several scans is held whole, however small it is wanted.
    return LARGE_TURN if pixels > _LARGE and scans != 1 else contextlib.nullcontext()


def _scans(data: bytes) -> int:
    """How many passes a JPEG consists of; counted no further than it matters."""
    scans, at = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(data, at)) and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        _, at = found.span()
        at += max(2, int.from_bytes(data[at : at + 2]))
    return scans


def _read(source: Source) -> tuple[str, bytes]:
    """What to call the photo in a message, and its bytes."""
    name = "The photo"
    try:
        if isinstance(source, bytes):
            data = source
        elif isinstance(source, str | Path):
            name = Path(source).name or str(source)
            data = Path(source).read_bytes()
        else:
            name = Path(str(getattr(source, "name", name))).name
            if source.seekable():
                source.seek(0)
            data = source.read()
    except FileNotFoundError as error:
        raise PhotoError(f"There is no photo {source!s}: check its name and folder.") from error
    except (OSError, ValueError) as error:
        raise PhotoError(f"{name} cannot be opened: check that it is a readable file.") from error
    if not data:
        raise PhotoError(f"{name} is empty: copy or download it again.")
    return name, data


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a photo with unreadable EXIF is taken as it is."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises as freely as damaged pixels, but costs only the turn
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any colour mode as RGB, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        photo = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deeper greys scaled to 0–255; where the type does not say what white is, the values do."""
    if values.dtype.itemsize == 2:
        return (values.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float64), copy=False, posinf=0.0, neginf=0.0)
    low, high = min(0.0, values.min()), values.max()
    white = next((w for w in (1, 255, 65535) if low == 0 and high <= w), high)
    values -= low  # in place: these are eight bytes a pixel
    values /= max(white - low, 1e-9)
    values *= 255
    values += 0.5
    return values.astype(np.uint8)
