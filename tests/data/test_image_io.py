"""Reading photos: what a person would notice on screen."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import trashnet_photo
from trashnet.data import image_io
from trashnet.data.image_io import as_png, inside, load_photo, photo_facts, thumbnail
from trashnet.errors import PhotoError


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width: int = 640, height: int = 480) -> Image.Image:
    """Something with soft and hard edges, like a photo."""
    return trashnet_photo("metal", 3).resize((width, height))


JPEG = encoded(scene(96, 64), "JPEG", quality=90)


# ---- what comes out ----


def test_shape_type_and_colours() -> None:
    image = Image.new("RGB", (40, 30), (200, 100, 50))
    photo = load_photo(encoded(image))
    assert photo.shape == (30, 40, 3) and photo.dtype == np.uint8 and photo.flags.writeable
    assert (photo == (200, 100, 50)).all()
    assert load_photo(encoded(image), 16).shape == (16, 16, 3)
    assert load_photo(encoded(image), (10, 20)).shape == (10, 20, 3)


def test_a_path_its_name_its_bytes_and_an_open_file_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "can.jpg"
    path.write_bytes(JPEG)
    stream = io.BytesIO(JPEG)
    stream.read(10)  # an upload may have been looked at before
    for source in (path, str(path), stream):
        assert np.array_equal(load_photo(source, 32), load_photo(JPEG, 32))
    assert not stream.closed


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO"])
def test_every_format_shows_the_picture(kind: str) -> None:
    difference = load_photo(encoded(scene(96, 64), kind)).astype(int) - np.asarray(scene(96, 64))
    assert abs(difference).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_however_the_camera_was_held(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (640, 320), "white")
    upright.paste("red", (0, 0, 160, 80))
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turn = image_io._TURNS.get(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(upright if turn is None else upright.transpose(turn), kind, exif=exif)
    assert load_photo(data).shape == (320, 640, 3)
    for photo in (load_photo(data, (32, 64)), load_photo(data)[::10, ::10]):
        assert photo[2, 4, 0] > 200 > 60 > photo[2, 4, 1]
        assert photo[-3, -5].min() > 230 and photo[2, -5].min() > 230


def test_unreadable_exif_costs_only_the_turn() -> None:
    data = encoded(scene(96, 64), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert load_photo(data).shape == (64, 96, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 0, 20, 20))
    photo = load_photo(encoded(image.convert(mode)))
    assert (photo[:, :9] == 255).all() and (photo[:, 11:] == 0).all()


def test_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    assert (load_photo(encoded(image, transparency=(10, 20, 30))) == 255).all()


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    for kind in ("PNG", "TIFF"):
        photo = load_photo(encoded(Image.fromarray(ramp), kind))
        assert abs(photo[0, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0, 1e6])
def test_float_grey_keeps_its_shades(white: float) -> None:
    ramp = np.linspace(0, white, 256, dtype=np.float32)[None].repeat(4, 0)
    ramp[1, 7] = np.nan
    photo = load_photo(encoded(Image.fromarray(ramp), "TIFF"))
    assert abs(photo[0, :, 1].astype(int) - np.arange(256)).max() <= 1


def test_print_colours_palettes_and_black_and_white() -> None:
    red = Image.new("RGB", (32, 32), (220, 30, 30))
    for data in (
        encoded(red.convert("CMYK"), "JPEG"),
        encoded(red.convert("CMYK"), "TIFF"),
        encoded(red.convert("P", palette=Image.Palette.ADAPTIVE)),
    ):
        assert abs(load_photo(data)[16, 16].astype(int) - (220, 30, 30)).max() < 12
    assert (load_photo(encoded(Image.new("1", (8, 8), 1))) == 255).all()
    assert (load_photo(encoded(Image.new("L", (8, 8), 77))) == 77).all()


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (load_photo(data)[8, 8] == (255, 0, 0)).all()


def test_draft_decoding_changes_next_to_nothing() -> None:
    data = encoded(scene(2048, 1536), "JPEG", quality=92)
    with Image.open(io.BytesIO(data)) as image:
        full = np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BILINEAR), int)
    assert abs(load_photo(data, 128) - full).mean() < 1
    assert image_io._decode(data, 128).width < 2048


def test_resizing_smooths_instead_of_skipping() -> None:
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    assert abs(load_photo(encoded(Image.fromarray(stripes)), 64).astype(int) - 127).max() < 20


def test_a_thumbnail_is_small_and_keeps_its_shape() -> None:
    small = load_photo(thumbnail(encoded(scene(1600, 800), "JPEG"), 100))
    assert small.shape == (50, 100, 3)
    assert load_photo(thumbnail(encoded(scene(30, 20)))).shape == (20, 30, 3)
    assert load_photo(thumbnail(encoded(Image.new("RGB", (900, 1))), 90)).shape == (1, 90, 3)


# ---- what cannot be read ----


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to no pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("size", "most"),
    [((30_000, 30_000), 64), ((10_000, 9_500), 25), ((8_001, 8_001), 25), ((5_001, 5_000), 25)],
)
def test_too_many_pixels_are_refused_before_decoding(
    size: tuple[int, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> None:
        raise RuntimeError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(PhotoError, match=f"more than {most} million pixels"):
        load_photo(png_header(*size), 64)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [None, 32])
def test_a_truncated_jpeg_is_an_error(keep: float, progressive: bool, size: int | None) -> None:
    data = encoded(scene(), "JPEG", progressive=progressive)
    cut = data[: int(len(data) * keep)]
    for damaged in (cut, cut + bytes(len(data) - len(cut))):
        with pytest.raises(PhotoError, match="damaged or cut short"):
            load_photo(damaged, size)


def test_a_photo_may_be_grey_or_end_in_grey() -> None:
    padded = Image.new("RGB", (64, 96), (128,) * 3)
    padded.paste(scene(64, 48), (0, 20))
    assert load_photo(encoded(padded, "JPEG")).shape == (96, 64, 3)
    assert (load_photo(encoded(Image.new("RGB", (64, 64), (128,) * 3), "JPEG")) == 128).all()


def test_truncated_files_of_other_formats_are_errors() -> None:
    for kind in ("PNG", "WEBP", "BMP", "TIFF"):
        data = encoded(scene(96, 64), kind)
        with pytest.raises(PhotoError):
            load_photo(data[: len(data) // 2])


def test_messages_name_the_file_and_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("This is no picture.")
    (tmp_path / "empty.jpg").touch()
    for name, message in {
        "notes.jpg": "notes.jpg is not a picture",
        "empty.jpg": "empty.jpg is empty",
        "missing.jpg": "no photo .*missing.jpg",
        ".": "cannot be opened",
    }.items():
        with pytest.raises(PhotoError, match=message) as caught:
            load_photo(tmp_path / name)
        assert str(caught.value).endswith(".")
    with pytest.raises(PhotoError, match="photo is empty"):
        load_photo(b"")


def test_a_format_that_is_not_a_photo_is_refused() -> None:
    with pytest.raises(PhotoError, match="not a picture"):
        load_photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


@pytest.mark.parametrize("size", [0, -5, (10, 0), 10**6])
def test_impossible_sizes_are_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(PhotoError, match="choose a size"):
        load_photo(JPEG, size)


def check_photo_or_error(data: bytes) -> None:
    """Any bytes give a photo or a PhotoError, nothing else."""
    try:
        photo = load_photo(data, 16)
    except PhotoError as error:
        assert str(error)
    else:
        assert photo.shape == (16, 16, 3)


STARTS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF....WEBP"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=300))
@pytest.mark.filterwarnings("ignore")
def test_random_bytes(start: bytes, rest: bytes) -> None:
    check_photo_or_error(start + rest)


VICTIMS = [JPEG, *(encoded(scene(24, 16), kind) for kind in ("PNG", "GIF", "TIFF", "WEBP", "BMP"))]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(VICTIMS), st.data())
@pytest.mark.filterwarnings("ignore")
def test_damaged_photos(victim: bytes, data: st.DataObject) -> None:
    # Half of the damage goes to the headers, where it does most.
    place = st.integers(0, len(victim) - 1) | st.integers(0, min(200, len(victim) - 1))
    damaged = bytearray(victim)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)):
        damaged[at] = value
    check_photo_or_error(bytes(damaged[: data.draw(st.integers(1, len(victim)))]))
    check_photo_or_error(bytes(damaged))


@pytest.mark.parametrize(
    "file", ["../secret.jpg", "a/../../secret.jpg", "/etc/secret.jpg", "a\\..\\..\\secret.jpg"]
)
def test_no_key_leads_out_of_the_folder(file: str, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="leads out of the folder"):
        inside(tmp_path, file)


def test_a_key_is_a_photo_in_the_folder(tmp_path: Path) -> None:
    assert inside(tmp_path, "glass/a..b.jpg") == tmp_path / "glass" / "a..b.jpg"


def test_saturation_is_the_mean_of_hsv() -> None:
    grey = np.full((60, 256, 3), 90, np.uint8)
    half = grey.copy()
    half[:, :128] = (0, 40, 80)
    half[:, 128:] = (100, 75, 50)
    for picture, expected in ((grey, 0), (grey * (1, 0, 0), 1), (half, 0.75), (0 * grey, 0)):
        facts = photo_facts(as_png(picture.astype(np.uint8)))
        assert facts["saturation"] == expected


def test_facts_are_of_the_upright_photo_at_its_own_size() -> None:
    photo, turned = scene(300, 200), Image.Exif()
    turned[0x0112] = 6
    facts = photo_facts(encoded(photo))
    assert (facts["width"], facts["height"]) == (300, 200)
    assert facts["brightness"] == pytest.approx(
        np.asarray(photo.convert("L")).mean() / 255, abs=0.01
    )
    facts = photo_facts(encoded(photo, "JPEG", exif=turned))
    assert (facts["width"], facts["height"]) == (200, 300)
    with pytest.raises(PhotoError, match="damaged"):
        photo_facts(encoded(photo)[:2000])
