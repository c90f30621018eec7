"""Evaluation: where does it fail, and why? From every number to the photos behind it."""

import streamlit as st

from pages.sections.evaluation import (
    bias,
    calibration,
    comparison,
    errors,
    label_errors,
    own_photos,
    report,
    robustness,
)
from pages.shared.page import page_header
from pages.shared.photo_dialog import asked_photo, show_photo
from pages.shared.progress import sentence
from pages.shared.runs import (
    OUT_OF_FOLD,
    answering_runs,
    figures_of,
    finished_runs,
    known_objects,
    view_of,
)
from pages.shared.widgets import (
    TILE,
    accuracy_text,
    choose_one,
    pick_run,
    split_name,
    warn_of_damage,
    warn_of_missing_photos,
)
from trashnet.errors import TrashnetError
from trashnet.evaluation.metrics import macro_f1_classes

page_header("Evaluation", "Where does it fail, and why?")

left, right = st.columns([3, 2], vertical_alignment="bottom")
with left:
    warn_of_damage()
    run = pick_run("evaluation_run", answering_runs())
evaluation = run.evaluation()
by_split = figures_of(evaluation)
with right:
    split = choose_one(
        "Photos",
        list(by_split),
        "test",
        key="evaluation_split",
        format_func=split_name,
        help="Validation chose the epoch, the temperature and the threshold; no choice reads test. "
        "Out of fold: every photo, predicted by one of five models that never saw it.",
    )
try:
    view = view_of(run, split, evaluation)
except TrashnetError as error:
    st.error(str(error), icon=":material/error:")
    st.stop()
figures = view.figures

with st.container(horizontal=True):
    st.metric("Accuracy", f"{figures['accuracy']:.1%}", accuracy_text(figures, split), **TILE)
    over = f"mean over {macro_f1_classes(figures)}"
    st.metric("Macro F1", f"{figures['macro_f1']:.3f}", over, **TILE)
    low, high = figures.get("ece_interval", (figures["ece"], figures["ece"]))
    st.metric(
        "Calibration error",
        f"{figures['ece']:.3f}",
        f"{low:.3f} to {high:.3f}",
        **TILE,
        help="Expected gap between confidence and accuracy, 15 bins of equal mass, with its 95 % "
        + "bootstrap interval, after "
        + (
            "each fold's own temperature."
            if split == OUT_OF_FOLD
            else f"temperature {figures['temperature']:.2f}."
        ),
    )
    answered, sure = figures["answered_accuracy"], round(figures["coverage"] * figures["n"])
    st.metric(
        "Sure on",
        f"{figures['coverage']:.0%}",
        "never sure enough"
        if answered is None
        else f"right on {round(answered * sure):,} of these {sure:,}",
        **TILE,
        help="Photos answered above the threshold chosen on validation, and not unlike anything in "
        "training.",
    )

if known := known_objects(run, split):
    st.caption(
        f":material/content_copy: {known:,} of these {figures['n']:,} photos show an object or a "
        "print that the model learned from in other photos. Its accuracy on new objects is "
        "probably lower."
    )
if split in evaluation.get("unreviewed", {}):
    before = evaluation["unreviewed"][split]
    st.info(
        f"Labels were reviewed before this run. Without the review: {before['accuracy']:.1%} "
        f"({accuracy_text(before, split)}).",
        icon=":material/rate_review:",
    )


@st.fragment  # a click is answered without the rest of the page being drawn again
def render_errors() -> None:
    """Draws the mistakes, and the photo that was opened among them."""
    errors.render(view)
    file = asked_photo(view.predictions.file)
    if file is not None:
        show_photo(file, view.photos, view.index, view.run, view.predictions)


def render_comparison() -> None:
    """Lets a person choose another run to compare with."""
    others = [other for other in finished_runs() if other.path != run.path]
    if others:
        comparison.render(pick_run("evaluation_other", others), run, "evaluation_compare")
    else:
        st.info("There is one finished run; train another to compare them.")


SECTIONS = {
    "Errors": render_errors,
    "Report": lambda: report.render(view),
    "Calibration": lambda: calibration.render(view),
    "Bias": lambda: bias.render(view),
    "Robustness": lambda: robustness.render(run),
    "Label errors": lambda: label_errors.render(view),
    "Compare": render_comparison,
    "Own photos": lambda: own_photos.render(run),
}
warn_of_missing_photos(view.photos, view.predictions.file.head(20))
tabs = st.tabs(list(SECTIONS), key="evaluation_tab", on_change="rerun", bind="query-params")
for tab, render in zip(tabs, SECTIONS.values(), strict=True):
    if tab.open:
        with tab, sentence():
            render()
