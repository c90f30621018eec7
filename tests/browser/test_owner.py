"""The owner's door in a real browser: signing in, taking a run along, what a reload forgets."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import Visit, browser, home, visiting
from tests.conftest import Training
from trashnet.data.dataset import Photos

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home"]  # the fixtures this journey asks for

PASSWORD = "a long enough password"
LOG = "a line of the log"


@pytest.fixture
def visit(
    browser: Browser,
    home: Path,
    training: Training,
    sample_photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Visit]:
    """A tab on a server that has an owner and a finished run."""
    monkeypatch.setenv("TRASHNET_OWNER_PASSWORD", PASSWORD)
    for name in ("cache", "runs"):
        shutil.copytree(training.env.home / name, home / name)
    (home / "runs" / training.run.id / "train.log").write_text(LOG)
    with visiting(browser, home, sample_photos.root) as visit:
        yield visit
        visit.check()


def sign_in(visit: Visit, password: str) -> None:
    sidebar = visit.page.get_by_test_id("stSidebar")
    field = visit.page.get_by_label("Owner's password", exact=True)
    if not field.is_visible():
        sidebar.get_by_role("button", name="Owner's sign-in").click()
    field.fill(password)
    field.press("Enter")
    visit.settle()


def downloaded(visit: Visit, path: Path) -> bytes:
    """Takes the run along and returns all that is in it."""
    with visit.page.expect_download() as download:
        visit.main.get_by_test_id("stDownloadButton").filter(has_text="Download").click()
    download.value.save_as(path)
    with zipfile.ZipFile(path) as bundle:
        return b"".join(map(bundle.read, bundle.namelist()))


def test_the_owner_signs_in_acts_and_a_reload_forgets(visit: Visit, tmp_path: Path) -> None:
    visit.open("Training")
    sidebar = visit.page.get_by_test_id("stSidebar")
    start = visit.main.get_by_role("button", name="Start", exact=True)
    expect(sidebar).to_contain_text("visitor")
    expect(start).to_be_disabled()
    assert LOG.encode() not in downloaded(visit, tmp_path / "visitor.zip")

    sign_in(visit, "guess")
    expect(visit.page.get_by_text("That is not the owner's password.")).to_be_visible()
    visit.page.wait_for_timeout(1100)  # as a person would
    sign_in(visit, PASSWORD)
    expect(sidebar).to_contain_text("owner signed in")
    expect(start).to_be_enabled()
    visit.settle()  # the button below is drawn last; the one before it was the visitor's
    assert LOG.encode() in downloaded(visit, tmp_path / "owner.zip")
    assert "password" not in visit.page.url

    visit.follow("Home")
    expect(sidebar).to_contain_text("owner signed in")
    visit.open("Training")  # by its address: another visit
    expect(sidebar).to_contain_text("visitor")
    assert PASSWORD not in (visit.home.parent / "server.log").read_text()
