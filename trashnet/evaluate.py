"""From a table of logits to what can honestly be said of a classifier."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from trashnet.errors import RunError

Floats = NDArray[np.floating]

TARGET_ACCURACY = 0.95
"""The accuracy among answered photos for which the "not sure" threshold is chosen."""

ECE_BINS = 15


def probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """Turns logits `(n, classes)` into probabilities; the one place temperature is applied."""
    return softmax(np.asarray(logits, np.float64) / temperature, axis=-1)


def evaluate(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """Evaluates every split of a predictions table.

    Temperature and threshold are chosen on validation; test is only reported.

    Args:
        predictions: Rows of split, label and logits.
        classes: Class names, in the order of the logits.

    Returns:
        The content of `evaluation.json`: temperature, threshold, and a report per split; where a
        review changed labels or splits, also `unreviewed`, the reports as they would be without.
    """
    logits, labels = logits_and_labels(predictions, classes, "validation")
    temperature = fit_temperature(logits, labels)
    threshold = choose_threshold(probabilities(logits, temperature), labels)

    def reports(table: pd.DataFrame) -> dict[str, Any]:
        return {
            split: report(
                *logits_and_labels(table, classes, split), classes, temperature, threshold
            )
            for split in ("train", "validation", "test")
            if (table.split == split).any()
        }

    evaluation = {
        "schema": 1,
        "temperature": temperature,
        "threshold": threshold,
        "splits": reports(predictions),
    }
    if "original_label" in predictions:
        unreviewed = predictions.assign(
            label=predictions.original_label, split=predictions.unreviewed_split
        )
        if not unreviewed[["label", "split"]].equals(predictions[["label", "split"]]):
            evaluation["unreviewed"] = reports(unreviewed)
    return evaluation


def logits_and_labels(
    predictions: pd.DataFrame, classes: tuple[str, ...], split: str
) -> tuple[Floats, NDArray[np.int64]]:
    """Returns the `(n, classes)` logits and `(n,)` true class numbers of one split."""
    rows = predictions[predictions.split == split]
    if rows.empty:
        raise RunError(f"There are no predictions for the split {split!r}.")
    number = {name: i for i, name in enumerate(classes)}
    logits = np.stack(rows.logits.to_numpy())
    if not np.isfinite(logits).all():
        raise RunError(
            "The model's answers are no longer numbers; train again with a lower learning rate."
        )
    return logits, rows.label.map(number).to_numpy(np.int64)


def report(
    logits: Floats,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    temperature: float = 1.0,
    threshold: float = 0.0,
) -> dict[str, Any]:
    """Reports one split.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)` true class numbers; row i of both is the same photo.
        classes: Class names.
        temperature: Divides the logits before they become probabilities.
        threshold: Confidence below which the answer is "not sure".

    Returns:
        n, accuracy and its Wilson 95 % interval, macro F1, negative log-likelihood, expected
        calibration error, share answered and accuracy among the answered, precision, recall, F1
        and support per class, and the confusion matrix (rows true, columns predicted).
    """
    p = probabilities(logits, temperature)
    predicted, n = p.argmax(axis=1), len(labels)
    numbers = np.arange(len(classes))
    scores = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0)
    correct, sure = predicted == labels, p.max(axis=1) >= threshold
    return {
        "n": n,
        "accuracy": float(correct.mean()),
        "accuracy_interval": wilson_interval(int(correct.sum()), n),
        "macro_f1": float(scores[2].mean()),
        "nll": negative_log_likelihood(logits, labels, temperature),
        "ece": expected_calibration_error(p, labels),
        "temperature": temperature,
        "threshold": threshold,
        "coverage": float(sure.mean()),
        "answered_accuracy": float(correct[sure].mean()) if sure.any() else None,
        "per_class": {
            name: {
                "precision": float(scores[0][i]),
                "recall": float(scores[1][i]),
                "f1": float(scores[2][i]),
                "support": int(scores[3][i]),
            }
            for i, name in enumerate(classes)
        },
        "confusion_matrix": confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }


def wilson_interval(successes: int, n: int) -> list[float]:
    """Returns the 95 % interval of a proportion (Wilson 1927)."""
    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def negative_log_likelihood(
    logits: Floats, labels: NDArray[np.int64], temperature: float = 1.0
) -> float:
    """Returns the mean negative log-probability (nats) of the true classes."""
    scaled = np.asarray(logits, np.float64) / temperature
    return float(-log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Returns the temperature that minimises the likelihood loss (Guo et al. 2017)."""
    found = minimize_scalar(
        lambda t: negative_log_likelihood(logits, labels, float(np.exp(t))),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def expected_calibration_error(p: Floats, labels: NDArray[np.int64], bins: int = ECE_BINS) -> float:
    """Returns the mean gap between confidence and accuracy over bins of equal mass.

    Photos of equal confidence share a bin, so the order of the rows does not matter.
    """
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    of_bin = np.searchsorted(edges, confidence, side="right")
    gaps = np.bincount(of_bin, weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))


def choose_threshold(
    p: Floats, labels: NDArray[np.int64], target: float = TARGET_ACCURACY
) -> float:
    """Returns the lowest confidence from which answers are right at the target rate.

    When no confidence reaches the target, only the surest answer is given.
    """
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    tie_ends = np.append(np.diff(confidence[order]) < 0, True)  # equal ones are answered together
    reached = np.flatnonzero((accuracy >= target) & tie_ends)
    last = reached[-1] if len(reached) else 0
    return float(confidence[order[last]])
