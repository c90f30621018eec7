"""Training, runs: every run on this machine, newest first."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.sections.evaluation import comparison
from pages.shared.progress import sentence
from pages.shared.runs import all_runs
from pages.shared.widgets import data_table, warn_of_damage
from trashnet.runs.annotations import about
from trashnet.runs.run import Run
from trashnet.runs.store import describe


def runs_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns rows of `describe` as a table, accuracies in percent."""
    table = pd.DataFrame(rows)
    accuracies = ["validation_accuracy", "test_accuracy"]
    table[accuracies] = 100 * table[accuracies].astype(float)
    return table


def render() -> None:
    """Draws the table of runs; choosing one shows it above, choosing two compares them."""
    runs = all_runs()
    rows = [_row(run) for run in runs]
    if not rows:
        warn_of_damage()
        return
    st.subheader("Runs")
    st.caption("Choose one to show it above, two to compare them.")
    warn_of_damage()
    table = runs_frame(rows)
    unused = [column for column in ("name", "tags") if not any(map(len, table[column]))]
    data_table(
        table.drop(columns=unused),
        placeholder="–",
        key="training_table",
        hide_index=True,
        on_select=lambda: _choose_run(rows),
        selection_mode="multi-row",
        column_config={
            "tags": st.column_config.ListColumn(),
            "validation_accuracy": st.column_config.NumberColumn(
                "validation accuracy", format="%.1f %%"
            ),
            "test_accuracy": st.column_config.NumberColumn("test accuracy", format="%.1f %%"),
            "test_photos": st.column_config.NumberColumn("n", help="test photos"),
            "started": st.column_config.DatetimeColumn(format="distance"),
            "seconds": st.column_config.NumberColumn(format="%d s"),
        },
    )

    picked = [row["run"] for row in rows if row["run"] in _chosen(rows)]
    if len(picked) == 2:
        by_id = {run.id: run for run in runs}
        with sentence():
            comparison.render(by_id[picked[1]], by_id[picked[0]], "training_compare")
    elif len(picked) > 2:
        st.info("Choose two runs to compare them.", icon=":material/compare_arrows:")


def _row(run: Run) -> dict[str, Any]:
    row, known = describe(run), about(run)
    first = {"run": row.pop("run"), "name": known.title, "state": row.pop("state")}
    first |= {key: row.pop(key) for key in ("test_accuracy", "test_photos")}
    return {**first, **row, "tags": list(known.tags)}


def _chosen(rows: list[dict[str, Any]]) -> list[str]:
    selection = st.session_state.get("training_table", {}).get("selection", {})
    return [rows[i]["run"] for i in selection.get("rows", []) if i < len(rows)]


def _choose_run(rows: list[dict[str, Any]]) -> None:
    """Shows the run whose row was chosen; rows are the ones the person saw."""
    picked = _chosen(rows)
    if len(picked) == 1:
        st.session_state["training_run"] = picked[0]
