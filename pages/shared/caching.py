"""Caches keyed by the files behind a value: what was written anew is read anew."""

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from trashnet.runs.run import Run

_RESULTS = (
    "evaluation.json",
    "predictions.parquet",
    "out_of_fold.parquet",
    "index.parquet",
    "model.tflite",
    "head.npz",
    "projection.npz",
)


def stamp(path: Path) -> int | None:
    """Returns what changes when a file does, or None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def fingerprint(run: Run) -> tuple[str | int | None, ...]:
    """Returns what changes when a run is trained or evaluated anew, or deleted."""
    return str(run.path), *(stamp(run.path / name) for name in _RESULTS)


_KEYS: dict[type, Any] = {Run: fingerprint, type(Path()): lambda path: (str(path), stamp(path))}

cached = partial(st.cache_data, show_spinner=False, hash_funcs=_KEYS)
"""`st.cache_data` for functions of runs and of paths; each caller has a copy of its own."""

cached_resource = partial(st.cache_resource, show_spinner=False, hash_funcs=_KEYS)
"""`st.cache_resource` for the same; all callers share what is returned."""
