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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.pictures import shipped_photos, trashnet_photo
from trashnet.data.audit import first_members, near_duplicates
from trashnet.data.audit_findings import (
    LISTED,
    SAME_OBJECT,
    SAME_PRINT,
    SIMILAR,
    exact_duplicates,
    is_one_object,
)
from trashnet.data.dataset import (
    Photos,
    open_folder,
    small_trashnet,
    trashnet_facts,
    trashnet_pairs,
)
from trashnet.data.image_io import QUALITIES
from trashnet.data.quality import flags
from trashnet.data.scan import scan
from trashnet.data.splits import divide
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


def test_the_shipped_groups_and_split_are_those_of_the_shipped_pairs() -> None:
    facts = trashnet_facts().reset_index()
    same = trashnet_pairs()[is_one_object(trashnet_pairs())]
    row = pd.Series(facts.index, index=facts.file)
    links = (np.ones(len(same)), (row[same.one].to_numpy(), row[same.two].to_numpy()))
    groups = connected_components(coo_array(links, shape=(len(facts),) * 2), directed=False)[1]
    assert facts.group.tolist() == first_members(groups).tolist()
    sizes = facts.group.value_counts()
    assert (sizes > 1).sum() > 250 and sizes.max() < 100
    # A group of several classes is an exception; a standard label on anything would make many.
    several = facts.groupby("group").label.nunique() > 1
    assert several.sum() < 10
    split, fold = divide(facts.label, facts.group, sorted(facts.label.unique()), seed=0)
    assert facts.split.tolist() == split.tolist() and facts.fold.tolist() == fold.tolist()


def test_the_shipped_measures_are_those_of_the_shipped_photos(shared: Path) -> None:
    photos = small_trashnet(Environment(shared / "photos-home"))
    scanned, facts = scan(photos, shared / "photos-home" / "cache"), trashnet_facts()
    assert scanned.file.tolist() == facts.index.tolist()
    assert list(flags(scanned)) == facts.flag.tolist()
    for quality in QUALITIES:
        np.testing.assert_allclose(scanned[quality], facts[quality], atol=2e-3)
    assert exact_duplicates(scanned) == [
        ["glass/glass115.jpg", "metal/metal91.jpg"],
        ["glass/glass176.jpg", "plastic/plastic152.jpg"],
        ["glass/glass389.jpg", "plastic/plastic332.jpg"],
    ]


@pytest.mark.slow
def test_the_shipped_pairs_are_what_the_photos_show(tmp_path: Path, env: Environment) -> None:
    """Of some photos; `python -m trashnet audit --manifest FILE --pairs FILE` does all."""
    pairs = trashnet_pairs()
    some = pairs[pairs.matches >= SAME_PRINT].sample(40, random_state=0)
    files = sorted({*some.one, *some.two, *trashnet_facts().index[::25]})
    root = tmp_path / "photos"
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(shipped_photos()[file])
    photos = open_folder(root, "some", "folder")
    found = embed_and_audit(photos, scan(photos, env.cache), env.cache)[1].pairs
    both = pairs[pairs.one.isin(files) & pairs.two.isin(files)].merge(
        found, on=["one", "two"], how="outer", suffixes=("", "_again")
    )
    # Another processor may round the border away.
    near = both[(both.similarity > SIMILAR + 0.001) | (both.matches > LISTED + 2)]
    np.testing.assert_allclose(near.similarity, near.similarity_again, atol=1e-3)
    assert len(near) > 40 and (near.matches - near.matches_again).abs().max() <= 2
    # Of fewer photos each has more candidates, so some are found that were never compared.
    same = both[(both.matches_again >= SAME_PRINT) & (both.one.str[:5] == both.two.str[:5])]
    assert same.similarity.isna().sum() < 0.2 * len(same)


def test_an_audit_says_the_same_twice(
    sample_photos: Photos, env: Environment, command: Callable[..., tuple[int, str, str]]
) -> None:
    runs = []
    for _ in range(2):
        runs.append(command("audit", "--json", "--data", str(sample_photos.root)))
        for kept in ("local-features", "candidates", "prints", "pairs", "groups"):
            found = list(env.cache.glob(f"{kept}-*.parquet"))
            assert found  # else the second audit would read what the first one found
            for path in found:
                path.unlink()
    assert [code for code, _, _ in runs] == [0, 0] and runs[0][1] == runs[1][1]
    found = json.loads(runs[0][1])
    assert found["threshold"] == SAME_OBJECT and found["leaks"]["grouped"] == 0
    assert found["leaks"]["random"] > 0 and found["groups"] > 5


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
