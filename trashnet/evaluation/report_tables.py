"""A split's report as a table, as curves, and as files to take along."""

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.evaluation.metrics import macro_f1_classes, wilson_interval

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that spreadsheets may calculate; some take the wide signs for the others."""


def disarmed(text: str) -> str:
    """Returns a text that no spreadsheet takes for a formula when it is read from a CSV file."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def disarmed_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with every text in it disarmed, names of rows and columns included."""
    safe = table.copy()
    for name in table.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"]):
        safe[name] = table[name].map(_disarmed_cell)
    rows = None if pd.api.types.is_numeric_dtype(table.index) else _disarmed_cell
    return safe.rename(index=rows, columns=_disarmed_cell)


def _disarmed_cell(cell: Any) -> Any:
    if isinstance(cell, list | tuple):
        return [_disarmed_cell(part) for part in cell]
    return disarmed(cell) if isinstance(cell, str) else cell


def as_csv(table: pd.DataFrame, rows: str | None = None) -> str:
    """Returns a table as CSV that runs nothing, its text in quotes, whatever separates the cells.

    Args:
        table: Anything, of anybody.
        rows: What the names of the rows are called; None leaves them out.
    """
    return disarmed_table(table).to_csv(
        index=rows is not None, index_label=rows, quoting=csv.QUOTE_NONNUMERIC
    )


def class_table(figures: dict[str, Any]) -> pd.DataFrame:
    """Returns precision, recall and F1 of each class, and their averages, with 95 % intervals.

    Args:
        figures: A split's figures (`trashnet.evaluation.report.report`).

    Returns:
        Rows are the classes, `macro average` and `weighted average`; columns precision,
        precision_low, precision_high, recall, recall_low, recall_high, f1 and support. The
        averages have no interval.
    """
    matrix = np.array(figures["confusion_matrix"])
    rows = {}
    for i, (name, scores) in enumerate(figures["per_class"].items()):
        right = int(matrix[i, i])
        row = dict(scores)
        for score, of in (("precision", int(matrix[:, i].sum())), ("recall", int(matrix[i].sum()))):
            low, high = wilson_interval(right, of) if of else (np.nan, np.nan)
            row |= {f"{score}_low": low, f"{score}_high": high}
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    weights = table.support / max(1, table.support.sum())
    scores = ["precision", "recall", "f1"]
    present = matrix.sum(axis=0) + matrix.sum(axis=1) > 0  # any other class has no score
    macro, weighted = table[scores][present].mean(), table[scores].mul(weights, axis=0).sum()
    for name, values in (("macro average", macro), ("weighted average", weighted)):
        table.loc[name, [*scores, "support"]] = [*values, matrix.sum()]
    columns = ["precision", "precision_low", "precision_high"]
    columns += ["recall", "recall_low", "recall_high", "f1", "support"]
    return table[columns].astype({"support": int})


def precision_recall(
    p: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str]
) -> pd.DataFrame:
    """Returns each class's precision against recall, as its threshold falls.

    The same points as `sklearn.metrics.precision_recall_curve`, less its last, and the same average
    precision (the area below the steps); here so that the app needs not load scikit-learn.

    Args:
        p: `(n, classes)` probabilities.
        labels: `(n,)` true class numbers.
        classes: Class names.

    Returns:
        One row a class and different probability, the highest first: label, threshold, precision,
        recall, average_precision (the class's). A class without photos has none.
    """
    found = []
    for number, name in enumerate(classes):
        is_class = labels == number
        if not is_class.any():
            continue
        order = np.argsort(-p[:, number], kind="stable")
        hits = np.cumsum(is_class[order])
        curve = pd.DataFrame(
            {
                "label": name,
                "threshold": p[order, number],
                "precision": hits / np.arange(1, len(order) + 1),
                "recall": hits / hits[-1],
            }
        ).drop_duplicates("threshold", keep="last")
        steps = np.diff(curve.recall, prepend=0)
        found.append(curve.assign(average_precision=float((steps * curve.precision).sum())))
    return pd.concat(found, ignore_index=True)


def as_markdown(figures: dict[str, Any], title: str) -> str:
    """Returns the report as a Markdown page."""
    lines = [
        f"# {title}",
        "",
        f"{_summary(figures)} In brackets are 95 % intervals.",
        "",
        "| class | precision | recall | F1 | photos |",
        "|---|---|---|---|---|",
    ]
    for row in class_table(figures).itertuples():
        precision, recall = (
            _with_interval(getattr(row, s), getattr(row, f"{s}_low"), getattr(row, f"{s}_high"))
            for s in ("precision", "recall")
        )
        lines.append(f"| {row.Index} | {precision} | {recall} | {row.f1:.3f} | {row.support:,} |")
    names = list(figures["per_class"])
    lines += ["", "Rows are true classes, columns predicted ones:", ""]
    lines += [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for name, row in zip(names, figures["confusion_matrix"], strict=True):
        lines.append(f"| {name} | {' | '.join(map(str, row))} |")
    return "\n".join(lines) + "\n"


def as_html(figures: dict[str, Any], title: str) -> str:
    """Returns the report as one HTML page that needs nothing else."""
    from html import escape

    names = list(figures["per_class"])
    matrix = pd.DataFrame(figures["confusion_matrix"], index=names, columns=names)
    return (
        "<!doctype html><meta charset='utf-8'>"
        f"<title>{escape(title)}</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem;max-width:60rem}"
        "table{border-collapse:collapse}td,th{padding:.25rem .6rem;border-bottom:1px solid #ccc;"
        "text-align:right}th:first-child{text-align:left}</style>"
        f"<h1>{escape(title)}</h1>"
        f"<p>{_summary(figures)}</p>"
        + class_table(figures).to_html(float_format="{:.3f}".format, na_rep="", border=0)
        + "<p>Rows are true classes, columns predicted ones.</p>"
        + matrix.to_html(border=0)
    )


def _summary(figures: dict[str, Any]) -> str:
    low, high = figures["accuracy_interval"]
    return (
        f"Accuracy {figures['accuracy']:.1%} ({low:.1%}–{high:.1%}), n = {figures['n']:,}; "
        f"macro F1 {figures['macro_f1']:.3f} ({macro_f1_classes(figures)}); "
        f"calibration error {figures['ece']:.3f}."
    )


def _with_interval(value: float, low: float, high: float) -> str:
    interval = "" if np.isnan(low) else f" ({low:.2f}–{high:.2f})"
    return f"{value:.3f}{interval}"
