"""Photos for tests: a fixed few of TrashNet, as the package ships them, and one of no waste."""

import functools
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from trashnet.data.editions import FOLDER, contents

CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")

FEW = {"cardboard": 38, "glass": 48, "metal": 39, "paper": 56, "plastic": 46, "trash": 13}
"""About as unbalanced as TrashNet: 240 in all."""


@functools.cache
def shipped_photos() -> dict[str, bytes]:
    """Returns every photo of the package, by file."""
    tables = [pq.read_table(path, columns=["image"]) for path in sorted(FOLDER.glob("*.parquet"))]
    return {i["path"]: i["bytes"] for table in tables for i in table["image"].to_pylist()}


def trashnet_photo(label: str, number: int) -> Image.Image:
    """Returns a photo of a class; there are 100 and more, and then they begin again."""
    count = sum(file.startswith(f"{label}/") for file in contents().index)
    return Image.open(io.BytesIO(shipped_photos()[f"{label}/{label}{1 + number % count}.jpg"]))


def write_few(root: Path) -> None:
    """Writes 240 photos to class folders: `glass/glass1.jpg` and so on."""
    for label, count in FEW.items():
        (root / label).mkdir(parents=True)
        for number in range(1, count + 1):
            file = f"{label}/{label}{number}.jpg"
            (root / file).write_bytes(shipped_photos()[file])


def squares(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of no waste: 8 × 8 squares, each of one colour."""
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    each = side // 8 + 1
    return np.kron(colours, np.ones((each, each, 1), np.uint8))[:side, :side]
