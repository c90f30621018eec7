"""The app as one person meets it in a browser: its start, its pages, a click, its memory."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page

from benchmarks.measuring import Row, fresh_process, row
from benchmarks.serving import SECONDS, chromium, memory_of, serving, settled
from trashnet.data.dataset import find_photos
from trashnet.environment import environment
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

LIMIT = 400
"""Megabytes that the app's process may take: the smallest free servers have little more."""

PAGES = {"Home": "TrashNet", **{p: p for p in ("Dataset", "Training", "Evaluation", "Classify")}}
"""The pages and what their headings hold."""

_USUAL = '''
"""The usual app around a Keras model."""
import keras
import numpy as np
import streamlit as st
from PIL import Image

model = st.cache_resource(keras.saving.load_model)({model!r})
st.title("TrashNet")
photo = st.file_uploader("A photo")
if photo is not None:
    pixels = Image.open(photo).convert("RGB").resize(model.input_shape[1:3])
    st.bar_chart(model.predict(np.asarray(pixels, np.float32)[None])[0])
'''

_SAVE = """
import sys
from trashnet.training.networks import build_model
build_model(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).save(sys.argv[4])
"""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about the app in a browser."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        (folder / "home").mkdir()
        data, what = _data()
        starts = [
            (_start(browser, folder / "home", data), _start_usual(browser, folder))
            for _ in range(2 if quick else 4)  # the first reads the files from the disk
        ]
        (ours, our_memory), (usual, usual_memory) = (min(s) for s in zip(*starts, strict=True))
        against = "an app that loads its Keras model"
        rows = [
            row("Start of the server to the first content", ours, usual, "s", against),
            row("Memory of the app at its first content", our_memory, usual_memory, "MB", against),
        ]
        rounds = 1 if quick else 5
        with serving(folder / "home", data) as (port, process):
            with _tab(browser) as page:
                switched, loaded = _switch(page, f"http://127.0.0.1:{port}", rounds)
                clicked, opened = _click(page, f"http://127.0.0.1:{port}", rounds)
            memory = memory_of(process)
            if any(
                "tensorflow" in Path(m.path).name for m in psutil.Process(process).memory_maps()
            ):
                raise RuntimeError("the app's process loaded TensorFlow")
    title = f"Switch to another page, {what}"
    rows.append(row(title, 1000 * switched, 1000 * loaded, "ms", "loading the page by its address"))
    title = "Click on the confusion matrix to its photos"
    rows.append(row(title, 1000 * clicked, 1000 * opened, "ms", "loading the page by its address"))
    rows.append(row("Memory of the app after all pages", memory, LIMIT, "MB", "the limit", 1))
    return rows


def _data() -> tuple[Path, str]:
    """The photos in use, and what to call them."""
    photos = find_photos(environment())
    return photos.root, f"{len(photos.files):,} photos of {photos.name}"


@contextmanager
def _tab(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as tabs:
        tabs.set_default_timeout(1000 * SECONDS)
        yield tabs.new_page()


def _start(
    browser: Browser, home: Path | None, data: Path | None, **options: Path
) -> tuple[float, float]:
    """Seconds from the server's command until a browser shows the whole first page; memory then."""
    with _tab(browser) as page:
        began = time.perf_counter()
        with serving(home, data, **options) as (port, process):
            page.goto(f"http://127.0.0.1:{port}")
            settled(page, "TrashNet")
            return time.perf_counter() - began, memory_of(process)


def _start_usual(browser: Browser, folder: Path) -> tuple[float, float]:
    run, model, script = Run(RELEASED), folder / "model.keras", folder / "usual.py"
    if not model.exists():
        config = run.train_config
        sizes = (str(config.image_size), str(len(run.classes)))
        fresh_process(_SAVE, config.model, *sizes, str(model))
        script.write_text(_USUAL.format(model=str(model)))
    return _start(browser, None, None, script=script)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _switch(page: Page, url: str, rounds: int) -> tuple[float, float]:
    """Median seconds to reach a page through the sidebar, and by its address."""

    def follow(name: str) -> None:
        page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
        settled(page, PAGES[name])

    def load(name: str) -> None:
        page.goto(f"{url}/{'' if name == 'Home' else name}")
        settled(page, PAGES[name])

    for name in PAGES:  # the first visit reads the photos
        load(name)
    ways: dict[Callable[[str], None], list[float]] = {follow: [], load: []}
    for _ in range(rounds):
        for way, taken in ways.items():
            for name in PAGES:
                taken.append(_seconds(lambda: way(name)))  # noqa: B023 (called at once)
    switched, loaded = map(statistics.median, ways.values())
    return switched, loaded


def _click(page: Page, url: str, rounds: int) -> tuple[float, float]:
    """Median seconds from a click on a cell to the photos behind it, and by the page's address.

    Each cell is asked for one way only, so that none finds what the other has made.
    """
    run = Run(RELEASED)
    split = "out_of_fold" if "out_of_fold" in run.evaluation() else "test"
    report = run.evaluation().get(split) or run.evaluation()["splits"][split]
    matrix, classes, said = report["confusion_matrix"], run.classes, split.replace("_", " ")
    address = f"{url}/Evaluation?evaluation_run=released&evaluation_split={said.replace(' ', '+')}"
    cells = [(t, p) for t in range(len(classes)) for p in range(len(classes)) if matrix[t][p] > 3]
    clicked, opened = [], []
    for number, (true, predicted) in enumerate(cells[1 : 2 * rounds + 1]):
        names = classes[true], classes[predicted]
        sentence = page.get_by_text(
            f"{matrix[true][predicted]} {said} photos: true {names[0]}, predicted {names[1]}"
        )

        def shown() -> None:
            sentence.wait_for()  # noqa: B023
            page.get_by_test_id("stMain").locator("img").first.wait_for()

        def load() -> None:
            chosen = f"evaluation_true={names[0]}&evaluation_predicted={names[1]}"  # noqa: B023
            page.goto(f"{address}&{chosen}")
            shown()

        if number % 2:
            opened.append(_seconds(load))
            continue
        page.goto(address)
        settled(page, "Evaluation")
        marker = page.locator(".scatterlayer .point").nth(true * len(classes) + predicted)
        marker.scroll_into_view_if_needed()
        box = marker.bounding_box()
        if box is None:
            raise RuntimeError("the confusion matrix has no such cell")
        spot = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*spot)
        page.locator(".hoverlayer .hovertext").wait_for()

        def click() -> None:
            page.mouse.click(*spot)  # noqa: B023
            shown()

        clicked.append(_seconds(click))
    return statistics.median(clicked), statistics.median(opened)
