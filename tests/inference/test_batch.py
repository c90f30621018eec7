"""Many photos: in order, as they come, whatever some of them are."""

import io
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Training
from tests.data.test_archive import jpeg, zip_bytes
from trashnet.data.dataset import Photos
from trashnet.errors import PhotoError, RunError
from trashnet.inference.batch import as_row, classify_each
from trashnet.inference.classifier import Classifier, Prediction
from trashnet.inference.inputs import Named, named_photos
from trashnet.runs.run import Run


@pytest.fixture(scope="module")
def run(training: Training) -> Run:
    return training.run


def names(paths: list[str], stdin: bytes = b"") -> list[str]:
    return [name for name, _ in named_photos(paths, io.BytesIO(stdin))]


# ---------------------------------------------------------------- answering


@pytest.mark.parametrize("workers", [1, 3])
def test_every_photo_is_answered_in_its_order(
    workers: int, run: Run, sample_photos: Photos
) -> None:
    files = sample_photos.files[::8]
    alone = Classifier(run)
    answers = list(
        classify_each(run, ((f, sample_photos.root / f) for f in files), workers=workers)
    )
    assert [name for name, _ in answers] == list(files)
    for name, answer in answers:
        assert isinstance(answer, Prediction)
        # However many threads a model has, its answer is the stored one.
        np.testing.assert_array_equal(
            answer.logits, alone.classify(sample_photos.root / name).logits
        )


def test_a_bad_photo_stops_nothing(run: Run) -> None:
    photos: list[Named] = [
        ("good.jpg", jpeg()),
        ("bad.jpg", b"no picture"),
        ("gone.jpg", Path("gone.jpg")),
        ("locked.jpg", PhotoError("It is locked.")),
        ("last.jpg", jpeg("red")),
    ]
    rows = [as_row(*answer) for answer in classify_each(run, photos)]
    assert [row["file"] for row in rows] == [name for name, _ in photos]
    assert ["error" in row for row in rows] == [False, True, True, True, False]
    assert rows[3] == {"file": "locked.jpg", "error": "It is locked."}
    assert set(rows[0]) >= {"label", "confidence", "probabilities", "sure"}


def test_photos_are_taken_as_there_is_room_for_them(run: Run) -> None:
    taken = 0

    def endless() -> Iterator[Named]:
        nonlocal taken
        for taken in itertools.count(1):
            yield f"{taken}.jpg", jpeg()

    answers = classify_each(run, endless(), workers=2)
    for expected in range(1, 30):
        assert next(answers)[0] == f"{expected}.jpg"
        assert taken <= expected + 8
    answers.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("classify")]


def test_a_large_machine_makes_eight_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trashnet.inference.batch.cores", lambda: 64)
    made: list[object] = []

    def classifier(*given: object, **how: object) -> Classifier:
        made.append(given)
        return Classifier(*given, **how)

    monkeypatch.setattr("trashnet.inference.batch.Classifier", classifier)
    photos = ((f"{number}.jpg", jpeg()) for number in range(80))
    assert len(list(classify_each(run, photos))) == 80
    assert 1 <= len(made) <= 8


def test_a_run_that_cannot_answer_is_said_before_a_photo_is_read(tmp_path: Path) -> None:
    def photos() -> Iterator[Named]:
        pytest.fail("a photo was read")
        yield "never.jpg", b""

    with pytest.raises(RunError):
        next(classify_each(Run(tmp_path / "nothing"), photos()))


# ---------------------------------------------------------------- what arguments mean


def test_folders_patterns_zips_and_names(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.jpg", "deep/a.png", "deep/er/c.webp", "deep/notes.txt", "deep/.hidden.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "some.zip").write_bytes(zip_bytes({"in/one.jpg": jpeg(), "read.me": b"text"}))

    def found(*given: str) -> list[str]:
        return [n.removeprefix(f"{tmp_path}/") for n in names([f"{tmp_path}/{g}" for g in given])]

    assert found("deep") == ["deep/a.png", "deep/er/c.webp"]
    assert found("*.jpg", "deep/*.png") == ["b.jpg", "deep/a.png"]
    assert found("**/*.webp") == ["deep/er/c.webp"]
    assert found("some.zip") == ["some.zip/in/one.jpg"]
    assert found("gone.jpg", "no*such.jpg") == ["gone.jpg", "no*such.jpg"]  # to be said later
    assert found("*.zip", "de*") == ["some.zip/in/one.jpg", "deep/a.png", "deep/er/c.webp"]
    (tmp_path / "[1].jpg").write_bytes(jpeg())
    assert found("[1].jpg") == ["[1].jpg"]  # a name that looks like a pattern


def test_a_link_to_nothing_is_left_to_be_said(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nothing")
    for given in ("link.jpg", "*.jpg"):
        assert names([str(tmp_path / given)]) == [str(tmp_path / "link.jpg")]


def test_a_zip_that_cannot_be_read_is_one_row_among_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(zip_bytes({"a.jpg": jpeg()})[:40])
    (tmp_path / "c.jpg").write_bytes(jpeg())
    paths = [str(tmp_path / name) for name in ("bad.zip", "c.jpg")]
    bad, good = [as_row(*a) for a in classify_each(run, named_photos(paths, io.BytesIO()))]
    assert bad["file"] == paths[0] and "damaged" in bad["error"] and "label" in good


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_names_come_by_standard_input(end: bytes) -> None:
    long = "x" * 90 + ".jpg"
    written = b"one.jpg\n\n  two words.jpg \n" + long.encode() + b"\nlast \xc3\xa4.jpg" + end
    assert names(["-"], written) == ["one.jpg", "two words.jpg", long, "last ä.jpg"]
    assert names(["-"], b"") == []


def test_a_photo_comes_by_standard_input() -> None:
    ((name, content),) = named_photos(["-"], io.BytesIO(jpeg()))
    assert name == "-" and content == jpeg()
