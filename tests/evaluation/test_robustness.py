"""Changed photos are what their names say, and the figures about them can be computed by hand."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.errors import RunError
from trashnet.evaluation import backgrounds, robustness
from trashnet.evaluation.backgrounds import separate
from trashnet.evaluation.corruptions import TRANSFORMS, change_photo
from trashnet.evaluation.robustness import measure, measure_and_store
from trashnet.inference import classifier
from trashnet.runs.run import Run

Photo = NDArray[np.uint8]

PAIRS = [(name, strength) for name, way in TRANSFORMS.items() for strength in way.strengths]
NOTHING = {
    "rotation": 0,
    "horizontal_flip": 0,
    "vertical_flip": 0,
    "crop": 1,
    "brightness": 1,
    "contrast": 1,
    "colour_cast": 0,
    "blur": 0,
    "noise": 0,
}
"""The strengths that leave a photo as it is."""


def board_photo(
    height: int = 192, width: int = 256, centre: tuple[float, float] = (0.5, 0.45), radius: int = 40
) -> tuple[Photo, NDArray[np.bool_]]:
    """A blue disc on a pale board that darkens to a corner and has grain, and where the disc is."""
    y, x = np.indices((height, width))
    board = 225 - 50 * (x / width) ** 2 - 30 * (y / height)
    photo = board[..., None] * (1, 0.98, 0.94)
    disc = np.hypot(y - centre[0] * height, x - centre[1] * width) < radius
    photo[disc] = (40, 70, 160)
    grain = np.random.default_rng(0).normal(0, 2, photo.shape)
    return np.clip(photo + grain, 0, 255).astype(np.uint8), disc


def blue(photo: Photo) -> NDArray[np.bool_]:
    """Where the disc is."""
    return photo[..., 2] > photo[..., 0] + 60.0


# ---- single photos ----


@pytest.mark.parametrize(("name", "strength"), PAIRS)
def test_a_changed_photo_is_a_photo_and_always_the_same_one(name: str, strength: float) -> None:
    photo, _ = board_photo()
    before = photo.copy()
    changed = change_photo(photo, "glass/glass1.jpg", name, strength)
    again = change_photo(photo.copy(), "glass/glass1.jpg", name, strength)
    assert changed is not None and again is not None
    assert changed.dtype == np.uint8 and changed.ndim == 3 and changed.shape[2] == 3
    assert not np.array_equal(changed, photo)
    np.testing.assert_array_equal(changed, again)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("name", ["noise", "crop", "background"])
def test_what_is_drawn_depends_on_the_file_and_the_strength(name: str) -> None:
    photo, _ = board_photo()
    one, two = (change_photo(photo, file, name, 0.7) for file in ("a.jpg", "b.jpg"))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, change_photo(photo, "a.jpg", name, 0.7001))


@pytest.mark.parametrize(("name", "strength"), NOTHING.items())
def test_a_strength_of_nothing_leaves_the_photo(name: str, strength: float) -> None:
    photo, _ = board_photo()
    np.testing.assert_array_equal(change_photo(photo, "a.jpg", name, strength), photo)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    pair=st.sampled_from([*PAIRS, ("rotation", 33.3), ("crop", 0.01), ("scale", 0.01)]),
    fill=st.sampled_from(["flat", "noise", "half"]),
)
@settings(max_examples=60)
def test_photos_of_any_size_survive(
    height: int, width: int, pair: tuple[str, float], fill: str
) -> None:
    photo = np.full((height, width, 3), 200, np.uint8)
    if fill == "noise":
        photo = np.random.default_rng(1).integers(0, 256, photo.shape, np.uint8)
    elif fill == "half":
        photo[: height // 2] = 20
    changed = change_photo(photo, "a.jpg", *pair)
    if pair[0] in ("background", "scale") and changed is None:
        return
    assert changed is not None and changed.dtype == np.uint8
    assert changed.ndim == 3 and min(changed.shape) >= 1
    if pair[0] not in ("rotation", "crop"):
        assert changed.shape == photo.shape


def test_a_quarter_turn_makes_a_landscape_photo_portrait() -> None:
    photo, _ = board_photo()
    turned = change_photo(photo, "a.jpg", "rotation", 90)
    assert turned.shape == (256, 192, 3)
    assert any(np.array_equal(turned, np.rot90(photo, k)) for k in (1, -1))
    half = change_photo(photo, "a.jpg", "rotation", 180)
    np.testing.assert_array_equal(half, photo[::-1, ::-1])


def test_a_slanted_photo_has_no_empty_corners() -> None:
    photo = np.full((96, 128, 3), 180, np.uint8)
    np.testing.assert_array_equal(change_photo(photo, "a.jpg", "rotation", 45), photo)


def test_flips_are_flips() -> None:
    photo, _ = board_photo()
    np.testing.assert_array_equal(change_photo(photo, "a", "horizontal_flip", 1), photo[:, ::-1])
    np.testing.assert_array_equal(change_photo(photo, "a", "vertical_flip", 1), photo[::-1])


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_a_crop_is_a_part_of_the_photo_of_that_area(share: float) -> None:
    y, x = np.indices((192, 256))
    photo = np.stack((y, x, np.zeros_like(x)), axis=2).astype(np.uint8)
    cropped = change_photo(photo, "a.jpg", "crop", share)
    assert cropped[..., 0].size / x.size == pytest.approx(share, abs=0.01)
    assert cropped.shape[1] / cropped.shape[0] == pytest.approx(256 / 192, abs=0.02)
    top, left = cropped[0, 0, :2]
    expected = photo[top : top + cropped.shape[0], left : left + cropped.shape[1]]
    np.testing.assert_array_equal(cropped, expected)


def test_light_and_camera_change_what_they_say() -> None:
    photo = np.full((60, 80, 3), 100, np.uint8)
    photo[:, 40:] = 140
    change: Callable[..., Any] = lambda *way: change_photo(photo, "a.jpg", *way).astype(float)  # noqa: E731
    assert change("brightness", 0.7).mean() == pytest.approx(84, abs=0.5)
    assert np.ptp(change("contrast", 0.5)) == 20 and change("contrast", 0.5).mean() == 120
    warm, cold = change("colour_cast", 0.25), change("colour_cast", -0.25)
    assert warm[..., 0].mean() > warm[..., 1].mean() > warm[..., 2].mean()
    assert cold[..., 0].mean() < cold[..., 1].mean() < cold[..., 2].mean()
    assert (warm @ (0.299, 0.587, 0.114)).mean() == pytest.approx(120, abs=1)
    assert np.diff(change("blur", 4), axis=1).max() < 10
    noise = change("noise", 15) - photo
    assert noise.std() == pytest.approx(15, rel=0.03) and abs(noise.mean()) < 0.5


# ---- object and background ----


def test_the_object_is_told_from_the_board() -> None:
    photo, disc = board_photo()
    mask, board = separate(photo)
    assert (mask & disc).sum() == disc.sum() and mask.sum() < 1.15 * disc.sum()
    empty, _ = board_photo(radius=0)
    assert np.abs(board - empty).mean() < 4, "the board goes on smoothly under the object"


@pytest.mark.parametrize("texture", TRANSFORMS["background"].strengths)
def test_only_the_background_is_replaced(texture: float) -> None:
    photo, _ = board_photo()
    changed = change_photo(photo, "a.jpg", "background", texture)
    inside = board_photo(radius=32)[1]
    outside = ~board_photo(radius=48)[1]
    np.testing.assert_array_equal(changed[inside], photo[inside])
    difference = np.abs(changed.astype(int) - photo).max(axis=2)
    assert (difference[outside] > 15).mean() > 0.9


def test_texture_is_what_its_strength_says() -> None:
    photo, _ = board_photo()
    outside = ~board_photo(radius=48)[1]

    def roughness(texture: float) -> float:
        drawn = [change_photo(photo, f"{i}.jpg", "background", texture) for i in range(6)]
        return float(
            np.mean([np.abs(np.diff(d.astype(int), axis=1))[outside[:, 1:]] for d in drawn])
        )

    assert roughness(0) < 1 < roughness(0.5) < roughness(1)


def unseparable() -> dict[str, Photo]:
    rng = np.random.default_rng(3)
    print_all_over = rng.integers(0, 256, (24, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    cardboard = np.full((192, 256, 3), (170, 125, 80), np.uint8)
    cardboard[80:110, 100:150] = 30
    pieces, _ = board_photo(centre=(0.2, 0.15), radius=24)
    pieces[board_photo(centre=(0.8, 0.85), radius=24)[1]] = 20
    return {
        "nothing on the board": board_photo(radius=0)[0],
        "something tiny": board_photo(radius=8)[0],
        "no board to be seen": print_all_over,
        "the object is the background": cardboard,
        "pieces": pieces,
    }


@pytest.mark.parametrize("what", unseparable())
def test_a_photo_without_one_object_on_a_board_is_skipped(what: str) -> None:
    photo = unseparable()[what]
    assert separate(photo) is None
    assert change_photo(photo, "a.jpg", "background", 1) is None
    assert change_photo(photo, "a.jpg", "scale", 0.5) is None


def test_a_smaller_object_keeps_its_board_and_its_side_of_the_frame() -> None:
    photo, disc = board_photo()
    changed = change_photo(photo, "a.jpg", "scale", 0.5)
    assert blue(changed).sum() / disc.sum() == pytest.approx(0.25, rel=0.2)
    corner = np.s_[:40, :40]
    assert np.abs(changed[corner].astype(int) - photo[corner]).mean() < 5

    leaving, _ = board_photo(centre=(0.95, 0.45))
    changed = change_photo(leaving, "a.jpg", "scale", 0.5)
    assert blue(changed)[-1].any(), "what left the frame below still does"
    assert not blue(changed)[:100].any()


def test_an_object_from_side_to_side_cannot_be_shown_smaller() -> None:
    photo, _ = board_photo(radius=0)
    photo[80:130] = (40, 70, 160)
    assert separate(photo) is not None
    assert change_photo(photo, "a.jpg", "scale", 0.5) is None
    assert change_photo(photo, "a.jpg", "background", 1) is not None


@pytest.mark.photos
def test_most_real_objects_are_separable(real_photos: Photos) -> None:
    files = [f for f in sorted(real_photos.files) if f.startswith(("glass", "metal", "trash"))]
    files = random.Random(0).sample(files, 16)
    found = [separate(load_photo(real_photos.root / file)) for file in files]
    assert sum(f is not None for f in found) >= 8


# ---- a run ----


class Stub:
    """A model that calls a photo bright (class 1) or dark (class 0) by its mean."""

    image_size = 16
    answered = 0

    def __init__(self, path: Path, threads: int | None = None) -> None:
        assert path.name == "model.tflite" and path.exists()

    def __call__(self, pixels: Photo) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
        type(self).answered += 1
        lead = (pixels.mean(dtype=np.float64) - 150) / 20
        return np.array([-lead, lead], np.float32), np.ones((1, 1, 2), np.float32)


FEW = ("horizontal_flip", "brightness", "crop")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> type[Stub]:
    monkeypatch.setattr(classifier, "LiteModel", Stub)
    monkeypatch.setattr(robustness, "TRANSFORMS", {name: TRANSFORMS[name] for name in FEW})
    monkeypatch.setattr(Stub, "answered", 0)
    return Stub


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos from dark to bright; every third has an object."""
    root = tmp_path / "photos"
    for i in range(12):
        photo, _ = board_photo(96, 128, radius=0 if i % 3 else 20)
        label = "bright" if i > 4 else "dark"
        (root / label).mkdir(parents=True, exist_ok=True)
        darker = (photo * (0.55 + 0.04 * i)).astype(np.uint8)
        Image.fromarray(darker).save(root / label / f"{i}.png")
    return root


@pytest.fixture
def run(photos: Path, tmp_path: Path, model: type[Stub]) -> Run:
    """A finished run whose validation photos are the even ones."""
    path = tmp_path / "run-1"
    path.mkdir()
    (path / "model.tflite").write_bytes(b"one")
    (path / "config.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "created": "2026-01-01",
                "train_config": {},
                "classes": ["dark", "bright"],
            }
            | {"data": {"name": "mine", "source": "folder", "root": str(photos), "photos": 9}}
        )
    )
    (path / "evaluation.json").write_text(
        json.dumps({"temperature": 1.5, "threshold": 0.8, "distance_limit": 0.5, "splits": {}})
    )
    np.savez(path / "projection.npz", mean=np.zeros(2), components=np.eye(2))
    files = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))
    stub = Stub(path / "model.tflite")
    table = pd.DataFrame({"file": files, "label": [file.split("/")[0] for file in files]})
    number = table.file.str.extract(r"(\d+)")[0].astype(int)
    table["split"] = np.where(number % 2 == 0, "validation", "test")
    table.loc[number == 1, "split"] = "train"
    table["embedding"], table["distance"] = [np.ones(2, np.float32)] * len(table), 0.0
    table["logits"] = [stub(load_photo(photos / file, 16))[0] for file in files]
    table.to_parquet(path / "predictions.parquet")
    Stub.answered = 0
    return Run(path)


def by_hand(run: Run, root: Path, name: str, strength: float) -> dict[str, Any]:
    """The figures of one transformation and strength, in plain Python."""
    stub, correct, plain, sure, confidence, skipped = (
        Stub(run.path / "model.tflite"),
        [],
        [],
        [],
        [],
        0,
    )
    for row in run.predictions().itertuples():
        if row.split != "validation":
            continue
        photo = change_photo(np.array(Image.open(root / row.file)), row.file, name, strength)
        if photo is None:
            skipped += 1
            continue
        small = Image.fromarray(photo).resize((16, 16), Image.Resampling.BILINEAR)
        logits = stub(np.array(small))[0].astype(float) / 1.5
        p = np.exp(logits) / np.exp(logits).sum()
        truth = ["dark", "bright"].index(row.label)
        correct.append(p.argmax() == truth)
        plain.append(row.logits.argmax() == truth)
        confidence.append(p.max())
        sure.append(p.max() >= 0.8)
    n, k = len(correct), sum(correct)
    z2 = 1.959963984540054**2
    middle, half = (k + z2 / 2) / (n + z2), (z2 * (k * (n - k) / n + z2 / 4)) ** 0.5 / (n + z2)
    answered = [c for c, s in zip(correct, sure, strict=True) if s]
    return {
        "transformation": name,
        "strength": strength,
        "unit": TRANSFORMS[name].unit,
        "n": n,
        "skipped": skipped,
        "accuracy": k / n,
        "accuracy_interval": pytest.approx([middle - half, middle + half]),
        "sure": np.mean(sure),
        "answered_accuracy": np.mean(answered) if answered else None,
        "confidence": pytest.approx(np.mean(confidence)),
        "change": pytest.approx((k - sum(plain)) / n),
    }


def test_the_figures_are_those_computed_by_hand(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (*FEW, "background")
    monkeypatch.setattr(robustness, "TRANSFORMS", {name: TRANSFORMS[name] for name in names})
    result = measure(run, photos)
    pairs = [(name, strength) for name in names for strength in TRANSFORMS[name].strengths]
    assert result["rows"] == [by_hand(run, photos, *pair) for pair in pairs]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["schema"], result["split"], result["n"]) == (1, "validation", 6)

    rows = pd.DataFrame(result["rows"])
    means = rows.groupby("transformation").accuracy.mean()
    assert result["mean_transformed"] == pytest.approx(means.mean())
    # A flip changes no mean, half the light turns bright photos dark, and four have no object.
    flip = rows[rows.transformation == "horizontal_flip"].iloc[0]
    assert flip.change == 0 and flip.accuracy == result["plain"]["accuracy"]
    assert rows[(rows.transformation == "brightness") & (rows.strength == 0.4)].change.item() < -0.3
    assert set(rows[rows.transformation == "background"].skipped) == {4}
    assert sorted(p.name for p in run.path.iterdir()) == [
        "config.json",
        "evaluation.json",
        "model.tflite",
        "predictions.parquet",
        "projection.npz",
    ]


def test_what_is_unlike_training_is_not_sure_however_confident(run: Run, photos: Path) -> None:
    before = measure(run, photos)
    assert before["plain"]["sure"] > 0 and max(row["sure"] for row in before["rows"]) > 0
    evaluation = {"temperature": 1.5, "threshold": 0.8, "distance_limit": -1.0, "splits": {}}
    (run.path / "evaluation.json").write_text(json.dumps(evaluation))
    after = measure(run, photos)
    assert after["plain"]["sure"] == 0 and all(row["sure"] == 0 for row in after["rows"])
    assert after["fingerprint"] != before["fingerprint"]


def test_where_every_photo_is_skipped_there_are_no_figures(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: TRANSFORMS[name] for name in ("horizontal_flip", "background")}
    monkeypatch.setattr(robustness, "TRANSFORMS", few)
    monkeypatch.setattr(backgrounds, "separate", lambda photo: None)
    backgrounds._separate_once.cache_clear()
    result = measure(run, photos)
    backgrounds._separate_once.cache_clear()
    last = result["rows"][-1]
    assert (last["n"], last["skipped"]) == (0, 6)
    assert last["accuracy"] is last["change"] is last["confidence"] is None
    assert result["mean_transformed"] == result["rows"][0]["accuracy"]


def test_large_photos_are_changed_at_the_usual_size(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[int, ...]] = set()

    def look(photo: Photo, *_: Any) -> Photo:
        seen.add(photo.shape)
        return photo

    monkeypatch.setattr(robustness, "TRANSFORMS", {"crop": TRANSFORMS["crop"]})
    monkeypatch.setattr(robustness, "change_photo", look)
    for path in photos.rglob("*.png"):
        Image.open(path).resize((1024, 768)).save(path)
    measure(run, photos)
    assert seen == {(384, 512, 3)}


def test_it_is_measured_once(run: Run, photos: Path, model: type[Stub]) -> None:
    told: list[tuple[int, int]] = []
    first = measure_and_store(run, photos, on_progress=lambda d, n, what: told.append((d, n)))
    assert told == [(6, 18), (12, 18), (18, 18)]
    assert json.loads((run.path / "robustness.json").read_text()) == first
    assert not list(run.path.glob("*partial*"))

    model.answered = 0
    assert measure_and_store(run, Path("nowhere")) == first, "without the photos, too"
    assert model.answered == 0


def test_each_split_is_measured_once_and_elsewhere_if_asked(
    run: Run, photos: Path, model: type[Stub], tmp_path: Path
) -> None:
    first = measure_and_store(run, photos)
    elsewhere = tmp_path / "home" / "released"
    test = measure_and_store(run, photos, "test", folder=elsewhere)
    assert [path.name for path in elsewhere.iterdir()] == ["robustness-test.json"]
    model.answered = 0
    assert measure_and_store(run, photos, folder=elsewhere) == first, "from the run's own folder"
    assert measure_and_store(run, photos, "test", folder=elsewhere) == test
    assert model.answered == 0


@pytest.mark.parametrize("changed", ["model", "split", "threshold", "strengths"])
def test_what_is_out_of_date_is_measured_anew(
    changed: str, run: Run, photos: Path, model: type[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_and_store(run, photos)
    model.answered, split = 0, "validation"
    if changed == "model":
        (run.path / "model.tflite").write_bytes(b"two")
    elif changed == "split":
        split = "test"
    elif changed == "threshold":
        (run.path / "evaluation.json").write_text(
            '{"temperature": 1.5, "threshold": 0.6, "distance_limit": 0.5, "splits": {}}'
        )
    else:
        monkeypatch.setattr(robustness, "TRANSFORMS", {"crop": TRANSFORMS["crop"]})
    second = measure_and_store(run, photos, split)
    assert model.answered > 0 and second["split"] == split
    assert second["fingerprint"] != first["fingerprint"]


def test_an_interrupted_measurement_goes_on_where_it_was(
    run: Run, photos: Path, model: type[Stub]
) -> None:
    whole = measure(run, photos)
    all_answers, model.answered = model.answered, 0

    def interrupt(done: int, total: int, what: str) -> None:
        if done > 12:  # in the third transformation
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_and_store(run, photos, on_progress=interrupt)
    assert not (run.path / "robustness.json").exists()
    done = len(TRANSFORMS["horizontal_flip"].strengths) + len(TRANSFORMS["brightness"].strengths)

    model.answered = 0
    assert measure_and_store(run, photos) == whole
    assert model.answered == all_answers - 6 * done
    assert not list(run.path.glob("*partial*"))


@pytest.mark.parametrize("left_over", ["{", "[]", '{"fingerprint": "other", "rows": [{}]}'])
def test_left_overs_of_something_else_are_passed_over(
    left_over: str, run: Run, photos: Path
) -> None:
    whole = measure(run, photos)
    (run.path / "robustness.partial.json").write_text(left_over)
    (run.path / "robustness.json").write_text(left_over)
    assert measure_and_store(run, photos) == whole


def test_vanished_photos_are_one_clear_error(run: Run, photos: Path, model: type[Stub]) -> None:
    (photos / "dark" / "2.png").unlink()
    (photos / "bright" / "8.png").unlink()
    with pytest.raises(RunError, match=r"2 of the 6 photos, such as bright/8.png, are not in"):
        measure_and_store(run, photos)
    assert model.answered == 0


def test_a_run_that_cannot_be_asked_says_why(run: Run, photos: Path) -> None:
    with pytest.raises(RunError, match="no predictions for the split 'holdout'"):
        measure(run, photos, "holdout")
    (run.path / "model.tflite").unlink()
    with pytest.raises(RunError, match="no model yet"):
        measure_and_store(run, photos)
