"""Training, runs: every run on this machine, newest first."""

import pandas as pd
import streamlit as st

from pages.shared import loaders
from trashnet.runs import describe


def render() -> None:
    """Draws the table of runs; choosing one shows it above."""
    rows = [describe(run) for run in loaders.runs()]
    if not rows:
        return
    st.subheader("Runs")
    chosen = st.dataframe(
        pd.DataFrame(rows),
        key="training_table",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "validation_accuracy": st.column_config.NumberColumn(
                "validation accuracy", format="percent"
            ),
            "test_accuracy": st.column_config.NumberColumn("test accuracy", format="percent"),
            "started": st.column_config.DatetimeColumn(format="distance"),
            "seconds": st.column_config.NumberColumn(format="%d s"),
        },
    )
    picked = chosen["selection"]["rows"]
    if picked and st.session_state.get("training_run") != rows[picked[0]]["run"]:
        st.session_state["training_run"] = rows[picked[0]]["run"]
        st.rerun()
