"""Two runs side by side: what was set differently, and whether one is better than by chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.errors import RunError
from trashnet.evaluation.report import answers
from trashnet.runs.run import Run


@dataclass(frozen=True)
class Comparison:
    """What two runs say of the photos that are test photos of both.

    Attributes:
        table: One row a shared test photo: file, label, what `one` and `two` say, and whether
            each is right (`one_right`, `two_right`).
        p_value: Of McNemar's exact test: how often chance alone would split the photos on which
            only one run is right as unevenly as this.
        names: What the first and the second run are called.
    """

    table: pd.DataFrame
    p_value: float
    names: tuple[str, str]

    @property
    def only_one(self) -> pd.DataFrame:
        """The photos the first run gets right and the second wrong."""
        return self.table[self.table.one_right & ~self.table.two_right]

    @property
    def only_two(self) -> pd.DataFrame:
        """The photos the second run gets right and the first wrong."""
        return self.table[~self.table.one_right & self.table.two_right]

    @property
    def finding(self) -> str:
        """Says the result in a sentence."""
        n = len(self.table)
        one, two = self.table.one_right.mean(), self.table.two_right.mean()
        figures = f"{one:.1%} against {two:.1%} on the {n} test photos they share"
        if self.p_value < 0.05:
            better = self.names[0] if one > two else self.names[1]
            return f"{better} is better: {figures} (McNemar's test, p = {self.p_value:.2g})"
        return f"No difference beyond chance: {figures} (McNemar's test, p = {self.p_value:.2g})"


def compare(one: Run, two: Run) -> Comparison:
    """Compares two finished runs on the test photos they share.

    Raises:
        RunError: They share no test photo, or know different classes.
    """
    if set(one.classes) != set(two.classes):
        raise RunError(f"The runs {one.id} and {two.id} know different classes.")
    answered = (answers_of(run, "test") for run in (one, two))
    table = pd.merge(*answered, on=["file", "label"], suffixes=("_one", "_two"))
    if table.empty:
        raise RunError(f"The runs {one.id} and {two.id} share no test photo; their splits differ.")
    table = table.rename(columns={"predicted_one": "one", "predicted_two": "two"})
    table["one_right"], table["two_right"] = table.one == table.label, table.two == table.label
    p_value = mcnemar(table.one_right.to_numpy(), table.two_right.to_numpy())
    return Comparison(table, p_value, (one.id, two.id))


def mcnemar(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Returns how often chance alone would split the photos only one gets right as unevenly.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages" (1947), in its exact form.

    Args:
        one: Whether the first is right, photo by photo.
        two: The same of the second.
    """
    first, second = int((one & ~two).sum()), int((~one & two).sum())
    if first == second:
        return 1.0
    from scipy.stats import binomtest  # as in `evaluation.metrics`

    return float(binomtest(first, first + second).pvalue)


def answers_of(run: Run, split: str) -> pd.DataFrame:
    """Returns file, label and predicted of a run's photos of a split, in the order of its index."""
    table = run.predictions()
    said = answers(table[table.split == split], run.classes)
    return said.sort_index()[["file", "label", "predicted"]]


def differing_settings(runs: list[Run]) -> pd.DataFrame:
    """Returns the settings in which runs differ: one row a setting, one column a run's id."""
    settings = {run.id: run.train_config.to_dict() for run in runs}
    table = pd.DataFrame(settings).astype(object)
    return table[table.nunique(axis=1, dropna=False) > 1]


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Returns a comparison as JSON values."""
    return {
        "n": len(comparison.table),
        "accuracy": [
            float(comparison.table.one_right.mean()),
            float(comparison.table.two_right.mean()),
        ],
        "only_first_right": comparison.only_one.file.tolist(),
        "only_second_right": comparison.only_two.file.tolist(),
        "p_value": comparison.p_value,
        "finding": comparison.finding,
    }
