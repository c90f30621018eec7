"""Figures of an evaluation: as defined, as scikit-learn has them, and each from its own split."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax
from sklearn.metrics import accuracy_score, classification_report, f1_score, log_loss

from trashnet.errors import RunError
from trashnet.evaluation.metrics import (
    TARGET_ACCURACY,
    choose_threshold,
    ece_interval,
    expected_calibration_error,
    fit_temperature,
    macro_f1_classes,
    reliability,
    safe_threshold,
    wilson_interval,
)
from trashnet.evaluation.report import answers, evaluate, out_of_fold, report, report_out_of_fold
from trashnet.evaluation.report_tables import class_table
from trashnet.inference.calibration import is_sure, probabilities

CLASSES = ("can", "jar", "sack")
Folds = list[tuple[pd.DataFrame, dict[str, Any]]]


def logits_for(predicted: list[int], margin: float = 2.0) -> np.ndarray:
    """Logits whose largest is that of the predicted class."""
    return (margin * np.eye(len(CLASSES))[predicted]).astype(np.float32)


def simulated(n: int, seed: int = 0, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and true classes drawn with exactly the probabilities that the logits claim."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (n, len(CLASSES)))
    chances = probabilities(logits).cumsum(axis=1)
    return logits, (rng.random((n, 1)) > chances).sum(axis=1).clip(max=len(CLASSES) - 1)


def table(logits: np.ndarray, labels: np.ndarray, split: str) -> pd.DataFrame:
    """A predictions table as a run stores it: numbers of four bytes."""
    distances = np.random.default_rng(len(labels)).uniform(0, 0.5, len(labels))
    return pd.DataFrame(
        {
            "file": [f"{CLASSES[label]}/{split}-{i}.jpg" for i, label in enumerate(labels)],
            "split": split,
            "label": [CLASSES[label] for label in labels],
            "logits": list(np.asarray(logits, np.float32)),
            "distance": distances.astype(np.float32),
        }
    )


def columns(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, true class numbers and distances of a table's rows."""
    labels = np.array([CLASSES.index(label) for label in rows.label])
    return np.stack(rows.logits.tolist()).astype(float), labels, rows.distance.to_numpy(float)


def exp_over_sum(logits: np.ndarray) -> np.ndarray:
    """Softmax, written out."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# ---- one split ----


def test_figures_are_those_computed_by_hand() -> None:
    true, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]
    result = report(logits_for(predicted), np.array(true), CLASSES)
    assert result["confusion_matrix"] == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert result["n"] == 6 and result["accuracy"] == pytest.approx(4 / 6)
    assert result["per_class"]["can"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert result["per_class"]["jar"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert result["per_class"]["sack"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 1,
    }
    assert result["macro_f1"] == pytest.approx((2 / 3 + 0.8 + 0) / 3)
    right, wrong = math.exp(2) / (math.exp(2) + 2), 1 / (math.exp(2) + 2)
    assert result["nll"] == pytest.approx(-(4 * math.log(right) + 2 * math.log(wrong)) / 6)
    assert result["ece"] == pytest.approx(abs(right - 4 / 6))


def test_macro_f1_averages_the_classes_with_photos_or_predictions() -> None:
    one = report(logits_for([0, 0]), np.array([0, 0]), CLASSES)
    assert (one["accuracy"], one["macro_f1"], one["macro_f1_classes"]) == (1.0, 1.0, 1)
    assert macro_f1_classes(one) == f"1 of {len(CLASSES)} classes"
    # A class that is predicted without having photos was predicted wrongly: its F1 is 0.
    two = report(logits_for([0, 0, 1]), np.array([0, 0, 0]), CLASSES)
    assert two["macro_f1"] == pytest.approx((0.8 + 0) / 2) and two["macro_f1_classes"] == 2
    for figures in (one, two):
        assert class_table(figures).f1["macro average"] == pytest.approx(figures["macro_f1"])
        labels, predicted = (
            [0] * figures["n"],
            np.repeat([0, 1], figures["confusion_matrix"][0][:2]),
        )
        assert figures["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_reports_of_older_versions_average_all_classes() -> None:
    older = report(logits_for([0, 1, 2]), np.array([0, 1, 2]), CLASSES)
    del older["macro_f1_classes"]
    assert macro_f1_classes(older) == f"{len(CLASSES)} classes"


def test_figures_are_scikit_learns() -> None:
    logits, labels = simulated(400)
    result, p = report(logits, labels, CLASSES), probabilities(logits)
    predicted = p.argmax(axis=1)
    theirs = classification_report(labels, predicted, target_names=CLASSES, output_dict=True)
    assert result["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert result["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert result["nll"] == pytest.approx(log_loss(labels, p))
    for name in CLASSES:
        ours = result["per_class"][name]
        assert ours["f1"] == pytest.approx(theirs[name]["f1-score"])
        for figure in ("precision", "recall", "support"):
            assert ours[figure] == pytest.approx(theirs[name][figure])


TABLES = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float32, (n, 3), elements=st.floats(-50, 50, width=32)),
        arrays.arrays(np.int64, n, elements=st.integers(0, 2)),
    )
)


@given(TABLES)
def test_the_matrix_has_the_true_classes_in_its_rows(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = drawn
    result = report(logits, labels, CLASSES)
    matrix = np.array(result["confusion_matrix"])
    expected = np.zeros((3, 3), int)
    for row, label in zip(logits, labels, strict=True):
        expected[label, probabilities(row).argmax()] += 1
    assert (matrix == expected).all()
    assert matrix.sum(axis=1).tolist() == [result["per_class"][c]["support"] for c in CLASSES]
    assert result["accuracy"] == pytest.approx(matrix.trace() / len(labels))
    json.dumps(result, allow_nan=False)  # also where a class is absent, or never the answer


@given(TABLES, st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    drawn: tuple[np.ndarray, np.ndarray], random: Any
) -> None:
    logits, labels = drawn
    order = random.sample(range(len(labels)), len(labels))
    one = report(logits, labels, CLASSES)
    other = report(logits[order], labels[order], CLASSES)
    assert one["confusion_matrix"] == other["confusion_matrix"]
    for figure in ("accuracy", "nll", "ece", "macro_f1"):
        assert one[figure] == pytest.approx(other[figure])


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    successes, n = counts
    share, z = successes / n, 1.959963984540054
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = wilson_interval(successes, n)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert 0 <= low <= share <= high <= 1


# ---- probabilities and calibration ----


def test_a_temperature_makes_answers_less_sure_and_changes_none() -> None:
    logits, _ = simulated(50)
    plain, cooled = probabilities(logits), probabilities(logits, 3.0)
    assert (cooled == softmax(logits.astype(float) / 3.0, axis=-1)).all()
    assert (plain.argmax(axis=1) == cooled.argmax(axis=1)).all()
    assert (cooled.max(axis=1) < plain.max(axis=1)).all()
    assert plain.sum(axis=1) == pytest.approx(1)
    assert probabilities(logits * 3, 3.0) == pytest.approx(plain)


def test_one_photo_gets_exactly_the_probabilities_it_gets_in_a_table() -> None:
    logits = simulated(50)[0].astype(np.float32)
    p = probabilities(logits, 1.7)
    assert all((probabilities(row, 1.7) == p[i]).all() for i, row in enumerate(logits))


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_recovers_a_known_scaling(factor: float) -> None:
    logits, labels = simulated(20_000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_the_temperature_stays_within_bounds_when_no_answer_is_wrong() -> None:
    labels = np.array([0, 1, 2])
    assert 0.04 < fit_temperature(logits_for([0, 1, 2]), labels) < 20.1
    assert 0.04 < fit_temperature(logits_for([1, 2, 0]), labels) < 20.1


def test_claims_that_come_true_have_next_to_no_calibration_error() -> None:
    logits, labels = simulated(50_000)
    assert expected_calibration_error(probabilities(logits), labels) < 0.012
    assert expected_calibration_error(probabilities(logits * 3), labels) > 0.1


def test_calibration_error_is_the_gap_between_claim_and_truth() -> None:
    p = np.tile([0.9, 0.06, 0.04], (100, 1))
    labels = np.array([0] * 60 + [1] * 40)  # as sorted as photos in a folder are
    assert expected_calibration_error(p, labels) == pytest.approx(0.3)
    p = np.array([[0.9, 0.1, 0.0]] * 50 + [[0.2, 0.6, 0.2]] * 50)
    labels = np.array([0] * 50 + [1] * 20 + [0] * 30)  # 100 % of 90 %, 40 % of 60 %
    assert expected_calibration_error(p, labels) == pytest.approx((0.1 + 0.2) / 2)


def by_hand(p: np.ndarray, labels: np.ndarray, size: int) -> list[dict[str, float]]:
    """Bins of `size` photos each, from the least confident on; confidences must differ."""
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    order = np.argsort(confidence)
    return [
        {
            "n": size,
            "confidence": sum(confidence[order[i : i + size]]) / size,
            "accuracy": sum(correct[order[i : i + size]]) / size,
        }
        for i in range(0, len(order), size)
    ]


def test_the_reliability_bins_are_those_counted_by_hand() -> None:
    logits, labels = simulated(150)
    p, bins = probabilities(2 * logits), reliability(probabilities(2 * logits), labels)
    expected = by_hand(p, labels, 10)
    assert len(bins) == len(expected) == 15
    for ours, theirs in zip(bins, expected, strict=True):
        assert ours == pytest.approx(theirs)
    gaps = [abs(b["confidence"] - b["accuracy"]) for b in expected]
    assert expected_calibration_error(p, labels) == pytest.approx(sum(gaps) / 15)


@given(TABLES)
def test_the_reliability_bins_hold_every_photo_once(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    p, labels = probabilities(drawn[0]), drawn[1]
    bins, n = reliability(p, labels), len(labels)
    counts = [b["n"] for b in bins]
    assert sum(counts) == n and min(counts) > 0 and len(bins) <= 15
    confidence = [b["confidence"] for b in bins]
    assert all(one < other for one, other in pairwise(confidence))
    shares = [b["n"] * b["accuracy"] / n for b in bins]
    assert sum(shares) == pytest.approx((p.argmax(axis=1) == labels).mean())
    gaps = [b["n"] * abs(b["confidence"] - b["accuracy"]) / n for b in bins]
    assert sum(gaps) == pytest.approx(expected_calibration_error(p, labels), abs=1e-12)


def test_photos_of_equal_confidence_share_a_bin() -> None:
    p = np.array([[0.9, 0.1, 0.0]] * 47 + [[0.2, 0.6, 0.2]] * 53)
    bins = reliability(p, np.array([0] * 40 + [1] * 60))
    assert [b["n"] for b in bins] == [53, 47]
    assert [b["accuracy"] for b in bins] == pytest.approx([1.0, 40 / 47])


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_calibration_errors_interval_is_a_bootstraps(factor: float) -> None:
    logits, labels = simulated(300, seed=5)
    p = probabilities(factor * logits)
    low, high = ece_interval(p, labels)
    assert ece_interval(p, labels) == [low, high]  # a figure on screen does not flicker
    # Chance adds gaps of its own to every draw, so the figure itself may lie a little below.
    ece = expected_calibration_error(p, labels)
    assert low - 0.02 < ece < high < 0.3
    rng = np.random.default_rng(99)
    draws = [rng.choice(300, 300) for _ in range(400)]
    errors = sorted(expected_calibration_error(p[rows], labels[rows]) for rows in draws)
    assert (low, high) == pytest.approx((errors[10], errors[-11]), abs=0.015)


def test_more_photos_make_the_interval_narrower() -> None:
    few, many = ((low, high) for low, high in map(intervals, (100, 2500)))
    assert few[1] - few[0] > 3 * (many[1] - many[0]) > 0


def intervals(n: int) -> list[float]:
    logits, labels = simulated(n)
    return ece_interval(probabilities(2 * logits), labels)


# ---- "not sure" ----


def claims(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    p = np.array([[c, 1 - c, 0.0] for c in confidences])
    return p, np.where(right, 0, 1)


def test_the_threshold_is_the_lowest_that_keeps_the_promise() -> None:
    right = [True, True, True, False, True, False, False]
    p, labels = claims([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65], right)
    assert choose_threshold(p, labels, target=0.8) == 0.75  # 4 of 5; 0.8 alone would give 3 of 4
    assert choose_threshold(p, labels, target=1.0) == 0.85
    assert choose_threshold(p, labels, target=0.5) == 0.65


def test_a_threshold_is_safe_where_enough_right_answers_show_it() -> None:
    """Of 98 right answers 3.01 % may be wrong with 95 % confidence, of 99 right ones 2.98 %."""
    confidences = list(np.linspace(0.99, 0.6, 120).round(4))
    right = [True] * 120
    p, labels = claims(confidences, right)
    assert safe_threshold(p, labels) == 0.6
    right[100] = False  # 119 of 120 leave 3.9 %, the hundred before it 2.95 %
    p, labels = claims(confidences, right)
    assert safe_threshold(p, labels) == confidences[99]
    right[98] = False  # 98 before it show too little, so that it is as of few photos
    p, labels = claims(confidences, right)
    assert safe_threshold(p, labels) == choose_threshold(p, labels) == 0.6
    p, labels = claims(confidences[:20], [True] * 20)
    assert safe_threshold(p, labels) == choose_threshold(p, labels) == confidences[19]


def test_a_promise_that_cannot_be_kept_leaves_only_the_surest_answer() -> None:
    p, labels = claims([0.9, 0.8, 0.7], [False, True, True])
    assert choose_threshold(p, labels, target=0.95) == 0.9


@given(
    st.lists(
        st.tuples(st.sampled_from([0.6, 0.7, 0.8, 0.9, 1.0]), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_the_threshold_keeps_its_promise_whatever_the_answers(
    drawn: list[tuple[float, bool]],
) -> None:
    p, labels = claims([c for c, _ in drawn], [r for _, r in drawn])
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    keeping = [c for c in confidence if correct[confidence >= c].mean() >= 0.75]
    expected = min(keeping) if keeping else confidence.max()
    assert choose_threshold(p, labels, target=0.75) == expected


def test_an_answer_at_the_threshold_is_given() -> None:
    logits = np.array([[3.0, 0, 0], [2.0, 0, 0], [1.0, 0, 0], [0.5, 0, 0]])
    threshold = float(probabilities(logits)[1].max())
    result = report(logits, np.array([0, 1, 1, 1]), CLASSES, threshold=threshold)
    assert result["coverage"] == 0.5 and result["answered_accuracy"] == 0.5
    nothing = report(logits, np.array([0, 1, 1, 1]), CLASSES, threshold=1.0)
    assert nothing["coverage"] == 0 and nothing["answered_accuracy"] is None


# ---- all splits ----


def three_splits() -> pd.DataFrame:
    return pd.concat(
        table(*simulated(n, seed), split)
        for seed, (split, n) in enumerate({"train": 90, "validation": 200, "test": 60}.items())
    )


def test_each_split_is_reported_from_its_own_rows() -> None:
    predictions = three_splits()
    result = evaluate(predictions.sample(frac=1, random_state=1), CLASSES)
    assert {split: r["n"] for split, r in result["splits"].items()} == {
        "train": 90,
        "validation": 200,
        "test": 60,
    }
    rows = predictions[predictions.split == "test"]
    answered = [CLASSES[np.argmax(logits)] for logits in rows.logits]
    test = result["splits"]["test"]
    assert test["accuracy"] == pytest.approx((rows.label == answered).mean())
    assert test["temperature"] == result["temperature"]
    assert test["threshold"] == result["threshold"]
    json.dumps(result, allow_nan=False)


def test_temperature_and_threshold_are_chosen_on_validation_alone() -> None:
    predictions = three_splits()
    changed = predictions.copy()
    others = changed.split != "validation"
    changed.loc[others, "logits"] = changed.logits[others].map(lambda row: -5 * row)
    one, other = evaluate(predictions, CLASSES), evaluate(changed, CLASSES)
    assert (one["temperature"], one["threshold"]) == (other["temperature"], other["threshold"])
    assert one["splits"]["test"] != other["splits"]["test"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_splits_figures_follow_from_its_columns(split: str) -> None:
    predictions = three_splits().reset_index(drop=True)
    for _, rows in predictions.groupby("split"):  # the two surest photos are unlike all others
        surest = rows.logits.map(lambda row: probabilities(row).max()).nlargest(2).index
        predictions.loc[surest, "distance"] = np.float32([0.9, 0.95])
    result = evaluate(predictions, CLASSES)
    ours = result["splits"][split]
    logits, labels, distances = columns(predictions[predictions.split == split])
    p = exp_over_sum(logits / result["temperature"])
    correct = p.argmax(axis=1) == labels
    sure = (p.max(axis=1) >= result["threshold"]) & (distances <= result["distance_limit"])
    assert 0 < sure.sum() <= (p.max(axis=1) >= result["threshold"]).sum() - 2
    assert ours["coverage"] == pytest.approx(sure.mean())
    assert ours["answered_accuracy"] == pytest.approx(correct[sure].mean())
    assert ours["nll"] == pytest.approx(-np.log(p[np.arange(len(p)), labels]).mean())

    bins = by_hand(p, labels, len(p) // 15) if len(p) % 15 == 0 else reliability(p, labels)
    for mine, theirs in zip(ours["reliability"], bins, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    gaps = sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in ours["reliability"])
    assert ours["ece"] == pytest.approx(gaps / len(p), abs=1e-6)
    assert ours["ece_interval"] == pytest.approx(ece_interval(p, labels), abs=1e-6)

    raw = exp_over_sum(logits)
    before = ours["uncalibrated"]
    assert before["nll"] == pytest.approx(-np.log(raw[np.arange(len(p)), labels]).mean())
    assert before["ece"] == pytest.approx(expected_calibration_error(raw, labels))
    gaps = sum(
        b["n"] * abs(b["confidence"] - b["accuracy"]) for b in ours["uncalibrated_reliability"]
    )
    assert before["ece"] == pytest.approx(gaps / len(p))


def test_what_calibration_changes_is_shown_beside_what_it_was() -> None:
    """Logits three times too large: the temperature says so, and repairs the figures."""
    predictions = pd.concat(
        table(3 * simulated(900, seed)[0], simulated(900, seed)[1], split)
        for seed, split in enumerate(("train", "validation", "test"))
    )
    result = evaluate(predictions, CLASSES)
    assert result["temperature"] == pytest.approx(3, rel=0.2)
    for split in ("validation", "test"):
        ours = result["splits"][split]
        assert ours["uncalibrated"]["ece"] > 0.1 > 2 * ours["ece"]
        assert ours["uncalibrated"]["nll"] > 1.2 * ours["nll"]
        assert ours["ece_interval"][1] < ours["uncalibrated"]["ece"]


def test_three_validation_photos_in_a_hundred_count_as_unfamiliar() -> None:
    predictions = three_splits()
    limit = evaluate(predictions, CLASSES)["distance_limit"]
    distances = sorted(predictions.distance[predictions.split == "validation"])
    assert sum(d > limit for d in distances) == 6  # of 200
    assert limit == pytest.approx(0.97 * distances[193] + 0.03 * distances[194], rel=1e-6)
    elsewhere = predictions.copy()
    elsewhere.loc[elsewhere.split != "validation", "distance"] = 1.9
    assert evaluate(elsewhere, CLASSES)["distance_limit"] == limit


def test_a_confident_answer_about_an_unfamiliar_photo_does_not_count() -> None:
    predictions = three_splits().reset_index(drop=True)
    rows = predictions.index[predictions.split == "test"]
    predictions.loc[rows, "logits"] = pd.Series([np.float32([30, 0, 0])] * len(rows), index=rows)
    predictions.loc[rows, "label"] = CLASSES[0]
    predictions.loc[rows, "distance"] = np.float32(0)
    assert evaluate(predictions, CLASSES)["splits"]["test"]["coverage"] == 1
    predictions.loc[rows[:15], "distance"] = np.float32(1.5)
    test = evaluate(predictions, CLASSES)["splits"]["test"]
    assert (test["coverage"], test["answered_accuracy"]) == (0.75, 1)
    predictions.loc[rows, "distance"] = np.float32(1.5)
    test = evaluate(predictions, CLASSES)["splits"]["test"]
    assert (test["coverage"], test["answered_accuracy"], test["accuracy"]) == (0, None, 1)


def test_sure_is_confident_and_familiar_each_up_to_its_edge() -> None:
    p = np.array([[0.8, 0.2], [0.8, 0.2], [0.7, 0.3], [0.7, 0.3]])
    sure = is_sure(p, 0.8, np.array([0.3, 0.31, 0.3, 0.31]), 0.3)
    assert sure.dtype == bool and sure.tolist() == [True, False, False, False]
    assert is_sure(p, 0.8).tolist() == [True, True, False, False]
    assert is_sure(p, np.array([0.9, 0.8, 0.7, 0.6])).tolist() == [False, True, True, True]
    assert bool(is_sure(p[0], 0.8, 0.3, 0.3)) is True  # one photo, as the classifier asks


@pytest.mark.parametrize("as_before", [False, True])
def test_what_is_promised_of_the_answered_is_kept_on_validation(as_before: bool) -> None:
    predictions = three_splits()
    predictions["distance"] = np.float32(0.1)
    result = evaluate(predictions, CLASSES, as_before)
    assert TARGET_ACCURACY == 0.98
    assert result["splits"]["validation"]["answered_accuracy"] >= 0.98
    assert 0 < result["splits"]["validation"]["coverage"] < 1
    assert ("familiar_share" in result) != as_before


# ---- reviews ----


def test_a_review_is_reported_beside_what_would_be_without_it() -> None:
    predictions = three_splits().reset_index(drop=True)
    predictions["original_label"] = predictions.label
    predictions["unreviewed_split"] = predictions.split
    assert "unreviewed" not in evaluate(predictions, CLASSES)
    test = predictions.index[predictions.split == "test"]
    wrong = [i for i in test if CLASSES[predictions.logits[i].argmax()] != predictions.label[i]]
    predictions.loc[wrong[0], "label"] = CLASSES[predictions.logits[wrong[0]].argmax()]
    predictions.loc[wrong[1:3], "split"] = "excluded"
    result = evaluate(predictions, CLASSES)
    after, before = result["splits"]["test"], result["unreviewed"]["test"]
    right = 60 - len(wrong)
    assert (after["n"], before["n"]) == (58, 60)
    assert after["accuracy"] == pytest.approx((right + 1) / 58)
    assert before["accuracy"] == pytest.approx(right / 60)
    assert sum(b["n"] for b in after["reliability"]) == 58
    assert sum(b["n"] for b in before["reliability"]) == 60
    # Both under the same promise, and what was not reviewed is the same.
    assert before["threshold"] == after["threshold"] == result["threshold"]
    assert result["unreviewed"]["validation"] == result["splits"]["validation"]


# ---- out of fold ----


@pytest.fixture(scope="module")
def five_folds() -> Folds:
    """Five models of different sharpness, each with test photos of its own."""
    folds = []
    for number in range(5):
        parts = []
        for split, n in {"train": 80, "validation": 100, "test": 30}.items():
            logits, labels = simulated(n, seed=100 + 10 * number + len(split))
            part = table((0.5 + number) * logits, labels, split)
            parts.append(part.assign(file=[f"{number}-{file}" for file in part.file]))
        predictions = pd.concat(parts).sample(frac=1, random_state=number)
        folds.append((predictions, evaluate(predictions, CLASSES)))
    return folds


def test_each_photo_is_answered_by_the_fold_that_tested_it(five_folds: Folds) -> None:
    gathered = out_of_fold(five_folds)
    assert len(gathered) == 150 and gathered.file.is_unique
    assert gathered.index.tolist() == list(range(150))
    for number, (predictions, evaluation) in enumerate(five_folds):
        ours = gathered[gathered.fold == number].set_index("file")
        theirs = predictions[predictions.split == "test"].set_index("file")
        assert sorted(ours.index) == sorted(theirs.index)
        for file, row in ours.iterrows():
            np.testing.assert_array_equal(row.logits, theirs.logits[file])
            assert (row.label, row.distance) == (theirs.label[file], theirs.distance[file])
            for name in ("temperature", "threshold", "distance_limit"):
                assert row[name] == evaluation[name]


def test_the_out_of_fold_figures_follow_from_its_columns(five_folds: Folds) -> None:
    gathered = out_of_fold(five_folds)
    assert gathered.temperature.nunique() == gathered.threshold.nunique() == 5
    result = report_out_of_fold(gathered.sample(frac=1, random_state=0), CLASSES)
    logits, labels, distances = columns(gathered)
    p = exp_over_sum(logits / gathered.temperature.to_numpy()[:, None])
    correct = p.argmax(axis=1) == labels
    assert result["n"] == 150 and result["accuracy"] == pytest.approx(correct.mean())
    assert result["accuracy_interval"] == wilson_interval(int(correct.sum()), 150)
    assert result["macro_f1"] == pytest.approx(f1_score(labels, p.argmax(axis=1), average="macro"))
    assert result["nll"] == pytest.approx(log_loss(labels, p))
    assert result["uncalibrated"]["nll"] == pytest.approx(log_loss(labels, exp_over_sum(logits)))
    # Every fold's sharpness is another, so no one temperature would do.
    assert result["nll"] < result["uncalibrated"]["nll"]
    for ours, theirs in zip(result["reliability"], by_hand(p, labels, 10), strict=True):
        assert ours == pytest.approx(theirs)
    gaps = [abs(b["confidence"] - b["accuracy"]) for b in by_hand(p, labels, 10)]
    assert result["ece"] == pytest.approx(sum(gaps) / 15)
    low, high = result["ece_interval"]
    assert low - 0.02 < result["ece"] < high
    sure = (p.max(axis=1) >= gathered.threshold) & (distances <= gathered.distance_limit)
    assert 0 < sure.sum() < 150
    assert result["coverage"] == pytest.approx(sure.mean())
    assert result["answered_accuracy"] == pytest.approx(correct[sure].mean())
    json.dumps(result, allow_nan=False)


def test_answers_are_listed_the_surest_first_under_their_folds_temperature(
    five_folds: Folds,
) -> None:
    gathered = out_of_fold(five_folds)
    temperatures = gathered.temperature.to_numpy()[:, None]
    said = answers(gathered, CLASSES, temperatures)
    assert said.columns.tolist() == ["file", "label", "predicted", "confidence"]
    assert said.confidence.is_monotonic_decreasing and len(said) == 150
    p = pd.DataFrame(exp_over_sum(columns(gathered)[0] / temperatures), gathered.file)
    said = said.set_index("file")
    for file, row in p.iterrows():
        assert said.predicted[file] == CLASSES[row.argmax()]
        assert said.confidence[file] == pytest.approx(row.max())
        assert said.label[file] == file.split("-")[1].split("/")[0]
    report = report_out_of_fold(gathered, CLASSES)
    assert (said.label == said.predicted).mean() == pytest.approx(report["accuracy"])


# ---- what cannot be evaluated ----


def test_labels_follow_the_runs_class_order_not_the_alphabet() -> None:
    labels = np.array([0, 1, 2, 2])
    predictions = pd.concat(
        table(logits_for([0, 1, 2, 0]), labels, split) for split in ("validation", "test")
    )
    names = dict(zip(CLASSES, ("tin", "sack", "jar"), strict=True))
    predictions["label"] = predictions.label.map(names)
    result = evaluate(predictions, ("tin", "sack", "jar"))["splits"]["test"]
    assert result["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert result["per_class"]["jar"]["support"] == 2


def test_without_validation_nothing_can_be_chosen() -> None:
    with pytest.raises(RunError, match="no predictions for the split 'validation'"):
        evaluate(three_splits().query("split != 'validation'"), CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_answers_that_are_no_numbers_are_said(value: float, split: str) -> None:
    predictions = three_splits().reset_index(drop=True)
    row = predictions.index[predictions.split == split][3]
    predictions.at[row, "logits"] = np.array([value, 0.0, 0.0])
    with pytest.raises(RunError, match="no longer numbers; train again with a lower learning"):
        evaluate(predictions, CLASSES)


def test_huge_logits_do_no_harm() -> None:
    result = report(1e30 * logits_for([0, 1]), np.array([0, 1]), CLASSES)
    assert result["nll"] == pytest.approx(0) and result["ece"] == pytest.approx(0)
