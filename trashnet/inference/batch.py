"""Many photos at once: every core answers, memory stays bounded, and a bad photo stops nothing."""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from trashnet.data.image_io import Source
from trashnet.errors import PhotoError
from trashnet.inference.classifier import Classifier, Prediction
from trashnet.inference.inputs import Named
from trashnet.progress import cores
from trashnet.runs.run import Run

Answer = tuple[str, Prediction | str]
"""A photo's name, and its prediction or the sentence that says why there is none."""

_AHEAD = 4
"""Photos per worker that are read before their turn to be handed out."""


_MOST = 8
"""Models at work at once unless more are asked for: each takes some 32 MB."""


def classify_each(
    run: Run,
    photos: Iterable[Named],
    flips: bool = False,
    workers: int | None = None,
) -> Generator[Answer]:
    """Answers photos in their order, as they come.

    Args:
        run: The run whose model answers.
        photos: Names and sources, or why there is none; taken as there is room for them.
        flips: As for `Classifier`.
        workers: Threads, each with a model of its own; None is one a core, eight at most.

    Raises:
        RunError: The run has no exported model yet.
    """
    workers = workers or min(cores(), _MOST)
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
