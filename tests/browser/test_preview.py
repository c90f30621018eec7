"""The augmentation preview in a real browser: a strength changes what is seen."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import Visit, browser, fits_the_width, home, known, photos, visiting
from tests.conftest import Training
from trashnet.data.dataset import Photos

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home", "known", "photos"]  # the fixtures these journeys ask for

FIRST_START = 180_000
"""Milliseconds for reading every photo once, and starting TensorFlow, on a machine that is busy."""


def sources(visit: Visit) -> list[str]:
    """The addresses of the pictures shown, all loaded."""
    visit.settle()
    images = visit.main.locator("img[alt*=': variant']")
    visit.page.wait_for_function(
        "[...document.querySelectorAll('img[alt*=\": variant\"]')]"
        ".every(i => i.complete && i.naturalWidth === 224)"
    )
    return [str(image.get_attribute("src")) for image in images.all()]


def change_a_strength(visit: Visit) -> None:
    """Opens the tab, turns rotation up, sees other pictures, and takes them to the form."""
    visit.page.goto(f"{visit.url}/Dataset?dataset_tab=Augmentation")
    expect(visit.main.locator("img[alt*=': variant']")).to_have_count(14, timeout=FIRST_START)
    before = sources(visit)
    slider = visit.main.get_by_role("slider", name="Rotation")
    slider.focus()
    for _ in range(25):
        slider.press("ArrowRight")
    first = visit.main.locator("img[alt*=': variant 1']").first
    expect(first).not_to_have_attribute("src", before[0])
    expect(slider).to_have_value("40")
    visit.page.wait_for_timeout(1500)  # the last of the twenty-five steps
    after = sources(visit)
    assert len(after) == len(before) and not set(after) & set(before)
    visit.main.get_by_role("button", name="Use these in training").click()
    visit.main.get_by_role("link", name="The training form has them").click()
    expect(visit.main.get_by_role("heading", level=1)).to_have_text("Training")
    expect(visit.main.get_by_text("As in the preview on the dataset page")).to_be_visible()
    carried = visit.main.get_by_role("slider", name="Rotation")
    expect(carried).to_have_value("40")
    visit.follow("Dataset")  # and the preview has kept it
    visit.main.get_by_role("tab", name="Augmentation").click()
    kept = visit.main.get_by_role("slider", name="Rotation")
    expect(kept).to_have_value("40")
    visit.check()


def test_a_strength_changes_the_preview(browser: Browser, known: Path, photos: Photos) -> None:
    size = {"width": 1400, "height": 900}
    with visiting(browser, known, photos.root, viewport=size) as visit:
        change_a_strength(visit)


def test_the_same_on_three_classes_that_are_not_trashnet(
    browser: Browser, home: Path, sample_photos: Photos, training: Training, tmp_path: Path
) -> None:
    root = tmp_path / "my waste"
    for mine, theirs in (("apple core", "trash"), ("can", "metal"), ("jar", "glass")):
        shutil.copytree(sample_photos.root / theirs, root / mine)
    (root / "can" / "broken.jpg").write_bytes(b"no picture")
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with visiting(browser, home, root, **phone) as visit:
        visit.open("Dataset?dataset_tab=Splits")
        expect(visit.main.get_by_text("python -m trashnet audit").first).to_be_visible()
        assert fits_the_width(visit.page)
        visit.open("Dataset?dataset_tab=Publish")
        visit.main.get_by_role("button", name="Save to disk").click()
        expect(visit.main.get_by_role("button", name="Save again")).to_be_visible()
        expect(visit.main.get_by_role("button", name="Download as a zip")).to_be_visible()
        assert fits_the_width(visit.page)
        change_a_strength(visit)
