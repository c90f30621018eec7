"""Answers for more photos than one machine can take, on Ray.

Actors of one model and one core each read, classify and write whole parts (`shards`). Photos never
pass through Ray's object store, so nothing is copied and memory stays that of the models.
Ray Data answered fewer photos a second, and ended the whole job at the first unreadable file.
"""

import dataclasses
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from trashnet.distributed.answer_store import is_among, remove_answers, write_answers, written
from trashnet.distributed.object_store import Place, one_line
from trashnet.distributed.shards import Part, find_parts
from trashnet.environment import PACKAGE
from trashnet.errors import ConfigError, PhotoError, TrashnetError
from trashnet.files import digest
from trashnet.inference.batch import as_row
from trashnet.inference.classifier import Classifier
from trashnet.progress import Progress, silent
from trashnet.runs.run import Run

_MODEL = (
    "config.json",
    "evaluation.json",
    "head.npz",
    "model.tflite",
    "predictions.parquet",
    "projection.npz",
)
"""The files of a run that answering takes; they are sent to the machines."""

_JOB = "job.json"

_DEATHS = 2
"""How often a part may end the process at work on it before it is divided."""

_STARTS = 3
"""How often in a row each worker may end before it can answer anything."""

_LOOK = 5.0
"""Seconds between two looks at how many cores the cluster has."""


def connect(address: str | None) -> None:
    """Joins a cluster, or starts Ray on this machine; the package goes along to the workers.

    Args:
        address: Of a cluster, as `ray.init` takes it; None is this machine alone.

    Raises:
        ConfigError: There is no cluster.
    """
    local: dict[str, Any] = {}
    if not address:  # on one machine there is no more to store than the model
        local = {"object_store_memory": 200 << 20, "include_dashboard": False}
    package = str(PACKAGE)
    try:
        ray.init(
            address=address or "local",
            runtime_env={"py_modules": [package]},
            logging_level=logging.ERROR,
            log_to_driver=False,
            **local,
        )
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"Ray at {address or 'this machine'} does not answer ({said})."
        ) from error


def classify(
    run: Run,
    source: str,
    output: str,
    flips: bool = False,
    address: str | None = None,
    workers: int | None = None,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Answers all photos of a source that an output does not hold yet.

    Args:
        run: The run whose model answers.
        source: A folder of photos, a Parquet file of them or a folder of such, or its address in
            an object store; every machine must reach it.
        output: Folder, or address, that gets `answers/*.parquet` and `failed/*.parquet`.
        flips: As for `Classifier`.
        address: As for `connect`.
        workers: Actors, of one core each; None is one a core, however many there are by then.
        on_progress: Told of the photos done.

    Raises:
        TrashnetError: There is nothing to answer, or no way to.
    """
    began = time.time()
    taken, place = Place(source), Place(output)
    if f"{place.root}/".startswith(f"{taken.root.rstrip('/')}/"):
        raise ConfigError(
            f"{place.shown} is within {taken.shown}; name an output outside the photos."
        )
    classes = Classifier(run, flips, threads=1).classes  # said here, not by every worker
    parts = find_parts(taken, on_progress)
    _begin(place, taken, run, flips)
    known = written(place)
    total, counts = sum(map(len, parts)), np.zeros(3, int)
    on_progress(0, total, "Classifying")
    connect(address)
    try:
        made = (run.id, ray.put(_model_files(run)), flips, place, ray.put(known))
        for done in _answered(parts, made, known, workers, place, classes):
            counts += done
            on_progress(int(counts.sum()), total, "Classifying")
    except RayTaskError as error:
        if not isinstance(error.cause, OSError | TrashnetError):  # a bug is shown whole
            raise
        raise TrashnetError(f"{_last_line(error)}; the same command goes on from here.") from error
    except RayError as error:
        raise TrashnetError(f"{_last_line(error)}; the same command goes on from here.") from error
    finally:
        ray.shutdown()
    answered, failed, before = map(int, counts)
    seconds = time.time() - began
    return {
        "run": run.id,
        "output": place.shown,
        "photos": total,
        "answered": answered,
        "failed": failed,
        "before": before,
        "seconds": round(seconds, 2),
        "photos_per_second": round((answered + failed) / seconds, 1),
    }


def _last_line(error: Exception) -> str:
    """What an error says, without the remote traceback before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")


def _model_files(run: Run) -> dict[str, bytes]:
    return {name: (run.path / name).read_bytes() for name in _MODEL if (run.path / name).exists()}


def _begin(place: Place, source: Place, run: Run, flips: bool) -> None:
    """Notes what an output holds; answers of two models, or for two sources, are not mixed."""
    model = sha256((run.path / "model.tflite").read_bytes()).hexdigest()
    evaluation = digest((run.path / "evaluation.json").read_text())
    job = {"run": run.id, "model": model, "evaluation": evaluation, "flips": flips}
    # Both: photos are told apart by the words, and the same words may mean another folder.
    job |= {"source": source.shown, "root": source.root}
    try:
        known = json.loads(place.read(_JOB) or "null")
        if known is None:
            place.write(_JOB, lambda stream: stream.write(json.dumps(job).encode()))
        elif known | {"run": None} != job | {"run": None}:  # a run may be known by two names
            raise ConfigError(
                f"{place.shown} holds answers of {known.get('run')} for {known.get('source')}, or "
                "with other flips; repeat that command, from the same folder, or name another "
                "output."
            )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{place.shown} cannot be written ({one_line(error)}).") from error


@ray.remote(num_cpus=1, max_restarts=0)
class _Worker:
    """One model in a process of its own."""

    def __init__(
        self,
        name: str,
        files: dict[str, bytes],
        flips: bool,
        place: Place,
        known: NDArray[np.bytes_],
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder) / name)
            run.path.mkdir()
            for file, content in files.items():
                (run.path / file).write_bytes(content)
            self._classifier = Classifier(run, flips, threads=1)
        self._place, self._known = place, known

    def answer(self, part: Part) -> tuple[int, int, int]:
        """Writes the answers of a part; returns how many are answered, failed, known before."""
        rows = []
        for source, name, photo in part.photos(lambda source: is_among(source, self._known)):
            try:
                if isinstance(photo, PhotoError):
                    raise photo
                row = as_row(name, self._classifier.classify(photo))
            except PhotoError as error:
                row = as_row(name, str(error))
            rows.append(row if source == name else row | {"source": source})
        failed = write_answers(self._place, rows, self._classifier.classes) if rows else 0
        return len(rows) - failed, failed, len(part) - len(rows)


def _answered(
    parts: list[Part],
    made: tuple[Any, ...],
    known: NDArray[np.bytes_],
    workers: int | None,
    place: Place,
    classes: tuple[str, ...],
) -> Iterator[tuple[int, int, int]]:
    """Yields what became of each part, in whatever order; a part whose worker died is repeated.

    A dead worker is not restarted by Ray, which would have its part wait for a machine that may
    never come back: the part goes to the next that is free, and there are as many workers as the
    cluster has cores for, when machines leave and when they join.
    """
    left = list(reversed(parts))
    busy: dict[Any, tuple[Any, Part | None]] = {}
    looked, starts = -_LOOK, 0
    while left or any(part is not None for _, part in busy.values()):
        if time.monotonic() - looked >= _LOOK:
            looked = time.monotonic()
            wanted = workers or int(ray.cluster_resources().get("CPU", 1))
            for _ in range(min(wanted - len(busy), len(left))):
                actor = _Worker.remote(*made)  # type: ignore[attr-defined]  # by ray.remote
                busy[actor.__ray_ready__.remote()] = actor, None
        if not busy:  # every machine is gone; one may come back
            time.sleep(1)
            continue
        finished, _ = ray.wait(list(busy), timeout=_LOOK)
        for reference in finished:
            actor, part = busy.pop(reference)
            try:
                result = ray.get(reference)
            except (RayActorError, OutOfMemoryError) as error:
                if getattr(error, "actor_init_failed", False):  # it would fail everywhere, for ever
                    raise
                ray.kill(actor)  # one that is out of reach for a while may be at work still
                looked = -_LOOK
                if part is None:
                    starts += 1
                    if starts > _STARTS * wanted:
                        raise TrashnetError(
                            f"Workers end while they start ({_last_line(error)}); try fewer with "
                            "--workers."
                        ) from error
                    continue
                # It may have ended between writing the answers and saying so.
                remove_answers(place, [s for s in part.places() if not is_among(s, known)])
                if len(part) == 1 and part.deaths >= _DEATHS:
                    yield _give_up(part, place, classes)
                else:
                    left += _again(part)
                continue
            starts = 0
            if part is not None:
                yield result
            if left:
                following = left.pop()
                busy[actor.answer.remote(following)] = actor, following


def _again(part: Part) -> tuple[Part, ...]:
    """What is to be repeated of a part whose worker died: halves, where it may be the part."""
    part = dataclasses.replace(part, deaths=part.deaths + 1)
    return part.halves() if part.deaths >= _DEATHS and len(part) > 1 else (part,)


def _give_up(part: Part, place: Place, classes: tuple[str, ...]) -> tuple[int, int, int]:
    """Lists a photo as failed that ended every process which read it."""
    said = "The process that read it ended each time, perhaps for want of memory."
    rows = [as_row(source, said) for source in part.places()]
    write_answers(place, rows, classes)
    return 0, len(rows), 0
