"""Evaluation, Report: precision, recall and F1 of each class."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.widgets import split_name
from trashnet.runs import Run


def render(run: Run, figures: dict[str, Any], split: str) -> None:
    """Draws the per-class table and what the run was made of."""
    table = pd.DataFrame(figures["per_class"]).T.astype({"support": int})
    score = {
        name: st.column_config.ProgressColumn(name, format="%.3f", min_value=0, max_value=1)
        for name in ("precision", "recall", "f1")
    }
    left, right = st.columns([2, 1], gap="large")
    with left:
        st.dataframe(table, column_config=score, height=38 + 35 * len(table))
        st.caption(
            f"{split_name(split)}, n = {figures['n']:,}; macro F1 {figures['macro_f1']:.3f}, "
            f"negative log-likelihood {figures['nll']:.3f} nats. Support is the number of photos."
        )
    with right:
        settings = pd.Series(run.train_config.to_dict(), name="value").astype(str)
        st.dataframe(settings.rename_axis("setting"), height=38 + 35 * len(settings))
