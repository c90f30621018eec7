"""Evaluation, Robustness: what becomes of the answers when photos change."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.job_progress import follow, say_why, start
from pages.shared.owner import locked
from pages.shared.progress import sentence
from pages.shared.widgets import chart, choose_one, data_table, share_text
from trashnet.charts import robustness_bars
from trashnet.environment import environment
from trashnet.runs.jobs import Job
from trashnet.runs.robustness_file import stored
from trashnet.runs.run import Run
from trashnet.runs.store import results_folder


def render(run: Run) -> None:
    """Draws what was measured, by split; where nothing was, offers to and follows it."""
    folder = results_folder(run, environment())
    job = Job(folder, "robustness")
    if job.is_running:
        follow(job, "robustness", "What is finished by then is kept.")
        return
    found: dict[str, dict[str, Any]] = {}
    for split in ("validation", "test"):
        with sentence():
            if (measured := stored(run, split, folder)) is not None:
                found[split] = measured
    if not found:
        _offer(run, job)
        return
    split = next(iter(found))
    if len(found) > 1:
        split = choose_one("Corrupted photos", list(found), split, key="robustness_split")
    _render_found(found[split])


def _offer(run: Run, job: Job) -> None:
    st.info(
        "How this run answers changed photos has not been measured: turned, blurred, darkened, "
        "cropped, on other backgrounds and so on, each by known strengths. It reads the validation "
        "photos only, and takes a few minutes in the background.",
        icon=":material/info:",
    )
    say_why(job, "The measurement")
    icon = ":material/play_arrow:"
    if st.button("Measure it", type="primary", icon=icon, key="robustness_go", **locked()):
        start(job, ["robustness", str(run.path)])
    st.caption(f"In a terminal: `python -m trashnet robustness {run.id}`")


def _render_found(found: dict[str, Any]) -> None:
    plain = found["plain"]["accuracy"]
    rows = [row for row in found["rows"] if row["change"] is not None]
    if not rows:
        st.info("No photo could be corrupted, so there are no figures.", icon=":material/info:")
        return
    worst = min(rows, key=lambda row: row["change"])
    name = worst["transformation"].replace("_", " ")
    title = f"Hardest: {name} {worst['strength']:g}, {100 * worst['change']:+.0f} points"
    figure = robustness_bars(rows, plain, title)
    chart(figure, "robustness_bars", "Change of accuracy by transformation and strength")
    right = share_text(plain, found["plain"]["accuracy_interval"])
    st.caption(
        f"{found['split']}, n = {found['n']:,}: {right} right as they are, "
        f"{found['mean_transformed']:.1%} on average over the transformations. Only where a "
        "photo's object cannot be told from its background it is left out."
    )
    with st.expander("As a table"):
        data_table(_table(rows), hide_index=True, key="robustness_table")


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "transformation": [row["transformation"].replace("_", " ") for row in rows],
            "strength": [f"{row['strength']:g} {row['unit']}" for row in rows],
            "photos": [row["n"] for row in rows],
            "right": [f"{row['accuracy']:.1%}" for row in rows],
            "95 %": ["{:.1%}–{:.1%}".format(*row["accuracy_interval"]) for row in rows],
            "change (points)": [round(100 * row["change"], 1) for row in rows],
            "sure": [f"{row['sure']:.0%}" for row in rows],
        }
    )
