"""Journeys through the app as a person makes them, in a real headless Chromium."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import Training
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from trashnet.data import Photos
from trashnet.evaluate import probabilities
from trashnet.runs import Run, list_runs

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("Home", "Dataset", "Training", "Evaluation", "Classify")
PHONE = {"width": 390, "height": 844}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERVER_SECONDS = 60
PAGE_SECONDS = 45
TRAINING_SECONDS = 240

expect.set_options(timeout=1000 * PAGE_SECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: the system's own, else Playwright's."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except PlaywrightError as error:
            reason = str(error).splitlines()[0]
            said = f"No Chromium could be started ({reason}); run 'apt install chromium'."
            if os.environ.get("CI"):
                pytest.fail(said)
            pytest.skip(said)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A browser tab on a server of its own, and everything that went wrong in it."""

    page: Page
    url: str
    home: Path
    problems: list[str] = field(default_factory=list)

    @property
    def main(self) -> Locator:
        """The page without its sidebar."""
        return self.page.get_by_test_id("stMain")

    def open(self, name: str) -> None:
        """Opens a page by its address."""
        self.page.goto(f"{self.url}/{'' if name == 'Home' else name}")
        self.settle()

    def follow(self, name: str) -> None:
        """Goes to a page through the sidebar."""
        sidebar = self.page.get_by_test_id("stSidebar")
        menu = self.page.get_by_test_id("stExpandSidebarButton")
        is_phone = menu.count() > 0
        if is_phone:
            menu.click()
        sidebar.get_by_role("link", name=name, exact=True).click()
        expect(self.main.get_by_role("heading", level=1)).to_contain_text(
            "TrashNet" if name == "Home" else name
        )
        self.settle()
        close = self.page.get_by_test_id("stSidebarCollapseButton")
        if is_phone and close.is_visible():  # the menu lies over the page
            close.click()
            menu.wait_for()

    def settle(self) -> None:
        """Waits until the script has run, and looks for what must not be there."""
        app = self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
        app.wait_for(state="attached")
        self.main.get_by_role("heading", level=1).wait_for()
        assert self.page.get_by_test_id("stException").all_inner_texts() == []

    def check(self) -> None:
        """Fails with everything the browser complained of."""
        assert self.page.get_by_test_id("stException").all_inner_texts() == []
        assert self.problems == []

    def listen(self) -> None:
        """Collects errors of the console and requests that leave this machine."""

        def on_console(message: ConsoleMessage) -> None:
            # A deep link makes Streamlit try its own endpoints below the page's address first.
            source = message.location.get("url", "")
            if message.type == "error" and "/_stcore/" not in source:
                self.problems.append(f"console: {message.text} ({source})")

        def on_request(url: str) -> None:
            parts = urlsplit(url)
            if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
                self.problems.append(f"a request to somebody else: {url}")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        self.page.on("request", lambda request: on_request(request.url))


@contextlib.contextmanager
def visiting(browser: Browser, home: Path, data: Path | None, **context: Any) -> Iterator[Visit]:
    """Starts the app with this home and opens a tab for it."""
    with serving(home, data) as url, browser.new_context(**context) as tabs:
        tabs.set_default_timeout(1000 * PAGE_SECONDS)
        visit = Visit(tabs.new_page(), url, home)
        visit.listen()
        yield visit


@contextlib.contextmanager
def serving(home: Path, data: Path | None) -> Iterator[str]:
    """Runs `streamlit run app.py` on a free port; ends it and its trainings afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    options += ["--server.fileWatcherType=none"]
    variables = {"TRASHNET_HOME": str(home), "TRASHNET_DATA": str(data or "")}
    log = home.parent / "server.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *options],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_server(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
        said = log.read_text(errors="replace")
        assert "Traceback" not in said, said
    finally:
        server.terminate()
        server.wait(30)
        for run in list_runs(home / "runs"):
            if run.status().is_active and (pid := run.status().pid):
                psutil.Process(pid).kill()


def wait_for_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the server says it is well."""
    end = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"The app did not start: {log.read_text(errors='replace')}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home for the app."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def photos(request: pytest.FixtureRequest) -> Photos:
    """The real photos; where there are none and it is no CI, the sample pictures."""
    try:
        return request.getfixturevalue("real_photos")
    except pytest.skip.Exception:
        return request.getfixturevalue("sample_photos")


def answers_of(run: Run) -> pd.DataFrame:
    """Returns the stored answers: file, split, label, predicted and confidence."""
    table = run.predictions()
    p = probabilities(np.stack(table.logits.to_numpy()), run.evaluation()["temperature"])
    predicted = np.array(run.classes)[p.argmax(axis=1)]
    return table.assign(predicted=predicted, confidence=p.max(axis=1))


def shown_files(visit: Visit) -> list[str]:
    """Returns the keys of the photos on the page, all of them loaded.

    To be called before what replaces them: Streamlit forgets pictures that it no longer shows,
    fetched or not.
    """
    visit.settle()
    pictures = visit.main.locator("img[alt*='.jpg:']")
    pictures.first.wait_for()
    visit.page.wait_for_function(
        "[...document.querySelectorAll('img[alt*=\".jpg:\"]')]"
        ".every(i => i.complete && i.naturalWidth > 0)"
    )
    return [str(picture.get_attribute("alt")).split(":")[0] for picture in pictures.all()]


def upload(visit: Visit, path: Path) -> str:
    """Uploads a photo and returns the answer's headline."""
    visit.main.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(path)
    headline = visit.main.get_by_role("heading", level=3).filter(has_text=re.compile(r"\d+%"))
    headline.wait_for()
    visit.settle()
    return headline.inner_text()


# ---------------------------------------------------------------- from photos to an answer


def look_at_the_photos(visit: Visit, photos: Photos) -> None:
    """Home, then Dataset: the counts, the photos, a class, the authors' lists."""
    visit.open("Home")
    visit.follow("Dataset")
    count = f"{len(photos.files):,}"
    expect(visit.main.get_by_test_id("stMetricValue").filter(has_text=count).first).to_be_visible()
    visit.main.get_by_role("tab", name="Photos").click()
    expect(visit.main.get_by_text(f"1–60 of {count}")).to_be_visible()
    assert len(shown_files(visit)) == 60
    visit.main.get_by_role("button", name="glass", exact=True).click()
    glass = [file for file in photos.files if file.startswith("glass/")]
    expect(visit.main.locator("img[alt^='cardboard/']")).to_have_count(0)
    assert set(shown_files(visit)) == set(glass[:60])
    if len(glass) > 60:
        expect(visit.main.get_by_text(f"1–60 of {len(glass)}")).to_be_visible()
    visit.main.get_by_role("button", name="glass", exact=True).click()
    expect(visit.main.get_by_text(f"1–60 of {count}")).to_be_visible()
    assert len(shown_files(visit)) == 60
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
    visit.follow("Evaluation")
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
    shown = shown_files(visit)
    assert len(shown) == min(24, wrong.max())
    assert set(shown) <= set(table.file[cell])


def ask_about_a_photo(visit: Visit, run: Run, photos: Photos) -> None:
    """Classify: an uploaded test photo gets exactly the stored answer."""
    visit.follow("Classify")
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


# ---------------------------------------------------------------- on a phone, in the dark


def fits_the_width(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return page.evaluate(
        """() => {
            const main = document.querySelector("[data-testid=stMain]");
            return document.documentElement.scrollWidth <= innerWidth + 2
                && main.scrollWidth <= main.clientWidth + 2;
        }"""
    )


def test_on_a_phone_in_the_dark(
    browser: Browser, home: Path, sample_photos: Photos, training: Training
) -> None:
    shutil.copytree(training.env.home, home, dirs_exist_ok=True)
    phone = {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    with visiting(browser, home, sample_photos.root, **phone) as visit:
        for name in PAGES:
            visit.open(name)
            assert fits_the_width(visit.page), name
        background = visit.page.get_by_test_id("stApp").evaluate(
            "app => getComputedStyle(app).backgroundColor"
        )
        assert max(map(int, re.findall(r"\d+", background)[:3])) < 60

        table = answers_of(training.run)
        row = table[table.split == "test"].iloc[0]
        for name in ("Classify", "Home"):
            visit.follow(name)
            said = upload(visit, sample_photos.root / row.file)
            assert row.predicted in said.lower()
            assert fits_the_width(visit.page), name
        visit.check()


# ---------------------------------------------------------------- first visits


def test_a_shared_address_opens_its_page_on_a_fresh_server(browser: Browser, home: Path) -> None:
    with visiting(browser, home, None) as visit:
        visit.open("Dataset")
        expect(visit.main.get_by_role("heading", level=1)).to_contain_text("Dataset")
        visit.main.get_by_role("button", name="Draw sample pictures").click()
        expect(visit.main.get_by_test_id("stMetricValue").first).to_have_text("240")
        visit.settle()
        visit.check()


def test_a_shared_address_keeps_what_was_chosen(
    browser: Browser, home: Path, sample_photos: Photos, training: Training
) -> None:
    shutil.copytree(training.env.home, home, dirs_exist_ok=True)
    with visiting(browser, home, sample_photos.root) as visit:
        visit.open("Evaluation?evaluation_split=train&evaluation_true=glass")
        figures = training.run.evaluation()["splits"]["train"]
        glass = figures["per_class"]["glass"]["support"]
        expect(visit.main.get_by_text(f"n = {figures['n']}")).to_be_visible()
        expect(visit.main.get_by_text(f"{glass} train photos")).to_be_visible()
        visit.open("Evaluation?evaluation_split=nonsense&evaluation_true=%3Cscript%3E")
        visit.check()
