"""Flags for photos that are duplicated, conflicting, or unlike the rest in quality."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    pass


_ODD = 3.5
"""Robust standard deviations from the median beyond which a quality is odd."""


def flags(rows: pd.DataFrame) -> list[str]:
    """Says of each photo what is odd: `duplicate`, `conflict`, or its quality; `;` between.

    A quality is odd when it lies further from the data set's median than 3.5 robust standard
    deviations (1.4826 × the median absolute deviation; Iglewicz & Hoaglin 1993).
    """
    labels = rows.groupby("sha256").label.transform("nunique")
    odd = {
        "duplicate": rows.sha256.duplicated(keep=False) & (labels == 1),
        "conflict": labels > 1,
        "blurred": robust_score(np.log(rows.sharpness + 1e-4)) < -_ODD,
        "dark": robust_score(rows.brightness) < -_ODD,
        "bright": robust_score(rows.brightness) > _ODD,
        "low contrast": robust_score(np.log(rows.contrast + 1e-3)) < -_ODD,
    }
    names = np.array(list(odd), dtype=object)
    table = np.column_stack(list(odd.values()))
    return [";".join(names[row]) for row in table]


def robust_score(values: pd.Series) -> pd.Series:
    """Returns how many robust standard deviations each value lies from the median."""
    distance = values - values.median()
    spread = 1.4826 * distance.abs().median()
    return distance / spread if spread > 0 else distance * 0
