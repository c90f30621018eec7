"""Evaluation, Calibration: can the confidence be believed, and what a threshold withholds."""

from typing import Any

import streamlit as st

from pages.shared.markdown import bold, plain
from pages.shared.runs import RunView
from pages.shared.widgets import chart, photo_cards, split_name
from trashnet.charts import accuracy_coverage, reliability
from trashnet.evaluation.metrics import accuracy_and_coverage


def render(view: RunView) -> None:
    """Draws reliability before and after temperature, and a threshold to move."""
    left, right = st.columns(2, gap="large")
    with left:
        _render_reliability(view.split, view.figures)
    with right:
        _render_threshold(view)


def _render_reliability(split: str, figures: dict[str, Any]) -> None:
    if "reliability" not in figures:
        st.info("This run was evaluated by an older version; train it again to see this.")
        return
    before, after = figures["uncalibrated"]["ece"], figures["ece"]
    low, high = figures["ece_interval"]
    figure = reliability(
        figures["uncalibrated_reliability"],
        figures["reliability"],
        f"Calibration error {before:.3f} before temperature, {after:.3f} after",
    )
    alt = "Share of right answers against confidence, before and after temperature"
    chart(figure, "calibration_reliability", alt)
    st.caption(
        f"{split_name(split)}, n = {figures['n']:,}; bins of equal mass; 95 % interval of the "
        f"error after temperature {low:.3f} to {high:.3f}. On the diagonal, confidence is what it "
        "says."
    )


@st.fragment
def _render_threshold(view: RunView) -> None:
    said = view.predictions
    right = (said.label == said.predicted).to_numpy()
    ways = accuracy_and_coverage(said.confidence.to_numpy(), right)
    released = view.evaluation["threshold"]
    threshold = (
        st.slider(
            "Answer from this confidence on",
            0.0,
            100.0,
            100 * released,
            step=0.1,
            format="%.1f %%",
            key=f"calibration_threshold_{view.run.id}",
            help=f"Validation chose {released:.1%}. Moving it here changes this picture alone.",
        )
        / 100
    )
    withheld = said[said.confidence < threshold]
    given = right[said.confidence >= threshold]
    finding = "No photo is answered"
    if len(given):
        finding = f"{len(given) / len(said):.0%} answered, {given.mean():.1%} of these right"
    chart(
        accuracy_coverage(ways, threshold, finding),
        "calibration_coverage",
        "Share of right answers against the share of photos answered",
    )
    wrong = int((withheld.label != withheld.predicted).sum())
    st.caption(
        f"{split_name(view.split)}, n = {len(said):,}. Withheld: {len(withheld):,} photos, "
        f"{wrong:,} of which would have been answered wrongly."
    )
    if withheld.empty:
        return
    with st.expander("The withheld photos, the least sure first", key="calibration_withheld"):
        photo_cards(
            view.photos,
            withheld.iloc[::-1],
            lambda row: f"{bold(row.label)}  \n{plain(row.predicted)}? {row.confidence:.0%}",
            "calibration_page",
            width=110,
        )
