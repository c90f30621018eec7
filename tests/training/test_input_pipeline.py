"""Photos are decoded once and right, and an epoch's batches depend on seed and epoch alone."""

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, open_folder
from trashnet.data.image_io import load_photo
from trashnet.data.scan import scan
from trashnet.errors import DataError
from trashnet.training import input_pipeline
from trashnet.training.input_pipeline import TrainingBatches, decode_photos

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
    monkeypatch.setattr(input_pipeline, "load_photo", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(decoded(photos, cache), first)
    assert len(pixel_files(cache)) == 1


def test_another_size_is_another_cache(photos: Photos, cache: Path) -> None:
    decoded(photos, cache)
    assert decoded(photos, cache, 40).shape == (20, 40, 40, 3)
    assert decoded(photos, cache).shape == (20, SIZE, SIZE, 3)


def test_an_interrupted_decoding_leaves_nothing_behind(
    photos: Photos, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifth = (photos.root / photos.files[4]).read_bytes()

    def interrupted(content: bytes, size: int) -> np.ndarray:
        if content == fifth:
            raise KeyboardInterrupt
        return load_photo(content, size)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(input_pipeline, "load_photo", interrupted)
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


@pytest.mark.parametrize("start", [0.0, 0.5, 0.99])
def test_a_cache_that_lost_some_of_its_bytes_is_made_again(
    photos: Photos, cache: Path, start: float
) -> None:
    whole = np.array(decoded(photos, cache))
    (name,) = pixel_files(cache)
    content = (cache / name).read_bytes()
    at = 128 + int(start * whole.size)  # behind the header
    (cache / name).write_bytes(content[:at] + bytes(50) + content[at + 50 :])
    np.testing.assert_array_equal(decoded(photos, cache), whole)


def test_a_photo_in_anothers_place_is_not_trained_on(photos: Photos, cache: Path) -> None:
    index = scan(photos, cache)
    shutil.copy(photos.root / "paper/paper2.jpg", photos.root / "paper/paper3.jpg")
    with pytest.raises(DataError, match="changed since they were listed: paper3.jpg is another"):
        decode_photos(photos, index, SIZE, cache)
    assert pixel_files(cache) == []


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


def decoded_before(cache: Path, name: str, days_ago: float, size: int = 1000) -> str:
    """Leaves a file of decoded photos, of so many bytes, that was used so many days ago."""
    cache.mkdir(exist_ok=True)
    (cache / name).touch()
    os.truncate(cache / name, size)  # takes no space on the disk
    at = time.time() - days_ago * 86_400
    os.utime(cache / name, (at, at))
    return name


def test_decoded_photos_that_are_long_unused_go_when_others_are_made(
    photos: Photos, cache: Path
) -> None:
    decoded_before(cache, "pixels-224-0123456789ab.npy", days_ago=31)
    decoded_before(cache, ".pixels-224-0123456789ab-x.npy", days_ago=1.1)  # killed
    kept = {
        decoded_before(cache, "pixels-160-0123456789ab.npy", days_ago=29),
        decoded_before(cache, ".pixels-160-0123456789ab-x.npy", days_ago=0.9),  # perhaps at work
        decoded_before(cache, "pixels-by-class-0123456789ab.npz", days_ago=31),  # no photos
    }
    decoded(photos, cache)
    (new,) = set(pixel_files(cache)) - kept
    assert new.startswith(f"pixels-{SIZE}-") and kept < set(pixel_files(cache))


def test_decoded_photos_that_are_opened_count_as_used(photos: Photos, cache: Path) -> None:
    decoded(photos, cache)
    (name,) = pixel_files(cache)
    at = time.time() - 29 * 86_400
    os.utime(cache / name, (at, at))
    decoded(photos, cache)
    assert time.time() - (cache / name).stat().st_mtime < 60


def test_the_longest_unused_go_beyond_two_gigabytes(photos: Photos, cache: Path) -> None:
    sizes = {300: 900_000_000, 301: 1_000_000_000, 302: 99_000_000, 303: 50_000_000}
    for days_ago, (size, content) in enumerate(sizes.items(), start=2):
        decoded_before(cache, f"pixels-{size}-0123456789ab.npy", days_ago, content)
    decoded_before(cache, "pixels-304-0123456789ab.npy", days_ago=0.5, size=3_000_000)
    decoded(photos, cache)
    left = {int(name.split("-")[1]) for name in pixel_files(cache)}
    assert left == {300, 301, 304, SIZE}


def test_a_training_that_reads_removed_photos_goes_on(photos: Photos, cache: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows removes nothing that is open")
    mapped = decoded(photos, cache)
    (name,) = pixel_files(cache)
    decoded_before(cache, name, days_ago=31, size=(cache / name).stat().st_size)
    decoded(photos, cache, 40)
    assert name not in pixel_files(cache)
    np.testing.assert_array_equal(mapped[0], load_photo(photos.root / photos.files[0], SIZE))


# ---------------------------------------------------------------- batches


N, TRAIN = 90, np.arange(0, 90, 2)
LABELS = np.arange(N) % 6
WEIGHTS = np.array([1, 2, 3, 4, 5, 6], np.float32) / 4


def batches(seed: int = 0, parts: int = 1, **settings: object) -> TrainingBatches:
    """Batches of the even rows of 90 pictures; picture i is a plain grey of 2 × i + 20."""
    grey = np.arange(N, dtype=np.uint8)[:, None, None, None] * 2 + 20
    pixels = np.broadcast_to(grey, (N, SIZE, SIZE, 3))
    config = TrainConfig(**{"batch_size": 8, **settings}, seed=seed)
    return TrainingBatches(pixels, TRAIN, LABELS, WEIGHTS, config, parts)


def alike(seed: int = 0, **settings: object) -> TrainingBatches:
    """Batches of 48 times the same colourful picture: they differ by their augmentation alone."""
    picture = np.random.default_rng(0).integers(50, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    pixels = np.broadcast_to(picture, (48, SIZE, SIZE, 3))
    config = TrainConfig(batch_size=8, seed=seed, **settings)
    return TrainingBatches(pixels, np.arange(48), np.arange(48) % 6, WEIGHTS, config)


def drawn(source: TrainingBatches, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos, labels and weights of one epoch, in the order they come."""
    photos, labels, weights = zip(*source.epoch(epoch), strict=True)
    return np.concatenate(photos), np.concatenate(labels), np.concatenate(weights)


def settings_of(model: str) -> dict[str, object]:
    """What a recipe says of the training photos."""
    recipe = TrainConfig.recipe(model).to_dict()
    return {k: v for k, v in recipe.items() if k not in ("seed", "batch_size")}


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_training_photo_comes_once_with_its_label_and_weight(epoch: int) -> None:
    source = batches(**OFF)
    photos, labels, weights = drawn(source, epoch)
    rows = ((photos[:, 0, 0, 0] - 20) / 2).astype(int)
    np.testing.assert_array_equal(np.sort(rows), TRAIN)
    assert (photos == photos[:, :1, :1, :1]).all()
    np.testing.assert_array_equal(labels, np.eye(6)[LABELS[rows]])  # one-hot
    np.testing.assert_array_equal(weights, WEIGHTS[LABELS[rows]])
    assert {part.dtype for part in (photos, labels, weights)} == {np.dtype(np.float32)}


def test_a_class_of_which_no_photo_trains_has_its_column() -> None:
    grey = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    source = TrainingBatches(grey, np.arange(4), np.zeros(4, np.int64), WEIGHTS, TrainConfig())
    np.testing.assert_array_equal(drawn(source, 0)[1], np.eye(6)[[0] * 4])


def test_batches_are_of_the_size_asked_for() -> None:
    source = batches()
    sizes = [len(labels) for _, labels, _ in source.epoch(0)]
    assert sizes == [8, 8, 8, 8, 8, 5]
    assert source.steps == len(source.epoch(1)) == len(sizes)


def test_nothing_holds_up_the_end_of_an_epoch() -> None:
    # TensorFlow's tuning thread would: it may sleep on for seconds after the last batch.
    assert batches().epoch(0).options().autotune.enabled is False


@pytest.mark.parametrize(
    ("parts", "expected"), [(2, [8, 8, 8, 8, 8, 4]), (4, [8, 8, 8, 8, 8, 4]), (8, [8] * 5)]
)
def test_batches_divide_into_equal_parts(parts: int, expected: list[int]) -> None:
    source = batches(parts=parts, **OFF)
    left_out = set()
    for epoch in range(12):
        photos, labels, _ = drawn(source, epoch)
        assert len(labels) == sum(expected)
        left_out |= set(TRAIN) - set(((photos[:, 0, 0, 0] - 20) / 2).astype(int))
    assert [len(labels) for _, labels, _ in source.epoch(0)] == expected
    assert source.steps == len(source.epoch(0)) == len(expected)
    assert len(left_out) > 6  # others in each epoch


def test_batches_are_shuffled_across_the_whole_split() -> None:
    photos, _, _ = drawn(batches(**OFF), 0)
    first = photos[:8, 0, 0, 0]
    assert np.ptp(first) > 90  # of 176: not the first eight rows


@pytest.mark.parametrize("model", ["cnn_baseline", "frozen_features", "efficientnet_lite0"])
def test_an_epoch_depends_on_seed_and_number_alone(model: str) -> None:
    """So a resumed training goes on as it would have, whatever was drawn before."""
    recipe = settings_of(model)
    source = batches(3, **recipe)
    first = [drawn(source, epoch) for epoch in range(3)]
    fresh = drawn(batches(3, **recipe), 2)
    again = drawn(source, 2)
    for part in range(3):
        np.testing.assert_array_equal(fresh[part], first[2][part])
        np.testing.assert_array_equal(again[part], first[2][part])
        assert (first[1][part] != first[2][part]).any()
        assert (drawn(batches(4, **recipe), 2)[part] != first[2][part]).any()


def test_a_half_drawn_epoch_does_not_touch_the_next() -> None:
    source = batches()
    for _ in source.epoch(0):
        break
    np.testing.assert_array_equal(drawn(source, 1)[0], drawn(batches(), 1)[0])


@pytest.mark.parametrize("only", [{"horizontal_flip": True}, {"brightness": 0.2}, {"zoom": 0.3}])
def test_augmentation_differs_between_epochs_and_seeds(only: dict[str, object]) -> None:
    settings = {**OFF, **only}
    pictures = drawn(alike(**settings), 0)[0]
    np.testing.assert_array_equal(pictures, drawn(alike(**settings), 0)[0])
    assert (pictures != drawn(alike(**settings), 1)[0]).any()
    assert (pictures != drawn(alike(1, **settings), 0)[0]).any()


def test_each_batch_of_an_epoch_has_draws_of_its_own() -> None:
    pictures = drawn(alike(**{**OFF, "brightness": 0.2}), 0)[0]
    assert len({picture.tobytes() for picture in pictures}) == 48


def test_switching_a_light_on_leaves_the_flips_and_the_order_as_they_were() -> None:
    """So two runs that differ in one setting differ in nothing else."""
    flipped = drawn(alike(**{**OFF, "horizontal_flip": True}), 0)
    both = drawn(alike(**{**OFF, "horizontal_flip": True, "brightness": 0.1}), 0)
    difference = both[0] - flipped[0]
    assert abs(difference - difference[:, :1, :1, :1]).max() < 0.001  # brighter, not mirrored
    np.testing.assert_array_equal(both[1], flipped[1])


def test_order_differs_between_epochs_and_seeds() -> None:
    orders = [
        tuple(drawn(batches(seed, **OFF), epoch)[0][:, 0, 0, 0])
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert len(set(orders)) == 3


def test_mixup_blends_within_a_batch_and_keeps_the_photos() -> None:
    source = batches(**OFF, mixup=0.5)
    for plain, mixed in zip(batches(**OFF).epoch(1), source.epoch(1), strict=True):
        (own, labels, weights), (photos, blended, blended_weights) = plain, mixed
        np.testing.assert_allclose(np.sum(blended, axis=1), 1, atol=1e-6)
        assert (np.sum(labels * blended, axis=1) >= 0.5 - 1e-6).all()  # the own class keeps half
        assert np.min(photos) >= np.min(own) and np.max(photos) <= np.max(own)
        assert np.min(blended_weights) >= np.min(weights) - 1e-6
        assert np.max(blended_weights) <= np.max(weights) + 1e-6
        assert (np.asarray(photos) != np.asarray(own)).any()


def test_plain_batches_are_the_photos_in_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
    rows = np.array([7, 1, 4, 0, 9])
    parts = list(input_pipeline.plain_batches(pixels, rows, 2))
    assert [len(part) for part in parts] == [2, 2, 1] and parts[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(parts), pixels[rows])
