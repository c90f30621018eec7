"""Journeys through the app as a person makes them, in a real headless Chromium."""

import functools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.browser.browsing import (
    PAGES,
    PHONE,
    TRAINING_SECONDS,
    Looking,
    Visit,
    answers_of,
    browser,
    fits_the_width,
    home,
    opening,
    photos,
    serving,
    shown_files,
    upload,
    visiting,
)
from tests.conftest import Training
from trashnet.data.dataset import Photos
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home", "photos"]  # the fixtures these journeys ask for

# ---------------------------------------------------------------- from photos to an answer


def look_at_the_photos(visit: Visit, photos: Photos) -> None:
    """Home, then Dataset: the counts, the photos, a class, the authors' lists."""
    visit.open("Home")
    visit.follow("Dataset")
    count = f"{len(photos.files):,}"
    expect(visit.main.get_by_test_id("stMetricValue").filter(has_text=count).first).to_be_visible()
    visit.main.get_by_role("tab", name="Photos").click()
    expect(visit.main.get_by_text(f"1–60 of {count}")).to_be_visible()
    shown_files(visit, 60)
    visit.main.get_by_role("button", name="glass", exact=True).click()
    glass = [file for file in photos.files if file.startswith("glass/")]
    expect(visit.main.locator("img[alt^='cardboard/']")).to_have_count(0)
    assert set(shown_files(visit, len(glass[:60]))) == set(glass[:60])
    if len(glass) > 60:
        expect(visit.main.get_by_text(f"1–60 of {len(glass)}")).to_be_visible()
    visit.main.get_by_role("button", name="glass", exact=True).click()
    expect(visit.main.get_by_text(f"1–60 of {count}")).to_be_visible()
    shown_files(visit, 60)
    if photos.is_trashnet:
        visit.main.get_by_role("radio", name="authors").click()
        visit.main.get_by_role("button", name="test", exact=True).click()
        # The authors' test list has 431 photos; those with two labels may be left out.
        expect(visit.main.get_by_text(re.compile(r"of 4(2[5-9]|3[01])\b"))).to_be_visible()
        shown_files(visit)
    visit.settle()


def train(visit: Visit) -> Run:
    """Starts a short training, reloads in the middle of it, and waits for the end."""
    visit.follow("Training")
    for label, value in (("Image size (pixels)", "32"), ("Epochs", "2")):
        visit.main.get_by_role("spinbutton", name=label).fill(value)
        visit.main.get_by_role("spinbutton", name=label).press("Tab")
    visit.main.get_by_role("button", name="Start").click()
    progress = visit.main.get_by_test_id("stProgress")
    stop = visit.main.get_by_role("button", name="Stop")
    expect(stop).to_be_visible()
    expect(progress).to_be_visible()
    (run,) = list_runs(visit.home / "runs")
    chosen = run.train_config
    assert (chosen.image_size, chosen.epochs, chosen.batch_size) == (32, 2, 32)
    visit.page.reload()
    visit.settle()
    expect(visit.main.get_by_role("heading", name=run.id)).to_be_visible()
    expect(stop).to_be_visible()
    expect(progress).to_contain_text(re.compile(r"epoch|of", re.IGNORECASE))
    finished = visit.main.get_by_test_id("stAlertContentSuccess")
    finished.wait_for(timeout=1000 * TRAINING_SECONDS)
    report = run.evaluation()["splits"]["test"]
    expect(finished).to_contain_text(f"{report['accuracy']:.1%} of {report['n']}")
    expect(progress).to_have_count(0)
    visit.settle()
    return run


def find_the_mistakes(visit: Visit, run: Run) -> None:
    """Evaluation: the accuracy, then a click on the cell with the most mistakes."""
    visit.open(f"Evaluation?evaluation_run={run.id}")
    report = run.evaluation()["splits"]["test"]
    accuracy = visit.main.get_by_test_id("stMetric").filter(has_text="Accuracy")
    expect(accuracy).to_contain_text(f"{report['accuracy']:.1%}")
    expect(accuracy).to_contain_text(f"n = {report['n']}")

    matrix = np.array(report["confusion_matrix"])
    wrong = matrix - np.diag(np.diag(matrix))
    true, predicted = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
    marker = visit.main.locator(".scatterlayer .point").nth(true * len(matrix) + predicted)
    shown_files(visit)
    marker.scroll_into_view_if_needed()
    box = marker.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    names = run.classes[true], run.classes[predicted]
    label = visit.main.locator(".hoverlayer .hovertext")
    expect(label).to_contain_text(f"true {names[0]}, predicted {names[1]}")
    visit.page.mouse.click(x, y)
    expect(visit.main.get_by_text(f"{wrong.max()} test photos")).to_be_visible()

    table = answers_of(run)
    cell = (table.split == "test") & (table.label == names[0]) & (table.predicted == names[1])
    assert cell.sum() == wrong.max()
    shown = shown_files(visit, min(24, wrong.max()))
    assert set(shown) <= set(table.file[cell])


def ask_about_a_photo(visit: Visit, run: Run, photos: Photos) -> None:
    """Classify: an uploaded test photo gets exactly the stored answer."""
    visit.open(f"Classify?classify_run={run.id}")
    table = answers_of(run)
    row = table[table.split == "test"].iloc[7]
    said = upload(visit, photos.root / row.file)
    assert row.predicted in said.lower()
    assert f"{row.confidence:.0%}" in said


def test_from_the_photos_through_a_training_to_an_answer(
    browser: Browser, home: Path, photos: Photos
) -> None:
    size = {"width": 1400, "height": 900}
    with visiting(browser, home, photos.root, viewport=size) as visit:
        look_at_the_photos(visit, photos)
        run = train(visit)
        find_the_mistakes(visit, run)
        ask_about_a_photo(visit, run, photos)
        visit.follow("Home")
        expect(visit.main.get_by_text(run.id).first).to_be_attached()
        visit.check()


# ---------------------------------------------------------------- with a run that is there


@pytest.fixture(scope="module")
def after_training(
    browser: Browser,
    sample_photos: Photos,
    training: Training,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Looking]:
    """Opens tabs on one server, whose home has a finished run, for tests that only look."""
    home = tmp_path_factory.mktemp("after-training") / "home"
    shutil.copytree(training.env.home, home)
    with serving(home, sample_photos.root) as url:
        yield functools.partial(opening, browser, url, home)


def test_on_a_phone_in_the_dark(
    after_training: Looking, sample_photos: Photos, training: Training
) -> None:
    phone = {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    with after_training(**phone) as visit:
        for name in PAGES:
            visit.open(name)
            assert fits_the_width(visit.page), name
        background = visit.page.get_by_test_id("stApp").evaluate(
            "app => getComputedStyle(app).backgroundColor"
        )
        assert max(map(int, re.findall(r"\d+", background)[:3])) < 60

        table = answers_of(training.run)
        row = table[table.split == "test"].iloc[0]
        visit.follow("Home")
        assert upload(visit, sample_photos.root / row.file)
        assert fits_the_width(visit.page)
        visit.follow("Classify")
        visit.open(f"Classify?classify_run={training.run.id}")
        said = upload(visit, sample_photos.root / row.file)
        assert row.predicted in said.lower()
        assert fits_the_width(visit.page)
        visit.check()


# ---------------------------------------------------------------- first visits


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, PHONE], ids=["laptop", "phone"])
def test_a_first_visit_has_photos_an_answer_and_real_mistakes(
    browser: Browser, home: Path, size: ViewportSize
) -> None:
    with visiting(browser, home, None, viewport=size) as visit:
        visit.open("Home")
        assert fits_the_width(visit.page)
        pictures = visit.main.locator("img")
        expect(pictures).to_have_count(6 + 8)
        if size != PHONE:  # no need to scroll
            bottom = pictures.last.bounding_box()
            assert bottom is not None and bottom["y"] + bottom["height"] < size["height"]
        visit.main.get_by_role("button", name="Classify this photo of paper").click()
        answer = visit.main.get_by_role("heading", level=3).filter(has_text="%")
        expect(answer).to_contain_text("Paper")
        visit.settle()
        mistake = visit.main.get_by_role("button", name="Why is this photo of glass").first
        mistake.click()
        expect(visit.main.get_by_role("heading", level=1)).to_have_text("Evaluation")
        opened = visit.page.get_by_role("dialog")
        expect(opened).to_contain_text("glass/glass")
        expect(opened).to_contain_text("never saw this photo")
        run = visit.main.get_by_test_id("stSelectbox").first.locator("input")
        expect(run).to_have_value("released")
        assert "evaluation_split=out+of+fold" in visit.page.url
        visit.check()


def test_a_folder_is_dropped_used_and_left(browser: Browser, home: Path, own_folder: Path) -> None:
    with visiting(browser, home, None) as visit:
        visit.open("Dataset")
        visit.main.get_by_role("button", name="Change").click()
        visit.page.locator("input[type=file][webkitdirectory]").set_input_files(own_folder)
        visit.page.get_by_role("button", name="Use what I dropped").click()
        expect(visit.main.get_by_text(f"Photos in use: {own_folder.name}")).to_be_visible()
        expect(visit.page.get_by_test_id("stPopoverBody")).to_have_count(0)
        visit.settle()
        visit.main.get_by_role("button", name="Change").click()
        visit.page.get_by_role("button", name="Back to TrashNet").click()
        expect(visit.main.get_by_text("Photos in use: TrashNet")).to_be_visible()
        visit.settle()
        visit.check()


def test_a_shared_address_opens_its_page_on_a_fresh_server(browser: Browser, home: Path) -> None:
    with visiting(browser, home, None) as visit:
        visit.open("Dataset")
        expect(visit.main.get_by_role("heading", level=1)).to_contain_text("Dataset")
        expect(visit.main.get_by_test_id("stMetricValue").first).to_have_text("2,527")
        visit.settle()
        visit.check()


def test_a_shared_address_keeps_what_was_chosen(
    after_training: Looking, training: Training
) -> None:
    with after_training() as visit:
        run = f"evaluation_run={training.run.id}"
        visit.open(f"Evaluation?{run}&evaluation_split=train&evaluation_true=glass")
        figures = training.run.evaluation()["splits"]["train"]
        glass = figures["per_class"]["glass"]["support"]
        expect(visit.main.get_by_text(f"n = {figures['n']}")).to_be_visible()
        expect(visit.main.get_by_text(f"{glass} train photos")).to_be_visible()
        visit.open("Evaluation?evaluation_split=nonsense&evaluation_true=%3Cscript%3E")
        visit.check()
