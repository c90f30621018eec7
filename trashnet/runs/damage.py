"""What is wrong with the files of a finished run, found without reading them whole.

A damaged run costs itself alone: it is listed with what is wrong, and no page chooses it.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trashnet.errors import RunError
from trashnet.runs.run import Run

_NEEDED = ("evaluation.json", "model.tflite", "predictions.parquet")


def damage_of(run: Run) -> str | None:
    """Returns what is wrong with a finished run in a few words; None where nothing is found.

    A file that is cut or overwritten is found; one that is whole but holds something else is
    noticed only by who reads it, as a `RunError`.
    """
    if run.status().state != "finished":
        return None
    for name, is_whole in _WHOLE.items():
        path = run.path / name
        if path.exists():
            if not is_whole(path):
                return f"{name} is cut short or overwritten"
        elif name in _NEEDED:
            return f"{name} is missing"
    try:
        evaluation = run.evaluation()
    except RunError as error:
        return str(error).partition(" is damaged: ")[2].partition(". Train")[0] or str(error)
    if "test" not in evaluation["splits"]:
        return "splits.test is missing in evaluation.json"
    if "out_of_fold" in evaluation and not (run.path / "out_of_fold.parquet").exists():
        return "out_of_fold.parquet is missing"
    return None


def _is_table(path: Path) -> bool:
    try:
        return pq.read_metadata(path).num_rows > 0
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return False


def _is_model(path: Path) -> bool:
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(str(path))  # checks the file's structure in a millisecond, and copies nothing
    except (ValueError, RuntimeError):
        return False
    return True


_WHOLE: dict[str, Callable[[Path], bool]] = {
    "evaluation.json": lambda path: True,  # is read below
    "model.tflite": _is_model,
    "predictions.parquet": _is_table,
    "index.parquet": _is_table,
    "out_of_fold.parquet": _is_table,
    "head.npz": zipfile.is_zipfile,
    "projection.npz": zipfile.is_zipfile,
}
"""How each file is looked at, in little time: pages ask for every run they list."""
