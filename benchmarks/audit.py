"""Auditing: what a photo costs among 4 times as many, in time and memory; flat is good."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image, ImageOps

from benchmarks.growth import FLAT
from benchmarks.measuring import ROOT, Row, row
from benchmarks.photos import paths_of

TIMES = 4

_CHANGES = (
    lambda photo: photo,
    ImageOps.mirror,
    lambda photo: photo.crop((20, 20, photo.width - 20, photo.height - 20)),
    lambda photo: ImageOps.mirror(photo).crop((20, 20, photo.width - 20, photo.height - 20)),
)
"""There are not four times as many photos of TrashNet, so the others are made of them."""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about audits, of all of TrashNet and of 10,108 photos made of them."""
    base, found = 100 if quick else 2527, {}
    with tempfile.TemporaryDirectory() as name:
        for times in (1, TIMES):
            root, home = Path(name) / f"photos{times}", Path(name) / f"home{times}"
            _write(root, base, times)
            environ = {"TRASHNET_DATA": str(root), "TRASHNET_HOME": str(home)}
            found[times] = _audit(environ)
            print(times, found[times], file=sys.stderr, flush=True)
    many, few = found[TIMES], found[1]
    each = {t: 1000 * found[t]["seconds"] / found[t]["photos"] for t in found}
    against = f"of {base:,}"
    return [
        row(f"Auditing each of {base * TIMES:,}", each[TIMES], each[1], "ms", against, FLAT),
        row(
            f"Memory to audit {base * TIMES:,}",
            many["bytes"] / 1e6,
            few["bytes"] / 1e6,
            "MB",
            against,
        ),
    ]


def _write(root: Path, count: int, times: int) -> None:
    """Fills class folders with so many photos, each in so many versions."""
    for number, path in enumerate(paths_of(count)):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(path) as photo:
            for version, change in enumerate(_CHANGES[:times]):
                to = root / path.parent.name / f"photo{version}{number:05}.jpg"
                change(photo.convert("RGB")).save(to, quality=90)


def _audit(environ: dict[str, str]) -> dict[str, float]:
    began, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", "trashnet", "audit", "--json"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stdout=said)
        while process.poll() is None:
            peak = max(peak, _own_bytes(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        said.seek(0)
        photos = json.load(said)["photos"]
    return {"seconds": seconds, "bytes": peak, "photos": photos}


def _own_bytes(process: int) -> int:
    """Bytes in memory that are no file's: those of files it maps can leave memory at any time."""
    try:
        memory = psutil.Process(process).memory_info()
    except psutil.NoSuchProcess:  # it has ended
        return 0
    return memory.rss - getattr(memory, "shared", 0)  # not every system counts them
