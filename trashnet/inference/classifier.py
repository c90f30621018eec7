"""Answers for photos, through the exported model; TensorFlow is not needed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashnet.data.image_io import Source, load_photo
from trashnet.data.nearest_neighbours import NEAREST, distance_to_training, nearest
from trashnet.errors import RunError
from trashnet.inference.calibration import is_sure, probabilities
from trashnet.inference.litert import LiteModel
from trashnet.runs.run import Run


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photo.

    Attributes:
        label: The most probable class.
        confidence: Its calibrated probability.
        probabilities: Every class's probability; they sum to 1.
        sure: Whether the confidence reaches the run's "not sure" threshold and the photo is
            familiar.
        familiar: Whether the photo is about as near to the training photos as others are.
        distance: How far it is from them, 0 to 2 (`trashnet.data.nearest_neighbours`).
        logits: `(classes,) float32`, before temperature.
        embedding: `(k,) float32`, the mean of the last feature map, projected.
        feature_map: `(h, w, channels) float32`.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    sure: bool
    familiar: bool
    distance: float
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    feature_map: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """Returns what the command line prints of an answer."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "sure": self.sure,
            "familiar": self.familiar,
        }


@dataclass(frozen=True)
class Similar:
    """A training photo that a photo is like.

    Attributes:
        file: As in the index, `glass/glass115.jpg`.
        label: Its class.
        distance: 1 less the cosine between the two embeddings.
    """

    file: str
    label: str
    distance: float


def calibration_of(run: Run) -> tuple[float, float, float]:
    """Returns a run's temperature, its threshold of confidence and its limit of distance.

    Raises:
        RunError: It was not evaluated, or by an early version, which had no limit.
    """
    evaluation = run.evaluation()
    if evaluation.get("distance_limit") is None:
        raise RunError(f"The evaluation of {run.id} has no distance_limit. Train it again.")
    names = ("temperature", "threshold", "distance_limit")
    temperature, threshold, limit = (float(evaluation[name]) for name in names)
    return temperature, threshold, limit


class Classifier:
    """A finished run's model, loaded once; may be shared between threads.

    Args:
        run: The run whose model answers.
        flips: Whether to answer with the mean of a photo and its mirror image: twice the time,
            and no longer the stored answer.
        threads: Threads that answer one photo; None is one a core.

    Attributes:
        model: Pixels to logits and feature map.
        kernel: `(d, classes)` of the linear head, or None where the head is not linear.
        image_size: Side of the square photos it takes, in pixels.

    Raises:
        RunError: The run has no exported model yet.
    """

    def __init__(self, run: Run, flips: bool = False, threads: int | None = None) -> None:
        evaluation = run.evaluation()  # uncalibrated answers are none
        self.classes = run.classes
        self._projection = run.projection()  # an older version's run has no limit, either
        self.temperature, self.threshold, self.distance_limit = calibration_of(run)
        # An older version compared angles within the space of the projection alone.
        self._is_whole = evaluation.get("familiar_share") is not None
        predictions = run.predictions(["file", "split", "label", "embedding"])
        train = predictions[predictions.split == "train"]
        self._files, self._labels = train.file.to_numpy(), train.label.to_numpy()
        self._training = np.stack(train.embedding.to_numpy())
        self._flips = flips
        head = run.head()
        self.kernel = None if head is None else head[0]
        self.model = LiteModel(run.path / "model.tflite", threads)
        self.image_size = self.model.image_size

    def classify(self, source: Source) -> Prediction:
        """Answers for a photo.

        Raises:
            PhotoError: It cannot be read as a picture.
        """
        return self.classify_pixels(load_photo(source, self.image_size))

    def classify_pixels(self, pixels: NDArray[np.uint8]) -> Prediction:
        """Answers for a photo that `load_photo` has read at `image_size`."""
        logits, feature_map = self.model(pixels)
        features = feature_map.mean(axis=(0, 1))
        embedding = self._projection(features)
        if self._flips:
            logits = (logits + self.model(pixels[:, ::-1])[0]) / np.float32(2)
        p = probabilities(logits, self.temperature)
        best = int(p.argmax())
        lengths = self._projection.lengths(features[None]) if self._is_whole else None
        (distance,) = distance_to_training(
            embedding[None], self._training, lengths=lengths
        ).tolist()
        return Prediction(
            label=self.classes[best],
            confidence=float(p[best]),
            probabilities=dict(zip(self.classes, map(float, p), strict=True)),
            sure=bool(is_sure(p, self.threshold, distance, self.distance_limit)),
            familiar=distance <= self.distance_limit,
            distance=distance,
            logits=logits,
            embedding=embedding,
            feature_map=feature_map,
        )

    def similar(
        self, prediction: Prediction, count: int = NEAREST, without: Collection[str] = ()
    ) -> list[Similar]:
        """Returns the training photos that a classified photo is most like, the nearest first.

        Args:
            prediction: Of the photo.
            count: How many.
            without: Files that do not count: the photo itself, and others of its object.
        """
        rows, distances = nearest(prediction.embedding[None], self._training, count + len(without))
        found = [
            Similar(str(self._files[row]), str(self._labels[row]), float(distance))
            for row, distance in zip(rows[0], distances[0], strict=True)
        ]
        return [similar for similar in found if similar.file not in without][:count]
