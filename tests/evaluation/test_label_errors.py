"""Planted label errors are found first, and honest doubts are left alone."""

import numpy as np
import pandas as pd
import pytest

from trashnet.evaluation.label_errors import suspects
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

CLASSES = ("glass", "metal", "paper")


def table(labels: list[str], p: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file": [f"{i}.jpg" for i in range(len(labels))],
            "label": labels,
            "logits": list(np.log(p).astype(np.float32)),
            "temperature": 1.0,
        }
    )


def certain(label: str, by: float) -> np.ndarray:
    p = np.full(3, (1 - by) / 2)
    p[CLASSES.index(label)] = by
    return p


def test_a_photo_that_is_surely_another_class_is_suspected() -> None:
    rows = [(c, certain(c, 0.9)) for c in CLASSES for _ in range(20)]
    rows += [("paper", certain("glass", 0.98)), ("glass", certain("metal", 0.93))]
    found = suspects(table([c for c, _ in rows], np.array([p for _, p in rows])), CLASSES)
    assert found.file.tolist() == ["60.jpg", "61.jpg"]
    assert found.suspected.tolist() == ["glass", "metal"] and found.label[0] == "paper"
    assert found.confidence[0] == pytest.approx(0.98) and found.own[0] == pytest.approx(0.01)


def test_a_doubtful_answer_suspects_nobody() -> None:
    rows = [(c, certain(c, 0.9)) for c in CLASSES for _ in range(20)]
    rows += [("paper", certain("glass", 0.5))]  # wrong, but less sure than of any real glass
    assert suspects(table([c for c, _ in rows], np.array([p for _, p in rows])), CLASSES).empty


def test_temperature_counts() -> None:
    rows = [(c, certain(c, 0.9)) for c in CLASSES for _ in range(20)] + [
        ("paper", certain("glass", 0.97))
    ]
    made = table([c for c, _ in rows], np.array([p for _, p in rows]))
    cool = suspects(made, CLASSES)
    warm = suspects(made.assign(temperature=4.0), CLASSES)
    assert warm.confidence[0] < cool.confidence[0]


def test_the_shipped_answers_suspect_some_photos() -> None:
    run = Run(RELEASED)
    found = suspects(run.out_of_fold(), run.classes)
    assert 10 < len(found) < 250
    assert (found.label != found.suspected).all() and (found.confidence > found.own).all()
    assert found.confidence.is_monotonic_decreasing and found.file.is_unique
