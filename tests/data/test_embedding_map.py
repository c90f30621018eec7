"""The map and the outliers: the same every time, similar photos together, odd ones told."""

import time

import numpy as np
import pandas as pd
import pytest

from trashnet.data import embedding_map
from trashnet.data.embedding_map import place, strangeness


def heaps(count: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings in a few tight heaps, and the heap of each."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(count, 24))
    which = np.repeat(np.arange(count), each)
    e = middles[which] + rng.normal(scale=0.2, size=(count * each, 24))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    return e.astype(np.float32), which


def in_the_right_heap(spots: np.ndarray, which: np.ndarray) -> float:
    """The share of photos whose nearest neighbour on the map is of their own heap."""
    away = ((spots[:, None] - spots[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    return float((which[away.argmin(axis=1)] == which).mean())


def test_similar_photos_lie_together_and_stay_there() -> None:
    embeddings, which = heaps(4, 40)
    spots = place(embeddings)
    assert spots.shape == (160, 2) and np.isfinite(spots).all()
    assert in_the_right_heap(spots, which) > 0.98
    np.testing.assert_array_equal(place(embeddings), spots)


def test_beyond_the_landmarks_photos_are_laid_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "LANDMARKS", 80)
    embeddings, which = heaps(4, 100)
    spots = place(embeddings)
    assert in_the_right_heap(spots, which) > 0.98
    assert len(np.unique(spots, axis=0)) == len(spots)


@pytest.mark.parametrize("n", [0, 1, 3, 5, 8])
def test_a_handful_of_photos_has_a_place_each(n: int) -> None:
    embeddings, _ = heaps(1, 8)
    assert np.isfinite(place(embeddings[:n])).all() and len(place(embeddings[:n])) == n


def test_photos_all_alike_are_no_mistake() -> None:
    assert np.isfinite(place(np.ones((12, 6), np.float32))).all()


def test_a_photo_unlike_its_class_is_strange_and_its_twins_do_not_excuse_it() -> None:
    embeddings, which = heaps(2, 30)
    labels = pd.Series(np.array(["glass", "metal"])[which])
    groups = np.arange(60)
    embeddings[[3, 4, 5]] = embeddings[45]  # three shots of one metal thing filed under glass
    groups[[4, 5]] = 3
    found = strangeness(embeddings, labels, groups)
    assert set(np.argsort(found)[-3:]) == {3, 4, 5} and found[3] > 10
    assert np.abs(np.median(found)) < 0.5


def test_a_class_of_too_few_objects_is_not_judged() -> None:
    embeddings, _ = heaps(1, 20)
    labels = pd.Series(["glass"] * 15 + ["rare"] * 5)
    found = strangeness(embeddings, labels, np.arange(20))
    assert np.isnan(found[15:]).all() and np.isfinite(found[:15]).all()


def test_forty_thousand_photos_are_placed_by_a_few_landmarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        embedding_map, "LANDMARKS", 300
    )  # laying out all 3,000 takes ten seconds more
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(40_000, 64)).astype(np.float32)
    start = time.monotonic()
    assert np.isfinite(place(embeddings)).all()
    assert time.monotonic() - start < 60
