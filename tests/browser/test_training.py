"""A training watched by a person who reloads, opens another tab, stops and goes on later."""

import re
import shutil
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import TRAINING_SECONDS, Visit, browser, home, visiting
from tests.conftest import Training
from trashnet.data.dataset import Photos
from trashnet.runs.annotations import describe_as
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home"]  # the fixtures this journey asks for

EPOCHS = 30


def start(visit: Visit) -> Run:
    """Starts a training of small pictures from the form."""
    visit.open("Training")
    for label, value in (("Image size (pixels)", "48"), ("Epochs", str(EPOCHS))):
        visit.main.get_by_role("spinbutton", name=label).fill(value)
        visit.main.get_by_role("spinbutton", name=label).press("Tab")
    visit.main.get_by_role("button", name="Start", exact=True).click()
    expect(visit.main.get_by_role("button", name="Stop")).to_be_visible()
    (run,) = list_runs(visit.home / "runs")
    return run


def wait_for_epoch(page: Page, run: Run, epoch: int) -> None:
    """Waits until the training has finished an epoch."""
    for _ in range(10 * TRAINING_SECONDS):
        if run.status().epoch >= epoch:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"epoch {epoch} was not reached: {run.status()}")


def drawn_epochs(page: Page) -> list[float]:
    """Returns the epochs of the validation accuracy's curve, as the browser drew it."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .filter(plot => (plot.layout.title?.text ?? '').includes('Accuracy'))
            .flatMap(plot => plot._fullData.filter(trace => trace.name === 'validation'))
            .flatMap(trace => Array.from(trace.x))"""
    )


def test_one_training_through_reload_second_tab_stop_and_resume(
    browser: Browser, home: Path, sample_photos: Photos
) -> None:
    size = {"width": 1400, "height": 900}
    with visiting(browser, home, sample_photos.root, viewport=size) as visit:
        run = start(visit)
        wait_for_epoch(visit.page, run, 1)
        training = psutil.Process(run.status().pid)
        training.suspend()  # or it may end before two tabs are drawn
        visit.page.reload()
        visit.settle()
        expect(visit.main.get_by_role("button", name="Stop")).to_be_visible()

        second = visit.page.context.new_page()
        other = Visit(second, visit.url, visit.home)
        other.listen()
        other.open("Training")
        expect(other.main.get_by_role("heading", name=run.id)).to_be_visible()
        other.main.get_by_role("button", name="Stop").click()
        expect(other.main.get_by_role("heading", name=re.compile("stop_circle"))).to_be_visible()
        training.resume()
        resume = visit.main.get_by_role("button", name="Resume")
        expect(resume).to_be_visible()  # the first tab sees it, too
        stopped_at = run.status().epoch
        assert run.status().state == "stopped" and 1 <= stopped_at < EPOCHS
        before = run.epochs()

        resume.click()
        finished = visit.main.get_by_test_id("stAlertContentSuccess")
        finished.wait_for(timeout=1000 * TRAINING_SECONDS)
        other.open("Training")  # a tab refreshes by itself only while something is running
        expect(other.main.get_by_test_id("stAlertContentSuccess")).to_be_visible()
        after = run.epochs()
        assert after.epoch.tolist() == list(range(1, EPOCHS + 1))
        assert after.val_loss.tolist()[: len(before)] == before.val_loss.tolist()
        expect(visit.main.get_by_text(re.compile(f"finished, epoch {EPOCHS} of"))).to_be_visible()
        assert drawn_epochs(visit.page) == list(range(1, EPOCHS + 1))
        visit.check()
        other.check()


def test_an_address_in_what_was_written_about_a_run_is_no_link(
    browser: Browser, home: Path, sample_photos: Photos, training: Training
) -> None:
    """Browsers make links of bare addresses, after everything that was escaped is plain again."""
    shutil.copytree(training.env.runs, home / "runs")
    note = "https://note.example :material/delete: a@mail.example"
    describe_as(
        Run(home / "runs" / training.run.id), "www.title.example", ("www.tag.example",), note
    )
    with visiting(browser, home, sample_photos.root) as visit:
        visit.open("Training")
        for name in ("title", "tag", "note"):
            # Between the first letters and the rest is something that cannot be seen.
            expect(visit.main.get_by_text(f"{name}.example").first).to_be_visible()
        expect(visit.main.get_by_text("material/delete:").first).to_be_visible()
        expect(visit.main.locator("a[href*='.example']")).to_have_count(0)
