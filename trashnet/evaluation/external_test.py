"""A person's own labelled photos as a test set for any run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from trashnet.errors import DataError
from trashnet.evaluation.report import answers, report
from trashnet.inference.batch import classify_each
from trashnet.inference.inputs import Named
from trashnet.progress import Progress, silent
from trashnet.runs.run import Run


@dataclass(frozen=True)
class OwnTest:
    """What a run makes of photos whose classes are known.

    Attributes:
        figures: As of a split (`trashnet.evaluation.report.report`).
        table: One row an answered photo: file, label, predicted, confidence; the surest first.
        left_out: Photos that were not asked about, and why, by name.
    """

    figures: dict[str, Any]
    table: pd.DataFrame
    left_out: dict[str, str]


def evaluate_own(run: Run, photos: Iterable[Named], on_progress: Progress = silent) -> OwnTest:
    """Answers photos that lie in a folder of their class's name, and compares.

    Args:
        run: A finished run.
        photos: Names and sources; the folder a photo is in says its class.
        on_progress: Told of the photos answered.

    Raises:
        DataError: No photo lies in a folder named like a class of the run.
        RunError: The run cannot answer.
    """
    by_name = {name.lower(): name for name in run.classes}
    left_out: dict[str, str] = {}
    labels: list[str] = []

    def of_known_classes() -> Iterator[Named]:
        for name, source in photos:
            folder = PurePath(name.replace("\\", "/")).parent.name
            if (label := by_name.get(folder.lower())) is None:
                left_out[name] = f"Its folder {folder!r} is no class of the run."
            else:
                labels.append(label)
                yield name, source

    rows, sure = [], []
    for done, (name, answer) in enumerate(classify_each(run, of_known_classes()), start=1):
        label = labels[done - 1]
        if isinstance(answer, str):
            left_out[name] = answer
        else:
            rows.append({"file": name, "label": label, "logits": answer.logits})
            sure.append(answer.sure)
        on_progress(done, len(labels), "Answering your photos")
    if not rows:
        raise DataError(
            f"No photo lies in a folder named like a class; make one of {', '.join(run.classes)}."
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
    return OwnTest(figures, answers(table, run.classes, temperature), left_out)
