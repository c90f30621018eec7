"""Training, runs: every run on this machine, newest first."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared import loaders
from trashnet.runs import describe


def runs_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns rows of `describe` as a table, accuracies in percent."""
    table = pd.DataFrame(rows)
    accuracies = ["validation_accuracy", "test_accuracy"]
    table[accuracies] = 100 * table[accuracies].astype(float)
    return table


def render() -> None:
    """Draws the table of runs; choosing one shows it above."""
    rows = [describe(run) for run in loaders.runs()]
    if not rows:
        return
    st.subheader("Runs")
    st.dataframe(
        runs_frame(rows),
        placeholder="–",
        key="training_table",
        hide_index=True,
        on_select=lambda: _choose_run(rows),
        selection_mode="single-row",
        column_config={
            "validation_accuracy": st.column_config.NumberColumn(
                "validation accuracy", format="%.1f %%"
            ),
            "test_accuracy": st.column_config.NumberColumn("test accuracy", format="%.1f %%"),
            "test_photos": st.column_config.NumberColumn("n", help="test photos"),
            "started": st.column_config.DatetimeColumn(format="distance"),
            "seconds": st.column_config.NumberColumn(format="%d s"),
        },
    )


def _choose_run(rows: list[dict[str, Any]]) -> None:
    """Shows the run whose row was chosen; rows are the ones the person saw."""
    picked = st.session_state["training_table"]["selection"]["rows"]
    if picked:
        st.session_state["training_run"] = rows[picked[0]]["run"]
