"""Prints: photos of one label or flyer match, others do not, and a planted crop is found."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.pictures import trashnet_photo
from trashnet.data import prints
from trashnet.data.audit import contents
from trashnet.data.audit_findings import LISTED, SAME_PRINT
from trashnet.data.dataset import Photos, open_folder, trashnet_facts
from trashnet.data.prints import Features, candidates, describe, features_of, matched
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.progress import silent
from trashnet.training import embedding
from trashnet.training.embedding import embed_and_audit

ONE_PRINT = [
    ("glass", 54, 301),  # one bottle and label
    ("paper", 452, 465),  # one flyer
    ("metal", 314, 247),  # one can
]


def features(label: str, number: int) -> Features:
    return describe(np.asarray(trashnet_photo(label, number - 1).convert("RGB")))


@pytest.mark.parametrize(("label", "one", "two"), ONE_PRINT)
def test_photos_of_one_print_match(label: str, one: int, two: int) -> None:
    found = matched(features(label, one), features(label, two))
    assert len(found) >= SAME_PRINT
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert (
        len(np.unique(found[:, :2], axis=0)) == len(found) == len(np.unique(found[:, 2:], axis=0))
    )


def test_photos_of_different_things_do_not() -> None:
    some = [features(label, n) for label in ("glass", "paper", "metal") for n in (1, 60, 120)]
    counts = [len(matched(a, b)) for i, a in enumerate(some) for b in some[:i]]
    assert max(counts) < LISTED


def test_a_turned_smaller_crop_matches_where_it_was_cut() -> None:
    photo = trashnet_photo("paper", 451).convert("RGB")
    crop = photo.crop((60, 40, 300, 240))
    found = matched(describe(np.asarray(photo)), describe(np.asarray(crop)))
    assert len(found) > 50
    at = found[:, :2] * photo.width - (60, 40)
    np.testing.assert_allclose(at, found[:, 2:] * crop.width, atol=4)
    turned = photo.rotate(30, expand=True, fillcolor="white").resize((300, 300))
    assert len(matched(describe(np.asarray(photo)), describe(np.asarray(turned)))) > 50


def test_a_photo_without_an_edge_has_no_features_and_no_matches() -> None:
    blank = describe(np.full((60, 80, 3), 200, np.uint8))
    assert blank.points.shape == (0, 2) and blank.descriptors.shape == (0, 128)
    assert len(matched(blank, features("glass", 1))) == 0


@pytest.mark.parametrize("shape", [(2, 3000), (3000, 2), (1, 1)])
def test_a_photo_of_extreme_shape_is_described(shape: tuple[int, int]) -> None:
    found = describe(np.zeros((*shape, 3), np.uint8))
    assert found.points.shape == (0, 2)


@pytest.mark.slow
def test_candidates_have_nearly_all_pairs_that_match() -> None:
    """Against trying all pairs, with embeddings that know nothing."""
    some = [features("cardboard", n) for n in range(1, 81)]
    random = np.random.default_rng(0).normal(size=(len(some), 8)).astype(np.float32)
    few = {tuple(pair) for pair in candidates(some, random, neighbours=10).tolist()}
    every = [(i, j) for j in range(len(some)) for i in range(j)]
    found = {pair for pair in every if len(matched(some[pair[0]], some[pair[1]])) >= SAME_PRINT}
    assert len(found) > 10
    assert len(found & few) >= 0.8 * len(found)
    assert len(few) < len(every) / 2


def test_features_are_computed_once_and_kept_as_they_come(
    sample_photos: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = scan(sample_photos, env.cache)
    rows = contents(scanned).head(40)
    first = features_of(sample_photos, rows, env.cache)
    monkeypatch.setattr(prints, "describe", lambda _: pytest.fail("computed again"))
    again = features_of(sample_photos, rows.iloc[::-1], env.cache)
    for a, b in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(a.descriptors, b.descriptors)
        np.testing.assert_array_equal(a.points, b.points)


def test_an_interrupted_audit_matches_only_what_is_left(
    sample_photos: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = scan(sample_photos, env.cache)
    scanned = scanned.groupby("label").head(4).reset_index(drop=True)
    rows = contents(scanned)
    some = features_of(sample_photos, rows, env.cache)
    vectors = np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32)
    sizes: list[int] = []
    ends = [False]
    whole = prints.matches

    def match(*arguments: Any) -> pd.DataFrame:
        sizes.append(len(arguments[2]))
        if ends[0] and len(sizes) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(prints, "matches", match)
    monkeypatch.setattr(embedding, "_PAIRS", 50)
    first = embedding._match(lambda: some, vectors, scanned, env.home / "once", silent)
    total, parts = sum(sizes), len(sizes)
    assert parts > 3
    ends[0] = True
    sizes.clear()
    with pytest.raises(KeyboardInterrupt):
        embedding._match(lambda: some, vectors, scanned, env.home / "twice", silent)
    ends[0] = False
    sizes.clear()
    again = embedding._match(lambda: some, vectors, scanned, env.home / "twice", silent)
    assert len(sizes) == parts - 2 and sum(sizes) == total - 100
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.slow
def test_a_crop_under_another_name_is_one_object_with_its_photo(
    sample_photos: Photos, tmp_path: Path, env: Environment
) -> None:
    folder = tmp_path / "planted"
    for file in sample_photos.files[::4]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_photos.root / file, folder / file)
    source = next(f for f in sample_photos.files[::4] if f.startswith("paper/"))
    with Image.open(sample_photos.root / source) as photo:
        photo.convert("RGB").crop((90, 60, 330, 250)).rotate(90, expand=True).save(
            folder / "cardboard" / "planted.png"
        )
    photos = open_folder(folder, "planted", "folder")
    found = embed_and_audit(photos, scan(photos, env.cache), env.cache)[1]
    group = found.facts.set_index("file").group
    assert group["cardboard/planted.png"] == group[source]
    pair = found.pairs[(found.pairs.one == "cardboard/planted.png") & (found.pairs.two == source)]
    assert pair.matches.item() >= SAME_PRINT and pair.similarity.item() < 0.99
    assert len(pair.points.item()) % 4 == 0


def test_known_prints_are_on_one_side() -> None:
    facts: pd.DataFrame = trashnet_facts()
    for label, one, two in ONE_PRINT:
        rows = facts.loc[[f"{label}/{label}{one}.jpg", f"{label}/{label}{two}.jpg"]]
        assert rows.group.nunique() == rows.split.nunique() == rows.fold.nunique() == 1
