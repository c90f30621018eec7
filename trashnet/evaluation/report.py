"""Reports of a classifier, from its table of logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.errors import RunError
from trashnet.evaluation.metrics import (
    choose_threshold,
    ece_interval,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    safe_threshold,
    wilson_interval,
)
from trashnet.inference.calibration import Floats, is_sure, probabilities

FAMILIAR = 0.97
"""Share of the validation photos that count as of a known kind."""

FAMILIAR_BEFORE = 0.99
"""The same of older versions, whose evaluations do not say it."""


def evaluate(
    predictions: pd.DataFrame, classes: tuple[str, ...], as_before: bool = False
) -> dict[str, Any]:
    """Evaluates every split of a predictions table.

    Temperature and threshold are chosen on validation; test is only reported.

    Args:
        predictions: Rows of split, label, logits and distance.
        classes: Class names, in the order of the logits.
        as_before: Whether to choose the limits as older versions did, to check what they stored.

    Returns:
        The content of `evaluation.json`: temperature, threshold, distance_limit and the share of
        validation within it, and a report with its calibration per split; where a review changed
        labels or splits, also `unreviewed`, the reports as they would be without.
    """
    raw, labels = logits_and_labels(predictions, classes, "validation")
    temperature = fit_temperature(raw, labels)
    choose = choose_threshold if as_before else safe_threshold
    threshold = choose(probabilities(raw, temperature), labels)
    familiar = FAMILIAR_BEFORE if as_before else FAMILIAR
    distances = predictions.distance[predictions.split == "validation"]
    limit = float(np.quantile(distances, familiar))

    def report_split(table: pd.DataFrame, split: str) -> dict[str, Any]:
        raw, labels = logits_and_labels(table, classes, split)
        p = probabilities(raw, temperature)
        sure = is_sure(p, threshold, table.distance[table.split == split], limit)
        return {
            **report(raw, labels, classes, temperature, threshold, sure),
            **calibration(raw, raw / temperature, labels),
        }

    def reports(table: pd.DataFrame) -> dict[str, Any]:
        splits = [
            split for split in ("train", "validation", "test") if (table.split == split).any()
        ]
        return {split: report_split(table, split) for split in splits}

    evaluation = {
        "schema": 1,
        "temperature": temperature,
        "threshold": threshold,
        "distance_limit": limit,
        **({} if as_before else {"familiar_share": familiar}),
        "splits": reports(predictions),
    }
    if "original_label" in predictions:
        unreviewed = predictions.assign(
            label=predictions.original_label, split=predictions.unreviewed_split
        )
        if not unreviewed[["label", "split"]].equals(predictions[["label", "split"]]):
            evaluation["unreviewed"] = reports(unreviewed)
    return evaluation


def out_of_fold(folds: Sequence[tuple[pd.DataFrame, dict[str, Any]]]) -> pd.DataFrame:
    """Gathers the test answers of cross-validation's folds: one row a photo.

    Args:
        folds: Predictions table and evaluation of each fold.

    Returns:
        file, label, logits, distance, maps (`trashnet.inference.explain.activation_maps`; None
        where the head is not linear), fold, and the temperature, threshold and distance_limit that
        the fold's own validation photos chose.
    """
    columns = ["file", "label", "logits", "distance", "maps"]
    tables = [
        predictions[predictions.split == "test"]
        .reindex(columns=columns)  # an older version's folds have no maps
        .assign(
            fold=number,
            temperature=evaluation["temperature"],
            threshold=evaluation["threshold"],
            distance_limit=evaluation["distance_limit"],
        )
        for number, (predictions, evaluation) in enumerate(folds)
    ]
    return pd.concat(tables, ignore_index=True)


def report_out_of_fold(table: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """Reports an out-of-fold table, each photo under its own fold's temperature and threshold."""
    number = {name: i for i, name in enumerate(classes)}
    labels = table.label.map(number).to_numpy(np.int64)
    raw = np.stack(table.logits.to_numpy()).astype(np.float64)
    calibrated = raw / table.temperature.to_numpy()[:, None]
    sure = is_sure(probabilities(calibrated), table.threshold, table.distance, table.distance_limit)
    return {
        **report(calibrated, labels, classes, sure=sure),
        **calibration(raw, calibrated, labels),
    }


def calibration(raw: Floats, calibrated: Floats, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Compares confidence with accuracy before and after temperature.

    Args:
        raw: `(n, classes)` logits as the network gives them.
        calibrated: The same, divided by the temperature.
        labels: `(n,)` true class numbers.

    Returns:
        `ece_interval` (bootstrap, 95 %), the `uncalibrated` nll and ece, and `reliability`: of
        each bin the photos, their mean confidence and accuracy, after and before temperature.
    """
    p, before = probabilities(calibrated), probabilities(raw)
    return {
        "ece_interval": ece_interval(p, labels),
        "uncalibrated": {
            "nll": negative_log_likelihood(raw, labels),
            "ece": expected_calibration_error(before, labels),
        },
        "reliability": reliability(p, labels),
        "uncalibrated_reliability": reliability(before, labels),
    }


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


def answers(
    table: pd.DataFrame, classes: tuple[str, ...], temperature: float | Floats = 1.0
) -> pd.DataFrame:
    """Returns what is predicted of each photo: file, label, predicted, confidence; highest first.

    Args:
        table: Rows of file, label and logits.
        classes: Class names, in the order of the logits.
        temperature: Of all photos, or `(n, 1)`, of each.
    """
    p = probabilities(np.stack(table.logits.to_numpy()), temperature)
    return (
        table[["file", "label"]]
        .assign(predicted=np.array(classes)[p.argmax(axis=1)], confidence=p.max(axis=1))
        .sort_values("confidence", ascending=False)
    )


def report(
    logits: Floats,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    temperature: float = 1.0,
    threshold: float = 0.0,
    sure: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Reports one split.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)` true class numbers; row i of both is the same photo.
        classes: Class names.
        temperature: Divides the logits before they become probabilities.
        threshold: Confidence below which the answer is "not sure".
        sure: `(n,)`, which answers count, where more than the threshold decides.

    Returns:
        n, accuracy and its Wilson 95 % interval, macro F1 and how many classes it averages (those
        with photos or predictions: any other has no F1), negative log-likelihood, expected
        calibration error, share answered and accuracy among the answered, precision, recall, F1
        and support per class, and the confusion matrix (rows true, columns predicted).
    """
    # Imported where they are used, as in all of this module: the app, which only reads what was
    # reported, is 70 MB smaller without them.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    p = probabilities(logits, temperature)
    predicted, n = p.argmax(axis=1), len(labels)
    numbers = np.arange(len(classes))
    scores = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0)
    present = np.union1d(labels, predicted)
    correct = predicted == labels
    if sure is None:
        sure = is_sure(p, threshold)
    return {
        "n": n,
        "accuracy": float(correct.mean()),
        "accuracy_interval": wilson_interval(int(correct.sum()), n),
        "macro_f1": float(scores[2][present].mean()),
        "macro_f1_classes": len(present),
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
