"""Strangers' addresses, names and files on the pages: they open, fetch and run nothing."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

from pages.shared import answering
from pages.shared.answering import BATCH, batch_turn
from tests.pages.visiting import PAGES, ROOT, open_page, pictures, run, words
from trashnet.data.archive import read_pictures
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.evaluation.external_test import evaluate_own
from trashnet.evaluation.report import evaluate
from trashnet.files import read_json, write_json
from trashnet.inference.batch import classify_each
from trashnet.inference.inputs import Named
from trashnet.runs.annotations import describe_as
from trashnet.runs.run import Run

MARKUP = "![x](https://elsewhere.example/x.png) [y](javascript:alert(1)) <img src=x onerror=1>"
HOSTILE = ("../../../etc/passwd", "/etc/passwd", "..", "", "\0", "released", "<b>x", "a" * 5000)
PARAMETERS = {
    "Dataset": ("dataset_split", "dataset_tab", "dataset_class", "dataset_part"),
    "Evaluation": (
        "photo",
        "evaluation_run",
        "evaluation_split",
        "evaluation_tab",
        "evaluation_true",
        "evaluation_predicted",
    ),
    "Classify": ("classify_run",),
}


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", PARAMETERS)
def test_an_address_opens_only_what_the_page_offers(trained: Run, name: str, value: str) -> None:
    page = AppTest.from_file(str(ROOT / PAGES[name]), default_timeout=60)
    for parameter in PARAMETERS[name]:
        page.query_params[parameter] = value
    assert "root:" not in words(run(page))
    if name == "Evaluation" and value != "released":
        assert page.selectbox(key="evaluation_run").value == trained.id


@pytest.mark.parametrize("tab", ["Balance", "Photos", "Splits", "Audit", "Map"])
def test_an_address_without_a_choice_gets_the_usual_one(samples: object, tab: str) -> None:
    page = AppTest.from_file(str(ROOT / PAGES["Dataset"]), default_timeout=60)
    page.query_params["dataset_tab"] = tab
    for parameter in ("dataset_split", "audit_kind", "splits_way", "map_colour", "dataset_page"):
        page.query_params[parameter] = ""
    assert run(page).metric and not page.error


def test_what_is_written_about_a_run_is_no_markup(trained: Run) -> None:
    describe_as(trained, MARKUP[:60], (MARKUP[:28],), MARKUP)
    page = AppTest.from_file(str(ROOT / PAGES["Training"]), default_timeout=60)
    run(page)
    shown = [element.value for element in (*page.caption, *page.markdown, *page.subheader)]
    about = [text for text in shown if "elsewhere" in text or "x](" in text or "x\\]" in text]
    assert len(about) == 3, "title, tag and note are shown"
    for text in about:
        inside = text.removeprefix(":gray-badge[").removesuffix("]")  # the frame of a tag
        assert not re.search(r"(?<!\\)(!|\]|<)", inside), "each is shown as it is"


@pytest.fixture
def badly_named(mistaken: Run) -> Run:
    """A run on a folder whose owner calls classes by what Markdown makes links of."""
    name = {label: f"[{label}](elsewhere)" for label in mistaken.classes}
    config = read_json(mistaken.path / "config.json")
    config["classes"] = list(name.values())
    write_json(mistaken.path / "config.json", config)
    for table in ("predictions", "index"):
        path = mistaken.path / f"{table}.parquet"
        found = pd.read_parquet(path)
        labels = [column for column in ("label", "original_label") if column in found]
        found[labels] = found[labels].replace(name)
        found.to_parquet(path, index=False)
    run = Run(mistaken.path)
    write_json(run.path / "evaluation.json", evaluate(run.predictions(), run.classes))
    return run


MARKDOWN = {"label", "help", "body", "caption", "content", "title", "delta"}
"""Fields of Streamlit's messages that a browser draws as Markdown."""


def drawn(message: Any) -> Iterator[str]:
    """What of a message a browser draws as Markdown, wherever in it."""
    for field, value in message.ListFields():
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for part in parts:
            if hasattr(part, "ListFields"):
                yield from drawn(part)
            elif isinstance(part, str) and field.name in MARKDOWN:
                yield part


def says(page: AppTest) -> tuple[list[str], list[str]]:
    """Where a page names a class as it is, and where the name would be a link."""
    elements = [e for e in page.main if hasattr(getattr(e, "proto", None), "ListFields")]
    found = [text for e in elements for text in drawn(e.proto) if "elsewhere" in text]
    links = [text for text in found if re.search(r"(?<!\\)\[\w+(?<!\\)\]\(", text)]
    return [text for text in found if text not in links], links


@pytest.mark.parametrize("tab", ["Errors", "Calibration", "Own photos"])
def test_the_name_of_a_class_is_no_markup(badly_named: Run, tab: str) -> None:
    page = AppTest.from_file(str(ROOT / PAGES["Evaluation"]), default_timeout=60)
    page.query_params["evaluation_tab"] = tab
    page.query_params["evaluation_true"] = "[glass](elsewhere)"
    table = badly_named.predictions()
    page.query_params["photo"] = table.file[table.label == "[glass](elsewhere)"].iloc[0]
    as_it_is, links = says(run(page))
    assert as_it_is and not links


def test_an_answer_is_no_markup(badly_named: Run, samples: Photos) -> None:
    paths = sorted((samples.root / "glass").iterdir())[:3]
    photos = [(path.name, path.read_bytes(), "image/jpeg") for path in paths]
    page = AppTest.from_file(str(ROOT / PAGES["Classify"]), default_timeout=60)
    page.query_params["classify_run"] = badly_named.id  # the released one answers otherwise
    run(page).file_uploader[0].set_value(photos)
    as_it_is, links = says(run(page))
    assert as_it_is and not links


@pytest.mark.parametrize("tab", ["Balance", "Photos", "Splits", "Audit"])
def test_a_folder_of_a_bad_name_is_no_markup(
    sample_photos: Photos,
    env: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tab: str,
) -> None:
    for name in ("glass", "metal"):
        target = tmp_path / "own" / name.replace("glass", "[glass](elsewhere)")
        shutil.copytree(sample_photos.root / name, target)
    monkeypatch.setenv("TRASHNET_DATA", str(tmp_path / "own"))
    page = AppTest.from_file(str(ROOT / PAGES["Dataset"]), default_timeout=60)
    page.query_params["dataset_tab"] = tab
    as_it_is, links = says(run(page))
    assert as_it_is and not links


def test_a_table_of_photos_opens_none_outside_of_their_folder(
    trained: Run, samples: object, tmp_path: Path
) -> None:
    table = trained.predictions()
    secret = tmp_path / "secret.jpg"
    root = Path(trained.config["data"]["root"])
    secret.write_bytes((root / table.file[0]).read_bytes())  # a picture, so it could be shown
    table["file"] = [f"../../../../../../../..{secret}", *table.file.tolist()[1:]]
    table.loc[0, "split"] = "test"
    table.to_parquet(trained.path / "predictions.parquet", index=False)
    page = AppTest.from_file(str(ROOT / PAGES["Evaluation"]), default_timeout=60)
    page.query_params["photo"] = table.file[0]
    page.query_params["evaluation_true"] = table.label[0]
    text = words(run(page))
    assert "The photo itself is not on this machine." in text
    assert not [alt for alt in pictures(page) if "secret" in alt]


def test_a_visitors_test_set_waits_for_its_turn(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def evaluate(*arguments: object) -> object:
        held.append(BATCH.locked())
        raise DataError("Nothing to see.")

    def read(*arguments: object) -> Iterator[tuple[str, bytes]]:
        held.append(BATCH.locked())
        yield from read_pictures(*arguments)

    monkeypatch.setattr("pages.sections.evaluation.own_photos.evaluate_own", evaluate)
    monkeypatch.setattr("pages.sections.evaluation.own_photos.read_pictures", read)
    page = AppTest.from_file(str(ROOT / PAGES["Evaluation"]), default_timeout=60)
    page.session_state["evaluation_tab"] = "Own photos"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr("glass/a.jpg", b"no picture")
    run(page).file_uploader(key="own_zip").upload("a.zip", file.getvalue(), "application/zip")
    assert [e.value for e in run(page).error] == ["Nothing to see."]
    assert held == [False, True] and not BATCH.locked()  # a zip is read before the turn is taken


def test_a_visitor_who_leaves_while_waiting_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering.st, "empty", Left)
    with BATCH:
        with pytest.raises(StopException), batch_turn():
            pytest.fail("it was another visitor's turn")
        assert BATCH.locked()


class Left:
    """What a script draws on whose visitor has left."""

    def caption(self, text: str) -> None:
        raise StopException


def test_a_visitor_who_leaves_ends_the_batch_and_gives_back_the_turn(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def answers(run: Run, named: list[Named]) -> Iterator[Any]:
        try:
            yield from classify_each(run, named)
        finally:
            told.append(f"ended, {BATCH.locked()}")

    def leave(content: object) -> None:
        told.append("answered")
        if len(told) == 2:
            raise StopException  # as drawing does then

    monkeypatch.setattr("pages.sections.classify.batch_table.classify_each", answers)
    monkeypatch.setattr("pages.sections.classify.batch_table._data_url", leave)
    page = open_page("Classify", "alone")
    photos = [(f"{n}.jpg", (samples.root / samples.files[n]).read_bytes()) for n in range(6)]
    page.file_uploader[0].set_value([(name, photo, "image/jpeg") for name, photo in photos])
    run(page)
    assert told == ["answered", "answered", "ended, True"] and not BATCH.locked()


def test_a_visitor_who_leaves_ends_the_test_of_own_photos(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    def answers(run: Run, named: Iterable[Named]) -> Iterator[Any]:
        try:
            yield from classify_each(run, named)
        finally:
            ended.append(True)

    def leave(*_: object) -> None:
        raise StopException

    monkeypatch.setattr("trashnet.evaluation.external_test.classify_each", answers)
    photos = [(file, samples.root / file) for file in samples.files[:6]]
    with pytest.raises(StopException) as caught:
        evaluate_own(trained, photos, leave)
    assert ended == [True] and caught  # while what was raised still holds on to everything
