"""A person's own labelled photos as a test set for any run."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from trashnet.data.walk import class_key, reasons
from trashnet.errors import DataError, PhotoError
from trashnet.evaluation.metrics import wilson_interval
from trashnet.evaluation.report import answers, report
from trashnet.inference.batch import classify_each
from trashnet.inference.inputs import Named
from trashnet.progress import Progress, silent
from trashnet.runs.run import Run


@dataclass(frozen=True)
class OwnTest:
    """What a run makes of photos whose classes are known.

    Attributes:
        figures: As of a split (`trashnet.evaluation.report.report`), with the mean recall of the
            classes that have photos and, per class, the recall's Wilson 95 % interval.
        unknown: What became of photos in folders that are no class, by folder: n, how many got a
            sure answer, that share and its Wilson 95 % interval.
        table: One row a photo of a class: file, label, predicted, confidence; the most confident
            first.
        left_out: Photos that were not asked about, and why, by name.
    """

    figures: dict[str, Any]
    unknown: dict[str, dict[str, Any]]
    table: pd.DataFrame
    left_out: dict[str, str]


def evaluate_own(
    run: Run,
    photos: Iterable[Named],
    on_progress: Progress = silent,
    root: str = "",
    left_out: dict[str, str] | None = None,
) -> OwnTest:
    """Answers photos that lie in a folder of their class's name, and compares.

    Photos in folders of other names show what a model should not be sure of: they are counted by
    folder.

    Args:
        run: A finished run.
        photos: Names and sources; the nearest folder that is named like a class says a photo's.
        on_progress: Told of the photos answered.
        root: The folder or zip that the names begin with, if one: its own path says no class,
            except to the photos that lie in it directly.
        left_out: What finding the photos leaves out, filled as they come.

    Raises:
        DataError: No photo could be compared; the sentence gives the reasons.
        RunError: The run cannot answer.
    """
    left_out = {} if left_out is None else left_out
    kinds: list[tuple[str, bool]] = []  # the class, or the folder that is none

    def in_folders() -> Iterator[Named]:
        for name, source in photos:
            if isinstance(source, PhotoError):
                left_out[name] = str(source)
            elif (label := _class_of(name, root, run.classes)) is not None:
                kinds.append((label, True))
                yield name, source
            elif folder := PurePath(name).parent.name:
                kinds.append((folder, False))
                yield name, source
            else:
                left_out[name] = "It lies in no folder."

    rows, sure = [], []
    others: dict[str, list[bool]] = {}
    # Whoever is told of the progress may end it, which ends the work with it.
    with closing(classify_each(run, in_folders())) as given:
        for done, (name, answer) in enumerate(given, start=1):
            kind, is_class = kinds[done - 1]
            if isinstance(answer, str):
                left_out[name] = answer
            elif is_class:
                rows.append({"file": name, "label": kind, "logits": answer.logits})
                sure.append(answer.sure)
            else:
                others.setdefault(kind, []).append(answer.sure)
            on_progress(done, len(kinds), "Answering your photos")
    if not rows:
        named = ", ".join(repr(folder) for folder in list(others)[:3])
        because = f"no class of the run: {named}" if named else reasons(left_out) or "there is none"
        raise DataError(
            f"No photo could be compared ({because}); photos lie in folders named like a class: "
            f"make one of {', '.join(run.classes)}."
        )
    evaluation, table = run.evaluation(), pd.DataFrame(rows)
    temperature = float(evaluation["temperature"])
    numbers = table.label.map({name: i for i, name in enumerate(run.classes)}).to_numpy(np.int64)
    figures = report(
        np.stack(table.logits.to_list()),
        numbers,
        run.classes,
        temperature,
        float(evaluation["threshold"]),
        np.array(sure),
    )
    _add_recall(figures)
    unknown = {
        folder: {
            "n": len(was_sure),
            "sure": sum(was_sure),
            "share": sum(was_sure) / len(was_sure),
            "interval": wilson_interval(sum(was_sure), len(was_sure)),
        }
        for folder, was_sure in sorted(others.items())
    }
    return OwnTest(figures, unknown, answers(table, run.classes, temperature), left_out)


def _add_recall(figures: dict[str, Any]) -> None:
    """Adds the interval of each class's recall, and the mean over the classes with photos."""
    right = np.diag(figures["confusion_matrix"])
    seen = []
    for scores, count in zip(figures["per_class"].values(), right, strict=True):
        if n := scores["support"]:
            scores["recall_interval"] = wilson_interval(int(count), n)
            seen.append(scores["recall"])
    figures["mean_recall"] = float(np.mean(seen))


def _class_of(name: str, root: str, classes: Iterable[str]) -> str | None:
    """The class that the folders of a photo name, the nearest first; exact spelling wins."""
    path = PurePath(name)
    folders = [path.parent]
    if path.is_relative_to(root):
        folders += path.relative_to(root).parents
    spellings = {class_key(c): c for c in classes} | {c: c for c in classes}
    for folder in folders:
        if label := spellings.get(folder.name, spellings.get(class_key(folder.name))):
            return label
    return None
