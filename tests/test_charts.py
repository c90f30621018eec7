"""Figures: what a person reads off them, and what a click on them tells the page."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from trashnet.charts import (
    class_balance,
    class_colours,
    confusion,
    precision_recall_curves,
    probability_bars,
    recall_bars,
    training_curves,
)
from trashnet.evaluation.report_tables import precision_recall

CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
# No two cells are equal, so a swap of rows and columns cannot go unseen.
MATRIX = [[10 * true + predicted for predicted in range(6)] for true in range(6)]


def clickable(figure: go.Figure) -> go.Scatter:
    """Returns the trace whose points answer a click: the heatmap tells Streamlit nothing."""
    (trace,) = (t for t in figure.data if t.type == "scatter")
    return trace


def epochs(n: int) -> pd.DataFrame:
    """Returns the figures of n epochs."""
    return pd.DataFrame(
        {
            "epoch": range(1, n + 1),
            "loss": [1 / (e + 1) for e in range(n)],
            "val_loss": [1.5 / (e + 1) for e in range(n)],
            "accuracy": [e / (n + 1) for e in range(n)],
            "val_accuracy": [e / (n + 2) for e in range(n)],
        }
    )


def all_figures() -> dict[str, go.Figure]:
    """Returns one figure of each kind."""
    counts = pd.DataFrame([[8, 9, 7, 5, 6, 2], [1] * 6, [2] * 6], columns=list(CLASSES))
    counts.index = ["train", "validation", "test"]
    return {
        "balance": class_balance(counts, CLASSES, "Trash is rare"),
        "curves": training_curves(epochs(3), "accuracy", 10),
        "confusion": confusion(MATRIX, CLASSES, "A finding"),
        "probabilities": probability_bars(dict.fromkeys(CLASSES, 1 / 6), CLASSES),
        "recall": recall_bars([0.5] * 6, CLASSES),
        "precision and recall": precision_recall_curves(
            precision_recall(np.eye(6), np.arange(6), CLASSES), CLASSES, "A finding"
        ),
    }


def test_the_six_classes_have_the_projects_colours() -> None:
    assert class_colours(CLASSES) == {
        "cardboard": "#E69F00",
        "glass": "#56B4E9",
        "metal": "#0072B2",
        "paper": "#009E73",
        "plastic": "#CC79A7",
        "trash": "#7F7F7F",
    }


def test_other_data_sets_continue_the_sequence_without_a_repeat() -> None:
    classes = [f"class {i}" for i in range(12)]
    colours = class_colours(classes)
    assert len(set(colours.values())) == 12
    assert list(colours.values())[:6] == list(class_colours(CLASSES).values())
    assert len(class_colours([f"class {i}" for i in range(40)])) == 40


def test_a_class_has_one_colour_in_every_figure() -> None:
    colours = class_colours(CLASSES)
    p = {c: i / 15 for i, c in enumerate(CLASSES)}
    answer = probability_bars(p, CLASSES).data[0]
    recall = recall_bars([0.5] * 6, CLASSES).data[0]
    for bars in (answer, recall):
        assert dict(zip(bars.y, bars.marker.color, strict=True)) == colours


@pytest.mark.parametrize("dark", [False, True])
def test_every_cell_of_the_matrix_knows_its_true_and_predicted_class(dark: bool) -> None:
    trace = clickable(confusion(MATRIX, CLASSES, "A finding", dark))
    cells = list(zip(trace.x, trace.y, trace.customdata, trace.text, strict=True))
    assert len(cells) == 36
    for x, y, (true, predicted), text in cells:
        assert (CLASSES[y], CLASSES[x]) == (true, predicted)
        assert text.startswith(f"{MATRIX[y][x]} photos")


def test_cells_show_their_numbers_and_rows_are_true_classes_from_the_top() -> None:
    figure = confusion(MATRIX, CLASSES, "A finding")
    numbers = {(a.y, a.x): a.text for a in figure.layout.annotations}
    assert numbers[4, 2] == "42"
    assert numbers[0, 0] == "·"  # a zero would hide the cells that matter
    low, high = figure.layout.yaxis.range
    assert low > high
    assert figure.layout.yaxis.title.text == "true class"
    assert figure.layout.xaxis.title.text == "predicted class"
    assert list(figure.layout.xaxis.ticktext) == list(CLASSES)


def test_sums_of_rows_and_columns_are_cells_too() -> None:
    figure = confusion([[7, 1], [2, 10]], ("glass", "metal"), "A finding", totals="any")
    trace = clickable(figure)
    cells = {tuple(c): t for c, t in zip(trace.customdata, trace.text, strict=True)}
    assert cells["glass", "any"] == "8 photos, 40% of all"
    assert cells["any", "metal"] == "11 photos, 55% of all"
    assert cells["any", "any"].startswith("20 photos")
    numbers = {(a.y, a.x): a.text for a in figure.layout.annotations}
    assert (numbers[0, 2], numbers[2, 1], numbers[2, 2]) == ("8", "11", "20")
    assert list(figure.layout.yaxis.ticktext) == ["glass", "metal", "any"]
    assert [list(row) for row in figure.data[0].z] == [[7 / 8, 1 / 8], [2 / 12, 10 / 12]]


def test_shares_of_a_row_without_photos_are_zero() -> None:
    figure = confusion([[0, 0], [1, 3]], ("glass", "metal"), "A finding")
    assert [list(row) for row in figure.data[0].z] == [[0, 0], [0.25, 0.75]]
    assert clickable(figure).text[3] == "3 photos, 75% of metal"


def test_a_click_reaches_the_cell_and_never_drags_the_matrix() -> None:
    layout = confusion(MATRIX, CLASSES, "A finding").layout
    assert layout.dragmode is False
    assert layout.hovermode == "closest"
    assert layout.hoverdistance == -1
    assert layout.xaxis.fixedrange and layout.yaxis.fixedrange
    assert "select" in layout.clickmode


def test_pale_cells_keep_readable_numbers_in_both_themes() -> None:
    matrix = [[1, 9], [10, 0]]

    def colours(dark: bool) -> list[str]:
        figure = confusion(matrix, ("glass", "metal"), "A finding", dark)
        return [a.font.color for a in figure.layout.annotations]

    pale, full, _, zero = colours(dark=False)
    assert pale == zero != full
    assert set(colours(dark=True)) == {full}


def test_balance_stacks_the_splits_and_says_the_total() -> None:
    counts = pd.DataFrame({"glass": [70, 30], "metal": [30, 10]}, index=["train", "test"])
    figure = class_balance(counts, ("glass", "metal"), "Glass is 71 % of the photos")
    bars = [t for t in figure.data if t.type == "bar"]
    assert [(b.name, list(b.x)) for b in bars] == [("train", [70, 30]), ("test", [30, 10])]
    (totals,) = (t for t in figure.data if t.type == "scatter")
    assert [text.strip() for text in totals.text] == ["100 (71%)", "40 (29%)"]
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.range[1] > 100  # the numbers need room right of the bars


def test_the_answer_comes_first_among_the_probabilities() -> None:
    p = {"glass": 0.2, "metal": 0.7, "paper": 0.1}
    bars = probability_bars(p, ("glass", "metal", "paper")).data[0]
    assert list(bars.y) == ["metal", "glass", "paper"]
    assert list(bars.text) == ["70.0%", "20.0%", "10.0%"]


@pytest.mark.parametrize("n", [0, 1, 50])
@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_curves_show_train_and_validation_on_an_axis_that_stays(n: int, metric: str) -> None:
    figure = training_curves(epochs(n) if n else pd.DataFrame(), metric, 50)
    assert [t.name for t in figure.data] == ["train, augmented", "validation"]
    assert [len(t.x) for t in figure.data] == [n, n]
    assert list(figure.layout.xaxis.range) == [0.5, 50.5]
    assert figure.layout.title.text == metric.capitalize()
    assert figure.layout.xaxis.title.text == "epoch"
    assert metric in figure.layout.yaxis.title.text


def test_accuracy_is_drawn_from_0_to_100_percent() -> None:
    axis = training_curves(epochs(2), "accuracy", 2).layout.yaxis
    assert list(axis.range) == [0, 1]
    assert axis.tickformat == ".0%"


def test_titles_are_the_findings_they_were_given() -> None:
    figures = all_figures()
    assert figures["balance"].layout.title.text == "Trash is rare"
    assert figures["confusion"].layout.title.text == "A finding"
    assert figures["recall"].layout.title.text == "Recall by class"
    assert figures["probabilities"].layout.title.text is None


@pytest.mark.parametrize("name", list(all_figures()))
def test_figures_take_the_pages_background_and_survive_json(name: str) -> None:
    figure = all_figures()[name]
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.height
    assert json.loads(figure.to_json())["data"]


@pytest.mark.parametrize("name", list(all_figures()))
def test_the_look_stands_in_the_figure_where_streamlits_theme_leaves_it(name: str) -> None:
    layout = all_figures()[name].layout
    assert (layout.margin.l, layout.margin.r) == (8, 8)
    assert layout.hoverlabel.bgcolor == "#0F1A16"
    for axis in (layout.xaxis, layout.yaxis):
        assert axis.fixedrange and axis.gridcolor and axis.tickfont.color
        assert axis.showgrid is not None


def test_the_app_starts_without_plotly_express() -> None:
    code = "import sys, trashnet.charts; sys.exit('plotly.express' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
