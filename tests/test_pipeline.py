"""Photos are decoded once and right, and an epoch's batches depend on seed and epoch alone."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trashnet import pipeline
from trashnet.config import TrainConfig
from trashnet.data import Photos, open_folder, scan
from trashnet.errors import DataError
from trashnet.photos import load_photo
from trashnet.pipeline import TrainingBatches, augment, augmentation, decode_photos

SIZE = 32
OFF = {"horizontal_flip": False, "brightness": 0.0, "rotation": 0.0}


@pytest.fixture
def photos(sample_photos: Photos, tmp_path: Path) -> Photos:
    """A copy of twenty pictures that a test may change."""
    for label in ("glass", "paper"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(1, 11):
            file = f"{label}/{label}{number}.jpg"
            shutil.copy(sample_photos.root / file, tmp_path / "photos" / file)
    return open_folder(tmp_path / "photos", "few", "folder")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def decoded(photos: Photos, cache: Path, size: int = SIZE) -> np.ndarray:
    return decode_photos(photos, scan(photos, cache), size, cache)


def pixel_files(cache: Path) -> list[str]:
    """Everything in the cache but the scan, temporary files included."""
    return sorted(p.name for p in cache.iterdir() if not p.name.startswith("scan-"))


# ---------------------------------------------------------------- decoded once


def test_every_row_is_what_load_photo_reads(photos: Photos, cache: Path) -> None:
    pixels = decoded(photos, cache)
    assert pixels.shape == (20, SIZE, SIZE, 3) and pixels.dtype == np.uint8
    for file, row in zip(photos.files, pixels, strict=True):
        np.testing.assert_array_equal(row, load_photo(photos.root / file, SIZE))
    assert not pixels.flags.writeable


def test_photos_are_decoded_once(
    photos: Photos, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = np.array(decoded(photos, cache))
    monkeypatch.setattr(pipeline, "load_photo", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(decoded(photos, cache), first)
    assert len(pixel_files(cache)) == 1


def test_another_size_is_another_cache(photos: Photos, cache: Path) -> None:
    decoded(photos, cache)
    assert decoded(photos, cache, 40).shape == (20, 40, 40, 3)
    assert decoded(photos, cache).shape == (20, SIZE, SIZE, 3)


def test_an_interrupted_decoding_leaves_nothing_behind(
    photos: Photos, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, size: int) -> np.ndarray:
        if path.name == "glass5.jpg":
            raise KeyboardInterrupt
        return load_photo(path, size)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "load_photo", interrupted)
        decoded(photos, cache)
    assert pixel_files(cache) == []
    np.testing.assert_array_equal(
        decoded(photos, cache)[-1], load_photo(photos.root / photos.files[-1], SIZE)
    )


@pytest.mark.parametrize("left", [0, 50, 5000])
def test_a_torn_cache_is_made_again(photos: Photos, cache: Path, left: int) -> None:
    whole = np.array(decoded(photos, cache))
    (name,) = pixel_files(cache)
    os.truncate(cache / name, left)
    np.testing.assert_array_equal(decoded(photos, cache), whole)


def test_a_changed_photo_is_decoded_again(photos: Photos, cache: Path) -> None:
    before = np.array(decoded(photos, cache))
    Image.new("RGB", (64, 48), (200, 10, 10)).save(photos.root / "glass/glass1.jpg")
    after = decoded(photos, cache)
    changed = [f for f, a, b in zip(photos.files, before, after, strict=True) if (a != b).any()]
    assert changed == ["glass/glass1.jpg"]
    assert abs(after[0].mean(axis=(0, 1)) - (200, 10, 10)).max() < 3


def test_a_photo_that_went_away_is_said(photos: Photos, cache: Path) -> None:
    index = scan(photos, cache)
    (photos.root / "paper/paper3.jpg").unlink()
    with pytest.raises(DataError, match="changed since they were listed: .*paper3.jpg"):
        decode_photos(photos, index, SIZE, cache)
    assert pixel_files(cache) == []


def test_a_full_disk_is_said(photos: Photos, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot reserve space")
    index = scan(photos, cache)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left on device.*free some space"):
        decode_photos(photos, index, SIZE, cache)
    assert pixel_files(cache) == []


# ---------------------------------------------------------------- augmentation


def augmented(pixels: np.ndarray, **settings: object) -> np.ndarray:
    layers = augmentation(TrainConfig(**{**OFF, **settings}))
    pipeline.reseed(layers, 0, 0)
    return np.asarray(augment(pixels, layers))


def ramps(low: int = 60, high: int = 190, n: int = 64) -> np.ndarray:
    """`(n, 32, 32, 3) uint8` pictures that get brighter to the right."""
    row = np.linspace(low, high, SIZE)[None, None, :, None]
    return np.broadcast_to(row, (n, SIZE, SIZE, 3)).astype(np.uint8)


def test_no_augmentation_changes_nothing() -> None:
    pixels = ramps(0, 255)
    assert augmentation(TrainConfig(**OFF)) == []
    result = augmented(pixels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, pixels)


def test_brightness_shifts_each_picture_and_keeps_it() -> None:
    pixels = ramps()
    shift = augmented(pixels, brightness=0.2) - pixels
    each = shift.mean(axis=(1, 2, 3))
    # The ramp has room for the largest shift, so nothing is clipped: one number per picture.
    assert abs(shift - each[:, None, None, None]).max() < 0.001
    assert abs(each).max() <= 0.2 * 255 + 0.01
    assert each.min() < -25 and each.max() > 25


def test_full_brightness_stays_within_the_range_of_pixels() -> None:
    result = augmented(ramps(), brightness=1.0)
    assert result.min() >= 0 and result.max() <= 255
    assert result.max() > 200


def test_flip_mirrors_about_half_of_the_pictures() -> None:
    pixels = ramps()
    result = augmented(pixels, horizontal_flip=True)
    kept = (result == pixels).all(axis=(1, 2, 3))
    mirrored = (result == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_rotation_turns_by_up_to_its_degrees() -> None:
    size = 65
    spot = np.zeros((64, size, size, 3), np.uint8)
    spot[:, 30:35, 54:59] = 255  # right of the centre
    result = augmented(spot, rotation=15.0)[..., 0]
    y, x = np.mgrid[:size, :size] - size // 2
    mass = result.sum(axis=(1, 2))
    degrees = np.degrees(
        np.arctan2((result * y).sum(axis=(1, 2)) / mass, (result * x).sum(axis=(1, 2)) / mass)
    )
    assert abs(degrees).max() < 16
    assert degrees.min() < -8 and degrees.max() > 8


def test_rotation_leaves_no_black_corners() -> None:
    white = np.full((16, SIZE, SIZE, 3), 255, np.uint8)
    assert augmented(white, rotation=45.0).min() > 254


# ---------------------------------------------------------------- batches


N, TRAIN = 90, np.arange(0, 90, 2)
LABELS = np.arange(N) % 6
WEIGHTS = np.array([1, 2, 3, 4, 5, 6], np.float32) / 4


def batches(seed: int = 0, **settings: object) -> TrainingBatches:
    """Batches of the even rows of 90 pictures; picture i is a plain grey of 2 × i + 20."""
    grey = np.arange(N, dtype=np.uint8)[:, None, None, None] * 2 + 20
    pixels = np.broadcast_to(grey, (N, SIZE, SIZE, 3))
    config = TrainConfig(batch_size=8, seed=seed, **settings)
    return TrainingBatches(pixels, TRAIN, LABELS, WEIGHTS, config)


def drawn(source: TrainingBatches, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos, labels and weights of one epoch, in the order they come."""
    photos, labels, weights = zip(*source.epoch(epoch), strict=True)
    return np.concatenate(photos), np.concatenate(labels), np.concatenate(weights)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_training_photo_comes_once_with_its_label_and_weight(epoch: int) -> None:
    source = batches(**OFF)
    photos, labels, weights = drawn(source, epoch)
    rows = ((photos[:, 0, 0, 0] - 20) / 2).astype(int)
    np.testing.assert_array_equal(np.sort(rows), TRAIN)
    assert (photos == photos[:, :1, :1, :1]).all()
    np.testing.assert_array_equal(labels, LABELS[rows])
    np.testing.assert_array_equal(weights, WEIGHTS[LABELS[rows]])


def test_batches_are_of_the_size_asked_for() -> None:
    source = batches()
    sizes = [len(labels) for _, labels, _ in source.epoch(0)]
    assert sizes == [8, 8, 8, 8, 8, 5]
    assert source.steps == len(source.epoch(1)) == len(sizes)


def test_batches_are_shuffled_across_the_whole_split() -> None:
    _, labels, _ = drawn(batches(**OFF), 0)
    photos, _, _ = drawn(batches(**OFF), 0)
    first = photos[:8, 0, 0, 0]
    assert np.ptp(first) > 90  # of 176: not the first eight rows


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    """So a resumed training goes on as it would have, whatever was drawn before."""
    source = batches(seed=3)
    first = [drawn(source, epoch) for epoch in range(3)]
    fresh = drawn(batches(seed=3), 2)
    again = drawn(source, 2)
    for part in range(3):
        np.testing.assert_array_equal(fresh[part], first[2][part])
        np.testing.assert_array_equal(again[part], first[2][part])


def test_a_half_drawn_epoch_does_not_touch_the_next() -> None:
    source = batches()
    for _ in source.epoch(0):
        break
    np.testing.assert_array_equal(drawn(source, 1)[0], drawn(batches(), 1)[0])


@pytest.mark.parametrize("only", ["horizontal_flip", "brightness", "rotation"])
def test_augmentation_differs_between_epochs_and_seeds(only: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(50, 200, (64, SIZE, SIZE, 3), dtype=np.uint8)
    value = {"horizontal_flip": True, "brightness": 0.2, "rotation": 15.0}[only]
    layers = augmentation(TrainConfig(**{**OFF, only: value}))

    def pictures(seed: int, epoch: int) -> np.ndarray:
        pipeline.reseed(layers, seed, epoch)
        return np.asarray(augment(pixels, layers))

    np.testing.assert_array_equal(pictures(0, 0), pictures(0, 0))
    assert (pictures(0, 0) != pictures(0, 1)).any()
    assert (pictures(0, 0) != pictures(1, 0)).any()


def test_order_differs_between_epochs_and_seeds() -> None:
    orders = [
        tuple(drawn(batches(seed, **OFF), epoch)[0][:, 0, 0, 0])
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert len(set(orders)) == 3


def test_plain_batches_are_the_photos_in_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
    rows = np.array([7, 1, 4, 0, 9])
    parts = list(pipeline.plain_batches(pixels, rows, 2))
    assert [len(part) for part in parts] == [2, 2, 1] and parts[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(parts), pixels[rows])
