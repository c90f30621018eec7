"""Drawn samples: complete, varied, marked as drawn."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from trashnet.data.image_io import load_photo
from trashnet.data.synthetic import SAMPLE_CLASSES, draw_sample, is_sample_folder, write_samples
from trashnet.errors import PhotoError


@pytest.mark.parametrize("label", SAMPLE_CLASSES)
def test_a_sample_depends_on_class_and_seed_alone(label: str) -> None:
    first, again, other = (np.asarray(draw_sample(label, seed), int) for seed in (5, 5, 6))
    assert first.shape == (384, 512, 3)
    assert np.array_equal(first, again)
    assert abs(first - other).mean() > 3


def test_classes_differ() -> None:
    pictures = [np.asarray(draw_sample(label, 1), int) for label in SAMPLE_CLASSES]
    for one, two in itertools.combinations(pictures, 2):
        assert abs(one - two).mean() > 3


@pytest.mark.parametrize("size", [(32, 32), (96, 64), (64, 300)])
def test_samples_come_in_any_size(size: tuple[int, int]) -> None:
    for label, seed in itertools.product(SAMPLE_CLASSES, range(6)):
        assert draw_sample(label, seed, size).size == size


@pytest.mark.parametrize(
    ("label", "seed", "size"), [("wood", 0, 64), ("glass", -1, 64), ("glass", 0, 8)]
)
def test_what_cannot_be_drawn_is_said(label: str, seed: int, size: int) -> None:
    with pytest.raises(PhotoError, match="Cannot draw"):
        draw_sample(label, seed, (size, size))


def counts(root: Path) -> dict[str, int]:
    return {c.name: len(list(c.glob("*.jpg"))) for c in sorted(root.iterdir()) if c.is_dir()}


def test_samples_are_written_once_and_marked(tmp_path: Path) -> None:
    root, seen = tmp_path / "deep" / "samples", []
    assert (
        write_samples(root, 3, on_progress=lambda done, total: seen.append((done, total))) == root
    )
    assert is_sample_folder(root) and not is_sample_folder(tmp_path)
    found = counts(root)
    assert tuple(found) == SAMPLE_CLASSES and found["trash"] == 1 and found["paper"] == 4
    total = sum(found.values())
    assert seen == [(n, total) for n in range(1, total + 1)]
    assert load_photo(root / "glass" / "glass1.jpg", 64).shape == (64, 64, 3)
    assert [p.name for p in root.parent.iterdir()] == ["samples"]

    write_samples(root, 3, on_progress=lambda *_: pytest.fail("drawn again"))
    (root / "glass" / "glass1.jpg").unlink()
    write_samples(root, 3)  # mends
    assert counts(root) == found
    write_samples(root, 1, seed=2)  # replaces
    assert set(counts(root).values()) == {1}


def test_other_peoples_photos_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"somebody's photo")
    with pytest.raises(PhotoError, match="holds other files"):
        write_samples(tmp_path, 1)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"somebody's photo"


def test_a_stopped_drawing_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "samples", 1, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PhotoError, match="cannot be written"):
        write_samples(tmp_path / "file" / "samples", 1)
    with pytest.raises(PhotoError, match="at least 1"):
        write_samples(tmp_path / "samples", 0)
