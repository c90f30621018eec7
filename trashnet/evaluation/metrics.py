"""Accuracy intervals, likelihood, calibration error, temperature and threshold."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.inference.calibration import Floats

MOST_WRONG = 0.03
"""The largest share of wrong predictions that the "not sure" threshold lets pass, by the upper 95 %
bound on validation."""

TARGET_ACCURACY = 0.98
"""The accuracy on validation for which it is chosen where there are too few photos for a bound."""

ECE_BINS = 15


def macro_f1_classes(figures: dict[str, Any]) -> str:
    """Returns over how many classes the macro F1 of a report is a mean, in words."""
    every = len(figures["per_class"])
    averaged = figures.get("macro_f1_classes") or every  # older reports average all
    return f"{every} classes" if averaged == every else f"{averaged} of {every} classes"


def wilson_interval(successes: int, n: int) -> list[float]:
    """Returns the 95 % interval of a proportion (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def negative_log_likelihood(
    logits: Floats, labels: NDArray[np.int64], temperature: float = 1.0
) -> float:
    """Returns the mean negative log-probability (nats) of the true classes."""
    from scipy.special import log_softmax

    scaled = np.asarray(logits, np.float64) / temperature
    return float(-log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Returns the temperature that minimises the likelihood loss (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

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
    gaps = np.bincount(_bins(confidence, bins), weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    return np.searchsorted(edges, confidence, side="right")


def ece_interval(p: Floats, labels: NDArray[np.int64], draws: int = 1000) -> list[float]:
    """Returns the 95 % bootstrap interval (percentiles) of the expected calibration error.

    Drawing photos anew adds chance gaps of its own, so the interval lies rather high.
    """
    rng = np.random.default_rng(0)
    n = len(labels)
    found = [
        expected_calibration_error(p[rows], labels[rows])
        for rows in (rng.integers(n, size=n) for _ in range(draws))
    ]
    return [float(edge) for edge in np.quantile(found, (0.025, 0.975))]


def reliability(
    p: Floats, labels: NDArray[np.int64], bins: int = ECE_BINS
) -> list[dict[str, float]]:
    """Returns n, mean confidence and accuracy of each bin of the calibration error."""
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    of_bin = _bins(confidence, bins)
    return [
        {
            "n": int((of_bin == i).sum()),
            "confidence": float(confidence[of_bin == i].mean()),
            "accuracy": float(correct[of_bin == i].mean()),
        }
        for i in np.unique(of_bin)
    ]


def accuracy_and_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> pd.DataFrame:
    """Returns what every possible threshold would answer, and how much of that is right.

    Args:
        confidence: `(n,)`.
        correct: `(n,)`.

    Returns:
        One row a different confidence, the highest first: threshold, coverage, accuracy.
    """
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "threshold": confidence[order],
            "coverage": answered / len(order),
            "accuracy": np.cumsum(correct[order]) / answered,
        }
    )
    return table.drop_duplicates("threshold", keep="last", ignore_index=True)


def choose_threshold(
    p: Floats, labels: NDArray[np.int64], target: float = TARGET_ACCURACY
) -> float:
    """Returns the lowest confidence from which answers are right at the target rate.

    When no confidence reaches the target, only the surest answer is given.
    """
    ways = accuracy_and_coverage(p.max(axis=1), p.argmax(axis=1) == labels)
    reached = ways.threshold[ways.accuracy >= target]
    return float(reached.iloc[-1] if len(reached) else ways.threshold.iloc[0])


def safe_threshold(p: Floats, labels: NDArray[np.int64], most_wrong: float = MOST_WRONG) -> float:
    """Returns the lowest confidence from which the upper 95 % bound of wrong predictions is low.

    A threshold that is right often enough on 250 photos may be so by chance. The bound, that of
    Clopper and Pearson (1934), is for one threshold and does not allow for the choice among many,
    so more may be wrong on other photos. Fewer than about 100 photos can show nothing; then it is
    `choose_threshold`.

    Source: Geifman & El-Yaniv, "Selective classification for deep neural networks" (2017), who do
    allow for the choice.
    """
    from scipy.stats import beta

    ways = accuracy_and_coverage(p.max(axis=1), p.argmax(axis=1) == labels)
    answered = (ways.coverage * len(labels)).round()
    wrong = (answered * (1 - ways.accuracy)).round()
    bound = np.where(wrong < answered, beta.ppf(0.95, wrong + 1, answered - wrong), 1.0)
    reached = ways.threshold[bound <= most_wrong]
    return float(reached.iloc[-1]) if len(reached) else choose_threshold(p, labels)
