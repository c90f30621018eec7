"""Why a model answered as it did: the parts of a photo that spoke for a class."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trashnet.data.image_io import Source, load_photo
from trashnet.inference.classifier import Classifier, Prediction

OCCLUSION_GRID = 8
"""Patches along each side that are covered one after the other."""

# Dark violet, red, orange, pale yellow: ever lighter, so that it reads without colour, too.
_STOPS = np.array([[42, 8, 82], [138, 28, 102], [214, 62, 64], [249, 146, 40], [250, 240, 150]])

_HEAT = np.stack(
    [np.interp(np.linspace(0, len(_STOPS) - 1, 256), range(len(_STOPS)), c) for c in _STOPS.T], -1
).astype(np.uint8)


def explain(
    classifier: Classifier, source: Source, label: str, prediction: Prediction | None = None
) -> NDArray[np.float32]:
    """Returns how much each part of a photo spoke for a class, `(h, w)`, in logits.

    Args:
        classifier: The model that answers.
        source: The photo.
        label: The class.
        prediction: What the classifier said of the photo, if that is known already.

    Raises:
        PhotoError: The photo cannot be read.
    """
    number = classifier.classes.index(label)
    if classifier.kernel is None:
        pixels = load_photo(source, classifier.image_size)
        return occlusion_map(lambda photo: classifier.model(photo)[0], pixels, number)
    prediction = prediction or classifier.classify(source)
    return activation_map(prediction.feature_map, classifier.kernel, number)


def activation_map(
    feature_map: NDArray[np.float32], kernel: NDArray[np.float32], number: int
) -> NDArray[np.float32]:
    """Splits a class's logit over the places it comes from.

    The mean of the map plus the class's bias is its logit, so nothing is estimated.
    Source: Zhou et al., "Learning deep features for discriminative localization" (2016).

    Args:
        feature_map: `(h, w, d)`, the last one.
        kernel: `(d, classes)`, of a linear head on its mean.
        number: The class.
    """
    return feature_map @ kernel[:, number]


def activation_maps(
    feature_map: NDArray[np.float32], kernel: NDArray[np.float32], predicted: int, true: int
) -> NDArray[np.float16]:
    """Returns the maps of the predicted and of the true class, to be kept: `(2 × h × w,)`."""
    maps = [activation_map(feature_map, kernel, number) for number in (predicted, true)]
    return np.concatenate(maps, axis=None).astype(np.float16)


def kept_maps(flat: NDArray[np.float16]) -> NDArray[np.float32]:
    """Returns what `activation_maps` made, `(2, h, w)`; photos are square."""
    side = int((len(flat) / 2) ** 0.5)
    return flat.reshape(2, side, side).astype(np.float32)


def occlusion_map(
    logits_of: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    number: int,
    grid: int = OCCLUSION_GRID,
) -> NDArray[np.float32]:
    """Returns how far a class's logit falls when each part of the photo is covered.

    For networks whose head is not linear. The cover is the photo's mean colour.
    Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks" (2014).

    Args:
        logits_of: Maps a photo to `(classes,)` logits.
        pixels: `(h, w, 3) uint8`.
        number: The class.
        grid: Parts along each side.

    Returns:
        `(grid, grid) float32`.
    """
    plain, cover = logits_of(pixels)[number], pixels.mean(axis=(0, 1)).round()
    rows, columns = (np.linspace(0, side, grid + 1).astype(int) for side in pixels.shape[:2])
    falls = np.empty((grid, grid), np.float32)
    for i in range(grid):
        for j in range(grid):
            covered = pixels.copy()
            covered[rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = cover
            falls[i, j] = plain - logits_of(covered)[number]
    return falls


def overlay(
    photo: NDArray[np.uint8], evidence: NDArray[np.float32], opacity: float
) -> NDArray[np.uint8]:
    """Lays a map of evidence over a photo; what spoke against the class stays dark.

    Args:
        photo: `(h, w, 3) uint8`, of any size.
        evidence: `(rows, columns)`, as `explain` returns.
        opacity: 0 shows the photo alone, 1 the map alone.

    Returns:
        `(h, w, 3) uint8`.
    """
    share = np.clip(evidence / max(float(evidence.max()), 1e-9), 0, 1).astype(np.float32)
    height, width = photo.shape[:2]
    smooth = Image.fromarray(share).resize((width, height), Image.Resampling.BICUBIC)
    heat = _HEAT[np.rint(255 * np.clip(np.asarray(smooth), 0, 1)).astype(np.uint8)]
    return np.asarray(Image.blend(Image.fromarray(photo), Image.fromarray(heat), opacity))
