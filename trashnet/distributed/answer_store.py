"""Predictions as Parquet files in an output folder, resumable."""

import time
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trashnet.distributed.object_store import (
    HALF_SECONDS,
    HALF_WRITTEN,
    Place,
    one_line,
)
from trashnet.errors import DataError

ANSWERS, FAILED = "answers", "failed"
"""Folders of an output: what was answered, and what could not be read, with the reason."""


def write_answers(place: Place, rows: list[dict[str, Any]], classes: Iterable[str]) -> int:
    """Writes rows as the command line prints them; returns how many could not be answered.

    A row whose `file` may be another's, too, says in `source` where it is from. The files are named
    by where the photos are, so that writing the same photos again replaces what was written.
    """
    name = _file([row.get("source") or row["file"] for row in rows])
    failed = [row for row in rows if "error" in row]
    kinds = ((ANSWERS, [row for row in rows if "error" not in row]), (FAILED, failed))
    for folder, some in kinds:
        if some:
            table = pa.Table.from_pylist(some, schema=_schema(folder, classes))
            place.write(f"{folder}/{name}", partial(pq.write_table, table))
        else:
            place.remove(f"{folder}/{name}")
    return len(failed)


def remove_answers(place: Place, sources: list[str]) -> None:
    """Removes what `write_answers` wrote for these photos together."""
    for folder in (ANSWERS, FAILED):
        place.remove(f"{folder}/{_file(sources)}")


def _schema(folder: str, classes: Iterable[str]) -> pa.Schema:
    """Of every file the same: a class that no photo of a part is of keeps its column."""
    if folder == FAILED:
        return pa.schema({"file": pa.string(), "error": pa.string(), "source": pa.string()})
    return pa.schema(
        {
            "file": pa.string(),
            "label": pa.string(),
            "confidence": pa.float64(),
            "probabilities": pa.struct({name: pa.float64() for name in classes}),
            "sure": pa.bool_(),
            "familiar": pa.bool_(),
            "source": pa.string(),
        }
    )


def fingerprints(sources: Iterable[str]) -> NDArray[np.bytes_]:
    """Returns 16 bytes a photo: a hundred million are 1.6 GB, and no two are mistaken."""
    return np.array([_fingerprint(source) for source in sources], "S16")


def written(place: Place) -> NDArray[np.bytes_]:
    """Returns the fingerprints, sorted, of where the photos are that an output holds already.

    What a killed process left half written is removed.

    Raises:
        DataError: A file is none of ours, or cannot be read.
    """
    found = [np.empty(0, "S16")]
    for path in (path for folder in (ANSWERS, FAILED) for path in place.files(folder)):
        name = path.rpartition("/")[2]
        try:
            if HALF_WRITTEN.fullmatch(name):
                if time.time() - place.store.get_file_info(path).mtime.timestamp() > HALF_SECONDS:
                    place.store.delete_file(path)
            elif name.endswith(".parquet"):
                with place.store.open_input_file(path) as stream:
                    table = pq.read_table(stream, columns=["source", "file"])
                sources = pc.coalesce(table["source"], table["file"])
                found.append(fingerprints(sources.to_pylist()))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(
                f"{place.name(path)} cannot be read ({one_line(error)}); remove it, and its photos "
                "are answered again."
            ) from error
    return np.sort(np.concatenate(found))


def _file(sources: list[str]) -> str:
    return f"{_fingerprint(chr(10).join(sources)).hex()}.parquet"


def _fingerprint(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def is_among(source: str, known: NDArray[np.bytes_]) -> bool:
    """Whether the fingerprint of where a photo is is among sorted ones."""
    (wanted,) = fingerprints([source])
    position = int(np.searchsorted(known, wanted))
    return position < len(known) and known[position] == wanted
