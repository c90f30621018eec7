"""Train, validation and test: stratified by class, photos of one object kept together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.data.dataset import Photos, trashnet_facts
from trashnet.errors import DataError

SPLITS = ("train", "validation", "test")

EXCLUDED = "excluded"

FOLDS = 5

_VALIDATION_SHARE = 8
"""Validation is one part in so many of the photos that are not test."""


def best_split(groups: pd.Series | None) -> str:
    """Returns the most honest way to split: by object where objects are known, else random."""
    return "random" if groups is None else "object"


def divide_photos(
    photos: Photos,
    index: pd.DataFrame,
    split: str,
    seed: int,
    groups: pd.Series | None,
    test_fold: int,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Divides photos in one of the ways there are; returns what `divide` does.

    Raises:
        DataError: They cannot be divided so.
    """
    if split == "authors":
        if test_fold:
            raise DataError("The authors' lists have one test set and no folds; use another split.")
        return _authors_split(photos, index), np.full(len(index), -1)
    if split == "object":
        if groups is None:
            raise DataError(
                "Which photos show the same object is not known yet; run "
                "'python -m trashnet audit' first, or choose the random split."
            )
        if photos.is_trashnet and seed == 0 and test_fold == 0:
            facts = trashnet_facts().reindex(index.file)
            return facts.split.to_numpy(object), facts.fold.to_numpy(np.int64)
        objects = index.group
    elif split == "random":
        objects = pd.Series(np.arange(len(index)))
    else:
        raise DataError(f"The split is {split!r}; it must be object, random or authors.")
    return divide(index.label, objects, photos.classes, seed, test_fold)


def divide(
    labels: pd.Series, groups: pd.Series, classes: Sequence[str], seed: int, test_fold: int = 0
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Divides photos into splits and folds, stratified by class, groups kept together.

    Args:
        labels: `(n,)` class names.
        groups: `(n,)` object of each photo.
        classes: All classes, also those of which no photo is left.
        seed: Decides the division.
        test_fold: The fold of five whose photos are the test set.

    Returns:
        `(n,) object`, the split of each photo; `(n,) int`, its fold.

    Raises:
        DataError: A class has too few photos, or too few objects, for each split to get some.
    """
    counts = labels.value_counts().reindex(list(classes), fill_value=0)
    if counts.min() < 2 * FOLDS:
        raise DataError(
            f"The class {counts.idxmin()!r} has {counts.min()} photos that can be read, too few "
            f"to split; every class needs at least {2 * FOLDS}."
        )
    fold = _deal(labels, groups, FOLDS, seed)
    return divide_dealt(labels, groups, fold, seed, test_fold), fold


def divide_dealt(
    labels: pd.Series, groups: pd.Series, fold: NDArray[np.int64], seed: int, test_fold: int
) -> NDArray[Any]:
    """Returns what `divide` does, its splits, of photos whose folds are known."""
    rest = np.flatnonzero(fold != test_fold)
    part = _deal(labels.iloc[rest], groups.iloc[rest], _VALIDATION_SHARE, seed)
    split = np.where(fold == test_fold, "test", "train").astype(object)
    split[rest[part == 0]] = "validation"
    present = pd.crosstab(split, labels)
    if len(present) < len(SPLITS) or (present == 0).to_numpy().any():
        missing = present.columns[(present == 0).any()].tolist() or labels.unique().tolist()
        raise DataError(
            f"The class {missing[0]!r} shows too few different objects to be in train, "
            "validation and test; add photos or choose the random split."
        )
    return split


def check_left(index: pd.DataFrame, classes: Sequence[str]) -> None:
    """Raises `DataError` where conflicts and review leave too little to learn from.

    There must be two classes, each with photos in train, validation and test.

    Args:
        index: The table of `trashnet.data.index.load_index`.
        classes: All classes, also those of which no photo is left.
    """
    check_classes(classes)
    left = pd.crosstab(index.split, index.label).reindex(
        index=SPLITS, columns=list(classes), fill_value=0
    )
    if not left.to_numpy().any():
        raise DataError(f"There are no photos left to train on: {_LEFT_OUT}.")
    for split, counts in left.iterrows():
        if not counts.all():
            name = counts.idxmin()
            which = f"{split} photos" if left[name].any() else "photos"
            raise DataError(f"The class {name!r} has no {which} left: {_LEFT_OUT}.")


_LEFT_OUT = (
    "photos that lie in two classes are left out, and so are those a review excludes or relabels; "
    "remove the copies or the class folder, add photos, or undo decisions"
)


def check_classes(classes: Sequence[str]) -> None:
    """Raises `DataError` where there are too few classes to tell apart."""
    if len(classes) < 2:
        raise DataError(
            f"There is only the class {classes[0]!r}; training needs at least two, "
            "each in a folder of its own."
        )


def _deal(labels: pd.Series, groups: pd.Series, hands: int, seed: int) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    # Where no photo shares its object the plain splitter is the same, and exact per class.
    if groups.is_unique:
        splits = StratifiedKFold(hands, shuffle=True, random_state=seed).split(labels, labels)
    else:
        splitter = StratifiedGroupKFold(hands, shuffle=True, random_state=seed)
        splits = splitter.split(labels, labels, groups)
    dealt = np.empty(len(labels), dtype=np.int64)
    for hand, (_, rows) in enumerate(splits):
        dealt[rows] = hand
    return _richest_first(dealt, labels, groups)


def _richest_first(
    dealt: NDArray[np.int64], labels: pd.Series, groups: pd.Series
) -> NDArray[np.int64]:
    """Renumbers hands by how many objects a photo of their poorest class stands for.

    One box that was photographed 77 times fills a validation set with itself. So test and
    validation, the first hands, are those in which no such object makes up a class.
    """
    photos = pd.DataFrame({"hand": dealt, "label": labels.to_numpy(), "group": groups.to_numpy()})
    objects = photos.groupby(["hand", "label"]).group
    poorest = (objects.nunique() / objects.size()).unstack(fill_value=0).min(axis=1)
    order = poorest.sort_values(ascending=False, kind="stable").index
    return pd.Series(np.arange(len(order)), index=order)[dealt].to_numpy(np.int64)


def _authors_split(photos: Photos, index: pd.DataFrame) -> NDArray[Any]:
    if not photos.is_trashnet:
        raise DataError(
            "The authors' split lists TrashNet's 2,527 photos and these are others; "
            "use another split."
        )
    return trashnet_facts().authors_split.reindex(index.file).to_numpy(object)
