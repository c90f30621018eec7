"""What each way of splitting leaks: test photos of an object that was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trashnet.data.audit_findings import has_one_print
from trashnet.data.splits import divide

WAYS = ("random", "authors", "grouped", "hub_rows")

COST = {"grouped": (422, 506), "random": (443, 506), "authors": (389, 430)}
"""How many test photos of TrashNet `frozen_features` gets right, and of how many, by way of
splitting; the README's table names the commands."""

COST_CROSS_VALIDATED = {"grouped": (2156, 2521), "random": (2213, 2521)}
"""The same of all photos, cross-validated."""

STILL_LEAKING = 37
"""Test photos of TrashNet's split by object that show an object which is also learned from, as two
other signals found; `docs/data.md` says how they were counted."""


@dataclass(frozen=True)
class Way:
    """A way of splitting, carried out.

    Attributes:
        split: The split of each row, by the row's name: a file, or `<file>#1` and `<file>#2` of
            rows that stand twice.
        pairs: The similar rows: one, two (names), similarity and matches.
        is_twice: Whether each photo is two rows.
    """

    split: pd.Series
    pairs: pd.DataFrame
    is_twice: bool = False

    @property
    def tested(self) -> int:
        """How many rows are test rows."""
        return int((self.split == "test").sum())

    def leaking(self, threshold: float) -> pd.DataFrame:
        """Returns the test rows with a photo of one object among the train and validation rows.

        Args:
            threshold: Similarity from which a pair counts; one with a common print does, too.

        Returns:
            One row each, the most similar first: test, train (files), similarity and matches, of
            its nearest.
        """
        close = self.pairs[(self.pairs.similarity >= threshold) | has_one_print(self.pairs)]
        names = {"one": "test", "two": "train"}
        turned = {"one": "train", "two": "test"}
        both = pd.concat([close.rename(columns=names), close.rename(columns=turned)])
        both = both[["test", "train", "similarity", "matches"]]
        tested = both.test.map(self.split) == "test"
        trained = both.train.map(self.split).isin(["train", "validation"])
        found = both[tested & trained].sort_values(
            ["similarity", "test", "train"], ascending=[False, True, True], kind="stable"
        )
        found = found.drop_duplicates("test").reset_index(drop=True)
        return found.assign(test=self._files(found.test), train=self._files(found.train))

    def _files(self, names: pd.Series) -> pd.Series:
        return names.str.slice(stop=-2) if self.is_twice else names


def ways_to_split(
    facts: pd.DataFrame, pairs: pd.DataFrame, authors_split: pd.Series | None, seed: int = 0
) -> dict[str, Way]:
    """Splits the photos in every way there is.

    Args:
        facts: One row a photo: file, label and group.
        pairs: The similar pairs: one, two (files), similarity and matches.
        authors_split: The split of the data set's authors, by file, if they published one.
        seed: Of the splits that are drawn.

    Returns:
        `random`, photo by photo; `authors`, where known; `grouped`, by object; and `hub_rows`, at
        random the rows that the Hub makes of TrashNet by itself, in which every photo stands twice.

    Raises:
        DataError: There are too few photos to split.
    """
    classes = sorted(facts.label.unique())
    alone = pd.Series(np.arange(len(facts)))
    random = divide(facts.label, alone, classes, seed)[0]
    grouped = divide(facts.label, facts.group, classes, seed)[0]
    ways = {"random": Way(pd.Series(random, index=facts.file), pairs)}
    if authors_split is not None:
        ways["authors"] = Way(authors_split, pairs)
    ways["grouped"] = Way(pd.Series(grouped, index=facts.file), pairs)
    ways["hub_rows"] = _twice(facts, pairs, classes, seed)
    return ways


def _twice(facts: pd.DataFrame, pairs: pd.DataFrame, classes: list[str], seed: int) -> Way:
    first, second = facts.file + "#1", facts.file + "#2"
    rows = pd.concat([first, second], ignore_index=True)
    labels = pd.concat([facts.label, facts.label], ignore_index=True)
    split = divide(labels, pd.Series(np.arange(len(rows))), classes, seed)[0]
    twins = pd.DataFrame({"one": first, "two": second, "similarity": 1.0, "matches": 0})
    copies = [
        pairs.assign(one=pairs.one + a, two=pairs.two + b)
        for a in ("#1", "#2")
        for b in ("#1", "#2")
    ]
    every = pd.concat([twins, *copies], ignore_index=True)
    return Way(pd.Series(split, index=rows), every, is_twice=True)


def leak_table(ways: Mapping[str, Way], threshold: float) -> dict[str, int | None]:
    """Counts the test rows that each way of splitting leaks; None for a way that is not there."""
    return {name: len(ways[name].leaking(threshold)) if name in ways else None for name in WAYS}
