"""Home: what this is, how good the latest model is, and the way in."""

import streamlit as st

from pages.sections.training.run_table import runs_frame
from pages.shared.answer_card import render_answer
from pages.shared.markdown import plain
from pages.shared.page import page_header, page_link
from pages.shared.photos import photos_if_any
from pages.shared.progress import sentence
from pages.shared.runs import OUT_OF_FOLD, all_runs, answering_runs, figures_of
from pages.shared.widgets import TILE, accuracy_text, data_table, warn_of_samples
from trashnet.data.dataset import Photos
from trashnet.runs.run import Run
from trashnet.runs.store import describe


def render_intro() -> None:
    """Says what this is in a sentence."""
    st.title(":material/recycling: TrashNet Explorer")
    st.markdown(
        "Look at TrashNet's 2,527 photos of waste, train a classifier on them, see where it fails, "
        "and ask it about a photo of your own."
    )


def render_figures(run: Run | None, photos: Photos | None) -> None:
    """Draws the headline figures, each with the photos it is from."""
    if run is not None:
        warn_of_samples(run)
    with st.container(horizontal=True):
        if run is not None:
            reports = figures_of(run.evaluation())
            split = OUT_OF_FOLD if OUT_OF_FOLD in reports else "test"
            report, megabytes = reports[split], (run.path / "model.tflite").stat().st_size / 1e6
            st.metric(
                f"Accuracy, {run.id}",
                f"{report['accuracy']:.1%}",
                accuracy_text(report, split),
                **TILE,
            )
            st.metric("Model", f"{megabytes:.1f} MB", run.train_config.model, **TILE)
        if photos is not None:
            noun = "Pictures" if photos.is_sample else "Photos"
            st.metric(noun, f"{len(photos.files):,}", plain(photos.name), **TILE)
            names = plain(", ".join(photos.classes))
            st.metric("Classes", len(photos.classes), "one folder each", help=names, **TILE)


def render_drop_zone(run: Run | None, photos: Photos | None) -> None:
    """Answers a photo right here; where nothing can answer yet, links to what is missing."""
    if photos is None and run is None:
        st.info("There are no photos on this machine yet.", icon=":material/photo_library:")
        page_link("pages/1_Dataset.py", "Get photos", ":material/download:")
        return
    if run is None:
        st.info(
            "Train a first model and this page will answer your photos.",
            icon=":material/center_focus_strong:",
        )
        page_link("pages/2_Training.py", "Start a training", ":material/play_arrow:")
        return
    upload = st.file_uploader("What is this? Drop a photo of waste", key="home_photo")
    if upload is not None:
        render_answer(run, upload.getvalue(), "home")


def render_cards(run: Run | None, photos: Photos | None) -> None:
    """Draws a card per page with one live figure each."""
    runs = all_runs()
    cards = (
        (
            "pages/1_Dataset.py",
            "Dataset",
            ":material/photo_library:",
            "Can I trust these photos?",
            f"{len(photos.files):,} pictures in {len(photos.classes)} classes"
            if photos
            else "no photos yet",
        ),
        (
            "pages/2_Training.py",
            "Training",
            ":material/model_training:",
            "Start it, watch it, trust it to survive.",
            f"{len(runs)} run{'' if len(runs) == 1 else 's'}",
        ),
        (
            "pages/3_Evaluation.py",
            "Evaluation",
            ":material/monitoring:",
            "Where does it fail, and why?",
            _errors_of(run) if run else "nothing to evaluate yet",
        ),
        (
            "pages/4_Classify.py",
            "Classify",
            ":material/center_focus_strong:",
            "What is this?",
            f"answers with {run.id}" if run else "needs a finished run",
        ),
    )
    for column, (path, name, icon, question, figure) in zip(st.columns(4), cards, strict=True):
        with column.container(border=True, height="stretch"):
            page_link(path, f"**{name}**", icon)
            st.markdown(question)
            st.caption(figure)


def _errors_of(run: Run) -> str:
    report = run.evaluation()["splits"]["test"]
    wrong = round(report["n"] * (1 - report["accuracy"]))
    return f"{wrong} of {report['n']} test photos wrong"


def render_latest_runs() -> None:
    """Lists the last three runs."""
    rows = [describe(run) for run in all_runs()[:3]]
    if rows:
        st.subheader("Latest runs")
        data_table(
            runs_frame(rows)[
                [
                    "run",
                    "state",
                    "epoch",
                    "epochs",
                    "test_accuracy",
                    "test_photos",
                    "data",
                    "started",
                ]
            ],
            placeholder="–",
            hide_index=True,
            column_config={
                "test_accuracy": st.column_config.NumberColumn("test accuracy", format="%.1f %%"),
                "test_photos": st.column_config.NumberColumn("n"),
                "started": st.column_config.DatetimeColumn("started", format="distance"),
            },
        )


def main() -> None:
    """Draws the page."""
    page_header("Home", "What is this and how good is it?")
    render_intro()
    photos = None
    with sentence():
        photos = photos_if_any()
    run = next(iter(answering_runs()), None)
    render_figures(run, photos)
    render_drop_zone(run, photos)
    render_cards(run, photos)
    render_latest_runs()


main()
