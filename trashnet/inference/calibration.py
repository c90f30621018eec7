"""Logits to calibrated probabilities, and which predictions are confident."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def probabilities(logits: Floats, temperature: float | Floats = 1.0) -> Floats:
    """Turns logits `(n, classes)` into probabilities; the one place temperature is applied.

    Args:
        logits: `(n, classes)`, or one photo's `(classes,)`.
        temperature: Of all photos, or `(n, 1)`, of each.
    """
    # SciPy's softmax to the last bit, without the tenth of the app's start that importing it takes.
    scaled = np.asarray(logits, np.float64) / temperature
    shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def is_sure(
    p: Floats, threshold: Any, distance: Any = 0.0, distance_limit: Any = np.inf
) -> NDArray[np.bool_]:
    """Says of each answer whether it counts: confident enough, and of a photo of a known kind.

    Args:
        p: `(n, classes)` calibrated probabilities.
        threshold: Confidence below which the answer is "not sure".
        distance: `(n,)` distances to the training photos.
        distance_limit: Distance beyond which a photo is unlike anything seen.
    """
    return np.asarray((p.max(axis=-1) >= threshold) & (distance <= distance_limit))
