"""What each way of splitting leaks."""

import re

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from trashnet.data import audit_findings
from trashnet.data.audit_findings import (
    SAME_OBJECT,
    SAME_PRINT,
    SAME_PRINT_ACROSS,
    is_one_object,
    known_pairs,
    store_table,
)
from trashnet.data.dataset import Photos, trashnet_facts, trashnet_pairs
from trashnet.data.leakage import COST, COST_CROSS_VALIDATED, Way, leak_table, ways_to_split
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.evaluation.metrics import wilson_interval


def test_a_leak_is_a_test_photo_with_a_near_duplicate_in_train() -> None:
    pairs = pd.DataFrame(
        {"one": ["a", "a", "d"], "two": ["b", "c", "e"], "similarity": [0.9, 0.99, 0.5]}
    ).assign(matches=0)
    split = pd.Series({"a": "test", "b": "train", "c": "validation", "d": "test", "e": "train"})
    way = Way(split, pairs)
    assert way.tested == 2
    assert way.leaking(0.95).values.tolist() == [["a", "c", 0.99, 0]]  # with its nearest, once
    assert way.leaking(0.4).test.tolist() == ["a", "d"]
    turned = pairs.rename(columns={"one": "two", "two": "one"})
    pd.testing.assert_frame_equal(Way(split, turned).leaking(0.4), way.leaking(0.4))
    one_side = split.replace({"train": "test", "validation": "test"})
    assert len(Way(one_side, pairs).leaking(0.4)) == 0


def test_a_print_in_common_is_a_leak_from_fewer_matches_within_a_class() -> None:
    pairs = pd.DataFrame(
        {"one": ["a/1", "a/2", "a/3", "a/4"], "two": ["a/5", "a/6", "b/7", "b/8"]}
    ).assign(similarity=0.5, matches=[SAME_PRINT, SAME_PRINT - 1, SAME_PRINT, SAME_PRINT_ACROSS])
    split = pd.Series("train", index=["a/5", "a/6", "b/7", "b/8"])
    split = pd.concat([split, pd.Series("test", index=["a/1", "a/2", "a/3", "a/4"])])
    leaked = Way(split, pairs).leaking(0.8)
    assert dict(zip(leaked.test, leaked.matches, strict=True)) == {
        "a/1": SAME_PRINT,
        "a/4": SAME_PRINT_ACROSS,
    }
    assert is_one_object(pairs).tolist() == [True, False, False, True]
    spelt = pairs.assign(one=pairs.one.str.replace("a/", "A/"))
    assert is_one_object(spelt).tolist() == [True, False, False, True]


def test_trashnets_leaks_are_those_the_documents_print() -> None:
    facts = trashnet_facts().reset_index()
    authors = facts.set_index("file").authors_split
    ways = ways_to_split(facts, trashnet_pairs(), authors)
    tested = {name: way.tested for name, way in ways.items()}
    assert tested == {"random": 506, "authors": 431, "grouped": 506, "hub_rows": 1011}
    printed = (ROOT / "docs" / "data.md").read_text("utf-8")
    for threshold in (SAME_OBJECT, 0.82, 0.86, 0.90, 0.95):
        n = leak_table(ways, threshold)
        (cells,) = re.findall(rf"^\| {threshold:.2f} \|((?: [\d,of ]+ \|){{5}})$", printed, re.M)
        cells = [int(cell.split(" of ")[0].replace(",", "")) for cell in cells.split("|")[:-1]]
        assert cells[1:] == [n["random"], n["authors"], n["grouped"], n["hub_rows"]]
    copies = ways["hub_rows"].leaking(0.999999).query("similarity > 0.999999")
    assert len(copies) == 817 and (copies.test == copies.train).sum() > 810


def test_photos_without_authors_have_three_ways() -> None:
    facts = pd.DataFrame({"file": [f"{c}/{i}#1.jpg" for c in "ab" for i in range(20)]})
    facts["label"], facts["group"] = facts.file.str[0], range(40)
    pairs = pd.DataFrame({"one": ["a/0#1.jpg"], "two": ["a/1#1.jpg"]})
    pairs = pairs.assign(similarity=0.9, matches=0)
    ways = ways_to_split(facts, pairs, None)
    assert leak_table(ways, 0.8)["authors"] is None
    assert set(ways["hub_rows"].leaking(0.8).test) <= set(facts.file)


def test_an_audits_pairs_are_kept_until_the_photos_or_the_audit_change(
    sample_photos: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = scan(sample_photos, env.cache)
    assert known_pairs(sample_photos, scanned, env.cache) is None
    pairs = pd.DataFrame({"one": ["a"], "two": ["b"], "similarity": [0.9], "matches": [0]})
    pairs["points"] = [np.array([0.1, 0.2, 0.3, 0.4], np.float32)]
    store_table("pairs", pairs, scanned, env.cache)
    pd.testing.assert_frame_equal(known_pairs(sample_photos, scanned, env.cache), pairs)
    changed = scanned.assign(sha256="other")
    assert known_pairs(sample_photos, changed, env.cache) is None
    monkeypatch.setattr(audit_findings, "_VERSION", audit_findings._VERSION + 1)
    assert known_pairs(sample_photos, scanned, env.cache) is None  # a later audit finds more


@pytest.mark.parametrize("way", COST)
def test_the_cost_is_what_the_readme_says(way: str) -> None:
    begins = {"grouped": "| by object", "random": "| random", "authors": "| the authors"}[way]
    readme = (ROOT / "README.md").read_text("utf-8")
    (row,) = [line for line in readme.splitlines() if line.startswith(begins)]
    measured = [COST[way], *([COST_CROSS_VALIDATED[way]] if way in COST_CROSS_VALIDATED else [])]
    for right, n in measured:
        low, high = wilson_interval(right, n)
        assert f"{right / n:.1%}".replace("%", " %") in row
        assert f"({100 * low:.1f}–{100 * high:.1f})" in row
    assert f", n = {COST[way][1]}" in row
