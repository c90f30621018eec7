"""Figures of an evaluation: as defined, as scikit-learn has them, and each from its own split."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import accuracy_score, classification_report, f1_score, log_loss

from trashnet.errors import RunError
from trashnet.evaluate import (
    choose_threshold,
    evaluate,
    expected_calibration_error,
    fit_temperature,
    probabilities,
    report,
    wilson_interval,
)

CLASSES = ("can", "jar", "sack")


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
    return pd.DataFrame(
        {
            "file": [f"{CLASSES[label]}/{i}.jpg" for i, label in enumerate(labels)],
            "split": split,
            "label": [CLASSES[label] for label in labels],
            "logits": list(logits),
        }
    )


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


# ---- "not sure" ----


def answers(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    p = np.array([[c, 1 - c, 0.0] for c in confidences])
    return p, np.where(right, 0, 1)


def test_the_threshold_is_the_lowest_that_keeps_the_promise() -> None:
    right = [True, True, True, False, True, False, False]
    p, labels = answers([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65], right)
    assert choose_threshold(p, labels, target=0.8) == 0.75  # 4 of 5; 0.8 alone would give 3 of 4
    assert choose_threshold(p, labels, target=1.0) == 0.85
    assert choose_threshold(p, labels, target=0.5) == 0.65


def test_a_promise_that_cannot_be_kept_leaves_only_the_surest_answer() -> None:
    p, labels = answers([0.9, 0.8, 0.7], [False, True, True])
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
    p, labels = answers([c for c, _ in drawn], [r for _, r in drawn])
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
