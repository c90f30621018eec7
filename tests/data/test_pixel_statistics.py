"""Statistics of pixels by class, and thumbnails on disk: made once, right, and robust."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trashnet.data.dataset import Photos, open_folder
from trashnet.data.image_io import difference, file_format
from trashnet.data.pixel_statistics import BINS, class_differences, pixel_statistics
from trashnet.data.scan import scan
from trashnet.data.thumbnails import stored_thumbnail
from trashnet.environment import Environment
from trashnet.errors import PhotoError


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def painted(tmp_path: Path) -> Photos:
    root = tmp_path / "painted"
    paint(root / "dark" / "1.png", (0, 0, 0))
    paint(root / "dark" / "2.png", (100, 0, 0), (400, 300))
    paint(root / "red" / "1.png", (255, 0, 0))
    (root / "red" / "torn.jpg").write_bytes(b"no picture")
    return open_folder(root, "painted", "folder")


def test_each_class_has_its_mean_picture_and_colours(painted: Photos, env: Environment) -> None:
    told: list[tuple[int, int]] = []
    scanned = scan(painted, env.cache)
    found = pixel_statistics(painted, scanned, env.cache, lambda d, t, what: told.append((d, t)))
    assert found.counts.tolist() == [2, 1] and told[-1] == (3, 3)
    assert found.mean.shape[1:] == (120, 160, 3)  # photos are 4 : 3
    assert found.mean[0, 60, 80].tolist() == [50, 0, 0]
    assert found.mean[1, 60, 80].tolist() == [255, 0, 0]
    assert found.colours.shape == (2, 3, BINS)
    np.testing.assert_allclose(found.colours.sum(axis=2), 1, atol=1e-5)
    assert found.colours[1, 0, -1] == 1 and found.colours[0, 0, 0] == 0.5

    shutil.rmtree(painted.root)  # with the pictures gone, only what was kept can answer
    again = pixel_statistics(painted, scanned, env.cache)
    np.testing.assert_array_equal(again.mean, found.mean)


def test_what_differs_most_between_classes_comes_first() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 50)
    index = pd.DataFrame(
        {
            "label": label,
            "brightness": np.where(label == "a", 0.8, 0.2) + rng.normal(0, 0.01, 100),
            "contrast": 0.5,
            "sharpness": rng.normal(0.5, 0.1, 100),
            "saturation": rng.normal(0.5, 0.1, 100),
        }
    )
    found = class_differences(index)
    assert found.quality[0] == "brightness" and found.share[0] > 0.95
    assert (found.highest[0], found.lowest[0]) == ("a", "b")
    assert found.set_index("quality").share["contrast"] == 0


def test_a_thumbnail_is_made_once_and_anew_when_the_photo_changes(tmp_path: Path) -> None:
    photo, folder = tmp_path / "photo.png", tmp_path / "thumbs"
    paint(photo, (200, 0, 0), (400, 300))
    first = stored_thumbnail(photo, 80, folder)
    (kept,) = folder.rglob("*.jpg")
    kept.write_bytes(b"as kept\xff\xd9")
    assert stored_thumbnail(photo, 80, folder) == b"as kept\xff\xd9" != first
    kept.write_bytes(b"")  # torn
    assert stored_thumbnail(photo, 80, folder) == first
    paint(photo, (0, 0, 200), (300, 300))
    assert stored_thumbnail(photo, 80, folder) not in (first, b"as kept\xff\xd9")


def test_a_photo_that_cannot_be_read_has_no_thumbnail(painted: Photos) -> None:
    folder = painted.root.parent / "thumbs"
    with pytest.raises(PhotoError):
        stored_thumbnail(painted.root / "red" / "torn.jpg", 80, folder)
    with pytest.raises(FileNotFoundError):
        stored_thumbnail(painted.root / "red" / "gone.jpg", 80, folder)


def test_a_folder_that_cannot_be_written_costs_only_time(painted: Photos, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert stored_thumbnail(painted.root / "red" / "1.png", 80, tmp_path / "file" / "thumbs")


def test_the_difference_of_two_photos_is_black_where_they_are_equal(tmp_path: Path) -> None:
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    paint(one, (100, 100, 100))
    paint(two, (100, 120, 100), (80, 60))  # of another size
    assert not difference(one, one).any()
    apart = difference(one, two)
    assert apart.shape == (30, 40, 3) and apart[15, 20].tolist() == [0, 60, 0]
    assert file_format(one).endswith(" pixels, PNG, RGB")
    two.write_bytes(b"no picture")
    with pytest.raises(PhotoError):
        file_format(two)
