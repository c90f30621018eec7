"""Photos of one print: labels, flyers and boxes whose local features match geometrically.

A print is recognised where a network's embedding sees two different photos: turned, cropped, on
another bottle. RootSIFT features (Lowe 2004; Arandjelović and Zisserman 2012) of two photos are
matched by the ratio test, both ways, and counted as far as one affine map takes them along
(RANSAC). OpenCV does the work; it is imported here alone, in an audit's own process.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from threadpoolctl import threadpool_limits

from trashnet.data.audit_findings import LISTED
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo, scaled
from trashnet.data.scan import read_known
from trashnet.files import Cache, read_table, write_table
from trashnet.progress import Progress, parallel, silent

LONGEST = 512
"""Pixels of a photo's longer side when features are looked for."""

FEATURES = 600
"""At most, of one photo; the strongest."""

NEIGHBOURS = 40
"""Candidates of each photo by embedding, and as many by shared words."""

COLUMNS = ["one", "two", "matches", "similarity", "points"]
"""Of the table of matches."""

_RATIO = 0.8

_TABLES, _BITS = 8, 12
"""Ways to name a descriptor by a word, and the hyperplanes that make one."""

_POINTS = 40
"""Matched points that are kept of a pair, to be shown."""

_STEP = 256

_LOOKING = "Looking for prints"


@dataclass(frozen=True)
class Features:
    """A photo's local features.

    Attributes:
        points: `(n, 2) float32`, x and y as shares of the photo's longer side.
        descriptors: `(n, 128) uint8`, RootSIFT of length 255.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


def describe(photo: NDArray[np.uint8]) -> Features:
    """Returns the features of a photo, `(h, w, 3) uint8`."""
    import cv2

    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    gray = cv2.resize(gray, scaled((width, height), LONGEST), interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT.create(FEATURES, contrastThreshold=0.02)
    found, vectors = sift.detectAndCompute(gray, None)
    if vectors is None:  # nothing has an edge
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    points = np.array([point.pt for point in found], np.float32) / np.float32(LONGEST)
    root = np.sqrt(vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1e-9))
    return Features(points, (255 * root).round().astype(np.uint8))


def matched(one: Features, two: Features) -> NDArray[np.float32]:
    """Returns the points that one affine map takes from a photo to another.

    Returns:
        `(m, 4) float32`: x and y in one, x and y in two; each point once.
    """
    import cv2

    nothing = np.zeros((0, 4), np.float32)
    if min(len(one.points), len(two.points)) < LISTED:
        return nothing
    products = one.descriptors.astype(np.float32) @ two.descriptors.astype(np.float32).T
    rows, nearest, back = np.arange(len(products)), products.argmax(axis=1), products.argmax(axis=0)
    first = products[rows, nearest]
    products[rows, nearest] = -np.inf
    # All have one length, 255, so that this is a squared distance, but for a factor.
    first, second = 255**2 - first, 255**2 - products.max(axis=1)
    kept = (first < _RATIO**2 * second) & (back[nearest] == rows)
    pairs = np.hstack([one.points[kept], two.points[nearest[kept]]])
    # A point with two orientations is two features, and counts once.
    pairs = pairs[np.unique(pairs[:, :2], axis=0, return_index=True)[1]]
    pairs = pairs[np.unique(pairs[:, 2:], axis=0, return_index=True)[1]]
    if len(pairs) < LISTED:
        return nothing
    here, there = np.ascontiguousarray(pairs[:, :2]), np.ascontiguousarray(pairs[:, 2:])
    affine, inside = cv2.estimateAffine2D(
        here, there, ransacReprojThreshold=6 / LONGEST, maxIters=500
    )
    # A print is not seen a tenth or ten times as large: that would be a point that many agree on.
    if affine is None or not 0.1 < abs(np.linalg.det(affine[:, :2])) < 10:
        return nothing
    return pairs[inside.ravel().astype(bool)]


def candidates(
    features: list[Features],
    embeddings: NDArray[np.float32],
    neighbours: int = NEIGHBOURS,
    on_progress: Progress = silent,
) -> NDArray[np.int64]:
    """Returns pairs worth matching: the nearest of each photo by embedding, and by shared words.

    A word is a descriptor's side of a few random planes; words are weighted by how rare they are.

    Args:
        features: Of each photo.
        embeddings: `(n, d) float32` of length 1.
        neighbours: Of each photo, in each way.
        on_progress: Told of the photos compared, each twice.

    Returns:
        `(m, 2) int`, row numbers, one < two.
    """
    n = len(features)

    def told(before: int) -> Progress:
        return lambda done, total, what: on_progress(before + done, 2 * n, what)

    found = [
        _nearest(embeddings, neighbours, told(0)),
        _nearest(_words(features), neighbours, told(n)),
    ]
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _words(features: list[Features]) -> csr_array:
    """Counts each photo's words: `(n, tables × 2^bits)`, rows of length 1."""
    from sklearn.feature_extraction.text import TfidfTransformer

    planes = np.random.default_rng(0).normal(size=(128, _TABLES * _BITS)).astype(np.float32)
    everything = np.concatenate([f.descriptors for f in features[:: max(1, len(features) // 500)]])
    middle = everything.mean(axis=0, dtype=np.float32) if len(everything) else np.float32(0)
    weights = 1 << np.arange(_BITS)
    blocks = []
    for start in range(0, len(features), _STEP):
        block = features[start : start + _STEP]
        rows, columns = [], []
        for row, found in enumerate(block):
            sides = (found.descriptors.astype(np.float32) - middle) @ planes > 0
            codes = sides.reshape(-1, _TABLES, _BITS) @ weights + np.arange(_TABLES) * (1 << _BITS)
            columns.append(codes.ravel().astype(np.int32))
            rows.append(np.full(codes.size, row, np.int32))
        ones = np.ones(sum(map(len, rows)), np.float32)
        places = np.concatenate(rows), np.concatenate(columns)
        blocks.append(csr_array((ones, places), shape=(len(block), _TABLES << _BITS)))
    counts = csr_array(vstack(blocks, format="csr"))
    rarity = TfidfTransformer(sublinear_tf=True).fit(counts)
    return csr_array(rarity.transform(counts, copy=False))


def _nearest(
    vectors: NDArray[np.float32] | csr_array, count: int, on_progress: Progress
) -> NDArray[np.int64]:
    """Returns the rows nearest to each row by cosine, as pairs, a block at a time."""
    n, turned = vectors.shape[0], vectors.T
    if not isinstance(turned, np.ndarray):
        turned = csr_array(turned)  # once, not in every block
    count = min(count + 1, n)  # itself is one
    found = []
    for start in range(0, n, _STEP):
        cosine = vectors[start : start + _STEP] @ turned
        cosine = cosine if isinstance(cosine, np.ndarray) else cosine.toarray()
        near = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        own = np.arange(start, start + len(near))[:, None]
        found.append(np.stack([np.broadcast_to(own, near.shape), near], axis=2).reshape(-1, 2))
        on_progress(start + len(near), n, "Choosing pairs to match")
    return np.concatenate(found)


def features_of(
    photos: Photos, rows: pd.DataFrame, cache_folder: Path, on_progress: Progress = silent
) -> list[Features]:
    """Returns the features of photos; computed once, stored as they go.

    Descriptors, 77 kB of most photos, are mapped from a temporary file, so that they need not fit
    in memory.

    Args:
        photos: The data set.
        rows: Rows of file and sha256, each content once.
        cache_folder: Where features are kept.
        on_progress: Told of the photos done.
    """
    kept: dict[str, tuple[NDArray[np.float32], int]] = {}
    done = 0

    def told(before: int) -> Progress:
        return lambda done, total, what: on_progress(before + done, len(rows), what)

    with tempfile.TemporaryFile(dir=cache_folder) as file:
        file.write(b"\0")  # what is empty cannot be mapped
        for digit in "0123456789abcdef":  # a sixteenth at a time: an interruption loses no more
            part = rows[rows.sha256.str.startswith(digit)]
            for sha256, points, descriptors in _features_of_part(
                photos, part, Cache(cache_folder), f"local-features-{digit}.parquet", told(done)
            ):
                kept[sha256] = np.frombuffer(points, np.float32).reshape(-1, 2), file.tell()
                file.write(descriptors)
            done += len(part)
            on_progress(done, len(rows), _LOOKING)
        file.flush()
        mapped = np.memmap(file, np.uint8, mode="r")
    places = (kept[sha256] for sha256 in rows.sha256)
    return [
        Features(points, mapped[at : at + 128 * len(points)].reshape(-1, 128))
        for points, at in places
    ]


def _features_of_part(
    photos: Photos, rows: pd.DataFrame, cache: Cache, file: str, on_progress: Progress
) -> Iterator[tuple[str, bytes, bytes]]:
    known = cache.load(file, lambda path: read_table(path, ["points", "descriptors"]))
    known = pd.DataFrame({"points": [], "descriptors": []}) if known is None else known
    known = known[known.index.isin(rows.sha256)]  # of other photos they would only take space
    todo = rows[~rows.sha256.isin(known.index)]

    def find(row: tuple[str, str]) -> tuple[bytes, bytes]:
        found = describe(load_photo(read_known(photos.root / row[0], row[1])))
        return found.points.tobytes(), found.descriptors.tobytes()

    if len(todo):
        work, before = list(zip(todo.file, todo.sha256, strict=True)), len(known)

        def told(done: int, _: int, what: str) -> None:
            on_progress(before + done, len(rows), what)

        made = parallel(find, work, told, _LOOKING)
        new = pd.DataFrame(made, columns=["points", "descriptors"], index=todo.sha256)
        known = pd.concat([known, new])
        cache.store(file, partial(write_table, table=known))
    return known.itertuples(name=None)


def matches(
    features: list[Features],
    embeddings: NDArray[np.float32],
    pairs: NDArray[np.int64],
    on_progress: Progress = silent,
) -> pd.DataFrame:
    """Matches pairs of photos.

    Args:
        features: Of each photo.
        embeddings: `(n, d) float32` of length 1.
        pairs: `(m, 2) int`, row numbers, one < two.
        on_progress: Told of the pairs done.

    Returns:
        Of the pairs that match: one, two (row numbers), matches (count), similarity (of embeddings)
        and points (of some of the matches: x and y in one, x and y in two, flat, as shares of the
        photo's longer side).
    """

    def match(pair: NDArray[np.int64]) -> NDArray[np.float32]:
        return matched(features[pair[0]], features[pair[1]])

    # `parallel` has a thread for each core; one that takes all of them is in the others' way.
    with threadpool_limits(1):
        found = parallel(match, list(pairs), on_progress, "Matching prints")
    kept = [(*pair, points) for pair, points in zip(pairs, found, strict=True) if len(points)]
    table = pd.DataFrame(
        {
            "one": [one for one, _, _ in kept],
            "two": [two for _, two, _ in kept],
            "matches": [len(points) for _, _, points in kept],
            "similarity": [float(embeddings[one] @ embeddings[two]) for one, two, _ in kept],
            "points": [points[:: -(-len(points) // _POINTS)].ravel() for *_, points in kept],
        }
    )
    return table[table.matches >= LISTED].reset_index(drop=True)
