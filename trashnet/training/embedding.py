"""Embeddings of photos by the frozen ImageNet backbone."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.data import prints
from trashnet.data.audit import Audit, audit, contents
from trashnet.data.audit_findings import store_table, stored_table
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.data.scan import read_known
from trashnet.files import Cache, read_table, write_table
from trashnet.progress import Progress, silent

_BACKBONE = "efficientnet_lite0"
"""What groups of photos were made and their limits chosen with; a model may be another."""

_FILE = f"embeddings-{_BACKBONE.replace('_', '-')}.parquet"

_IMAGE_SIZE = 224

_BATCH = 32

_STEP = 32
"""Batches between two times that embeddings are stored."""

_PAIRS = 20_000
"""Matched between two times that matches are stored."""


def embed(
    photos: Photos, rows: pd.DataFrame, cache_folder: Path, on_progress: Progress = silent
) -> NDArray[np.float32]:
    """Returns the photos' embeddings, `(n, 1280) float32` of length 1; computed once per content.

    Args:
        photos: The data set.
        rows: Rows of file and sha256, each content once.
        cache_folder: Where embeddings are kept, by content.
        on_progress: Told of the photos done.
    """
    cache = Cache(cache_folder)
    known = cache.load(_FILE, lambda path: read_table(path, ["embedding"]))
    if known is None:
        known = pd.DataFrame({"embedding": []})
    todo = rows[~rows.sha256.isin(known.index)]
    fresh: list[NDArray[np.float16]] = []
    for number, batch in enumerate(_run_backbone(photos, todo, on_progress), start=1):
        fresh += list(batch.astype(np.float16))
        if number % _STEP == 0 or len(fresh) == len(todo):  # an interruption loses no more
            new = pd.DataFrame({"embedding": fresh}, index=todo.sha256[: len(fresh)])
            known = pd.concat([known[~known.index.isin(new.index)], new])
            cache.store(_FILE, functools.partial(write_table, table=known))
    table = np.stack(known.embedding.reindex(rows.sha256).to_numpy()).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def embed_and_audit(
    photos: Photos, scanned: pd.DataFrame, cache_folder: Path, on_progress: Progress = silent
) -> tuple[NDArray[np.float32], Audit]:
    """Compares every different content of a scan, by embeddings and prints, and audits the photos.

    Returns:
        The embeddings, a row for each row of `data.audit.contents`, and the findings.

    Raises:
        DataError: Fewer than two photos can be read.
    """
    rows = contents(scanned)
    embeddings = embed(photos, rows, cache_folder, on_progress)

    @functools.cache
    def features() -> list[prints.Features]:  # not needed where all matches are kept
        return prints.features_of(photos, rows, cache_folder, on_progress)

    found = _match(features, embeddings, scanned, cache_folder, on_progress)
    return embeddings, audit(scanned, embeddings, found, cache_folder, on_progress)


def _match(
    features: Callable[[], list[prints.Features]],
    embeddings: NDArray[np.float32],
    scanned: pd.DataFrame,
    cache_folder: Path,
    on_progress: Progress,
) -> pd.DataFrame:
    """Matches the candidates, a part at a time, each stored: an interruption loses no more."""
    pairs = stored_table("candidates", ["one", "two"], scanned, cache_folder)
    if pairs is None:
        described = features()
        chosen = prints.candidates(described, embeddings, on_progress=on_progress)
        pairs = pd.DataFrame(chosen, columns=["one", "two"])
        store_table("candidates", pairs, scanned, cache_folder)
    parts = []
    for start in range(0, len(pairs), _PAIRS):
        part = stored_table(f"prints-{start}", prints.COLUMNS, scanned, cache_folder)
        if part is None:
            some = pairs[start : start + _PAIRS].to_numpy()

            def told(done: int, _: int, what: str, start: int = start) -> None:
                on_progress(start + done, len(pairs), what)

            part = prints.matches(features(), embeddings, some, told)
            store_table(f"prints-{start}", part, scanned, cache_folder)
        parts.append(part)
    found = pd.concat(parts) if parts else pd.DataFrame(columns=prints.COLUMNS)
    return found.sort_values(["matches", "one", "two"], ascending=[False, True, True])


def _run_backbone(
    photos: Photos, rows: pd.DataFrame, on_progress: Progress
) -> Iterator[NDArray[np.float32]]:
    if rows.empty:
        return
    # Imported here: TensorFlow takes seconds, which embeddings that are kept need not wait for.
    from trashnet.training.efficientnet_lite import embedder

    model = embedder(_BACKBONE, _IMAGE_SIZE)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        contents = (read_known(photos.root / r.file, r.sha256) for r in part.itertuples())
        batch = [load_photo(content, _IMAGE_SIZE) for content in contents]
        yield model.predict_on_batch(np.stack(batch).astype(np.float32))
        on_progress(min(start + _BATCH, len(rows)), len(rows), "Comparing photos")
