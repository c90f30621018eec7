"""Everything a stranger may send: one clear sentence each, and the rest of a batch goes on."""

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from tests.conftest import Training
from tests.data.test_archive import jpeg, zip_bytes
from tests.pages.visiting import ROOT, is_sentence
from tests.pictures import trashnet_photo
from trashnet.data.archive import MAX_PHOTO_BYTES, Room, read_pictures
from trashnet.data.image_io import LARGE_TURN, MAX_PIXELS, decoding_turn, load_photo, thumbnail
from trashnet.errors import DataError, PhotoError
from trashnet.inference.batch import as_row, classify_each


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width: int, height: int, *before: bytes) -> bytes:
    """A one-bit PNG that says any size, white, compressed to almost nothing."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row, packer = b"\0" + b"\xff" * -(-width // 8), zlib.compressobj(9)
    rows = b"".join(packer.compress(row) for _ in range(min(height, 2_000))) + packer.flush()
    chunks = [chunk(b"IHDR", header), *before, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animated() -> bytes:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def with_exif(exif: bytes) -> bytes:
    return saved(Image.new("RGB", (40, 30), "red"), "JPEG", exif=exif)


REFUSED: dict[str, Callable[[], bytes]] = {
    "no picture": lambda: b"<html><script>alert(1)</script></html>",
    "a program": lambda: b"\x7fELF" + bytes(2000),
    "empty": lambda: b"",
    "a truncated JPEG": lambda: saved(Image.effect_noise((400, 300), 80), "JPEG")[:2000],
    "half a header": lambda: b"\xff\xd8\xff\xe0",
    "a pixel bomb": lambda: png(60_000, 60_000),
    "20,000 by 20,000": lambda: png(20_000, 20_000),
    "a PDF": lambda: b"%PDF-1.7\n" + bytes(500),
    "an SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
    "a text bomb in a PNG": lambda: png(
        4, 4, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    ),
}

ANSWERED: dict[str, Callable[[], bytes]] = {
    "one pixel": lambda: saved(Image.new("RGB", (1, 1), "red"), "PNG"),
    "a line": lambda: saved(Image.new("RGB", (5000, 1), "red"), "PNG"),
    "an animation": animated,
    "a PNG called JPEG": lambda: saved(Image.new("RGB", (40, 30)), "PNG"),
    "EXIF that is none": lambda: with_exif(b"Exif\0\0garbage garbage"),
    "an orientation there is none of": lambda: with_exif(
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0"
    ),
    "much harmless text": lambda: saved(
        Image.new("RGB", (40, 30)), "PNG", pnginfo=_text("<script>alert(1)</script>" * 100)
    ),
    "CMYK": lambda: saved(Image.new("CMYK", (40, 30)), "JPEG"),
    "sixteen bits": lambda: saved(Image.fromarray(np.full((30, 40), 40_000, np.uint16)), "PNG"),
    "a palette": lambda: saved(Image.new("P", (40, 30)), "PNG"),
    "transparency": lambda: saved(Image.new("RGBA", (40, 30)), "PNG"),
    "HEIC": lambda: saved(Image.new("RGB", (64, 48), "red"), "HEIF"),
}


def _text(text: str) -> PngInfo:
    info = PngInfo()
    info.add_text("Comment", text)
    return info


@pytest.mark.parametrize("what", [*REFUSED, *ANSWERED])
def test_whatever_is_sent_the_rest_is_answered(what: str, training: Training) -> None:
    content = (REFUSED | ANSWERED)[what]()
    name = "<img src=x onerror=alert(1)>.jpg"
    photos = [("first.jpg", jpeg()), (name, content), ("last.jpg", jpeg())]
    first, row, last = [as_row(*answer) for answer in classify_each(training.run, photos)]
    assert "label" in first and "label" in last and row["file"] == name
    if what in ANSWERED:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert thumbnail(content)
    else:
        assert is_sentence(row["error"])
        with pytest.raises(PhotoError):
            thumbnail(content)


def test_size_is_judged_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        pytest.fail("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(PhotoError, match=f"{MAX_PIXELS // 10**6} million pixels"):
        load_photo(png(60_000, 60_000))  # Pillow's limit, too
    for side in (5_001, 8_001):
        with pytest.raises(PhotoError, match="more than 25 million pixels.* save it as JPEG"):
            load_photo(png(side, side))


@pytest.mark.parametrize(
    ("kind", "side", "refused"),
    [
        ("JPEG", 8_000, False),
        ("JPEG", 8_001, True),
        ("HEIF", 7_072, True),
        ("AVIF", 7_072, True),
        ("WEBP", 5_001, True),
        ("TIFF", 5_001, True),
        ("BMP", 5_001, True),
        ("GIF", 5_001, True),
    ],
)
def test_a_format_has_as_many_pixels_as_its_decoder_has_memory_for(
    kind: str, side: int, refused: bool
) -> None:
    image = Image.new("L", (side, side)) if kind in ("GIF", "JPEG") else Image.new("RGB", (8, 8))
    content = saved(image, kind)
    with Image.open(io.BytesIO(content)) as opened:
        opened._size = (side, side)  # what a file says of its size, without making it
        if refused:
            with pytest.raises(PhotoError, match="million pixels"):
                decoding_turn(opened, "It", content)
        else:
            decoding_turn(opened, "It", content)


MEASURE = """
import os, re, sys
from PIL import Image
kind, mode, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
if not os.fork():
    Image.new(mode, (side, side)).save(sys.argv[4], kind)
    os._exit(0)
os.wait()
from trashnet.data.image_io import load_photo
def peak():  # unlike getrusage's, not that of the process this one was forked from
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
content = open(sys.argv[4], "rb").read()
before = peak()
load_photo(content, 64)
print((peak() - before) // 1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize(
    ("kind", "mode", "side"), [("WEBP", "RGBA", 5_000), ("TIFF", "F", 5_000), ("PNG", "LA", 5_000)]
)
def test_a_decoded_photo_takes_no_more_memory_than_the_document_says(
    kind: str, mode: str, side: int, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", MEASURE, kind, mode, str(side), str(tmp_path / "photo")]
    ran = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT)
    assert 100 < int(ran.stdout) < 650


@pytest.mark.parametrize("format", ["WEBP", "JPEG"])
def test_large_photos_are_decoded_one_at_a_time(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    large = saved(Image.new("RGB", (4_010, 4_000)), format, **{"progressive": True, "quality": 5})
    plugin = type(Image.open(io.BytesIO(large)))
    load = plugin.load

    def watched(image: Any) -> Any:
        held.append(LARGE_TURN.locked())
        return load(image)

    monkeypatch.setattr(plugin, "load", watched)
    load_photo(large, 32)
    assert set(held) == {True} and not LARGE_TURN.locked()
    held.clear()
    load_photo(saved(Image.new("RGB", (40, 30)), format), 32)
    assert set(held) == {False}


def scans(image: Image.Image, count: int) -> bytes:
    """A JPEG from coarse to fine that has its first pass `count` times more."""
    content = saved(image, "JPEG", progressive=True)
    start = content.index(b"\xff\xda")
    end = content.index(b"\xff\xda", start + 2)
    end = content.rindex(b"\xff\xc4", start, end) if b"\xff\xc4" in content[start:end] else end
    return content[:end] + content[start:end] * count + content[end:]


def test_a_jpeg_of_thousands_of_passes_is_refused_before_it_is_decoded() -> None:
    photo = Image.effect_noise((64, 48), 60).convert("RGB")
    began = time.perf_counter()
    with pytest.raises(PhotoError, match="more than 100 passes"):
        load_photo(scans(photo, 3_000), 32)
    assert time.perf_counter() - began < 1
    assert load_photo(scans(photo, 0), 32).shape == (32, 32, 3)
    assert load_photo(scans(photo, 50), 32).shape == (32, 32, 3)


def test_what_looks_like_a_pass_beside_the_picture_is_none() -> None:
    """Phones hang films and small pictures on a photo; there any bytes may be."""
    photo = Image.effect_noise((64, 48), 60)
    plain = saved(photo, "JPEG", comment=b"\xff\xda" * 1_000)
    assert load_photo(plain + b"\xff\xda" * 1_000, 32).shape == (32, 32, 3)


def test_an_animation_shows_its_first_frame() -> None:
    content = animated()
    assert sum(1 for _ in ImageSequence.Iterator(Image.open(io.BytesIO(content)))) == 3
    assert load_photo(content)[10, 10].tolist() == [255, 0, 0]


@pytest.mark.parametrize("turn", [1, 6])
def test_a_heics_exif_turns_nothing(turn: int) -> None:
    """Phones write the turn twice, into the picture's own properties, which count, and EXIF."""
    picture = Image.new("RGB", (64, 48), "white")
    picture.paste("red", (0, 0, 16, 12))
    exif = Image.Exif()
    exif[0x0112] = turn
    heic = load_photo(saved(picture, "HEIF", exif=exif, quality=95)).astype(int)
    assert heic.shape == (48, 64, 3)
    assert abs(heic - np.asarray(picture)).mean() < 6


_SCENE = trashnet_photo("metal", 3).resize((64, 48))


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]),
    data=st.data(),
)
def test_damaged_pictures_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    """Bytes of a real picture are changed, cut out or doubled anywhere."""
    content = bytearray(saved(_SCENE, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        size = data.draw(st.integers(0, 40))
        match data.draw(st.sampled_from(["change", "cut", "double"])):
            case "change":
                content[at] = data.draw(st.integers(0, 255))
            case "cut" if len(content) > size + 1:
                del content[at : at + size]
                content = content or bytearray(b"\0")
            case "double":
                content[at:at] = content[at : at + size]
    try:
        photo = load_photo(bytes(content), 32)
    except PhotoError as error:
        assert is_sentence(str(error))
    else:
        assert photo.shape == (32, 32, 3) and photo.dtype == np.uint8


# ---------------------------------------------------------------- zips


def test_a_zip_gives_its_pictures_and_nothing_lands_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    members = {
        "a.jpg": jpeg(),
        "../../evil.jpg": jpeg("red"),
        "/etc/evil.png": jpeg("blue"),
        "__MACOSX/._a.jpg": b"litter",
        "notes.txt": b"text",
        "deep/inner.zip": zip_bytes({"b.jpg": jpeg()}),
    }
    found = dict(read_pictures(zip_bytes(members), 10))
    assert set(found) == {"a.jpg", "/etc/evil.png"}
    assert found["a.jpg"] == jpeg()
    assert list(tmp_path.rglob("*")) == []


def test_a_zip_bomb_is_refused_without_being_unpacked() -> None:
    bomb = zip_bytes({"small.jpg": jpeg(), "bomb.jpg": bytes(8 * MAX_PHOTO_BYTES)})
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    small, bad = [content for _, content in read_pictures(bomb, 10)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert small == jpeg()
    assert isinstance(bad, PhotoError) and is_sentence(str(bad))
    assert peak < 4 * MAX_PHOTO_BYTES


def test_many_members_that_are_each_small_enough_are_stopped_in_time() -> None:
    bomb = zip_bytes({f"{n}.jpg": bytes(MAX_PHOTO_BYTES - 1) for n in range(6)})
    taken = []
    with pytest.raises(DataError, match="more than 120 MB") as caught:
        for name, _ in read_pictures(bomb, 500, Room(120_000_000)):
            taken.append(name)
    assert taken == ["0.jpg", "1.jpg"] and is_sentence(str(caught.value))


def broken_members(count: int, size: int) -> bytes:
    """A zip of pictures that fail their checksums, each at its end."""
    content = bytearray(zip_bytes({f"{n}.jpg": bytes(size) for n in range(count)}))
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 16] ^= 1  # the checksum in the central directory, which is what counts
    return bytes(content)


def test_what_fails_its_checksum_is_counted_too() -> None:
    bomb = broken_members(20, 5_000_000)
    assert all(isinstance(p, PhotoError) for _, p in read_pictures(bomb, 20))
    taken = []
    with pytest.raises(DataError, match="more than 12 MB"):
        for name, _ in read_pictures(bomb, 20, Room(12_000_000)):
            taken.append(name)
    assert taken == ["0.jpg", "1.jpg"]


def test_many_small_members_that_fail_are_counted_too() -> None:
    with pytest.raises(DataError, match="more than 1 MB"):
        list(read_pictures(broken_members(200, 8_000), 200, Room(1_000_000)))


def test_several_zips_share_a_room() -> None:
    room = Room(8_000_000)
    assert len(list(read_pictures(broken_members(1, 5_000_000), 9, room))) == 1
    with pytest.raises(DataError, match="more than 8 MB"):
        list(read_pictures(broken_members(1, 5_000_000), 9, room))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_at_once_is_not_unpacked(method: int) -> None:
    bomb = zip_bytes({"bomb.jpg": bytes(8 * MAX_PHOTO_BYTES)}, method)
    tracemalloc.start()
    ((_, bad),) = read_pictures(bomb, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(bad, PhotoError) and is_sentence(str(bad))
    assert peak < MAX_PHOTO_BYTES


def test_a_member_that_lies_about_its_size_is_refused() -> None:
    content = bytearray(zip_bytes({"a.jpg": jpeg() * 50, "b.jpg": jpeg()}))
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02"))
    content[at + 24 : at + 28] = struct.pack("<I", 3)  # the size said to be unpacked
    found = dict(read_pictures(bytes(content), 10))
    assert isinstance(found["a.jpg"], PhotoError) or len(found["a.jpg"]) <= 3
    assert found["b.jpg"] == jpeg()


@pytest.mark.parametrize("damage", ["cut", "no zip", "too many", "no pictures"])
def test_a_zip_that_cannot_be_taken_is_one_sentence(damage: str) -> None:
    content = zip_bytes({f"{n}.jpg": jpeg() for n in range(5)})
    broken = {"cut": content[: len(content) // 2], "no zip": b"PK\x03\x04 not really"}
    broken["no pictures"] = zip_bytes({"word/document.xml": b"<xml/>"})
    with pytest.raises(DataError) as caught:
        list(read_pictures(broken.get(damage, content), 4))
    assert is_sentence(str(caught.value))
