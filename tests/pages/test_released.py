"""The pages with the shipped model: what a person meets the minute the app starts."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.pages.visiting import PAGES, both_ways, every_page, metrics, open_page, run, words
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

RUN = Run(RELEASED)


@both_ways
@pytest.mark.parametrize("name", PAGES)
def test_without_photos_and_runs_no_page_fails(env: Environment, name: str, way: str) -> None:
    page = open_page(name, way)
    assert len(page.error) == 0


def test_home_shows_its_out_of_fold_accuracy(env: Environment) -> None:
    whole = RUN.evaluation()["out_of_fold"]
    (figure,) = [m for label, m in metrics(open_page("Home")).items() if "Accuracy" in label]
    assert figure.value == f"{whole['accuracy']:.1%}"
    assert f"out of fold, n = {whole['n']:,}" in figure.delta


@pytest.mark.parametrize("split", ["test", "out_of_fold", "validation", "train"])
def test_the_evaluation_has_every_split(env: Environment, split: str) -> None:
    page = open_page("Evaluation")
    page.segmented_control(key="evaluation_split").set_value(split)
    run(page)
    evaluation = RUN.evaluation()
    report = evaluation["out_of_fold"] if split == "out_of_fold" else evaluation["splits"][split]
    assert metrics(page)["Accuracy"].value == f"{report['accuracy']:.1%}"
    wrong = round(report["n"] * (1 - report["accuracy"]))
    assert f"**{wrong} of the {split.replace('_', ' ')} photos are misclassified**" in words(page)
    assert "photo not on this machine" in words(page) or wrong == 0


def picture(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_unlike_any_photo_gets_no_sure_answer(env: Environment) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    page = open_page("Classify")
    page.file_uploader[0].upload("noise.png", picture(noise), "image/png")
    text = words(run(page))
    assert "Not sure" in text
    assert "unlike anything in training" in text
    assert "Answered by released" in text


def test_own_runs_come_before_it_but_drawings_do_not_answer_photos(trained: Run) -> None:
    for name, page in every_page():
        if name == "Evaluation":
            assert page.selectbox(key="evaluation_run").value == trained.id
        if name == "Classify":
            assert page.selectbox(key="classify_run").value == "released"
