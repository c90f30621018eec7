"""The index: one row a photo, with its label, object, oddities, and which split it is in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.config import Environment, TrainConfig
from trashnet.data import Photos, scan, trashnet_facts
from trashnet.errors import DataError
from trashnet.files import Progress, digest, silent, write_atomically
from trashnet.review import Decision, Review

if TYPE_CHECKING:
    from datasets import DatasetDict

SPLITS = ("train", "validation", "test")
EXCLUDED = "excluded"
FOLDS = 5
_VALIDATION_SHARE = 8
"""Validation is one part in so many of the photos that are not test."""

_ODD = 3.5
"""Robust standard deviations from the median beyond which a quality is odd."""


def load_index(
    photos: Photos,
    env: Environment,
    split: str | None = None,
    seed: int = 0,
    exclude_conflicts: bool = True,
    decisions: Mapping[str, Decision] | None = None,
    on_progress: Progress = silent,
    test_fold: int = 0,
) -> pd.DataFrame:
    """Scans the photos, adds what is known of them, and divides them.

    Args:
        photos: The data set.
        env: Where caches and reviews are.
        split: `object`, `random` or `authors`; None is `object` where objects are known, else
            `random`.
        seed: Decides the split.
        exclude_conflicts: Whether photos filed under two labels are left out of every split.
        decisions: Review decisions to honour; None reads the data set's review file.
        on_progress: Told of the photos read.
        test_fold: Which fifth of the photos is the test set.

    Returns:
        `make_index`'s table, whose `attrs["split"]` names the way of splitting.

    Raises:
        DataError: The photos cannot be split that way; the sentence says what to do.
    """
    scanned = scan(photos, env.cache, on_progress)
    groups = known_groups(photos, scanned, env.cache)
    split = split or best_split(groups)
    if decisions is None:
        decisions = review_of(photos, env).latest()
    return make_index(photos, scanned, split, seed, groups, exclude_conflicts, decisions, test_fold)


def best_split(groups: pd.Series | None) -> str:
    """Returns the most honest way to split: by object where objects are known, else random."""
    return "random" if groups is None else "object"


def check_splittable(
    photos: Photos, env: Environment, config: TrainConfig, on_progress: Progress = silent
) -> None:
    """Raises `DataError` for photos that cannot be split as configured, before there is a run.

    A split by object is tried as far as objects are known; the training finds them first.
    """
    split = None if config.split == "object" else config.split
    for fold in range(FOLDS) if config.folds > 1 else [config.fold]:
        load_index(photos, env, split, config.seed, on_progress=on_progress, test_fold=fold)


def make_index(
    photos: Photos,
    scanned: pd.DataFrame,
    split: str = "object",
    seed: int = 0,
    groups: pd.Series | None = None,
    exclude_conflicts: bool = True,
    decisions: Mapping[str, Decision] | None = None,
    test_fold: int = 0,
) -> pd.DataFrame:
    """Divides the readable photos: 80 % train, 20 % test, an eighth of train for validation.

    Splits depend on the photos as they came, never on review decisions, so that figures before
    and after a review are about the same test set.

    Args:
        photos: The data set.
        scanned: What `scan` returned of it.
        split: `object` keeps all photos of one object on one side, `random` does not, `authors`
            is TrashNet's published lists. The first two are stratified by class.
        seed: Decides the split.
        groups: The object of each photo, by file.
        exclude_conflicts: Whether photos filed under two labels are left out of every split.
        decisions: Review decisions by file.
        test_fold: Which fifth of the photos is the test set.

    Returns:
        The scan's readable rows with the columns group, flag, original_label, split
        (`excluded` for photos left out), unreviewed_split, and fold (0 to 4, for cross-validation;
        the test photos are those of `test_fold`; -1 where photos were not dealt to folds).
    """
    dealt = deal(photos, scanned, split, seed, groups, test_fold)
    return reviewed(dealt, exclude_conflicts, decisions)


def deal(
    photos: Photos,
    scanned: pd.DataFrame,
    split: str = "object",
    seed: int = 0,
    groups: pd.Series | None = None,
    test_fold: int = 0,
) -> pd.DataFrame:
    """Divides all readable photos, whatever is odd about them or was decided: `make_index` less
    its last step, which alone changes when somebody decides something.
    """
    index = scanned[scanned.error.isna()].drop(columns=["error", "mtime"]).reset_index(drop=True)
    if groups is not None:
        index["group"] = groups.reindex(index.file).to_numpy(np.int64)
    else:
        index["group"] = np.arange(len(index))
    index["flag"] = flags(index)
    index["original_label"] = index.label
    index["split"], index["fold"] = _divide(photos, index, split, seed, groups, test_fold)
    index.attrs |= {"split": split, "groups_known": groups is not None}
    return index


def reviewed(
    dealt: pd.DataFrame,
    exclude_conflicts: bool = True,
    decisions: Mapping[str, Decision] | None = None,
) -> pd.DataFrame:
    """Returns `deal`'s table with conflicts left out and decisions honoured."""
    index = dealt.copy()
    if exclude_conflicts:
        index.loc[index.flag.str.contains("conflict"), "split"] = EXCLUDED
    index["unreviewed_split"] = index.split
    classes, row_of = set(index.original_label), pd.Series(index.index, index.file)
    for file, decision in (decisions or {}).items():
        row = row_of.get(file)
        if row is None or (decision.action == "relabel" and decision.label not in classes):
            continue  # about a photo or a class that is no longer there
        if decision.action == "relabel":
            index.loc[row, "label"] = decision.label
        # A conflicting photo that somebody vouched for goes back to where it was dealt.
        back = dealt.split[row]
        index.loc[row, "split"] = EXCLUDED if decision.action == "exclude" else back
    return index


def _divide(
    photos: Photos,
    index: pd.DataFrame,
    split: str,
    seed: int,
    groups: pd.Series | None,
    test_fold: int,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
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
    return split, fold


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
    return dealt


def _authors_split(photos: Photos, index: pd.DataFrame) -> NDArray[Any]:
    if not photos.is_trashnet:
        raise DataError(
            "The authors' split lists TrashNet's 2,527 photos and these are others; "
            "use another split."
        )
    return trashnet_facts().authors_split.reindex(index.file).to_numpy(object)


# ---------------------------------------------------------------- what is known of the photos


def known_groups(photos: Photos, scanned: pd.DataFrame, cache_folder: Path) -> pd.Series | None:
    """Returns the object of each photo by file: shipped, or from an audit; None before one."""
    if photos.is_trashnet:
        return trashnet_facts().group
    if photos.is_sample:  # every one is drawn anew
        return pd.Series(np.arange(len(scanned)), index=scanned.file)
    try:
        return pd.read_parquet(groups_path(scanned, cache_folder)).set_index("file").group
    except (OSError, ValueError):
        return None


def store_groups(facts: pd.DataFrame, scanned: pd.DataFrame, cache_folder: Path) -> None:
    """Keeps an audit's groups for as long as the photos stay the same."""
    path = groups_path(scanned, cache_folder)
    write_atomically(path, lambda p: facts[["file", "group"]].to_parquet(p, index=False))


def groups_path(scanned: pd.DataFrame, cache_folder: Path) -> Path:
    """Where the groups of these very photos are kept."""
    content = "".join(scanned.file + scanned.sha256.fillna(""))  # none: it cannot be opened
    return cache_folder / f"groups-{digest(content)}.parquet"


def review_of(photos: Photos, env: Environment) -> Review:
    """Returns the review of a data set; TrashNet has one wherever its photos lie."""
    # A zip is extracted anew when it is touched, so its folder says nothing of its content.
    key = "".join(photos.files) if photos.source == "zip" else str(photos.root)
    name = "trashnet" if photos.is_trashnet else f"{photos.name}-{digest(key)}"
    return Review(env.home / "reviews" / f"{name}.json")


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


# ---------------------------------------------------------------- what others need of it


def summarise(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> dict[str, Any]:
    """Counts photos per class and split, as the `data` command prints them."""
    counts = index.groupby(["split", "label"]).size()
    left_out = index.file[index.split == EXCLUDED].tolist()
    return {
        "name": photos.name,
        "source": photos.source,
        "root": str(photos.root),
        "split": index.attrs["split"],
        "photos": len(index),
        "classes": {c: int((index.label == c).sum()) for c in photos.classes},
        "splits": {
            s: {c: int(counts.get((s, c), 0)) for c in photos.classes}
            for s in SPLITS
            if (index.split == s).any()
        },
        "excluded": sorted(scanned.file[scanned.error.notna()].tolist() + left_out),
        "unreadable": scanned.file[scanned.error.notna()].tolist(),
    }


def class_weights(labels: pd.Series, classes: tuple[str, ...]) -> NDArray[np.float32]:
    """Returns scikit-learn's balanced weights, `(classes,) float32`: n / (classes × count)."""
    counts = np.array([(labels == c).sum() for c in classes])
    return (len(labels) / (len(classes) * np.maximum(counts, 1))).astype(np.float32)


def as_dataset_dict(photos: Photos, index: pd.DataFrame) -> "DatasetDict":
    """Returns the splits as a `datasets.DatasetDict`, to map, save or push.

    Its columns are image, label, file and group: photos that share a group show one object.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    features = Features(
        image=ImageFeature(),
        label=ClassLabel(names=list(photos.classes)),
        file=Value("string"),
        group=Value("int64"),
    )
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {
                    "image": [str(photos.root / file) for file in rows.file],
                    "label": rows.label.tolist(),
                    "file": rows.file.tolist(),
                    "group": rows.group.tolist(),
                },
                features=features,
            )
            for split in SPLITS
            if len(rows := index[index.split == split])
        }
    )
