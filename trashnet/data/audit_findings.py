"""What an audit found: kept for the pages, which read it and never make one; shipped for TrashNet.

An audit embeds photos with TensorFlow, in a process of its own. What is left of it are tables: the
similar pairs, and each photo's place on the map with how strange it is to its class.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from trashnet.data.dataset import Photos, trashnet_facts, trashnet_pairs
from trashnet.data.walk import class_key
from trashnet.files import Cache

SAME_OBJECT = 0.80
"""Cosine similarity from which two photos count as one object; `docs/data.md` says why."""

SAME_PRINT = 12
"""Matched local features from which two photos count as one object; `docs/data.md` says why."""

SAME_PRINT_ACROSS = 50
"""The same where the photos are of two classes: nutrition tables and other standard labels look
alike on anything, and no label in TrashNet does so in more than 42 points."""

LISTED = 8
"""Matched local features from which a pair is listed for people to look at."""

SIMILAR = 0.75
"""Cosine similarity from which a pair is listed for people to look at."""

STRANGE = 3.0
"""Robust standard deviations beyond its class's usual distance from which a photo is an outlier."""

DUPLICATE, CONFLICT, PAIR = "exact duplicate", "conflict", "near-duplicate"

SUSPECT, OUTLIER, POOR, UNREADABLE = "suspected label", "outlier", "poor quality", "unreadable"

ONE_OBJECT = "counts as one object"
"""What is said of such a pair."""

KINDS = (DUPLICATE, CONFLICT, PAIR, SUSPECT, OUTLIER, POOR, UNREADABLE)

_VERSION = 2
"""Of the audits that are kept: one more whenever they would find something else."""

PLACES = ["file", "map_x", "map_y", "strangeness"]

_PAIRS = ["one", "two", "similarity", "matches", "points"]

_COLUMNS = ["kind", "file", "label", "other", "other_label", "score", "matches", "why"]


# ---------------------------------------------------------------- kept between the processes


def store_table(name: str, table: pd.DataFrame, scanned: pd.DataFrame, cache_folder: Path) -> None:
    """Keeps a table of an audit: `groups`, `pairs` or `places` of these very photos."""
    Cache(cache_folder).store_table(name, _content(scanned), table)


def stored_table(
    name: str, columns: list[str], scanned: pd.DataFrame, cache_folder: Path
) -> pd.DataFrame | None:
    """Returns a table of an audit; None before one, or when the photos have changed since."""
    return Cache(cache_folder).table(name, _content(scanned), columns)


def _content(scanned: pd.DataFrame) -> str:
    # Labels as well: how strange a photo is depends on the class it is filed under.
    known = scanned.sha256.fillna("")  # none: it cannot be opened
    return f"{_VERSION}{''.join(scanned.file + known)}"


def known_pairs(photos: Photos, scanned: pd.DataFrame, cache_folder: Path) -> pd.DataFrame | None:
    """Returns similar pairs, the most similar first; None before an audit.

    Their columns: one, two (files), similarity, matches and points (`trashnet.data.prints`).
    """
    if photos.is_trashnet:
        return trashnet_pairs()
    return stored_table("pairs", _PAIRS, scanned, cache_folder)


def known_places(photos: Photos, scanned: pd.DataFrame, cache_folder: Path) -> pd.DataFrame | None:
    """Returns each photo's place (file, map_x, map_y) and strangeness; None before an audit."""
    if photos.is_trashnet:
        return trashnet_facts().reset_index()[PLACES]
    return stored_table("places", PLACES, scanned, cache_folder)


def has_one_print(pairs: pd.DataFrame) -> pd.Series:
    """Whether the photos of each pair (one, two: `<class>/<file>`) have a print in common."""
    one, two = (pairs[name].str.split("/").str[0].map(class_key) for name in ("one", "two"))
    return pairs.matches >= np.where(one == two, SAME_PRINT, SAME_PRINT_ACROSS)


def is_one_object(pairs: pd.DataFrame) -> pd.Series:
    """Whether each pair counts as one object: it looks alike, or has a print in common."""
    return (pairs.similarity >= SAME_OBJECT) | has_one_print(pairs)


# ---------------------------------------------------------------- one table of them all


def exact_duplicates(scanned: pd.DataFrame) -> list[list[str]]:
    """Returns the files of each content that occurs more than once."""
    readable = scanned[scanned.error.isna()]
    repeated = readable[readable.sha256.duplicated(keep=False)]
    return sorted(sorted(files) for files in repeated.groupby("sha256").file.apply(list))


def findings(
    scanned: pd.DataFrame,
    index: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    places: pd.DataFrame | None = None,
    suspected: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Lists everything that somebody should look at before trusting the photos.

    Args:
        scanned: What `scan` returned of the photos.
        index: Their index; its flags and original labels are used.
        pairs: Similar pairs, if an audit was made.
        places: Strangeness of the photos, if an audit was made.
        suspected: `trashnet.evaluation.label_errors.suspects`' table, if there is a run with folds.

    Returns:
        One row a finding, by kind in the order of `KINDS` and the worst first: kind, file, label,
        other (the other photo of a pair, else ""), other_label (its class, or the suspected one),
        score (similarity, confidence or strangeness), matches (of a pair's local features) and why
        (in words).
    """
    label_of = index.set_index("file").original_label
    # What an audit knew may be of photos that cannot be read now.
    if pairs is not None:
        pairs = pairs[pairs.one.isin(label_of.index) & pairs.two.isin(label_of.index)]
    if places is not None:
        places = places[places.file.isin(label_of.index)]
    tables = [_of_equal_content(scanned, label_of)]
    if pairs is not None:
        tables.append(_of_pairs(pairs, scanned.set_index("file").sha256, label_of))
    if suspected is not None:
        why = [f"a model that never saw it says {s}" for s in suspected.suspected]
        tables.append(
            suspected.assign(
                kind=SUSPECT,
                other="",
                other_label=suspected.suspected,
                score=suspected.confidence,
                why=why,
            )
        )
    if places is not None:
        far = places[places.strangeness > STRANGE].sort_values("strangeness", ascending=False)
        label = far.file.map(label_of)
        why = [f"unlike other photos of {name}" for name in label]
        tables.append(
            far.assign(
                kind=OUTLIER, label=label, other="", other_label="", score=far.strangeness, why=why
            )
        )
    poor = index.assign(why=index.flag.map(quality_flags)).query("why != ''")
    tables.append(
        poor.assign(kind=POOR, label=poor.original_label, other="", other_label="", score=np.nan)
    )
    bad = scanned[scanned.error.notna()]
    tables.append(
        bad.assign(kind=UNREADABLE, other="", other_label="", score=np.nan, why=bad.error)
    )
    tables = [table.assign(matches=table.get("matches", 0)) for table in tables]
    found = pd.concat([table[_COLUMNS] for table in tables if len(table)] or [tables[0][_COLUMNS]])
    order = found.kind.map({kind: i for i, kind in enumerate(KINDS)})
    return found.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


def quality_flags(flag: str) -> str:
    """Returns what of an index's flag is about quality, in words: `dark, blurred`."""
    return ", ".join(f for f in flag.split(";") if f not in ("", "duplicate", "conflict"))


def _of_equal_content(scanned: pd.DataFrame, label_of: pd.Series) -> pd.DataFrame:
    rows = []
    for first, *others in exact_duplicates(scanned):
        for other in others:
            one, two = label_of[first], label_of[other]
            kind = DUPLICATE if one == two else CONFLICT
            why = "the same picture, byte for byte"
            rows.append((kind, first, one, other, two, 1.0, why))
    return pd.DataFrame(rows, columns=[c for c in _COLUMNS if c != "matches"])


def _of_pairs(pairs: pd.DataFrame, sha256: pd.Series, label_of: pd.Series) -> pd.DataFrame:
    near = pairs[pairs.one.map(sha256) != pairs.two.map(sha256)]
    return pd.DataFrame(
        {
            "kind": PAIR,
            "file": near.one,
            "label": near.one.map(label_of),
            "other": near.two,
            "other_label": near.two.map(label_of),
            "score": near.similarity,
            "matches": near.matches,
            "why": np.where(is_one_object(near), ONE_OBJECT, "similar"),
        }
    )
