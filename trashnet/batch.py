"""Many photos at once: every core answers, memory stays bounded, and a bad photo stops nothing."""

import glob
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from trashnet.archive import is_picture_name, read_pictures
from trashnet.errors import DataError, PhotoError
from trashnet.photos import Source
from trashnet.predict import Classifier, Prediction
from trashnet.runs import Run

Answer = tuple[str, Prediction | str]
"""A photo's name, and its prediction or the sentence that says why there is none."""

Named = tuple[str, Source | PhotoError]
"""A photo's name, and where it is or the error that says why it is nowhere."""

_AHEAD = 4
"""Photos per worker that are read before their turn to be handed out."""


def classify_each(
    run: Run,
    photos: Iterable[Named],
    flips: bool = False,
    workers: int | None = None,
) -> Iterator[Answer]:
    """Answers photos in their order, as they come.

    Args:
        run: The run whose model answers.
        photos: Names and sources, or why there is none; taken as there is room for them.
        flips: As for `Classifier`.
        workers: Threads, each with a model of its own; None is one a core.

    Raises:
        RunError: The run has no exported model yet.
    """
    workers = workers or os.cpu_count() or 1
    own = threading.local()
    # The first is made here: a run that cannot answer is said before a photo is read.
    spare = [Classifier(run, flips, threads=1)]

    def answer(source: Source | PhotoError) -> Prediction | str:
        if isinstance(source, PhotoError):
            return str(source)
        if not hasattr(own, "classifier"):
            try:
                own.classifier = spare.pop()
            except IndexError:
                own.classifier = Classifier(run, flips, threads=1)
        try:
            return own.classifier.classify(source)
        except PhotoError as error:
            return str(error)

    pool = ThreadPoolExecutor(workers, "classify")
    waiting: deque[tuple[str, Future[Prediction | str]]] = deque()
    try:
        for name, source in photos:
            waiting.append((name, pool.submit(answer, source)))
            while waiting and (len(waiting) >= workers * _AHEAD or waiting[0][1].done()):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:  # also when whoever asked stops listening
        pool.shutdown(cancel_futures=True)


def as_row(name: str, answer: Prediction | str) -> dict[str, Any]:
    """Returns an answer as the command line prints it."""
    if isinstance(answer, str):
        return {"file": name, "error": answer}
    return {"file": name, **answer.to_dict()}


def named_photos(paths: Iterable[str], stdin: BufferedIOBase) -> Iterator[Named]:
    """Yields the photos that arguments of the command line mean.

    Args:
        paths: Photos, folders of photos at any depth, zips, patterns such as `*.jpg`, and `-` for
            standard input.
        stdin: Names of photos, one a line, or one photo itself.
    """
    for path in paths:
        if path == "-":
            yield from _from_stdin(stdin)
        elif Path(path).is_dir():
            inside = sorted(p for p in Path(path).rglob("*") if is_picture_name(p.name))
            yield from ((str(p), p) for p in inside)
        # A link to nothing is there, although it does not exist, and would match itself for ever.
        elif not os.path.lexists(path) and (matching := sorted(glob.glob(path, recursive=True))):
            yield from named_photos(matching, stdin)
        elif path.lower().endswith(".zip") and os.path.isfile(path):
            yield from _from_zip(Path(path))
        else:
            yield path, Path(path)


def _from_stdin(stdin: BufferedIOBase) -> Iterator[Named]:
    start = stdin.read1(4096)  # what is there, without waiting
    if b"\0" in start:  # as in the head of every picture format, and in no name
        yield "-", start + stdin.read()
        return
    lines = start.split(b"\n")
    if lines[-1]:  # what was there ends within a name
        lines[-1] += stdin.readline()
    while lines:
        for line in filter(None, map(bytes.strip, lines)):
            yield os.fsdecode(line), Path(os.fsdecode(line))
        lines = [line] if (line := stdin.readline()) else []


def _from_zip(path: Path) -> Iterator[Named]:
    try:
        for name, content in read_pictures(path):
            yield f"{path}/{name}", content
    except DataError as error:  # the photos before and after it are answered all the same
        yield str(path), PhotoError(str(error))
