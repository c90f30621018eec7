"""The app's server and a browser, for the benchmarks of pages."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measuring import ROOT

SECONDS = 120
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def serving(
    home: Path | None = None, data: Path | None = None, script: Path = ROOT / "app.py"
) -> Iterator[tuple[int, int]]:
    """Starts a Streamlit app, the own one if no other is named; yields its port and process id.

    Args:
        home: `TRASHNET_HOME`; None is an empty one.
        data: `TRASHNET_DATA`; None is none.
        script: The app.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    options += ["--server.fileWatcherType=none", "--server.enableXsrfProtection=false"]
    with tempfile.TemporaryDirectory() as empty:
        variables = {"TRASHNET_HOME": str(home or empty), "TRASHNET_DATA": str(data or "")}
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script), *options],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
                    break
                except OSError:
                    if server.poll() is not None:
                        raise RuntimeError(f"{script.name} could not be served") from None
                    time.sleep(0.02)
            yield port, server.pid
        finally:
            server.terminate()
            server.wait(30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Opens a headless Chromium: the system's own, else Playwright's."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def settled(page: Page, heading: str) -> None:
    """Waits for a page of this heading until all of it is drawn."""
    page.get_by_test_id("stMain").get_by_role("heading", level=1, name=heading).wait_for()
    state = "[data-testid=stApp][data-test-script-state=notRunning]"
    page.locator(state).wait_for(state="attached")


def memory_of(process: int) -> float:
    """Returns a server's resident memory in MB."""
    import psutil

    return psutil.Process(process).memory_info().rss / 1e6
