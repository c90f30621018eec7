"""What to know of the photos before trusting a split: duplicates, conflicts, objects, quality.

Photos are compared in two ways: by embeddings of the frozen ImageNet backbone, never of a model
trained on the split that they define, and by local features (`trashnet.data.prints`). Both come as
values, so that nothing here loads TensorFlow or OpenCV.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trashnet.data.audit_findings import (
    PLACES,
    SAME_OBJECT,
    SIMILAR,
    exact_duplicates,
    has_one_print,
    store_table,
)
from trashnet.data.embedding_map import place, strangeness
from trashnet.data.image_io import QUALITIES
from trashnet.data.leakage import leak_table, ways_to_split
from trashnet.data.quality import flags
from trashnet.data.splits import divide
from trashnet.errors import DataError
from trashnet.progress import Progress, silent

THRESHOLDS = (SAME_OBJECT, 0.82, 0.86, 0.90, 0.95)
"""Similarities for which leaks are counted."""

_MAX_PAIRS = 200_000

_BLOCK = 256


@dataclass(frozen=True)
class Audit:
    """The findings.

    Attributes:
        facts: One row a photo: file, label, group (photos of one object share a number), flag
            (what is odd about the photo, `;` between several, empty if nothing is).
        pairs: One row a similar pair: one, two (files), similarity, matches, points (of
            `trashnet.data.prints`); the most similar first.
    """

    facts: pd.DataFrame
    pairs: pd.DataFrame


def readable(scanned: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of a scan whose photos can be read."""
    return scanned[scanned.error.isna()].reset_index(drop=True)


def contents(scanned: pd.DataFrame) -> pd.DataFrame:
    """Returns the readable rows of different content, in the order in which they first appear.

    Raises:
        DataError: Fewer than two photos can be read, too few to compare.
    """
    rows = readable(scanned)
    if len(rows) < 2:
        raise DataError(f"An audit compares photos, and {len(rows)} can be read here; add more.")
    return rows.drop_duplicates("sha256")


def audit(
    scanned: pd.DataFrame,
    embeddings: NDArray[np.float32],
    prints: pd.DataFrame,
    cache_folder: Path,
    on_progress: Progress = silent,
) -> Audit:
    """Audits the readable photos; the findings are stored, so the index can be split by object.

    Args:
        scanned: What `scan` returned of the data set.
        embeddings: `(n, d) float32` of length 1, a row for each row of `contents`.
        prints: `trashnet.data.prints.matches` of these rows.
        cache_folder: Where findings are kept.
        on_progress: Called during the long steps.
    """
    rows = readable(scanned)
    content = pd.Categorical(rows.sha256, categories=pd.unique(rows.sha256))
    near, group = near_duplicates(embeddings, on_progress=on_progress)
    pairs = near.merge(prints, on=["one", "two"], how="outer", suffixes=("", "_again"))
    pairs = pairs.assign(
        similarity=pairs.similarity.fillna(pairs.similarity_again).round(4),
        matches=pairs.matches.fillna(0).astype(np.int64),
    ).sort_values(["similarity", "one", "two"], ascending=[False, True, True])
    first = contents(scanned).file.to_numpy()
    same = prints[has_one_print(prints.assign(one=first[prints.one], two=first[prints.two]))]
    group = _merge(group, same.one.to_numpy(np.int64), same.two.to_numpy(np.int64))
    group = first_members(group[content.codes])
    pairs = _with_files(pairs, rows.file, content.codes)
    facts = rows[["file", "label"]].assign(group=group, flag=flags(rows))
    store_table("groups", facts[["file", "group"]], scanned, cache_folder)
    store_table("pairs", pairs, scanned, cache_folder)
    return Audit(facts, pairs)


def lay_out(
    scanned: pd.DataFrame,
    embeddings: NDArray[np.float32],
    found: Audit,
    cache_folder: Path,
    on_progress: Progress = silent,
) -> pd.DataFrame:
    """Gives every audited photo a place on a map and says how strange it is to its class.

    A step of its own, because a training that needs to know the objects needs no map.

    Returns:
        One row a photo: file, map_x, map_y, strangeness (NaN where too few share its class). It
        is stored like the audit's own findings.
    """
    rows = readable(scanned)
    content = pd.Categorical(rows.sha256, categories=pd.unique(rows.sha256))
    on_progress(0, 1, "Laying out the map")
    spots = place(embeddings)[content.codes]
    strange = strangeness(embeddings[content.codes], rows.label, found.facts.group.to_numpy())
    on_progress(1, 1, "Laying out the map")
    places = pd.DataFrame(
        {"file": rows.file, "map_x": spots[:, 0], "map_y": spots[:, 1], "strangeness": strange}
    )
    places = places[PLACES].round(2)
    store_table("places", places, scanned, cache_folder)
    return places


def near_duplicates(
    embeddings: NDArray[np.float32],
    same_object: float = SAME_OBJECT,
    similar: float = SIMILAR,
    max_pairs: int = _MAX_PAIRS,
    on_progress: Progress = silent,
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Compares every photo with every other, a block at a time, so memory stays bounded.

    Args:
        embeddings: `(n, d) float32` of length 1.
        same_object: Photos this similar, or linked by a chain of such, are one object.
        similar: Pairs this similar are listed.
        max_pairs: The most similar pairs to list; groups are complete however many there are.
        on_progress: Told of the photos compared.

    Returns:
        The pairs as rows of one, two (row numbers, one < two) and similarity, the most similar
        first; and `(n,) int`, the group of each photo.
    """
    n = len(embeddings)
    group = np.arange(n)
    kept = pd.DataFrame({"one": [], "two": [], "similarity": []})
    for start in range(0, n, _BLOCK):
        similarity = embeddings[start : start + _BLOCK] @ embeddings[start:].T
        one, two = np.nonzero(np.triu(similarity, 1) >= min(similar, same_object))
        value = similarity[one, two]
        one, two = one + start, two + start
        joined = value >= same_object
        group = _merge(group, one[joined], two[joined])
        listed = value >= similar
        block = pd.DataFrame(
            {"one": one[listed], "two": two[listed], "similarity": value[listed].round(4)}
        )
        kept = pd.concat([kept, block]) if len(kept) else block
        if len(kept) > 2 * max_pairs:
            kept = kept.nlargest(max_pairs, "similarity")
        on_progress(min(start + _BLOCK, n), n, "Looking for near-duplicates")
    kept = kept.sort_values(["similarity", "one", "two"], ascending=[False, True, True])
    return kept.head(max_pairs).reset_index(drop=True), first_members(group)


def _merge(
    group: NDArray[np.int64], one: NDArray[np.int64], two: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Joins the groups of each pair."""
    links = coo_array((np.ones(len(one)), (group[one], group[two])), shape=(len(group),) * 2)
    return connected_components(links, directed=False)[1][group]


def first_members(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumbers groups by their first member's row, so equal groupings get equal numbers."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return first[inverse]


def _with_files(pairs: pd.DataFrame, files: pd.Series, content: NDArray[np.int64]) -> pd.DataFrame:
    """Names the pairs' photos, and adds the pairs of equal content, which were compared as one."""
    owner = pd.Series(files.to_numpy(), index=content)
    named = pd.DataFrame(
        {
            "one": owner[~owner.index.duplicated()].reindex(pairs.one).to_numpy(),
            "two": owner[~owner.index.duplicated()].reindex(pairs.two).to_numpy(),
            "similarity": pairs.similarity.to_numpy(np.float64).round(4),
            "matches": pairs.matches.to_numpy(),
            "points": pairs.points.to_numpy(object),
        }
    )
    again = owner.index.duplicated()
    equal = pd.DataFrame(
        {
            "one": owner[~again].reindex(owner.index[again]).to_numpy(),
            "two": owner[again].to_numpy(),
            "similarity": 1.0,
            "matches": 0,
            "points": None,
        }
    )
    return pd.concat([equal, named], ignore_index=True)


# ---------------------------------------------------------------- what was found


def summarise(
    found: Audit, scanned: pd.DataFrame, authors_split: pd.Series | None
) -> dict[str, Any]:
    """Returns what the `audit` command prints."""
    sizes = found.facts.group.value_counts()
    duplicates = exact_duplicates(scanned)
    conflicted = set(found.facts.file[found.facts.flag.str.contains("conflict")])
    flagged = found.facts.flag[found.facts.flag != ""].str.split(";").explode()
    by_threshold: dict[str, Any] = {}
    # Too few photos to split leak nothing; everything else still holds.
    with contextlib.suppress(DataError):
        ways = ways_to_split(found.facts, found.pairs, authors_split)
        by_threshold = {
            f"{threshold:.2f}": {
                "pairs": int((found.pairs.similarity >= threshold).sum()),
                **leak_table(ways, threshold),
            }
            for threshold in THRESHOLDS
        }
    at_threshold = dict(by_threshold.get(f"{SAME_OBJECT:.2f}", {}))
    at_threshold.pop("pairs", None)
    return {
        "photos": len(found.facts),
        "threshold": SAME_OBJECT,
        "exact_duplicates": duplicates,
        "conflicts": [files for files in duplicates if set(files) & conflicted],
        "near_duplicate_pairs": int((found.pairs.similarity >= SAME_OBJECT).sum()),
        "print_pairs": int(has_one_print(found.pairs).sum()),
        "groups": int((sizes > 1).sum()),
        "grouped_photos": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "leaks": at_threshold or None,
        "leaks_by_threshold": by_threshold,
        "flags": {name: int(n) for name, n in flagged.value_counts().sort_index().items()},
    }


def manifest(
    found: Audit, scanned: pd.DataFrame, places: pd.DataFrame, authors_split: pd.Series
) -> pd.DataFrame:
    """Returns the facts about TrashNet that the package ships, one row a photo, no pixels."""
    facts = found.facts.merge(scanned[["file", *QUALITIES]], on="file").merge(places, on="file")
    split, fold = divide(facts.label, facts.group, sorted(facts.label.unique()), seed=0)
    authors = authors_split.reindex(facts.file).to_numpy()
    facts = facts.assign(authors_split=authors, split=split, fold=fold)
    order = ["file", "label", "authors_split", "group", "flag", "split", "fold", *QUALITIES]
    order += PLACES[1:]
    return facts[order].round(dict.fromkeys(QUALITIES, 4))
