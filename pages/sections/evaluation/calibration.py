"""Evaluation, Calibration: can the confidence be believed, and what a threshold withholds."""

from typing import Any

import streamlit as st

from pages.shared import loaders
from pages.shared.markdown import bold, plain
from pages.shared.predictions import answers_to
from pages.shared.widgets import paged, photo_grid, split_name
from trashnet.charts import accuracy_coverage, reliability
from trashnet.evaluation.metrics import accuracy_and_coverage
from trashnet.runs.run import Run


def render(run: Run, split: str, figures: dict[str, Any]) -> None:
    """Draws reliability before and after temperature, and a threshold to move."""
    left, right = st.columns(2, gap="large")
    with left:
        _render_reliability(split, figures)
    with right:
        _render_threshold(run, split, figures)


def _render_reliability(split: str, figures: dict[str, Any]) -> None:
    if "reliability" not in figures:
        st.info("This run was evaluated by an older version; train it again to see this.")
        return
    before, after = figures["uncalibrated"]["ece"], figures["ece"]
    low, high = figures["ece_interval"]
    st.plotly_chart(
        reliability(
            figures["uncalibrated_reliability"],
            figures["reliability"],
            f"Calibration error {before:.3f} before temperature, {after:.3f} after",
        ),
        key="calibration_reliability",
        config={"displayModeBar": False},
        alt="Share of right answers against confidence, before and after temperature",
    )
    st.caption(
        f"{split_name(split)}, n = {figures['n']:,}; bins of equal mass; 95 % interval of the "
        f"error after temperature {low:.3f} to {high:.3f}. On the diagonal, confidence is what it "
        "says."
    )


@st.fragment
def _render_threshold(run: Run, split: str, figures: dict[str, Any]) -> None:
    said = answers_to(run, split, figures["temperature"])
    right = (said.label == said.predicted).to_numpy()
    ways = accuracy_and_coverage(said.confidence.to_numpy(), right)
    released = run.evaluation()["threshold"]
    threshold = (
        st.slider(
            "Answer from this confidence on",
            0.0,
            100.0,
            100 * released,
            step=0.1,
            format="%.1f %%",
            key=f"calibration_threshold_{run.id}",
            help=f"Validation chose {released:.1%}. Moving it here changes this picture alone.",
        )
        / 100
    )
    withheld = said[said.confidence < threshold]
    given = right[said.confidence >= threshold]
    finding = "No photo is answered"
    if len(given):
        finding = f"{len(given) / len(said):.0%} answered, {given.mean():.1%} of these right"
    st.plotly_chart(
        accuracy_coverage(ways, threshold, finding),
        key="calibration_coverage",
        config={"displayModeBar": False},
        alt="Share of right answers against the share of photos answered",
    )
    wrong = int((withheld.label != withheld.predicted).sum())
    st.caption(
        f"{split_name(split)}, n = {len(said):,}. Withheld: {len(withheld):,} photos, {wrong:,} of "
        "which would have been answered wrongly."
    )
    if withheld.empty:
        return
    with st.expander("The withheld photos, the least sure first", key="calibration_withheld"):
        withheld = withheld.iloc[::-1]
        first, last = paged(withheld.file, "calibration_page", per_page=12)
        shown = withheld.iloc[first:last]
        captions = [
            f"{bold(row.label)}  \n{plain(row.predicted)}? {row.confidence:.0%}"
            for row in shown.itertuples()
        ]
        photo_grid(loaders.photo_root(run), shown.file, captions, width=110)
