"""The pages with the shipped model: what a person meets the minute the app starts."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.pages.visiting import (
    PAGES,
    both_ways,
    metrics,
    open_page,
    pictures,
    run,
    words,
)
from tests.pictures import shipped_photos, squares
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

RUN = Run(RELEASED)
MISTAKES = 8


@both_ways
@pytest.mark.parametrize("name", PAGES)
def test_without_photos_and_runs_no_page_fails(env: Environment, name: str, way: str) -> None:
    page = open_page(name, way)
    assert len(page.error) == 0


def test_home_shows_its_out_of_fold_accuracy(env: Environment) -> None:
    whole = RUN.evaluation()["out_of_fold"]
    low, high = whole["accuracy_interval"]
    text = words(open_page("Home"))
    assert f"**{whole['accuracy']:.1%}** of {whole['n']:,} photos of TrashNet" in text
    assert f"{low:.1%} to {high:.1%}" in text and "Cross-validated" in text


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
    assert len(pictures(page)) == min(wrong, 24)  # every photo comes with the package
    assert "not on this machine" not in words(page)


def picture(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_unlike_any_photo_gets_no_sure_answer(env: Environment) -> None:
    page = open_page("Classify")
    page.file_uploader[0].upload("squares.png", picture(squares(224)), "image/png")
    text = words(run(page))
    assert "Not sure" in text
    assert "unlike anything in training" in text
    assert "Answered by released" in text


def opened() -> dict[str, str]:
    """The run that each page opens by itself."""
    (said,) = [m.value for m in open_page("Home").markdown if m.value.startswith("The model ")]
    return {
        "Home": said.split("**")[1],
        "Evaluation": open_page("Evaluation").selectbox(key="evaluation_run").value,
        "Classify": open_page("Classify").selectbox(key="classify_run").value,
    }


def test_every_page_opens_the_most_accurate_run_of_these_classes(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.shared.runs.RELEASED", RELEASED)
    assert set(opened().values()) == {"released"}  # it is better than one epoch of the recipe
    evaluation = json.loads((trained.path / "evaluation.json").read_text())
    evaluation["splits"]["validation"]["accuracy"] = 0.99
    (trained.path / "evaluation.json").write_text(json.dumps(evaluation))
    assert set(opened().values()) == {trained.id}


def test_the_nearest_training_photos_are_of_other_objects(env: Environment) -> None:
    index = RUN.index()
    train = index[index.split == "train"]
    file = train.file[train.group.duplicated(keep=False)].iloc[0]
    own = set(index.file[index.group == index.group[index.file == file].item()])
    assert len(own) > 1
    page = open_page("Classify")
    page.file_uploader[0].upload("mine.webp", shipped_photos()[file], "image/webp")
    run(page)
    near = [alt.split(": ")[0] for alt in pictures(page) if ".jpg: " in alt]
    assert len(near) == 5 and not own & set(near)


def test_an_example_is_classified_at_one_press_on_home(env: Environment) -> None:
    page = open_page("Home")
    examples = [b for b in page.button if str(b.key).startswith("home_example_")]
    assert len(examples) == 6 and "Answered by" not in words(page)
    examples[1].click()
    assert "Answered by released" in words(run(page))


def test_a_mistake_on_home_opens_the_evaluation_of_that_run(env: Environment) -> None:
    page = open_page("Home")
    mistakes = [b for b in page.button if str(b.key).startswith("home_mistake_")]
    assert len(mistakes) == MISTAKES
    table = RUN.out_of_fold()
    assert {str(b.key).removeprefix("home_mistake_") for b in mistakes} <= set(table.file)
    mistakes[0].click()
    assert run(page).selectbox(key="evaluation_run").value == "released"
