"""The classify page through AppTest: reasons, examples, two models, and many photos."""

import io
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pages.sections.classify.batch_table import answers_as_csv
from tests.data.test_archive import jpeg, zip_bytes
from tests.pages.visiting import is_sentence, open_page, pictures, run, select, words
from trashnet.data.dataset import Photos
from trashnet.evaluation.report import answers
from trashnet.inference.batch import as_row, classify_each
from trashnet.inference.inputs import Named
from trashnet.runs.run import Run


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pages.shared.runs.RELEASED", tmp_path / "no-released-run")


def table_of(run: Run, split: str) -> pd.DataFrame:
    """Returns a split's photos with what the run says of each."""
    table = run.predictions()
    table = table[table.split == split].reset_index(drop=True)
    return answers(table, run.classes, run.evaluation()["temperature"])


def test_the_reasons_are_a_slider_and_the_nearest_photos(trained: Run, samples: Photos) -> None:
    page = open_page("Classify")
    row = table_of(trained, "train").iloc[0]
    page.file_uploader[0].upload("a.jpg", (samples.root / row.file).read_bytes(), "image/jpeg")
    shown = pictures(run(page))
    assert shown[0] == f"the photo you uploaded, and where it looks like {row.predicted}"
    assert len(shown) == 6 and not any(name.startswith(f"{row.file}:") for name in shown)
    page.slider[0].set_value(0)
    assert pictures(run(page))[0] == "the photo you uploaded"


def test_without_the_photos_their_names_are_listed(trained: Run, samples: Photos) -> None:
    content = (samples.root / samples.files[0]).read_bytes()
    others = trained.index().assign(sha256="0" * 64)  # of the same names, and not here
    others.to_parquet(trained.path / "index.parquet")
    page = open_page("Classify")
    page.file_uploader[0].upload("a.jpg", content, "image/jpeg")
    assert "not on this machine" in words(run(page))
    assert len(pictures(page)) == 1


def test_two_models_answer_side_by_side(trained: Run, samples: Photos) -> None:
    other = Run(trained.path.with_name("other"))
    shutil.copytree(trained.path, other.path)
    page = open_page("Classify")
    page.selectbox(key="classify_second").set_value(trained.id)
    page.selectbox(key="classify_run").set_value("other")
    content = (samples.root / samples.files[0]).read_bytes()
    page.file_uploader[0].upload("a.jpg", content, "image/jpeg")
    one, two = [s.value for s in run(page).subheader if "%" in s.value]
    assert one == two
    assert "Answered by other" in words(page) and f"Answered by {trained.id}" in words(page)


def test_an_example_is_answered_at_once(trained: Run) -> None:
    page = open_page("Classify")
    page.segmented_control(key="classify_way").set_value("Examples")
    run(page)
    assert len([s for s in page.subheader if "%" in s.value]) == 1
    page.pills(key="classify_example").set_value("metal")
    assert "an example of metal" in words(run(page))


def test_the_camera_is_asked_for_only_when_chosen(trained: Run) -> None:
    page = open_page("Classify")
    assert not page.get("camera_input")
    page.segmented_control(key="classify_way").set_value("Camera")
    assert page.get("camera_input") or run(page).get("camera_input")


# ---------------------------------------------------------------- many photos


def send(page: AppTest, photos: dict[str, bytes]) -> AppTest:
    page.file_uploader[0].set_value([(n, c, "image/jpeg") for n, c in photos.items()])
    return run(page)


def test_many_photos_become_a_table(trained: Run, samples: Photos) -> None:
    table = table_of(trained, "test").set_index("file")
    photos = {Path(f).name: (samples.root / f).read_bytes() for f in table.index[:6]}
    page = send(open_page("Classify"), photos | {"<b>bad</b>.jpg": b"no picture"})
    shown = page.dataframe[0].value
    assert shown.file.tolist() == [*photos, "<b>bad</b>.jpg"]
    for file, row in zip(table.index[:6], shown.itertuples(), strict=False):
        assert row.label == table.predicted[file]
        assert row.confidence == pytest.approx(100 * table.confidence[file])
        assert row.thumbnail.startswith("data:image/jpeg;base64,")
    assert "not a picture" in shown.error.iloc[-1] and shown.label.isna().iloc[-1]
    text = words(page)
    assert "**6 photos answered" in text and "1 could not be read" in text
    select(page, page.dataframe[0].proto.id, {"rows": [2]})
    assert len([s for s in page.subheader if "%" in s.value]) == 1


def test_a_zip_becomes_a_table_too(trained: Run, samples: Photos) -> None:
    photos = {
        f"in/{n}.jpg": (samples.root / f).read_bytes() for n, f in enumerate(samples.files[:5])
    }
    page = send(open_page("Classify"), {"all.zip": zip_bytes(photos)})
    assert page.dataframe[0].value.file.tolist() == list(photos)
    page = send(page, {"torn.zip": zip_bytes(photos)[:300]})
    assert is_sentence(page.error[0].value) and len(page.dataframe) == 0


def test_a_batch_that_was_stopped_goes_on_where_it_was(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {Path(f).name: (samples.root / f).read_bytes() for f in samples.files[:8]}
    asked: list[str] = []

    def interrupted(run: Run, named: list[Named]) -> Iterator[Any]:
        for answer in itertools.islice(classify_each(run, named), 3):
            asked.append(answer[0])
            yield answer

    monkeypatch.setattr("pages.sections.classify.batch_table.classify_each", interrupted)
    page = send(open_page("Classify"), photos)
    page.session_state["classify_stopped"] = True  # as the button under the bar does
    for _ in range(2):
        assert page.dataframe[0].value.file.tolist() == list(photos)[:3]
        assert "Stopped after 3 of 8 photos." in words(run(page))
    page.button(key="classify_go_on").click()
    assert len(run(page).dataframe[0].value) == 6
    assert run(page).dataframe[0].value.file.tolist() == asked == list(photos)


def test_a_zip_with_a_member_that_cannot_be_read_is_answered_once(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trashnet.data.archive.MAX_PHOTO_BYTES", 200_000)
    photos = {f"{n}.jpg": (samples.root / f).read_bytes() for n, f in enumerate(samples.files[:5])}
    asked: list[str] = []

    def counted(run: Run, named: list[Named]) -> Iterator[Any]:
        for answer in classify_each(run, named):
            asked.append(answer[0])
            yield answer

    monkeypatch.setattr("pages.sections.classify.batch_table.classify_each", counted)
    page = send(open_page("Classify"), {"all.zip": zip_bytes(photos | {"big.jpg": bytes(300_000)})})
    for _ in range(3):
        assert "larger than" in run(page).dataframe[0].value.error.iloc[-1]
    assert asked == [*photos, "big.jpg"]


def test_other_photos_begin_with_no_row_chosen(trained: Run, samples: Photos) -> None:
    photos = {Path(f).name: (samples.root / f).read_bytes() for f in samples.files[:6]}
    page = send(open_page("Classify"), photos)
    select(page, page.dataframe[0].proto.id, {"rows": [5]})
    assert [s for s in page.subheader if "%" in s.value]
    page = send(page, dict(list(photos.items())[:4]))
    assert len(page.dataframe[0].value) == 4
    assert not [s for s in page.subheader if "%" in s.value]


def test_a_run_that_cannot_answer_is_one_sentence(trained: Run, samples: Photos) -> None:
    (trained.path / "projection.npz").unlink()
    photos = {Path(f).name: (samples.root / f).read_bytes() for f in samples.files[:5]}
    page = send(open_page("Classify"), photos)
    assert is_sentence(page.error[0].value) and len(page.dataframe) == 0


def test_a_name_that_is_markup_is_shown_as_it_is(trained: Run, samples: Photos) -> None:
    content = (samples.root / samples.files[0]).read_bytes()
    page = send(open_page("Classify"), {"![x](https:`/elsewhere).jpg": content})
    assert "`![x](https:'/elsewhere).jpg`" in [c.value for c in page.caption]


def test_too_many_photos_are_refused(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.sections.classify.photo_input.MOST", 4)
    content = (samples.root / samples.files[0]).read_bytes()
    page = send(open_page("Classify"), {f"{n}.jpg": content for n in range(5)})
    assert "at most 4" in page.error[0].value and is_sentence(page.error[0].value)
    page = send(page, {"all.zip": zip_bytes({f"{n}.jpg": content for n in range(5)})})
    assert "at most 4" in page.error[0].value and is_sentence(page.error[0].value)
    monkeypatch.setattr("pages.sections.classify.photo_input.ROOM", 3 * len(content))
    halves = {f"{z}.zip": zip_bytes({f"{n}.jpg": content for n in range(2)}) for z in "ab"}
    page = send(page, halves)
    assert "unpacks to more than" in page.error[0].value and is_sentence(page.error[0].value)


def test_too_many_bytes_are_refused_before_they_are_read(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (samples.root / samples.files[0]).read_bytes()
    monkeypatch.setattr("pages.sections.classify.photo_input.MOST_BYTES", 3 * len(content))
    page = send(open_page("Classify"), {f"{n}.jpg": content for n in range(4)})
    assert "MB at once" in page.error[0].value and is_sentence(page.error[0].value)
    page = send(page, {f"{n}.jpg": content for n in range(2)})
    assert len(page.error) == 0


def test_answers_as_csv_have_a_column_per_class_and_run_nothing(trained: Run) -> None:
    photos = [("=cmd()|calc.jpg", jpeg()), ('bad, "name".jpg', b"no picture")]
    rows = [as_row(*answer) for answer in classify_each(trained, photos)]
    table = pd.read_csv(io.StringIO(answers_as_csv(rows)))
    assert table.file.tolist() == ["'=cmd()|calc.jpg", 'bad, "name".jpg']
    for name in trained.classes:
        assert table[f"p_{name}"][0] == pytest.approx(rows[0]["probabilities"][name])
    assert table.label[0] == rows[0]["label"] and "not a picture" in table.error[1]
