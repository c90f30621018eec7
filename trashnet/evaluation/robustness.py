"""How a run's model holds up when its photos change.

Each photo of a split is corrupted in one way at a time, by known strengths (`corruptions`), and
classified again; a row of the result says what that costs.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trashnet.data.image_io import load_photo
from trashnet.errors import RunError
from trashnet.evaluation.backgrounds import LONGEST, resized
from trashnet.evaluation.corruptions import SCHEMA, SEED, TRANSFORMS, change_photo
from trashnet.evaluation.report import logits_and_labels, report
from trashnet.files import digest, read_json, write_json
from trashnet.inference.calibration import is_sure, probabilities
from trashnet.inference.classifier import Classifier, calibration_of
from trashnet.progress import Progress, parallel, silent
from trashnet.runs.robustness_file import keep, slot, stored
from trashnet.runs.run import Run

Answer = tuple[NDArray[np.floating], bool]
"""The logits of a photo, and whether the answer is sure."""

Rows = list[dict[str, Any]]


def measure_and_store(
    run: Run,
    photos_root: Path,
    split: str = "validation",
    on_progress: Progress = silent,
    folder: Path | None = None,
) -> dict[str, Any]:
    """As `measure`, kept in a file of the split's own and returned from there the next time.

    What an interrupted measurement has finished is kept beside it and not measured again.

    Args:
        run: A finished run.
        photos_root: Folder that the run's files are relative to.
        split: Whose photos.
        on_progress: Told of every 25 photos of a transformation.
        folder: Where it is kept; by default the run's own.
    """
    subject, folder = _Subject.of(run, split), folder or run.path
    known = None
    with contextlib.suppress(RunError):  # what is damaged is measured anew
        known = stored(run, split, folder)
    if known is not None and known.get("fingerprint") == subject.fingerprint:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = (folder / slot(split)).with_suffix(".partial.json")
    partial = read_json(unfinished)
    if not isinstance(partial, dict) or partial.get("fingerprint") != subject.fingerprint:
        partial = {"fingerprint": subject.fingerprint, "rows": []}

    def keep_rows(rows: Rows) -> None:
        write_json(unfinished, partial | {"rows": rows})

    result = measure(run, photos_root, split, on_progress, partial["rows"], keep_rows)
    keep(folder, result)
    unfinished.unlink(missing_ok=True)
    return result


def measure(
    run: Run,
    photos_root: Path,
    split: str = "validation",
    on_progress: Progress = silent,
    finished: Sequence[dict[str, Any]] = (),
    on_finished: Callable[[Rows], None] = lambda rows: None,
) -> dict[str, Any]:
    """Answers a split's photos again after every transformation.

    Args:
        run: A finished run.
        photos_root: Folder that the run's files are relative to.
        split: Whose photos.
        on_progress: Told of every 25 photos of a transformation.
        finished: Rows of an earlier call; their transformations are left out.
        on_finished: Given all rows so far whenever a transformation is finished.

    Returns:
        schema, fingerprint, split and n; `plain`, the figures of the unchanged photos, by the
        answers the run stored; `rows`, one per transformation and strength, of transformation,
        strength, unit, n (photos answered), skipped (not separable), accuracy, accuracy_interval
        (Wilson, 95 %), confidence (mean, calibrated), sure (share of sure answers),
        answered_accuracy (of these) and change (accuracy less that of the same photos unchanged),
        None where there are no photos; `mean_transformed`, the mean accuracy over transformations,
        each of them the mean over its strengths.

    Raises:
        RunError: The run has no model, no photos in this split, or its photos are gone.
        PhotoError: A photo is damaged.
    """
    subject = _Subject.of(run, split)
    subject.check_photos(photos_root)
    classifier = Classifier(run)
    rows, n = list(finished), len(subject.files)
    for number, name in enumerate(TRANSFORMS):
        if any(row["transformation"] == name for row in rows):
            continue

        def answer(i: int, name: str = name) -> list[Answer | None]:
            return _answers(classifier, photos_root, subject.files[i], name)

        def tell(done: int, total: int, what: str, before: int = number * n) -> None:
            on_progress(before + done, len(TRANSFORMS) * n, what)

        what = f"Changing photos: {name.replace('_', ' ')}"
        rows += subject.rows(name, parallel(answer, range(n), tell, what))
        on_finished(rows)
    return {
        "schema": SCHEMA,
        "fingerprint": subject.fingerprint,
        "split": split,
        "n": n,
        "plain": subject.figures(subject.logits, subject.labels, subject.sure),
        "rows": rows,
        "mean_transformed": _mean_transformed(rows),
    }


def _answers(classifier: Classifier, root: Path, file: str, name: str) -> list[Answer | None]:
    """The answers of one photo for every strength of a transformation, None where it is skipped."""
    image = Image.fromarray(load_photo(root / file))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    photo, side = np.array(image), classifier.image_size
    found: list[Answer | None] = []
    for strength in TRANSFORMS[name].strengths:
        changed = change_photo(photo, file, name, strength)
        if changed is None:
            found.append(None)
        else:
            said = classifier.classify_pixels(resized(changed, side, side))
            found.append((said.logits, said.sure))
    return found


@dataclass(frozen=True)
class _Subject:
    """A run's model and the photos of one split it is asked about.

    Attributes:
        files: The photos' keys.
        logits: `(n, classes)`, the stored answers for the unchanged photos.
        labels: `(n,)` true class numbers.
        sure: `(n,)`, whether the stored answers count as sure.
        classes: Class names, in the order of the logits.
        temperature: Of the run's calibration.
        fingerprint: Names all that the figures depend on.
    """

    files: list[str]
    logits: NDArray[np.floating]
    labels: NDArray[np.int64]
    sure: NDArray[np.bool_]
    classes: tuple[str, ...]
    temperature: float
    fingerprint: str

    @classmethod
    def of(cls, run: Run, split: str) -> "_Subject":
        table, calibration = run.predictions(), calibration_of(run)
        logits, labels = logits_and_labels(table, run.classes, split)
        table = table[table.split == split]
        files, (temperature, threshold, limit) = table.file.tolist(), calibration
        p = probabilities(logits, temperature)
        sure = is_sure(p, threshold, table.distance.to_numpy(), limit)
        try:
            model = hashlib.sha256((run.path / "model.tflite").read_bytes()).hexdigest()
        except OSError as error:
            raise RunError(f"The run {run.id} has no model yet; let it finish first.") from error
        strengths = {name: way.strengths for name, way in TRANSFORMS.items()}
        depends_on = [SCHEMA, SEED, split, model, calibration, strengths, files, labels.tolist()]
        fingerprint = digest(json.dumps(depends_on))
        return cls(files, logits, labels, sure, run.classes, temperature, fingerprint)

    def check_photos(self, root: Path) -> None:
        """Raises `RunError` when photos are gone: figures of the rest would not be comparable."""
        gone = [file for file in self.files if not (root / file).is_file()]
        if gone:
            raise RunError(
                f"{len(gone)} of the {len(self.files)} photos, such as {gone[0]}, are not in "
                f"{root}; get the photos this run was trained on."
            )

    def rows(self, name: str, answers: list[list[Answer | None]]) -> Rows:
        """The rows of one transformation, from every photo's answers for every strength."""
        way, rows = TRANSFORMS[name], []
        for strength, column in zip(way.strengths, zip(*answers, strict=True), strict=True):
            kept = np.array([answer is not None for answer in column])
            given = [answer for answer in column if answer is not None]
            sure = np.array([was_sure for _, was_sure in given], bool)
            figures = self.figures([logits for logits, _ in given], self.labels[kept], sure)
            plain = self.figures(self.logits[kept], self.labels[kept], self.sure[kept])
            rows.append(
                {"transformation": name, "strength": strength, "unit": way.unit}
                | {"n": int(kept.sum()), "skipped": int((~kept).sum())}
                | figures
                | {"change": figures["accuracy"] - plain["accuracy"] if kept.any() else None}
            )
        return rows

    def figures(
        self, logits: Any, labels: NDArray[np.int64], sure: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """What is said of these answers."""
        names = ("n", "accuracy", "accuracy_interval", "sure", "answered_accuracy", "confidence")
        if not len(labels):
            return dict.fromkeys(names) | {"n": 0}
        logits = np.stack(logits)
        found = report(logits, labels, self.classes, self.temperature, sure=sure)
        confidence = probabilities(logits, self.temperature).max(axis=1).mean()
        found |= {"sure": found["coverage"], "confidence": float(confidence)}
        return {name: found[name] for name in names}


def _mean_transformed(rows: Rows) -> float | None:
    accuracies: dict[str, list[float]] = {}
    for row in rows:
        if row["n"]:
            accuracies.setdefault(row["transformation"], []).append(row["accuracy"])
    means = [np.mean(values) for values in accuracies.values()]
    return float(np.mean(means)) if means else None
