"""What the command line prints whatever the command: bars while one waits, and JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trashnet.errors import TrashnetError
from trashnet.progress import Progress, silent
from trashnet.runs.jobs import progress_file


@contextlib.contextmanager
def progress_bar(file: str | None = None) -> Iterator[Progress]:
    """Yields a callback that draws a bar on a terminal; a log has the epochs and gets no bar.

    Args:
        file: Where to write the progress as well, as `trashnet.runs.jobs` reads it.
    """
    bar: tqdm | None = None
    also = progress_file(Path(file)) if file else silent
    shown = ""

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal bar, shown
        also(done, total, what)
        if bar is None or what != shown:
            if bar is not None:
                bar.close()
            quiet = not sys.stderr.isatty()
            bar = tqdm(total=total, desc=what, disable=quiet, file=sys.stderr, leave=False)
            shown = what
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()


def show_lines(result: Iterable[dict[str, Any]]) -> None:
    """Prints one line of JSON an answer, as it comes."""
    for answer in result:
        print(json.dumps(answer, allow_nan=False), flush=True)


def show_json(result: Any) -> None:
    """Prints one JSON document; of an iterator, an array that grows as its rows come."""
    if not isinstance(result, Iterator):
        print(json.dumps(result, allow_nan=False))
        return
    before = "["
    try:
        for row in result:
            print(before, json.dumps(row, allow_nan=False), sep="", end="", flush=True)
            before = ",\n"
    except TrashnetError:
        if before != "[":  # what was answered stays one document
            print("]")
        raise
    print("[]" if before == "[" else "]")
