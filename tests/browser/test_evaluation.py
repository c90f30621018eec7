"""In a real browser, on the shipped run: from a number to its photos, and into one of them."""

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from tests.browser.browsing import (
    PHONE,
    Looking,
    Visit,
    browser,
    fits_the_width,
    looking,
    photos,
    shown_files,
)
from trashnet.data.dataset import Photos
from trashnet.evaluation.report import answers
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "looking", "photos"]
SHIPPED = Run(RELEASED)


def said_out_of_fold() -> pd.DataFrame:
    table = SHIPPED.out_of_fold()
    return answers(table, SHIPPED.classes, table.temperature.to_numpy()[:, None])


def hardest_cell() -> tuple[int, int, int]:
    """True class, predicted class and number of the commonest mistake."""
    matrix = np.array(SHIPPED.evaluation()["out_of_fold"]["confusion_matrix"])
    wrong = matrix - np.diag(np.diag(matrix))
    true, predicted = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
    return true, predicted, int(wrong.max())


def click_cell(visit: Visit, true: int, predicted: int) -> None:
    n = len(SHIPPED.classes)
    marker = visit.main.locator(".scatterlayer .point").nth(true * n + predicted)
    marker.scroll_into_view_if_needed()
    box = marker.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    expect(visit.main.locator(".hoverlayer .hovertext")).to_be_visible()
    visit.page.mouse.click(x, y)


@pytest.fixture
def data(photos: Photos) -> Path:
    """The shipped run's photos."""
    return photos.root


def test_a_click_on_the_worst_cell_leads_to_its_photos_and_into_one(
    looking: Looking, data: Path
) -> None:
    true, predicted, n = hardest_cell()
    names = SHIPPED.classes[true], SHIPPED.classes[predicted]
    said = said_out_of_fold()
    cell = said[(said.label == names[0]) & (said.predicted == names[1])]
    assert len(cell) == n
    with looking(viewport={"width": 1400, "height": 1000}) as visit:
        visit.open("Evaluation?evaluation_run=released&evaluation_split=out+of+fold")
        shown_files(visit)
        click_cell(visit, true, predicted)
        what = f"{n} out of fold photos: true {names[0]}, predicted {names[1]}"
        expect(visit.main.get_by_text(what)).to_be_visible()
        shown = shown_files(visit, min(24, n))
        assert shown == cell.file.tolist()[:24]
        captions = visit.main.get_by_text(f"{names[0]} taken for {names[1]}")
        expect(captions).to_have_count(min(24, n))

        visit.main.get_by_role("button", name="Why?").first.click()
        dialog = visit.page.get_by_role("dialog")
        for label, what in ((names[1], "predicted"), (names[0], "true")):
            picture = dialog.get_by_alt_text(f"{shown[0]}, and where it looks like {label}")
            expect(picture).to_be_visible()
            expect(dialog.get_by_text(f"evidence for {label} ({what})")).to_be_visible()
        bars = dialog.get_by_test_id("stPlotlyChart")
        for name in SHIPPED.classes:
            expect(bars.get_by_text(name, exact=True)).to_be_attached()
        expect(bars.get_by_text(re.compile(r"^\d+\.\d%$")).first).to_be_attached()
        neighbours = dialog.locator("img[alt*='.jpg:']")
        expect(neighbours.nth(4)).to_be_attached()
        assert f"photo={shown[0].replace('/', '%2F')}" in visit.page.url
        visit.page.reload()  # what somebody sees who is sent the address
        expect(dialog.get_by_alt_text(f"{shown[0]}, and where it looks")).to_have_count(2)
        visit.check()


def test_the_table_is_worked_by_the_keyboard(looking: Looking, data: Path) -> None:
    matrix = np.array(SHIPPED.evaluation()["splits"]["test"]["confusion_matrix"])
    with looking(viewport={"width": 1400, "height": 1000}) as visit:
        visit.open("Evaluation?evaluation_run=released&evaluation_cells=table")
        grid = visit.main.get_by_test_id("stDataFrame")
        grid.scroll_into_view_if_needed()
        visit.main.get_by_role("radio", name="table").focus()
        canvas = "document.activeElement.tagName == 'CANVAS'"
        while not visit.page.evaluate(canvas):  # past the buttons of the table
            visit.page.keyboard.press("Tab")
        classes = SHIPPED.classes
        visit.page.keyboard.press("ArrowDown")
        visit.page.keyboard.press("ArrowRight")
        chosen = visit.main.get_by_text(re.compile(r"test photos: true \w+, predicted \w+"))
        expect(chosen).to_be_visible()
        found = re.search(r"(\d+) test photos: true (\w+), predicted (\w+)", chosen.inner_text())
        assert found is not None
        n, true, predicted = found.groups()
        assert int(n) == matrix[classes.index(true), classes.index(predicted)]
        visit.check()


def test_the_tabs_fit_a_phone(looking: Looking, data: Path) -> None:
    with looking(viewport=PHONE) as visit:
        for tab in ("Errors", "Report", "Calibration", "Robustness", "Bias"):
            visit.open(f"Evaluation?evaluation_run=released&evaluation_tab={tab}")
            time.sleep(1)
            assert fits_the_width(visit.page), tab
        visit.check()
