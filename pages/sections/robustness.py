"""Evaluation, Robustness: what becomes of the answers when photos change."""

import streamlit as st

from trashnet.figures import robustness_lines
from trashnet.files import read_json
from trashnet.runs import Run


def render(run: Run) -> None:
    """Draws the stored measurement, or says how to make one."""
    found = read_json(run.path / "robustness.json")
    if not isinstance(found, dict):
        st.info(
            "The answers to changed photos have not been measured for this run; it takes a few "
            "minutes.",
            icon=":material/info:",
        )
        st.code(f"python -m trashnet robustness {run.id}", language="bash")
        return
    plain, worst = (
        found["plain"]["accuracy"],
        min(
            (row for row in found["rows"] if row["change"] is not None),
            key=lambda row: row["change"],
        ),
    )
    name = worst["transformation"].replace("_", " ")
    st.plotly_chart(
        robustness_lines(
            found["rows"], plain, f"Hardest: {name} {worst['strength']:g}, {worst['change']:+.0%}"
        ),
        key="robustness_bars",
        config={"displayModeBar": False},
        alt="Change of accuracy by transformation and strength",
    )
    st.caption(
        f"{found['split']}, n = {found['n']:,}: {plain:.1%} right as they are, "
        f"{found['mean_transformed']:.1%} on average over the transformations."
    )
