"""The audit: what it finds on purpose-made similarities, and on the real photos."""

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import trashnet_photo
from trashnet.data.audit import first_members, near_duplicates
from trashnet.data.audit_findings import SAME_OBJECT, SIMILAR, exact_duplicates
from trashnet.data.dataset import Photos, open_folder, trashnet_facts, trashnet_pairs
from trashnet.data.editions import SMALL
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.training import embedding
from trashnet.training.embedding import embed_and_audit


def directions(*angles: float) -> np.ndarray:
    """Embeddings in a plane: their similarity is the cosine of the angle between them."""
    radians = np.radians(angles)
    return np.column_stack([np.cos(radians), np.sin(radians)]).astype(np.float32)


# ---- similarity ----


def test_a_chain_of_similar_photos_is_one_object() -> None:
    # 30 degrees apart is a similarity of 0.87; 60 degrees is 0.5.
    pairs, group = near_duplicates(directions(0, 30, 60, 180))
    assert group.tolist() == [0, 0, 0, 3]
    assert pairs[["one", "two"]].to_numpy().tolist() == [[0, 1], [1, 2]]
    assert pairs.similarity.tolist() == pytest.approx([0.866, 0.866], abs=1e-4)


def test_pairs_below_the_threshold_are_listed_but_not_joined() -> None:
    pairs, group = near_duplicates(directions(0, 38))  # similarity 0.79
    assert len(pairs) == 1 and group.tolist() == [0, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 700), st.integers(0, 100))
def test_blocks_find_what_a_plain_comparison_finds(n: int, seed: int) -> None:
    e = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    pairs, group = near_duplicates(e, same_object=0.99, similar=0.95)
    similarity = np.triu(e @ e.T, 1)
    assert len(pairs) == (similarity >= 0.95).sum()
    one, two = np.nonzero(similarity >= 0.99)
    assert (group[one] == group[two]).all()
    assert (group <= np.arange(n)).all() and (group[group] == group).all()


def test_photos_all_alike_keep_memory_bounded() -> None:
    pairs, group = near_duplicates(np.tile(directions(10), (1500, 1)), max_pairs=1000)
    assert len(pairs) == 1000 and set(group) == {0}


def test_many_photos_are_compared_in_bounded_memory() -> None:
    e = np.random.default_rng(0).normal(size=(20_000, 32)).astype(np.float32)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    e[-1] = e[0]
    tracemalloc.start()
    pairs, group = near_duplicates(e)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # all similarities at once would be 1,600 MB
    assert group[-1] == 0 and [0, 19_999] in pairs[["one", "two"]].to_numpy().tolist()


def test_equal_groupings_get_equal_numbers() -> None:
    assert first_members(np.array([7, 3, 7, 1])).tolist() == [0, 1, 0, 3]


@pytest.fixture(scope="module")
def embedded_samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Photos]:
    def make(**classes: list[int]) -> Photos:
        root = tmp_path_factory.mktemp("photos")
        for label, seeds in classes.items():
            (root / label).mkdir()
            for i, seed in enumerate(seeds):
                trashnet_photo("metal", seed).save(root / label / f"{label}{i}.jpg", quality=90)
        return open_folder(root, "mine", "folder")

    return make


def test_odd_data_sets_are_audited(
    embedded_samples: Callable[..., Photos], env: Environment
) -> None:
    two = embedded_samples(glass=[1], metal=[2])
    found = embed_and_audit(two, scan(two, env.cache), env.cache)[1]
    assert len(found.facts) == 2

    one_class = embedded_samples(glass=[1, 1, 2])
    scanned = scan(one_class, env.cache)
    found = embed_and_audit(one_class, scanned, env.cache)[1]
    assert exact_duplicates(scanned) == [["glass/glass0.jpg", "glass/glass1.jpg"]]
    assert found.facts.group.tolist()[:2] == [0, 0]
    assert found.facts.flag.tolist()[:2] == ["duplicate"] * 2

    identical = embedded_samples(glass=[5] * 4, metal=[5] * 4)
    found = embed_and_audit(identical, scan(identical, env.cache), env.cache)[1]
    assert set(found.facts.group) == {0} and set(found.facts.flag) == {"conflict"}
    assert (found.pairs.similarity == 1).all()

    alone = embedded_samples(glass=[1])
    with pytest.raises(DataError, match="add more"):
        embed_and_audit(alone, scan(alone, env.cache), env.cache)[1]


def test_a_photo_that_cannot_be_read_is_passed_over_and_the_rest_audited(
    embedded_samples: Callable[..., Photos], env: Environment
) -> None:
    photos = embedded_samples(glass=[1, 2], metal=[3])
    (photos.root / "glass" / "broken.jpg").write_bytes(b"no picture")
    photos = open_folder(photos.root, "mine", "folder")
    found = embed_and_audit(photos, scan(photos, env.cache), env.cache)[1]
    assert sorted(found.facts.file) == ["glass/glass0.jpg", "glass/glass1.jpg", "metal/metal0.jpg"]


def test_an_interrupted_audit_keeps_what_it_embedded(
    embedded_samples: Callable[..., Photos], env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = embedded_samples(glass=range(3), metal=range(3, 6))
    monkeypatch.setattr(embedding, "_BATCH", 2)
    monkeypatch.setattr(embedding, "_STEP", 1)
    scanned = scan(photos, env.cache)

    def killed(done: int, total: int, what: str) -> None:
        if (done, total, what) == (4, 6, "Comparing photos"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_and_audit(photos, scanned, env.cache, killed)
    told = []
    embed_and_audit(photos, scanned, env.cache, lambda *progress: told.append(progress))
    assert (2, 2, "Comparing photos") in told


def test_embeddings_are_computed_once_per_content(
    embedded_samples: Callable[..., Photos], env: Environment
) -> None:
    photos = embedded_samples(glass=[1, 2], metal=[3])
    scanned = scan(photos, env.cache)
    first = embed_and_audit(photos, scanned, env.cache)[1]
    for file in photos.files:  # with the pictures gone, only the cache can answer
        (photos.root / file).unlink()
    second = embed_and_audit(photos, scanned, env.cache)[1]
    pd.testing.assert_frame_equal(first.pairs, second.pairs)
    pd.testing.assert_frame_equal(first.facts, second.facts)


# ---- TrashNet ----


@pytest.mark.photos
def test_the_shipped_facts_are_what_the_audit_finds(
    real_photos: Photos, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    manifest = tmp_path / "trashnet.csv"
    runs = [
        command(
            "audit",
            "--json",
            *("--data", str(real_photos.root)),
            *("--manifest", str(manifest)),
            *("--pairs", str(tmp_path / "pairs.csv")),
        )
        for _ in range(2)
    ]
    assert [code for code, _, _ in runs] == [0, 0]
    found = json.loads(runs[0][1])
    assert runs[0][1] == runs[1][1]

    assert found["conflicts"] == [
        ["glass/glass115.jpg", "metal/metal91.jpg"],
        ["glass/glass176.jpg", "plastic/plastic152.jpg"],
        ["glass/glass389.jpg", "plastic/plastic332.jpg"],
    ]
    assert found["threshold"] == SAME_OBJECT
    assert 50 <= found["leaks_by_threshold"]["0.90"]["pairs"] <= 70
    assert found["groups"] > 100 and 15 <= found["largest_group"] <= 30
    assert found["leaks"]["grouped"] == 0
    assert found["leaks"]["random"] > 20 and found["leaks"]["authors"] > 20
    assert found["leaks"]["hub_rows"] > 700

    shipped = trashnet_facts().reset_index()
    recomputed = pd.read_csv(manifest, keep_default_na=False)
    pairs = trashnet_pairs()
    again = pd.read_csv(tmp_path / "pairs.csv")
    sure = pairs.similarity > SIMILAR + 0.001  # another processor may round the border away
    merged = pairs[sure].merge(again, on=["one", "two"], how="left")
    if real_photos.edition == SMALL:  # the facts are of the full-size photos
        both = merged.dropna()
        assert len(both) > 0.75 * len(merged)
        np.testing.assert_allclose(both.similarity_x, both.similarity_y, atol=0.2)
        assert (recomputed.flag == shipped.flag).mean() > 0.99
        for quality in ("brightness", "contrast", "sharpness", "saturation"):
            np.testing.assert_allclose(recomputed[quality], shipped[quality], atol=0.02)
        return
    np.testing.assert_allclose(merged.similarity_x, merged.similarity_y, atol=1e-3)

    exact = ["file", "label", "authors_split", "group", "flag", "split", "fold"]
    pd.testing.assert_frame_equal(recomputed[exact], shipped[exact])
    for quality in ("brightness", "contrast", "sharpness", "saturation"):
        np.testing.assert_allclose(recomputed[quality], shipped[quality], atol=2e-3)


@pytest.mark.photos
def test_an_index_file_carries_object_split_and_fold(
    real_photos: Photos,
    real_env: Environment,
    env: Environment,
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
) -> None:
    shutil.copytree(real_env.cache, env.cache)
    path = tmp_path / "index.csv"
    code, _, _ = command("data", "--json", "--data", str(real_photos.root), "--index", str(path))
    index = pd.read_csv(path)
    assert code == 0 and len(index) == 2527
    assert {"file", "label", "group", "flag", "split", "fold", "brightness"} <= set(index.columns)
    sides = index[index.split != "excluded"].groupby("group")
    assert (sides.split.nunique() == 1).all()
    shutil.rmtree(tmp_path)
