"""The dataset page's journey in a real browser: filter, open, exclude, undo, audit, draw around."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import (
    PHONE,
    Visit,
    browser,
    fits_the_width,
    home,
    known,
    photos,
    shown_files,
    visiting,
)
from trashnet.data.dataset import Photos, open_folder
from trashnet.data.index import load_index
from trashnet.environment import Environment

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home", "known", "photos"]  # the fixtures these journeys ask for

AUDIT_SECONDS = 240


def split_of(photos: Photos, visit: Visit, file: str) -> str:
    """Where the next training would put a photo."""
    env = Environment(visit.home, data=photos.root)
    return load_index(photos, env).set_index("file").split[file]


def filter_open_exclude_undo(visit: Visit, photos: Photos, label: str) -> None:
    """The photos of a class; one of them opened, excluded, found again, and taken back."""
    visit.open("Dataset?dataset_tab=Photos")
    visit.main.get_by_role("button", name=label, exact=True).click()
    of_class = [file for file in photos.files if file.startswith(f"{label}/")]
    others = [name for name in photos.classes if name != label]
    expect(visit.main.locator(f"img[alt^='{others[0]}/']")).to_have_count(0)
    visit.settle()
    search = visit.main.get_by_role("textbox", name="File name")
    file = of_class[3]
    search.fill(file.split("/")[1])
    search.press("Enter")
    expect(visit.main.locator(f"img[alt^='{label}/']")).to_have_count(1)
    visit.settle()
    assert f"dataset_class={label}" in visit.page.url and "dataset_search=" in visit.page.url

    visit.main.get_by_test_id("stBaseButton-tertiary").first.click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.get_by_alt_text(f"{file}, full size")).to_be_visible()
    expect(dialog.get_by_text("brightness")).to_be_visible()
    assert split_of(photos, visit, file) != "excluded"
    dialog.get_by_role("button", name="Exclude", exact=True).click()
    expect(dialog.get_by_role("button", name="Undo")).to_be_visible()
    assert split_of(photos, visit, file) == "excluded"
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    name = file.split("/")[1]
    expect(visit.main.get_by_text(f"{name} · excluded")).to_be_visible()
    visit.main.get_by_role("button", name="Undo the last decision").click()
    expect(visit.main.get_by_text(f"{name} · excluded")).to_have_count(0)
    visit.settle()
    assert split_of(photos, visit, file) != "excluded"
    # Somebody who gets the address sees the same photo.
    address = visit.page.url
    visit.page.goto(address)
    visit.settle()
    assert shown_files(visit, 1) == [file]


def draw_around(visit: Visit, n: int) -> None:
    """The map: a lasso around everything selects everything."""
    visit.open("Dataset?dataset_tab=Map")
    plot = visit.main.locator(".nsewdrag").first
    plot.wait_for()
    visit.settle()
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    left, top = box["x"] + 3, box["y"] + 3
    right, bottom = left + box["width"] - 8, top + box["height"] - 8
    mouse = visit.page.mouse
    mouse.move(left, top)
    mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 4)):
        mouse.move(x, y, steps=8)
    mouse.up()
    expect(visit.main.get_by_text(f"{n:,} selected")).to_be_visible()
    expect(visit.main.locator("img[alt*='/']")).to_have_count(min(24, n))
    visit.page.wait_for_function(
        "[...document.querySelectorAll('img[alt*=\"/\"]')].every(i => i.naturalWidth > 0)"
    )
    visit.settle()


def test_photos_are_filtered_opened_excluded_and_taken_back(
    browser: Browser, known: Path, photos: Photos
) -> None:
    size = {"width": 1400, "height": 900}
    with visiting(browser, known, photos.root, viewport=size) as visit:
        filter_open_exclude_undo(visit, photos, photos.classes[1])
        if photos.is_trashnet:  # what an audit finds is shipped
            draw_around(visit, len(photos.files))
            visit.open("Dataset?dataset_tab=Audit&audit_kind=near-duplicate")
            expect(visit.main.get_by_text("585 pairs from 0.80 to 1.00")).to_be_visible()
            expect(visit.main.locator("img[alt^='Matches of ']").first).to_be_visible()
            visit.settle()
        visit.check()


def test_a_folder_of_ones_own_is_seen_audited_and_mapped(
    browser: Browser, home: Path, own_folder: Path
) -> None:
    photos = open_folder(own_folder, own_folder.name, "folder")
    size = {"width": 1400, "height": 900}
    with visiting(browser, home, own_folder, viewport=size) as visit:
        filter_open_exclude_undo(visit, photos, "planks")
        visit.open("Dataset?dataset_tab=Audit&audit_kind=unreadable")
        expect(visit.main.get_by_text("unreadable 1")).to_be_visible()
        visit.open("Dataset?dataset_tab=Map")
        visit.main.get_by_role("button", name="Audit the photos").click()
        expect(visit.main.get_by_test_id("stProgress")).to_be_visible()
        visit.main.locator(".nsewdrag").first.wait_for(timeout=1000 * AUDIT_SECONDS)
        draw_around(visit, len(photos.files) - 1)  # all but the torn one
        expect(visit.main.get_by_test_id("stMetricValue").filter(has_text="unknown")).to_have_count(
            0
        )
        visit.check()


def test_every_tab_fits_a_phone(browser: Browser, home: Path, own_folder: Path) -> None:
    phone = {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    folder = Path(shutil.copytree(own_folder, home.parent / "copy"))
    with visiting(browser, home, folder, **phone) as visit:
        for tab in ("Balance", "Photos", "Audit&audit_kind=conflict", "Map", "Statistics"):
            visit.open(f"Dataset?dataset_tab={tab}")
            assert fits_the_width(visit.page), tab
        visit.open("Dataset?photo=bolts/bolts01.png")
        expect(visit.page.get_by_alt_text("bolts/bolts01.png, full size")).to_be_visible()
        assert fits_the_width(visit.page)
        visit.check()
