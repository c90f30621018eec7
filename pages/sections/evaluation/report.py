"""Evaluation, Report: precision, recall and F1 of each class, to read and to take along."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.predictions import curves_of
from pages.shared.widgets import split_name
from trashnet.charts import precision_recall_curves
from trashnet.evaluation.report_tables import as_html, as_markdown, class_table, disarmed
from trashnet.runs.run import Run


def render(run: Run, figures: dict[str, Any], split: str) -> None:
    """Draws the per-class table and what the run was made of."""
    table = class_table(figures)
    shown = table[["precision", "recall", "f1", "support"]]
    score = {
        name: st.column_config.ProgressColumn(name, format="%.3f", min_value=0, max_value=1)
        for name in ("precision", "recall", "f1")
    }
    st.dataframe(
        shown.assign(
            **{"95 % of precision": _interval(table, "precision")},
            **{"95 % of recall": _interval(table, "recall")},
        ),
        column_config=score,
        height=38 + 35 * len(table),
    )
    st.caption(
        f"{split_name(split)}, n = {figures['n']:,}; macro F1 {figures['macro_f1']:.3f}, "
        f"negative log-likelihood {figures['nll']:.3f} nats. Support is the number of photos."
    )
    _render_downloads(run, figures, split, table)
    left, right = st.columns([2, 1], gap="large")
    with left:
        _render_curves(run, figures, split)
    with right:
        settings = pd.Series(run.train_config.to_dict(), name="value").astype(str)
        st.dataframe(settings.rename_axis("setting"), height=460)


def _render_curves(run: Run, figures: dict[str, Any], split: str) -> None:
    curves = curves_of(run, split, figures["temperature"])
    average = curves.groupby("label").average_precision.first()
    title = f"Hardest to find without false alarms: {average.idxmin()}"
    st.plotly_chart(
        precision_recall_curves(curves, run.classes, title),
        key="report_curves",
        config={"displayModeBar": False},
        alt="Precision against recall of each class as its threshold falls",
    )
    st.caption(
        f"Each class against all others as its threshold falls, {split_name(split)}, "
        f"n = {figures['n']:,}; mean average precision {average.mean():.3f}."
    )


def _interval(table: pd.DataFrame, score: str) -> pd.Series:
    low, high = table[f"{score}_low"], table[f"{score}_high"]
    words = low.map("{:.2f}–".format) + high.map("{:.2f}".format)
    return words.where(low.notna(), "")


def _render_downloads(run: Run, figures: dict[str, Any], split: str, table: pd.DataFrame) -> None:
    title = f"{run.id}, {split_name(split)}"
    files = {
        "CSV": (
            "csv",
            "text/csv",
            lambda: table.rename(index=disarmed).to_csv(index_label="class"),
        ),
        "Markdown": ("md", "text/markdown", lambda: as_markdown(figures, title)),
        "HTML": ("html", "text/html", lambda: as_html(figures, title)),
    }
    with st.container(horizontal=True):
        for name, (suffix, mime, content) in files.items():
            st.download_button(
                name,
                content,
                file_name=f"{run.id}-{split}.{suffix}",
                mime=mime,
                icon=":material/download:",
                key=f"report_{suffix}",
                on_click="ignore",
            )
