"""Where a model is better or worse: accuracy by how photos look, and what of it is not chance."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.data.image_io import QUALITIES

ALL = "all"
"""Stands for every class."""

_ENDS = {"lowest": (0.0, 0.25), "highest": (0.75, 1.0)}
"""The quarters of the photos, by a quality, that are compared with the rest."""

_FEWEST = 10
"""Photos that a slice and its rest must have, to be compared at all."""

ALPHA = 0.05


def slices(said: pd.DataFrame, index: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Compares the photos at either end of each quality with the rest, over all and per class.

    Quarters are those of all photos compared, so a class may have few photos in one. Differences
    are tested by Fisher's exact test and corrected for their number by Holm's step-down method
    (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    Args:
        said: Answers: file, label, predicted.
        index: The run's index: file and a column for each of `QUALITIES`.
        classes: Class names.

    Returns:
        One row a comparison, the largest difference first: quality, end (lowest or highest), label
        (a class or `ALL`), n, accuracy, rest_n, rest_accuracy, difference, p_value (corrected) and
        is_difference (p below 0.05).
    """
    from scipy.stats import fisher_exact  # as in `evaluation.metrics`

    table = said.merge(index[["file", *QUALITIES]], on="file")
    right = (table.label == table.predicted).to_numpy()
    rows = []
    for quality in QUALITIES:
        for end in _ENDS:
            inside = _inside(table[quality], end)
            for label in (ALL, *classes):
                of_class = np.ones(len(table), bool) if label == ALL else table.label == label
                here, rest = right[inside & of_class], right[~inside & of_class]
                if min(len(here), len(rest)) < _FEWEST:
                    continue
                counts = [[here.sum(), (~here).sum()], [rest.sum(), (~rest).sum()]]
                rows.append(
                    {
                        "quality": quality,
                        "end": end,
                        "label": label,
                        "n": len(here),
                        "accuracy": here.mean(),
                        "rest_n": len(rest),
                        "rest_accuracy": rest.mean(),
                        "difference": here.mean() - rest.mean(),
                        "p_value": fisher_exact(counts).pvalue,
                    }
                )
    columns = ["quality", "end", "label", "n", "accuracy", "rest_n", "rest_accuracy"]
    found = pd.DataFrame(rows, columns=[*columns, "difference", "p_value"])
    found["p_value"] = holm(found.p_value.to_numpy(float))
    found["is_difference"] = found.p_value < ALPHA
    order = found.difference.abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order].reset_index(drop=True)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corrects p-values for their number, `(n,)`, by Holm's step-down method."""
    order, n = np.argsort(p_values, kind="stable"), len(p_values)
    corrected = np.empty(n)
    steps = p_values[order] * np.arange(n, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def slice_of(said: pd.DataFrame, index: pd.DataFrame, quality: str, end: str) -> pd.DataFrame:
    """Returns the answers whose photos are in one end of a quality, as `slices` divides them."""
    return said[_inside(said.merge(index[["file", quality]], on="file")[quality], end)]


def _inside(values: pd.Series, end: str) -> NDArray[np.bool_]:
    low, high = _ENDS[end]
    rank = values.rank(pct=True).to_numpy()
    return (rank > low) & (rank <= high)


def sentence(row: pd.Series) -> str:
    """Says a difference in words."""
    whom = "Photos" if row.label == ALL else f"{row.label.capitalize()} photos"
    return (
        f"{whom} among the quarter with the {row.end} {row.quality} are recognised "
        f"{100 * abs(row.difference):.0f} points {'less' if row.difference < 0 else 'more'} often: "
        f"{row.accuracy:.1%} of {row.n:,} against {row.rest_accuracy:.1%} of the other "
        f"{row.rest_n:,} (p = {row.p_value:.2g} after Holm's correction)."
    )
