"""Differences between slices are found where they are, and only there."""

import numpy as np
import pandas as pd
import pytest

from trashnet.data.image_io import QUALITIES
from trashnet.evaluation.slices import ALL, holm, sentence, slice_of, slices

CLASSES = ("glass", "paper")


def made(seed: int = 0, n: int = 800) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of which one in ten is wrong, whatever the photo looks like."""
    draws = np.random.default_rng(seed)
    files = [f"{i}.jpg" for i in range(n)]
    index = pd.DataFrame({"file": files} | {q: draws.random(n) for q in QUALITIES})
    labels = np.array(CLASSES)[draws.integers(0, 2, n)]
    wrong = draws.random(n) < 0.1
    other = np.where(labels == "glass", "paper", "glass")
    said = pd.DataFrame(
        {"file": files, "label": labels, "predicted": np.where(wrong, other, labels)}
    )
    return said.sample(frac=1, random_state=seed), index


def test_without_a_difference_none_is_called_one() -> None:
    called = [slices(*made(seed), CLASSES).is_difference.any() for seed in range(20)]
    assert sum(called) <= 3  # one in twenty by chance


def test_a_planted_difference_is_found_and_is_the_largest() -> None:
    said, index = made()
    dark = index.file[index.brightness <= index.brightness.quantile(0.25)]
    glass = said.file.isin(dark) & (said.label == "glass")
    said.loc[glass, "predicted"] = np.where(np.arange(glass.sum()) % 2, "paper", "glass")
    found = slices(said, index, CLASSES)
    first = found.iloc[0]
    assert (first.quality, first.end, first.label) == ("brightness", "lowest", "glass")
    assert first.is_difference and first.difference < -0.3
    assert set(found.quality[found.is_difference]) == {"brightness"}
    assert found.difference.abs().is_monotonic_decreasing
    text = sentence(first)
    assert text.startswith("Glass photos among the quarter with the lowest brightness are")
    assert "less often" in text and f"of {first.n} against" in text


def test_the_figures_are_those_of_the_slice() -> None:
    said, index = made(3)
    for row in slices(said, index, CLASSES).itertuples():
        part = slice_of(said, index, row.quality, row.end)
        part = part if row.label == ALL else part[part.label == row.label]
        assert len(part) == row.n
        assert (part.label == part.predicted).mean() == pytest.approx(row.accuracy)
        whole = said if row.label == ALL else said[said.label == row.label]
        assert row.n + row.rest_n == len(whole)


def test_holm_corrects_step_by_step() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_few_photos_are_not_compared() -> None:
    said, index = made(n=20)
    assert slices(said, index, CLASSES).empty
