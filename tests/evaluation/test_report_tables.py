"""The report's table follows from the matrix, and its files say the same."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    classification_report,
    precision_recall_curve,
)

from trashnet.evaluation.metrics import wilson_interval
from trashnet.evaluation.report import report
from trashnet.evaluation.report_tables import (
    as_csv,
    as_html,
    as_markdown,
    class_table,
    disarmed,
    disarmed_table,
    precision_recall,
)
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

FIGURES = Run(RELEASED).evaluation()["out_of_fold"]


def test_the_table_is_scikit_learns_with_intervals() -> None:
    draws = np.random.default_rng(0)
    logits, labels = draws.normal(size=(300, 3)), draws.integers(0, 3, 300)
    logits[np.arange(300), labels] += 1
    classes = ("a", "b", "c")
    table = class_table(report(logits, labels, classes))
    expected = classification_report(
        labels, logits.argmax(axis=1), target_names=classes, output_dict=True
    )
    for name in classes:
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert table.loc[name, ours] == pytest.approx(expected[name][theirs])
        assert table.loc[name, "support"] == expected[name]["support"]
    for ours, theirs in (("macro average", "macro avg"), ("weighted average", "weighted avg")):
        assert table.loc[ours, "f1"] == pytest.approx(expected[theirs]["f1-score"])
        assert table.loc[ours, "recall"] == pytest.approx(expected[theirs]["recall"])
        assert table.loc[ours, "support"] == 300
    right = ((logits.argmax(axis=1) == 1) & (labels == 1)).sum()
    interval = wilson_interval(int(right), int((labels == 1).sum()))
    assert table.loc["b", ["recall_low", "recall_high"]].tolist() == pytest.approx(interval)
    assert (table.recall_low.dropna() <= table.recall[:3]).all()


def test_a_class_that_is_never_predicted_has_no_interval() -> None:
    logits = np.tile([1.0, 0.0], (5, 1))
    table = class_table(report(logits, np.array([0, 0, 0, 1, 1]), ("a", "b")))
    assert np.isnan(table.loc["b", "precision_low"]) and table.loc["b", "recall_low"] >= 0


def test_the_markdown_has_every_class_and_the_matrix() -> None:
    page = as_markdown(FIGURES, "The shipped run, out of fold")
    assert page.startswith("# The shipped run, out of fold\n")
    assert f"Accuracy {FIGURES['accuracy']:.1%}" in page and "n = 2,521" in page
    for name, scores in FIGURES["per_class"].items():
        assert f"| {name} | {scores['precision']:.3f} (" in page
    for row in FIGURES["confusion_matrix"]:
        assert " | ".join(map(str, row)) in page


def test_the_html_is_one_page_and_escapes_its_title() -> None:
    page = as_html(FIGURES, "<script>alert(1)</script>")
    HTMLParser().feed(page)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert f"<td>{FIGURES['per_class']['glass']['recall']:.3f}</td>" in page
    for row in FIGURES["confusion_matrix"]:
        cells = [f"<td>{count}</td>" for count in row]
        assert re.search(r"\s*".join(map(re.escape, cells)), page)


def test_the_curves_are_scikit_learns() -> None:
    draws = np.random.default_rng(1)
    p = draws.dirichlet(np.ones(3), 400).round(2)  # rounded, so that many are level
    labels = draws.integers(0, 2, 400)  # none is of the third class
    curves = precision_recall(p, labels, ("a", "b", "c"))
    assert list(curves.label.unique()) == ["a", "b"]
    for number, name in enumerate(("a", "b")):
        ours = curves[curves.label == name]
        precision, recall, threshold = precision_recall_curve(labels == number, p[:, number])
        assert ours.threshold.tolist() == threshold[::-1].tolist()
        assert ours.precision.to_numpy() == pytest.approx(precision[:-1][::-1])
        assert ours.recall.to_numpy() == pytest.approx(recall[:-1][::-1])
        average = average_precision_score(labels == number, p[:, number])
        assert ours.average_precision.to_numpy() == pytest.approx(average)


def test_the_html_shows_a_class_that_is_markup_as_text() -> None:
    name = "<img src=x onerror=alert(1)>"
    figures = report(np.eye(2)[[0, 1, 1]] * 5, np.array([0, 1, 1]), (name, "b"), 1.0, 0.5)
    page = as_html(figures, name)
    assert name not in page and page.count("&lt;img") >= 4


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_a_formula_is_text_in_a_csv_file(name: str) -> None:
    assert disarmed(name) == f"'{name}"
    assert disarmed(f"a{name}") == f"a{name}"


def test_every_text_of_a_table_is_disarmed_and_its_numbers_stay() -> None:
    table = pd.DataFrame(
        {
            "file": pd.Categorical(["=1", "b"]),
            "-why": [None, "@x"],
            "tags": [["+1", "c"], []],
            "change": [-1.5, 2.0],
            "when": pd.to_datetime(["2026-01-01", "2026-01-02"]),
        },
        index=["=a", "b"],
    )
    safe = disarmed_table(table)
    assert safe["'-why"].isna().tolist() == [True, False]
    assert safe.file.tolist() == ["'=1", "b"] and safe["'-why"].iloc[1] == "'@x"
    assert safe.tags.tolist() == [["'+1", "c"], []] and safe.index.tolist() == ["'=a", "b"]
    assert safe.change.tolist() == [-1.5, 2.0] and safe.when.dtype == table.when.dtype
    assert table.file.tolist() == ["=1", "b"] and table.index.tolist() == ["=a", "b"]


def test_a_csv_file_runs_nothing_whatever_separates_its_cells() -> None:
    table = pd.DataFrame({"file": ["a;=1+1", "=1"], "change": [-1.5, 2.0]})
    assert as_csv(table).splitlines() == ['"file","change"', '"a;=1+1",-1.5', '"\'=1",2.0']
    assert as_csv(table.set_index("file"), "class").splitlines()[2] == '"\'=1",2.0'
