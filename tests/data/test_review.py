"""Review decisions: kept in order, taken back, refused when they make no sense."""

from pathlib import Path

import pytest

from trashnet.data.review import Review, pair_key
from trashnet.errors import DataError

FILES = ("glass/glass1.jpg", "paper/paper1.jpg")
CLASSES = ("glass", "paper")
DATA = {"files": FILES, "classes": CLASSES}


def test_the_last_decision_on_a_photo_holds_and_can_be_undone(tmp_path: Path) -> None:
    review = Review(tmp_path / "reviews" / "mine.json")
    assert review.latest() == {} and review.undo() is None
    review.decide(FILES[0], "exclude", note="a hand is in it", **DATA)
    review.decide(FILES[0], "relabel", "paper", **DATA)
    review.decide(FILES[1], "keep", **DATA)

    again = Review(tmp_path / "reviews" / "mine.json")
    assert again.latest()[FILES[0]].label == "paper"
    assert again.undo().file == FILES[1] and again.undo().action == "relabel"
    assert again.latest()[FILES[0]].action == "exclude"
    assert again.latest()[FILES[0]].note == "a hand is in it" and again.latest()[FILES[0]].time


def test_the_last_decision_about_one_photo_can_be_undone(tmp_path: Path) -> None:
    review = Review(tmp_path / "mine.json")
    review.decide(FILES[0], "exclude", **DATA)
    review.decide(FILES[0], "keep", **DATA)
    review.decide(FILES[1], "keep", **DATA)
    assert review.undo(FILES[0]).action == "keep"
    assert [d.action for d in review.history()] == ["exclude", "keep"]
    assert review.latest()[FILES[0]].action == "exclude"
    assert review.undo("paper/paper2.jpg") is None and len(review.history()) == 2


def test_two_photos_are_said_to_show_one_object_and_that_is_taken_back(tmp_path: Path) -> None:
    review = Review(tmp_path / "mine.json")
    review.decide(FILES[1], "same", other=FILES[0], **DATA)
    review.decide(FILES[0], "keep", **DATA)
    assert review.latest()[pair_key(*FILES)].action == "same" and FILES[1] not in review.latest()
    review.decide(FILES[0], "different", other=FILES[1], **DATA)  # whichever is named first
    assert review.latest()[pair_key(*FILES)].action == "different"
    assert review.undo(pair_key(*FILES)).action == "different"
    assert [d.action for d in review.history()] == ["same", "keep"]


@pytest.mark.parametrize(
    ("action", "other"),
    [("same", None), ("keep", FILES[1]), ("same", FILES[0]), ("different", "glass/glass2.jpg")],
)
def test_senseless_decisions_about_two_photos_are_refused(
    tmp_path: Path, action: str, other: str | None
) -> None:
    review = Review(tmp_path / "mine.json")
    with pytest.raises(DataError):
        review.decide(FILES[0], action, other=other, **DATA)
    assert review.history() == []


@pytest.mark.parametrize(
    ("file", "action", "label"),
    [
        ("glass/glass2.jpg", "keep", None),
        (FILES[0], "burn", None),
        (FILES[0], "relabel", None),
        (FILES[0], "relabel", "metal"),
        (FILES[0], "exclude", "glass"),
    ],
)
def test_senseless_decisions_are_refused(
    tmp_path: Path, file: str, action: str, label: str | None
) -> None:
    review = Review(tmp_path / "mine.json")
    with pytest.raises(DataError):
        review.decide(file, action, label, **DATA)
    assert review.history() == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"decisions": [{"colour": 1}]}'])
def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(DataError, match="damaged"):
        Review(path).decide(FILES[0], "keep", **DATA)
    assert path.read_text() == content
