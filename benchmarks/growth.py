"""Growth: what a photo costs among 1, 4 and 16 times as many; flat is good."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Row, row
from benchmarks.photos import paths_of
from benchmarks.serving import chromium, serving, settled

TIMES = (1, 4, 16)

FLAT = 0.8
"""A photo among 16 times as many may take a quarter more: disks and caches have steps."""

_DIFFERENT = 60
_SIZE = 96
"""Pixels to decode to; 40,000 photos of 224 pixels would fill 6 GB of disk for the same result."""

_CHILD = f"""
import gc, json, sys, threading, time
from pathlib import Path
import psutil
from trashnet.data.dataset import open_folder
from trashnet.data.scan import scan
from trashnet.progress import silent
from trashnet.data.index import make_index
from trashnet.training.input_pipeline import decode_photos  # with TensorFlow

root, cache = map(Path, sys.argv[1:])

def own():  # without what is only mapped from a file
    info = psutil.Process().memory_info()
    return info.rss - getattr(info, "shared", 0)

def measured(work):
    gc.collect()
    before = peak = own()
    done = threading.Event()
    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, own())
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    try:
        result = work()
    finally:
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    return result, {{"seconds": seconds, "bytes": max(peak, own()) - before}}

photos = open_folder(root, "benchmark", "folder")
def read():
    scanned = scan(photos, cache, silent)
    return make_index(photos, scanned, "random")
index, reading = measured(read)
again, opening = measured(read)
_, decoding = measured(lambda: decode_photos(photos, index, {_SIZE}, cache))
print(json.dumps({{"reading": reading, "opening": opening, "decoding": decoding}}))
"""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about growth, of 40,000 photos at most; a quick run has 1,600."""
    base, found = 100 if quick else 2500, {}
    with tempfile.TemporaryDirectory() as name:
        for times in TIMES:
            root = Path(name) / f"photos{times}"
            _write(root, base * times)
            home = Path(name) / f"home{times}"
            (home / "cache").mkdir(parents=True)
            found[times] = _child(root, home / "cache")
        pages = _first_contents({t: Path(name) for t in TIMES}, 2 if quick else 5)
    rows = []
    for what, stage in (
        ("Reading and dividing the photos, each", "reading"),
        ("Listing and dividing them again, each", "opening"),
        (f"Decoding them to {_SIZE} pixels, each", "decoding"),
    ):
        each = {t: 1000 * found[t][stage]["seconds"] / (base * t) for t in TIMES}
        rows += _flat(what, each, base, "ms")
    # Of few photos, memory is what the system hands out at a time, and no cost of a photo.
    for what, stage in (
        ()
        if quick
        else (
            ("Memory while reading them, each", "reading"),
            ("Memory while decoding them, each", "decoding"),
        )
    ):
        each = {t: max(1e6, found[t][stage]["bytes"]) / 1000 / (base * t) for t in TIMES}
        rows += _flat(what, each, base, "kB")
    for times in TIMES[1:]:
        ours, other = pages[times], pages[1]
        title = f"The page of {base * times:,} photos, to all of its content"
        rows.append(row(title, ours, other, "s", f"the page of {base:,}"))
    return rows


def _flat(what: str, each: dict[int, float], base: int, unit: str) -> list[Row]:
    return [
        row(f"{what} of {base * times:,}", each[times], each[1], unit, f"each of {base:,}", FLAT)
        for times in TIMES[1:]
    ]


def _write(root: Path, count: int) -> None:
    """Fills class folders with pictures that differ as files; only some differ as pictures."""
    few = paths_of(_DIFFERENT)
    for label in {path.parent.name for path in few}:
        (root / label).mkdir(parents=True)
    contents = [path.read_bytes() for path in few]
    for i in range(count):
        label, content = few[i % _DIFFERENT].parent.name, contents[i % _DIFFERENT]
        # What follows a picture's end is not read, but makes it another file.
        (root / label / f"{label}{i:06}.jpg").write_bytes(content + i.to_bytes(4))


def _child(root: Path, cache: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(root), str(cache)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def _first_contents(folders: dict[int, Path], repeats: int) -> dict[int, float]:
    """Seconds to all of the dataset page, the photos read before, at the best of some loads."""
    seconds = {}
    with chromium() as browser:
        for times, folder in folders.items():
            served = serving(folder / f"home{times}", folder / f"photos{times}")
            with served as (port, _), browser.new_page() as page:
                page.set_default_timeout(120_000)
                taken = []
                for _ in range(1 + repeats):  # the first starts what all pages share
                    began = time.perf_counter()
                    page.goto(f"http://127.0.0.1:{port}/Dataset?dataset_tab=Photos")
                    settled(page, "Dataset")
                    page.get_by_test_id("stMain").locator("img").first.wait_for()
                    taken.append(time.perf_counter() - began)
            seconds[times] = min(taken[1:])
    return seconds
