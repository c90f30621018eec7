"""Which training photos are most like a photo, and how unlike all of them it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 64
"""Of an embedding as it is stored; more would make a shipped run large."""

NEAREST = 5
"""A photo's distance is that to its fifth nearest training photo: one odd neighbour is chance."""

_BLOCK = 512


@dataclass(frozen=True)
class Projection:
    """The principal components of the training photos' embeddings.

    Attributes:
        mean: `(d,) float32`.
        components: `(k, d) float32`, k at most `DIMENSIONS`.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def fit(cls, embeddings: NDArray[np.float32]) -> "Projection":
        """Finds the components of `(n, d)` embeddings."""
        from sklearn.decomposition import PCA

        count = min(DIMENSIONS, *embeddings.shape)
        fitted = PCA(count, svd_solver="covariance_eigh").fit(embeddings.astype(np.float64))
        return cls(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32))

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Projects `(…, d)` embeddings to `(…, k)`."""
        return ((embeddings - self.mean) @ self.components.T).astype(np.float32)

    def lengths(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns how far `(…, d)` embeddings lie from the mean, `(…,)`, in all dimensions."""
        return np.linalg.norm(embeddings - self.mean, axis=-1)


def nearest(
    embeddings: NDArray[np.float32],
    training: NDArray[np.float32],
    count: int = NEAREST,
    own: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Finds each photo's nearest training photos by the angle between embeddings.

    Args:
        embeddings: `(n, k)`, projected.
        training: `(m, k)`, projected.
        count: How many to find.
        own: `(n,)` row of `training` that is the photo itself, or -1; it is no neighbour.

    Returns:
        `(n, count) int`, rows of `training`, the nearest first; `(n, count) float32`, their
        distances, 1 less the cosine.
    """
    count = min(count, len(training) - (own is not None))
    directions = _directions(training)
    rows, distances = [], []
    for start in range(0, len(embeddings), _BLOCK):
        distance = 1 - _directions(embeddings[start : start + _BLOCK]) @ directions.T
        if own is not None:
            block = own[start : start + _BLOCK]
            at = np.flatnonzero(block >= 0)
            distance[at, block[at]] = np.inf
        order = np.argpartition(distance, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(distance, order, axis=1)
        sorting = np.argsort(near, axis=1, kind="stable")
        rows.append(np.take_along_axis(order, sorting, axis=1))
        distances.append(np.take_along_axis(near, sorting, axis=1))
    return np.concatenate(rows), np.concatenate(distances)


def _directions(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def distance_to_training(
    embeddings: NDArray[np.float32],
    training: NDArray[np.float32],
    own: NDArray[np.int64] | None = None,
    lengths: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Returns how unlike the training photos each photo is, `(n,)`, 0 to 2.

    Source: Sun et al., "Out-of-distribution detection with deep nearest neighbors" (2022), with
    the angle between the photo's whole embedding and the neighbour's principal components: what
    lies outside of the space in which training photos differ is strange by itself.

    Args:
        embeddings: `(n, k)`, projected.
        training: `(m, k)`, projected.
        own: `(n,)` row of `training` that is the photo itself, or -1; it is no neighbour.
        lengths: `(n,)`, of the whole embeddings (`Projection.lengths`); without them, angles are
            within the space of the components alone.
    """
    cosine = 1 - nearest(embeddings, training, NEAREST, own)[1][:, -1]
    if lengths is not None:
        cosine *= np.linalg.norm(embeddings, axis=1) / np.maximum(lengths, 1e-12)
    return 1 - cosine
