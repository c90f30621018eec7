"""Home: a photo in, an answer out; how good the model is, and where it fails."""

import pandas as pd
import streamlit as st

from pages.shared.answer_card import render_answer
from pages.shared.examples import examples_of
from pages.shared.markdown import bold, data_name, plain
from pages.shared.page import is_phone, page_header, page_link
from pages.shared.photos import photos_in_use, thumbnails
from pages.shared.progress import sentence
from pages.shared.runs import (
    OUT_OF_FOLD,
    all_runs,
    answering_runs,
    figures_of,
    known_objects,
    photos_of,
    predictions_of,
)
from pages.shared.widgets import data_table, photo_button, split_name
from trashnet.data.image_io import thumbnail
from trashnet.runs.run import Run
from trashnet.runs.store import describe

PHOTO, CAMERA = "Photo", "Camera"

EXAMPLES, MISTAKES = 6, 8
"""How many are shown."""

WIDTH = 108
"""Of their photos, in pixels: three fit beside each other on a phone."""


def render_question(run: Run | None) -> None:
    """Classifies a photo, or one of the examples, right here."""
    st.title("What is this piece of waste?")
    st.caption(
        "Classify a photo here. On the other pages: explore the photos, train a model, see where "
        "it fails."
    )
    if run is None:
        st.info("Train a model, then classify your photos here.", icon=":material/play_arrow:")
        page_link("pages/2_Training.py", "Train a model", ":material/model_training:")
        return
    above = st.container()
    left, right = st.columns([3, 2], gap="large")
    with left:
        sent = _render_input()
    with right:
        st.markdown("**Or try one of these**")
        examples = dict(list(examples_of(run).items())[:EXAMPLES])
        with st.container(horizontal=True, gap="small"):
            for label, content in examples.items():
                with st.container(width=WIDTH):
                    picture, say = thumbnail(content, 2 * WIDTH), f"Classify this photo of {label}"
                    photo_button(picture, say, f"home_example_{label}", _use_example, label)
    chosen = st.session_state.get("home_example")
    if sent is None and chosen in examples:
        sent = examples[chosen]
    if sent is not None:
        below = st.container()
        with above if is_phone() else below, st.container(border=True):  # in sight on either
            render_answer(run, sent, "home")


def _render_input() -> bytes | None:
    """Draws the drop zone or the camera; returns the photo that was sent."""
    way = st.segmented_control(
        "Photo from",
        [PHOTO, CAMERA],
        default=PHOTO,
        required=True,
        key="home_way",
        label_visibility="collapsed",
    )
    if way == CAMERA:
        sent = st.camera_input("One piece of waste", key="home_camera", on_change=_drop_example)
    else:
        sent = st.file_uploader(
            "Drop a photo of one piece of waste", key="home_photo", on_change=_drop_example
        )
    return None if sent is None or "home_example" in st.session_state else sent.getvalue()


def _use_example(label: str) -> None:
    st.session_state["home_example"] = label


def _drop_example() -> None:
    st.session_state.pop("home_example", None)


def render_accuracy(run: Run, split: str) -> None:
    """Says how good the model is on a split, in one sentence."""
    report = figures_of(run.evaluation())[split]
    low, high = report["accuracy_interval"]
    how = (
        "Cross-validated: each photo predicted by a model that never saw it."
        if split == OUT_OF_FOLD
        else "Measured on test photos, which were not used for training."
    )
    if known := known_objects(run, split):
        how += f" {known:,} of them show an object or a print that it saw in other photos."
    st.markdown(
        f"The model {bold(run.id)} classifies **{report['accuracy']:.1%}** of {report['n']:,} "
        f"photos of {data_name(run.config['data']['name'])} correctly (95 % interval {low:.1%} to "
        f"{high:.1%}). {how} Photos taken elsewhere, such as in a kitchen, are harder."
    )


def render_mistakes(run: Run, split: str) -> None:
    """Draws a strip of photos that the model got wrong; each opens the evaluation of the run."""
    answers = predictions_of(run, split)
    wrong = answers[answers.label != answers.predicted]
    # The most confident ones, of each class in turn.
    turn = wrong.groupby("label").cumcount()
    some = wrong.loc[turn.sort_values(kind="stable").index].head(MISTAKES)
    pictures = thumbnails(photos_of(run), some.file, 2 * WIDTH)
    shown = [(row, p) for row, p in zip(some.itertuples(), pictures, strict=True) if p is not None]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(f"**{len(wrong):,} photos it gets wrong**")
        about = {"evaluation_run": run.id, "evaluation_split": split_name(split)}
        page_link("pages/3_Evaluation.py", "See all", ":material/arrow_forward:", "content", about)
    if not shown:
        return
    with st.container(horizontal=True, gap="small"):
        for row, picture in shown:
            with st.container(width=WIDTH, gap="xxsmall"):
                say = f"Why is this photo of {row.label} taken for {row.predicted}?"
                where = about | {"photo": row.file}
                photo_button(picture, say, f"home_mistake_{row.file}", _open_evaluation, where)
                st.caption(f"{plain(row.label)}, taken for {bold(row.predicted)}")


def _open_evaluation(where: dict[str, str]) -> None:
    st.session_state["home_open"] = where  # a callback cannot leave the page


def render_latest_runs() -> None:
    """Lists the last three runs, each with its validation accuracy by epoch."""
    runs = all_runs()[:3]
    if not runs:
        return
    table = pd.DataFrame([describe(run) for run in runs])
    table["curve"] = [_curve(run) for run in runs]
    table["test_accuracy"] = 100 * table.test_accuracy.astype(float)
    st.markdown("**Latest runs**")
    data_table(
        table[["run", "state", "curve", "test_accuracy", "test_photos", "data", "started"]],
        placeholder="–",
        hide_index=True,
        column_config={
            "curve": st.column_config.LineChartColumn(
                "validation accuracy by epoch", y_min=0, y_max=1
            ),
            "test_accuracy": st.column_config.NumberColumn("test accuracy", format="%.1f %%"),
            "test_photos": st.column_config.NumberColumn("n", help="test photos"),
            "started": st.column_config.DatetimeColumn("started", format="distance"),
        },
    )


def _curve(run: Run) -> list[float]:
    epochs = run.epochs()
    return [] if epochs.empty else epochs.val_accuracy.dropna().tolist()


def main() -> None:
    """Draws the page."""
    if opened := st.session_state.pop("home_open", None):
        st.switch_page("pages/3_Evaluation.py", query_params=opened)
    page_header("Home", "What is this?")
    with sentence():
        photos_in_use()  # under a bar, where it is the first time
    run = next(iter(answering_runs()), None)
    render_question(run)
    if run is not None:
        split = OUT_OF_FOLD if OUT_OF_FOLD in figures_of(run.evaluation()) else "test"
        render_accuracy(run, split)
        with sentence():
            render_mistakes(run, split)
    render_latest_runs()


main()
