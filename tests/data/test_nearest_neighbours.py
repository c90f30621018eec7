"""The nearest training photos, as comparing every pair finds them, and the axes they lie in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from trashnet.data import nearest_neighbours
from trashnet.data.nearest_neighbours import (
    DIMENSIONS,
    NEAREST,
    Projection,
    distance_to_training,
    nearest,
)

BLOCK = nearest_neighbours._BLOCK


def drawn(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    """`(n, d) float32` embeddings, unevenly spread and off the origin, as a network's are."""
    rng = np.random.default_rng(seed)
    return (rng.normal(1.0, 1.0, (n, d)) * np.linspace(2.0, 0.2, d)).astype(np.float32)


def every_pair(
    embeddings: np.ndarray, training: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """All distances in double precision, infinite to oneself."""
    distances = cdist(embeddings.astype(np.float64), training.astype(np.float64), "cosine")
    for row, self in enumerate([] if own is None else own):
        if self >= 0:
            distances[row, self] = np.inf
    return distances


# ---- nearest ----


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int]:
    n, m, d = draw(st.integers(1, 25)), draw(st.integers(2, 25)), draw(st.integers(1, 8))
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 30))
    own = draw(st.none() | st.lists(st.integers(-1, m - 1), min_size=n, max_size=n))
    found = drawn(n + m, d, seed)
    return found[:n], found[n:], None if own is None else np.array(own), count


@given(cases(), st.sampled_from([1, 2, 7, BLOCK]))
def test_the_nearest_are_those_of_comparing_every_pair(
    case: tuple[np.ndarray, np.ndarray, np.ndarray | None, int], block: int
) -> None:
    embeddings, training, own, count = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_neighbours, "_BLOCK", block)
        rows, distances = nearest(embeddings, training, count, own)
    exact = every_pair(embeddings, training, own)
    found = min(count, len(training) - (own is not None))
    assert rows.shape == distances.shape == (len(embeddings), found)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :found], atol=1e-5)
    # The rows are those the distances belong to, each named once, and nobody is their own.
    np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), distances, atol=1e-5)
    assert all(len(set(row)) == found for row in rows.tolist())
    assert (np.diff(distances, axis=1) >= 0).all()
    assert own is None or not ((rows == own[:, None]) & (own[:, None] >= 0)).any()


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_photos_beyond_one_block_are_compared_with_every_training_photo(n: int) -> None:
    """Half of them are training photos, whose own rows must be left out in every block."""
    embeddings = drawn(n)
    train = np.arange(0, n, 2)
    training = np.concatenate([embeddings[train], drawn(6, seed=1)])
    own = np.full(n, -1)
    own[train] = np.arange(len(train))
    rows, distances = nearest(embeddings, training, 3, own)
    exact = every_pair(embeddings, training, own)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :3], atol=1e-5)
    assert not (rows[train] == own[train, None]).any()


def test_a_training_photo_is_not_its_own_neighbour_but_its_copy_is() -> None:
    training = drawn(9)
    training[4] = training[2]
    rows, distances = nearest(training, training, own=np.arange(9))
    assert (rows != np.arange(9)[:, None]).all()
    assert (rows[2, 0], rows[4, 0]) == (4, 2)
    assert distances[[2, 4], 0] == pytest.approx(0, abs=1e-6)


def test_only_the_direction_of_an_embedding_counts() -> None:
    embeddings, training = drawn(8), drawn(20, seed=1)
    stretched = training * np.linspace(0.01, 100, 20, dtype=np.float32)[:, None]
    rows, distances = nearest(embeddings, training)
    again, same = nearest(5 * embeddings, stretched)
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_allclose(distances, same, atol=1e-5)


def test_known_angles_have_known_distances() -> None:
    training = np.array([[1, 0], [1, 1], [0, 2], [-1, 1], [-3, 0]], np.float32)
    rows, distances = nearest(np.array([[2, 0]], np.float32), training)
    assert rows.tolist() == [[0, 1, 2, 3, 4]]
    half = np.sqrt(0.5)
    assert distances[0] == pytest.approx([0, 1 - half, 1, 1 + half, 2], abs=1e-6)


def test_an_embedding_without_a_direction_does_no_harm() -> None:
    """A black picture may leave every feature at zero."""
    _, distances = nearest(np.zeros((1, 6), np.float32), drawn(9))
    assert distances == pytest.approx(1)


# ---- distance ----


def test_the_distance_is_that_to_the_fifth_nearest() -> None:
    embeddings, training = drawn(30), drawn(80, seed=1)
    distances = distance_to_training(embeddings, training)
    assert distances.shape == (30,) and NEAREST == 5
    exact = np.sort(every_pair(embeddings, training), axis=1)
    np.testing.assert_allclose(distances, exact[:, 4], atol=1e-5)


def test_few_odd_photos_in_training_do_not_make_their_like_familiar() -> None:
    rng = np.random.default_rng(0)
    usual = (np.eye(8)[0] + rng.normal(0, 0.05, (50, 8))).astype(np.float32)
    odd = np.tile(-np.eye(8, dtype=np.float32)[1], (NEAREST - 1, 1))
    training = np.concatenate([usual, odd])
    far, near = distance_to_training(np.stack([odd[0], usual[0]]), training)
    assert near < 0.1 < 0.8 < far
    enough = np.concatenate([training, odd[:1]])
    assert distance_to_training(odd[:1], enough)[0] == pytest.approx(0, abs=1e-6)


def test_a_training_photo_is_as_far_as_if_it_were_not_in_training() -> None:
    training = drawn(60)
    own = np.arange(60)
    ours = distance_to_training(training, training, own)
    left_out = [
        distance_to_training(training[[i]], np.delete(training, i, axis=0))[0] for i in range(60)
    ]
    np.testing.assert_allclose(ours, left_out, atol=1e-6)


# ---- projection ----


def test_the_axes_are_those_along_which_the_training_photos_differ_most() -> None:
    embeddings = drawn(400, 100)
    projection = Projection.fit(embeddings)
    assert projection.mean.shape == (100,) and projection.components.shape == (DIMENSIONS, 100)
    assert projection.mean.dtype == projection.components.dtype == np.float32
    np.testing.assert_allclose(
        projection.components @ projection.components.T, np.eye(DIMENSIONS), atol=1e-5
    )
    found = projection(embeddings)
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    spread = np.linalg.svd(centred, compute_uv=False)[:DIMENSIONS]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), spread, rtol=1e-4)
    assert abs(found.mean(axis=0)).max() < 1e-4


@pytest.mark.parametrize(("n", "d"), [(7, 100), (100, 7), (65, 65)])
def test_there_are_no_more_axes_than_photos_or_features(n: int, d: int) -> None:
    found = Projection.fit(drawn(n, d))(drawn(3, d, seed=1))
    assert found.shape == (3, min(n, d, DIMENSIONS)) and found.dtype == np.float32


def test_photos_are_as_far_apart_as_before_where_every_axis_is_kept() -> None:
    training, others = drawn(90, 20), drawn(10, 20, seed=1)
    projection = Projection.fit(training)
    before, after = cdist(others, training), cdist(projection(others), projection(training))
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_one_photo_is_projected_as_it_is_among_others() -> None:
    projection, embeddings = Projection.fit(drawn(90, 100)), drawn(5, 100, seed=1)
    together = projection(embeddings)
    for alone, row in zip(embeddings, together, strict=True):
        np.testing.assert_allclose(projection(alone), row, atol=1e-5)


def test_the_same_photos_give_the_same_axes() -> None:
    """Their signs would be free otherwise, and a stored embedding another one after a resume."""
    one, other = Projection.fit(drawn(90, 30)), Projection.fit(drawn(90, 30))
    np.testing.assert_array_equal(one.components, other.components)
    np.testing.assert_array_equal(one.mean, other.mean)


def test_what_the_components_leave_out_makes_a_photo_farther() -> None:
    training = drawn(90, 100)
    projection = Projection.fit(training)
    photos = drawn(5, 100, seed=1)
    away = np.linalg.svd(projection.components)[2][-1].astype(np.float32)
    lengths = projection.lengths(photos)
    whole = np.linalg.norm(photos - projection.mean, axis=1)
    np.testing.assert_allclose(lengths, whole, rtol=1e-5)
    assert projection.lengths(photos[0]) == pytest.approx(lengths[0])
    near = projection(training)
    before = distance_to_training(projection(photos), near, lengths=lengths)
    cosine = np.sort((projection(photos) @ near.T) / np.linalg.norm(near, axis=1), axis=1)[:, -5]
    np.testing.assert_allclose(before, 1 - cosine / whole, atol=1e-5)
    moved = photos + 9 * away  # where training photos do not differ
    np.testing.assert_allclose(projection(moved), projection(photos), atol=1e-4)
    after = distance_to_training(projection(moved), near, lengths=projection.lengths(moved))
    assert (after > before).all()
