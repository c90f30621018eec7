"""Where photos lie on a map, similar ones near each other, and which are unlike their class."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.data.nearest_neighbours import NEAREST, Projection, nearest
from trashnet.data.quality import robust_score

LANDMARKS = 3000
"""Photos that are laid out against each other; what more there are, are laid beside these."""

_STEPS = 500
"""Of the layout; 1,000 take twice as long and look the same."""

_FEWEST = 5
"""Photos below which there is nothing to lay out."""


def place(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Lays photos out in two dimensions, the same way every time.

    t-SNE (van der Maaten & Hinton, 2008) of the principal components, started from the first two.
    Its time grows faster than the photos' number, so it is given at most `LANDMARKS` of them,
    drawn at random; each other photo lies amid its `NEAREST` landmarks, nearer to the more
    similar. 40,000 photos take little longer than 3,000.

    Args:
        embeddings: `(n, d)`, compared by their angle.
        seed: Of the draw.

    Returns:
        `(n, 2) float32`; only distances on it mean something.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = len(embeddings)
    if n < _FEWEST:
        return np.zeros((n, 2), np.float32)
    reduced = Projection.fit(_sample(embeddings, seed))(embeddings)
    reduced /= np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)
    chosen = np.arange(n)
    if n > LANDMARKS:
        chosen = np.sort(np.random.default_rng(seed).choice(n, LANDMARKS, replace=False))
    # Started from the first two components, the layout depends on nothing else.
    start = Projection.fit(reduced[chosen])(reduced[chosen])[:, :2]
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    layout = TSNE(
        init=start, random_state=seed, perplexity=min(30, (len(chosen) - 1) / 3), max_iter=_STEPS
    )
    # Its threads meet after every step: beside a training on all cores, two take three times as
    # long as one.
    with threadpool_limits(1):
        layout = layout.fit_transform(reduced[chosen])
    if n == len(chosen):
        return layout.astype(np.float32)
    rows, distance = nearest(reduced, reduced[chosen])
    weight = 1 / (distance + 1e-3)
    weight /= weight.sum(axis=1, keepdims=True)
    placed = (layout[rows] * weight[..., None]).sum(axis=1)
    placed[chosen] = layout
    return placed.astype(np.float32)


def _sample(embeddings: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """As many as tell the principal components, so that memory does not grow with the photos."""
    most = 4 * LANDMARKS
    if len(embeddings) <= most:
        return embeddings
    return embeddings[np.random.default_rng(seed).choice(len(embeddings), most, replace=False)]


def strangeness(
    embeddings: NDArray[np.float32], labels: pd.Series, groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Says how far each photo is from others of its class, compared with what is usual there.

    The distance is the mean one to the nearest other objects of the class, so that three shots of
    one odd thing do not vouch for each other.

    Args:
        embeddings: `(n, d)`.
        labels: `(n,)` class names.
        groups: `(n,)` object of each photo.

    Returns:
        `(n,)`, in robust standard deviations from the class's median; NaN in a class of too few
        objects to tell.
    """
    found = np.full(len(embeddings), np.nan)
    for label in pd.unique(labels):
        rows = np.flatnonzero(labels == label)
        _, first, own = np.unique(groups[rows], return_index=True, return_inverse=True)
        if len(first) <= NEAREST:
            continue
        of_class = embeddings[rows]
        distance = nearest(of_class, of_class[first], NEAREST, own)[1].mean(axis=1)
        found[rows] = robust_score(pd.Series(distance))
    return found
