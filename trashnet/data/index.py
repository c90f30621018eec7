"""The photo index: every photo with its label, object, flags, quality and split."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.config import TrainConfig
from trashnet.data.audit_findings import stored_table
from trashnet.data.dataset import Photos, trashnet_facts
from trashnet.data.quality import flags
from trashnet.data.review import OF_PAIRS, Decision, Review, found_again
from trashnet.data.scan import scan
from trashnet.data.splits import (
    EXCLUDED,
    FOLDS,
    SPLITS,
    best_split,
    check_classes,
    check_left,
    divide_dealt,
    divide_photos,
)
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.files import digest
from trashnet.progress import Progress, silent


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


def check_splittable(
    photos: Photos, env: Environment, config: TrainConfig, on_progress: Progress = silent
) -> None:
    """Raises `DataError` for photos that cannot be trained on as configured, before there is a run.

    What counts is what conflicts and review leave. A split by object is tried as far as objects
    are known; the training finds them first.
    """
    check_classes(photos.classes)
    split, conflicts = None if config.split == "object" else config.split, config.exclude_conflicts
    for fold in range(FOLDS) if config.folds > 1 else [config.fold]:
        index = load_index(
            photos, env, split, config.seed, conflicts, on_progress=on_progress, test_fold=fold
        )
        check_left(index, photos.classes)


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
    """Divides all readable photos, whatever is odd about them or was decided.

    It is `make_index` less its last step, which alone changes when somebody decides something.
    """
    index = (
        scanned[scanned.error.isna()]
        .drop(columns=["error", "mtime", "ctime"])
        .reset_index(drop=True)
    )
    if groups is not None:
        index["group"] = groups.reindex(index.file).to_numpy(np.int64)
    else:
        index["group"] = np.arange(len(index))
    index["flag"] = flags(index)
    index["original_label"] = index.label
    index["split"], index["fold"] = divide_photos(photos, index, split, seed, groups, test_fold)
    index.attrs |= {"split": split, "groups_known": groups is not None}
    return index


def another_fold(
    index: pd.DataFrame,
    split: str,
    seed: int,
    test_fold: int,
    exclude_conflicts: bool = True,
    decisions: Mapping[str, Decision] | None = None,
) -> pd.DataFrame:
    """Returns the photos of one fold of a run, divided for another fold of the same run.

    Objects and folds are the stored ones: what an audit or a later version knows of the photos
    since would test some of them twice and some never.

    Args:
        index: `make_index`'s table of the run's first fold.
        split: `object` or `random`.
        seed: As when it was made.
        test_fold: The fold of five whose photos are the test set.
        exclude_conflicts: As when it was made.
        decisions: As when it was made.

    Raises:
        DataError: A class would be left without photos in train, validation or test.
    """
    dealt = index.assign(label=index.original_label)
    objects = dealt.group if split == "object" else pd.Series(np.arange(len(dealt)))
    folds = dealt.fold.to_numpy(np.int64)
    dealt["split"] = divide_dealt(dealt.label, objects, folds, seed, test_fold)
    dealt.attrs["split"] = split
    return reviewed(dealt, exclude_conflicts, decisions)


def reviewed(
    dealt: pd.DataFrame,
    exclude_conflicts: bool = True,
    decisions: Mapping[str, Decision] | None = None,
) -> pd.DataFrame:
    """Returns `deal`'s table with conflicts left out and decisions honoured.

    Where two photos are said to show one object and lie in two splits, it leaves the split that is
    learned from, and the test set stays what it was: all photos of the object where the split
    keeps objects together, else the one photo.

    Its `attrs` count decisions that were found again by content, `moved`, and those about photos
    that are not there, `missing`.
    """
    index = dealt.copy()
    if exclude_conflicts:
        index.loc[index.flag.str.contains("conflict"), "split"] = EXCLUDED
    index["unreviewed_split"] = index.split
    classes, row_of = set(index.original_label), pd.Series(index.index, index.file)
    made = found_again((decisions or {}).values(), index)
    index.attrs["missing"] = made.count(None)
    present = [decision for decision in made if decision is not None]
    index.attrs["moved"] = sum(decision.moved for decision in present)
    for decision in present:
        if decision.action in OF_PAIRS:
            continue
        if decision.action == "relabel" and decision.label not in classes:
            continue  # about a class that is no longer there
        row = row_of[decision.file]
        if decision.action == "relabel":
            index.loc[row, "label"] = decision.label
        # A conflicting photo that somebody vouched for goes back to where it was dealt.
        back = dealt.split[row]
        index.loc[row, "split"] = EXCLUDED if decision.action == "exclude" else back
    same = [(d.file, d.other) for d in present if d.action == "same"]
    _keep_apart(index, [(row_of[one], row_of[two]) for one, two in same])
    return index


def _keep_apart(index: pd.DataFrame, same: list[tuple[int, int]]) -> None:
    """Excludes the photos of joined objects from all but the last of the splits they lie in."""
    together = index.attrs["split"] == "object"
    objects = index.group.copy() if together else pd.Series(np.arange(len(index)), index.index)
    for one, two in same:
        objects[objects == objects[two]] = objects[one]
    joined = objects.isin(objects[[one for one, _ in same]])
    rank = index.split.map({name: number for number, name in enumerate(SPLITS)})
    last = rank[joined].groupby(objects[joined]).transform("max")
    index.loc[last.index[(rank[joined] < last).to_numpy()], "split"] = EXCLUDED


# ---------------------------------------------------------------- what is known of the photos


def known_groups(photos: Photos, scanned: pd.DataFrame, cache_folder: Path) -> pd.Series | None:
    """Returns the object of each photo by file: shipped, or from an audit; None before one."""
    if photos.is_trashnet:
        return trashnet_facts().group
    groups = stored_table("groups", ["file", "group"], scanned, cache_folder)
    return None if groups is None else groups.set_index("file").group


def review_of(photos: Photos, env: Environment) -> Review:
    """Returns the review of a data set; TrashNet has one wherever its photos lie.

    Photos without a review get the decisions that were made on the same contents elsewhere: before
    their folder was renamed, or a photo was added to their zip.

    Raises:
        DataError: The review file is damaged or cannot be written, or a photo is gone.
    """
    # A zip is extracted anew when it is touched, so its folder says nothing of its content.
    key = "".join(photos.files) if photos.source == "zip" else str(photos.root)
    name = "trashnet" if photos.is_trashnet else f"{photos.name}-{digest(key)}"
    path = env.home / "reviews" / f"{name}.json"
    review = Review(path, photos.root)
    try:
        if path.exists():
            review.add_contents()
        elif known := _decisions_elsewhere(path.parent):
            scanned = scan(photos, env.cache)
            review.begin(
                dataclasses.replace(decision, moved=True)
                for decision in found_again(known, scanned)
                if decision is not None
            )
    except OSError as error:
        raise DataError(f"The review in {path} cannot be written ({error.strerror}).") from error
    return review


def _decisions_elsewhere(folder: Path) -> list[Decision]:
    """Returns the decisions on known contents in all review files, in the order they were made."""
    found: dict[Any, Decision] = {}
    undone: set[Any] = set()
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(DataError):  # damaged: said where its own photos are in use
            review = Review(path)
            found |= {d.identity: d for d in review.history() if d.sha256}
            undone |= {d.identity for d in review.taken_back()}
    known = [decision for identity, decision in found.items() if identity not in undone]
    return sorted(known, key=lambda decision: decision.time)


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
        "decisions": {name: index.attrs[name] for name in ("moved", "missing")},
        "excluded": sorted(scanned.file[scanned.error.notna()].tolist() + left_out),
        "unreadable": scanned.file[scanned.error.notna()].tolist(),
        "left_out": dict(photos.left_out),
    }


def decisions_found(index: pd.DataFrame) -> str:
    """Says how many review decisions were found again, and how many are about no photo; or ''."""
    moved, missing = index.attrs["moved"], index.attrs["missing"]
    said = {
        "found again by content (photos were renamed or added)": moved,
        "about photos that are no longer there": missing,
    }
    return "; ".join(f"review decisions {what}: {count}" for what, count in said.items() if count)


def class_weights(labels: pd.Series, classes: tuple[str, ...]) -> NDArray[np.float32]:
    """Returns scikit-learn's balanced weights, `(classes,) float32`: n / (classes × count)."""
    counts = np.array([(labels == c).sum() for c in classes])
    return (len(labels) / (len(classes) * np.maximum(counts, 1))).astype(np.float32)
