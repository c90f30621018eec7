"""The list of findings: every kind, in one table, from made-up photos."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trashnet.data.audit_findings import (
    CONFLICT,
    DUPLICATE,
    OUTLIER,
    PAIR,
    POOR,
    SUSPECT,
    UNREADABLE,
    findings,
    known_places,
    quality_flags,
    store_table,
)
from trashnet.data.dataset import Photos, trashnet_facts

FILES = ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/2.jpg"]


@pytest.fixture
def scanned() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file": [*FILES, "b/torn.jpg"],
            "label": ["a", "a", "a", "b", "b", "b"],
            "sha256": ["x", "x", "y", "y", "z", None],
            "error": [None] * 5 + ["torn.jpg is damaged."],
        }
    )


@pytest.fixture
def index(scanned: pd.DataFrame) -> pd.DataFrame:
    rows = scanned[scanned.error.isna()]
    flag = ["duplicate", "duplicate", "conflict", "conflict;dark", ""]
    return rows.assign(flag=flag, original_label=rows.label)


def test_every_kind_of_finding_is_listed_once(scanned: pd.DataFrame, index: pd.DataFrame) -> None:
    pairs = pd.DataFrame(
        [("a/1.jpg", "a/2.jpg", 1.0), ("a/2.jpg", "b/2.jpg", 0.93), ("a/1.jpg", "a/3.jpg", 0.77)],
        columns=["one", "two", "similarity"],
    ).assign(matches=[0, 0, 11])
    places = pd.DataFrame(
        {"file": FILES, "map_x": 0.0, "map_y": 0.0, "strangeness": [0, 4.5, 9.1, np.nan, 1]}
    )
    suspected = pd.DataFrame(
        {"file": ["b/2.jpg"], "label": ["b"], "suspected": ["a"], "confidence": [0.97]}
    )
    found = findings(scanned, index, pairs, places, suspected)
    assert found.kind.tolist() == [
        *(DUPLICATE, CONFLICT, PAIR, PAIR, SUSPECT, OUTLIER, OUTLIER, POOR, UNREADABLE)
    ]
    by = found.set_index("kind")
    assert (by.file[CONFLICT], by.other[CONFLICT]) == ("a/3.jpg", "b/1.jpg")
    assert (by.label[CONFLICT], by.other_label[CONFLICT]) == ("a", "b")
    assert by.file[OUTLIER].tolist() == ["a/3.jpg", "a/2.jpg"]  # the strangest first
    assert by.why[PAIR].tolist() == ["counts as one object", "similar"]
    assert by.matches[PAIR].tolist() == [0, 11]
    assert by.why[POOR] == "dark" and by.other_label[SUSPECT] == "a"
    assert "damaged" in by.why[UNREADABLE]


def test_without_an_audit_or_a_run_the_rest_is_still_found(
    scanned: pd.DataFrame, index: pd.DataFrame
) -> None:
    found = findings(scanned, index)
    assert set(found.kind) == {DUPLICATE, CONFLICT, POOR, UNREADABLE}
    sound = scanned[scanned.error.isna()].assign(sha256=list("vwxyz"))
    nothing = findings(sound, index.assign(sha256=list("vwxyz"), flag=""))
    assert nothing.empty and "why" in nothing


def test_flags_about_quality_are_told_from_others() -> None:
    assert quality_flags("duplicate;dark;low contrast") == "dark, low contrast"
    assert quality_flags("conflict") == quality_flags("") == ""


def test_places_are_forgotten_when_a_photo_changes(tmp_path: Path, scanned: pd.DataFrame) -> None:
    photos = Photos(tmp_path, "mine", "folder", ("a", "b"), tuple(scanned.file))
    assert known_places(photos, scanned, tmp_path) is None
    table = pd.DataFrame({"file": FILES, "map_x": 1.0, "map_y": 2.0, "strangeness": 0.0})
    store_table("places", table, scanned, tmp_path)
    pd.testing.assert_frame_equal(known_places(photos, scanned, tmp_path), table)
    changed = scanned.assign(sha256=["new", *scanned.sha256[1:]])
    assert known_places(photos, changed, tmp_path) is None


def test_every_shipped_photo_has_a_place() -> None:
    facts = trashnet_facts()
    assert np.isfinite(facts[["map_x", "map_y", "strangeness"]].to_numpy(float)).all()
    assert 10 < (facts.strangeness > 3).sum() < 60


def test_what_an_audit_knew_of_a_photo_that_is_damaged_since_is_passed_over(
    scanned: pd.DataFrame, index: pd.DataFrame
) -> None:
    pairs = pd.DataFrame([("a/1.jpg", "b/torn.jpg", 0.93)], columns=["one", "two", "similarity"])
    pairs["matches"] = 0
    places = pd.DataFrame(
        {"file": ["b/torn.jpg"], "map_x": 0.0, "map_y": 0.0, "strangeness": [9.0]}
    )
    found = findings(scanned, index, pairs, places)
    assert not {PAIR, OUTLIER} & set(found.kind)
    assert found.file[found.kind == UNREADABLE].tolist() == ["b/torn.jpg"]
