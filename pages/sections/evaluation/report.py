"""Evaluation, Report: precision, recall and F1 of each class, to read and to take along."""

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.caching import cached
from pages.shared.runs import RunView, logits_of
from pages.shared.widgets import chart, data_table, split_name
from trashnet.charts import precision_recall_curves
from trashnet.evaluation.metrics import macro_f1_classes
from trashnet.evaluation.report_tables import (
    as_csv,
    as_html,
    as_markdown,
    class_table,
    precision_recall,
)
from trashnet.inference.calibration import probabilities
from trashnet.runs.run import Run


def render(view: RunView) -> None:
    """Draws the per-class table and what the run was made of."""
    figures = view.figures
    table = class_table(figures)
    shown = table[["precision", "recall", "f1", "support"]]
    score = {
        name: st.column_config.ProgressColumn(name, format="%.3f", min_value=0, max_value=1)
        for name in ("precision", "recall", "f1")
    }
    data_table(
        shown.assign(
            **{"95 % of precision": _interval(table, "precision")},
            **{"95 % of recall": _interval(table, "recall")},
        ),
        column_config=score,
        height=38 + 35 * len(table),
    )
    st.caption(
        f"{split_name(view.split)}, n = {figures['n']:,}; macro F1 {figures['macro_f1']:.3f} "
        f"({macro_f1_classes(figures)}), negative log-likelihood {figures['nll']:.3f} nats. "
        "Support is the number of photos."
    )
    _render_downloads(view, table)
    left, right = st.columns([2, 1], gap="large")
    with left:
        _render_curves(view)
    with right:
        settings = pd.Series(view.run.train_config.to_dict(), name="value").astype(str)
        data_table(settings.rename_axis("setting").to_frame(), height=460)


def _render_curves(view: RunView) -> None:
    curves = _curves(view.run, view.split)
    average = curves.groupby("label").average_precision.first()
    title = f"Hardest to find without false alarms: {average.idxmin()}"
    chart(
        precision_recall_curves(curves, view.run.classes, title),
        "report_curves",
        "Precision against recall of each class as its threshold falls",
    )
    st.caption(
        f"Each class against all others as its threshold falls, {split_name(view.split)}, "
        f"n = {view.figures['n']:,}; mean average precision {average.mean():.3f}."
    )


@cached(max_entries=16)
def _curves(run: Run, split: str) -> pd.DataFrame:
    table, temperature = logits_of(run, split)
    p = probabilities(np.stack(table.logits.to_numpy()), temperature)
    return precision_recall(p, table.label.map(run.classes.index).to_numpy(np.int64), run.classes)


def _interval(table: pd.DataFrame, score: str) -> pd.Series:
    low, high = table[f"{score}_low"], table[f"{score}_high"]
    words = low.map("{:.2f}–".format) + high.map("{:.2f}".format)
    return words.where(low.notna(), "")


def _render_downloads(view: RunView, table: pd.DataFrame) -> None:
    title = f"{view.run.id}, {split_name(view.split)}"
    files = {
        "CSV": (
            "csv",
            "text/csv",
            lambda: as_csv(table, "class"),
        ),
        "Markdown": ("md", "text/markdown", lambda: as_markdown(view.figures, title)),
        "HTML": ("html", "text/html", lambda: as_html(view.figures, title)),
    }
    with st.container(horizontal=True):
        for name, (suffix, mime, content) in files.items():
            st.download_button(
                name,
                content,
                file_name=f"{view.run.id}-{view.split}.{suffix}",
                mime=mime,
                icon=":material/download:",
                key=f"report_{suffix}",
                on_click="ignore",
            )
