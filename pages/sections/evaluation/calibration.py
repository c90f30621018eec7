"""Evaluation, Calibration: can the confidence be believed, and what a threshold withholds."""

from typing import Any

import streamlit as st

from pages.shared.markdown import bold, plain
from pages.shared.runs import OUT_OF_FOLD, RunView
from pages.shared.widgets import chart, photo_cards, split_name
from trashnet.charts import accuracy_coverage, reliability
from trashnet.evaluation.metrics import MOST_WRONG, TARGET_ACCURACY, accuracy_and_coverage
from trashnet.evaluation.report import FAMILIAR_BEFORE


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
    said, released = view.predictions, view.evaluation["threshold"]
    right = (said.label == said.predicted).to_numpy()
    # As far above its own model's threshold: each fold has chosen one.
    score = (said.confidence - said.threshold + released).to_numpy()
    familiar = said.familiar.to_numpy()
    ways = accuracy_and_coverage(score[familiar], right[familiar])
    ways["coverage"] *= familiar.mean()
    has_folds = view.split == OUT_OF_FOLD
    threshold = (
        st.slider(
            "Sure from this confidence on",
            0.0,
            100.0,
            100 * released,
            step=0.1,
            format="%.1f %%",
            key=f"calibration_threshold_{view.run.id}",
            help=f"Validation chose {released:.1%}"
            + (" for the first fold; those of the others move along" if has_folds else "")
            + ". Moving it here changes this picture alone.",
        )
        / 100
    )
    # What is as good as the chosen threshold is the threshold: the slider rounds.
    sure = familiar & (score >= (released if abs(threshold - released) < 5e-4 else threshold))
    withheld, given = said[~sure], right[sure]
    finding = "No photo is answered"
    if len(given):
        finding = f"Sure on {len(given) / len(said):.0%}, right on {given.mean():.1%} of these"
    chart(
        accuracy_coverage(ways, threshold, finding),
        "calibration_coverage",
        "Share of right answers against the share of photos answered",
    )
    wrong = int((withheld.label != withheld.predicted).sum())
    strange = said[~said.familiar]
    share = view.evaluation.get("familiar_share", FAMILIAR_BEFORE)
    right_rate = (
        f"the upper 95% bound of wrong predictions from there on is {MOST_WRONG:.0%}"
        if "familiar_share" in view.evaluation
        else f"{TARGET_ACCURACY:.0%} of predictions from there on are right"
    )
    strange_wrong = int((strange.label != strange.predicted).sum())
    st.caption(
        f"{split_name(view.split)}, n = {len(said):,}. Withheld: {len(withheld):,} photos, "
        f"{wrong:,} of which would have been answered wrongly."
    )
    st.caption(
        "A sure answer takes two things: a confidence from the threshold on, and a photo that is "
        f"not unlike anything in training. {len(strange):,} photos are unlike it, "
        f"{strange_wrong:,} of them answered wrongly; the slider does not bring them back. "
        f"Validation chose both limits: the threshold so that {right_rate}, the other so that "
        f"{share:.0%} of its photos pass."
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
