"""How tests visit the app in a real headless Chromium, and what they read there."""

import contextlib
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect
from playwright.sync_api import Error as PlaywrightError

from benchmarks.serving import chromium
from trashnet.data.dataset import Photos
from trashnet.inference.calibration import probabilities
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("Home", "Dataset", "Training", "Evaluation", "Classify")
PHONE = {"width": 390, "height": 844}
SERVER_SECONDS = 60
PAGE_SECONDS = 45
TRAINING_SECONDS = 240

expect.set_options(timeout=1000 * PAGE_SECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: the system's own, else Playwright's."""
    with contextlib.ExitStack() as until_end:
        try:
            opened = until_end.enter_context(chromium())
        except PlaywrightError as error:
            reason = str(error).splitlines()[0]
            said = f"No Chromium could be started ({reason}); run 'apt install chromium'."
            if os.environ.get("CI"):
                pytest.fail(said)
            pytest.skip(said)
        yield opened


_BROKEN = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"


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
            "What is this" if name == "Home" else name
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
        self.page.wait_for_function("[...document.images].every(image => image.complete)")
        assert self.page.evaluate(_BROKEN) == []

    def listen(self) -> None:
        """Collects errors of the console and requests that leave this machine."""

        def on_console(message: ConsoleMessage) -> None:
            # A deep link makes Streamlit try its own endpoints below the page's address first.
            source = message.location.get("url", "")
            # A picture asked for just before a rerun replaced it is gone from the server by then:
            # the browser says so, and then Streamlit. `check` looks for pictures that are there
            # and broken.
            is_replaced = ("/media/" in source and "404" in message.text) or (
                message.text.startswith("Client Error: Image source error")
            )
            if message.type == "error" and "/_stcore/" not in source and not is_replaced:
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
    with serving(home, data) as url, opening(browser, url, home, **context) as visit:
        yield visit


@contextlib.contextmanager
def opening(browser: Browser, url: str, home: Path, **context: Any) -> Iterator[Visit]:
    """Opens a tab for an app that is served."""
    with browser.new_context(**context) as tabs:
        tabs.set_default_timeout(1000 * PAGE_SECONDS)
        visit = Visit(tabs.new_page(), url, home)
        visit.listen()
        yield visit


Looking = Callable[..., contextlib.AbstractContextManager[Visit]]


@pytest.fixture(scope="module")
def looking(
    browser: Browser, photos: Photos, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Looking]:
    """Opens tabs on one server, for tests that only look; others start their own: `visiting`."""
    home = tmp_path_factory.mktemp("looking") / "home"
    home.mkdir()
    with serving(home, photos.root) as url:
        yield functools.partial(opening, browser, url, home)


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


@pytest.fixture(scope="session")
def photos(request: pytest.FixtureRequest) -> Photos:
    """The real photos."""
    return request.getfixturevalue("real_photos")


@pytest.fixture
def known(home: Path, photos: Photos, request: pytest.FixtureRequest) -> Path:
    """A home for the app in which the photos were read before; a first visit takes a while."""
    if photos.is_trashnet:
        shutil.copytree(request.getfixturevalue("real_env").cache, home / "cache")
    return home


def answers_of(run: Run) -> pd.DataFrame:
    """Returns the stored answers: file, split, label, predicted and confidence."""
    table = run.predictions()
    p = probabilities(np.stack(table.logits.to_numpy()), run.evaluation()["temperature"])
    predicted = np.array(run.classes)[p.argmax(axis=1)]
    return table.assign(predicted=predicted, confidence=p.max(axis=1))


def shown_files(visit: Visit, count: int | None = None) -> list[str]:
    """Returns the keys of the photos on the page, all of them loaded, once there are `count`.

    To be called before what replaces them: Streamlit forgets pictures that it no longer shows,
    fetched or not.
    """
    visit.settle()
    pictures = visit.main.locator("img[alt*='.jpg:']")
    pictures.first.wait_for()
    if count is not None:  # they come one after the other
        expect(pictures).to_have_count(count)
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


def fits_the_width(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return page.evaluate(
        """() => {
            const main = document.querySelector("[data-testid=stMain]");
            return document.documentElement.scrollWidth <= innerWidth + 2
                && main.scrollWidth <= main.clientWidth + 2;
        }"""
    )
