"""An answer for one photo: the class, how sure the model is, and why."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.shared.answering import answer_of, evidence_of
from pages.shared.markdown import bold, plain
from pages.shared.photos import PhotoSource
from pages.shared.progress import sentence
from pages.shared.runs import photos_of
from pages.shared.widgets import chart, photo_grid
from trashnet.charts import probability_bars
from trashnet.data.image_io import load_photo, thumbnail
from trashnet.errors import PhotoError
from trashnet.inference.classifier import Prediction, Similar
from trashnet.inference.explain import overlay
from trashnet.runs.run import Run

KNOWS = (
    "The model knows one kind of photo: a single object on a plain, light background. "
    "Nothing you upload is kept."
)
SIDE = 360
"""Width of the photo beside its answer, in pixels; a phone shows it as wide as it is."""


def render_photo(runs: list[Run], name: str, source: bytes | PhotoError, key: str) -> None:
    """Draws a photo's card: an answer of each run, side by side, or why there is none."""
    with st.container(border=True):
        st.caption(f"`{name.replace('`', chr(39))}`")
        if isinstance(source, PhotoError):
            st.error(str(source), icon=":material/broken_image:")
            return
        for column, run in zip(st.columns(len(runs)), runs, strict=True):
            with column:
                if len(runs) > 1:
                    st.markdown(f"{bold(run.id)}")
                render_answer(run, source, f"{key}_{run.id}")


def render_answer(run: Run, content: bytes, key: str) -> None:
    """Answers for an uploaded photo, or says in a sentence why it cannot."""
    with sentence(":material/broken_image:"):
        answer = answer_of(run, content)
        picture = load_photo(thumbnail(content, 2 * SIDE))
        # Above the photo: on a phone, one screen holds the answer.
        _render_words(answer.prediction, answer.threshold)
        left, right = st.columns([2, 3])
        with left:
            st.fragment(_render_map)(run, content, picture, answer.prediction, key)
        with right:
            render_bars(answer.prediction, run.classes, key)
            st.caption(f"{KNOWS} Answered by {run.id}.")
        render_similar(photos_of(run), answer.similar)


def render_bars(prediction: Prediction, classes: tuple[str, ...], key: str) -> None:
    """Draws how probable each class is."""
    bars = probability_bars(prediction.probabilities, classes)
    chart(bars, f"{key}_bars", "Probability of each class")


def _render_words(prediction: Prediction, threshold: float) -> None:
    if prediction.sure:
        st.subheader(f"{plain(prediction.label.capitalize())}, {prediction.confidence:.0%}")
        return
    st.subheader(f"Not sure; perhaps {plain(prediction.label)}, {prediction.confidence:.0%}")
    st.caption(
        f"Below {threshold:.0%} an answer counts as not sure. Try another angle, one object at a "
        "time, or a plain background."
        if prediction.familiar
        else "This picture is unlike anything in training, so the answer is a guess. Try a "
        "photo of one piece of waste on a plain background."
    )


def _render_map(
    run: Run, content: bytes, picture: NDArray[np.uint8], prediction: Prediction, key: str
) -> None:
    """Draws the photo under the map of the evidence for the class."""
    place = st.container()  # the photo first, then what changes it
    label, alt = prediction.label, "the photo you uploaded"
    opacity = st.slider(
        f"Heat map: evidence for {plain(label)}",
        0,
        100,
        40,
        step=5,
        format="%d %%",
        key=f"{key}_opacity",
        help="How much of the map lies over the photo: yellow counted most for the answer, dark "
        "did not.",
    )
    if opacity:
        with sentence():  # the run may have been deleted meanwhile
            evidence = evidence_of(run, content, label, prediction)
            picture = overlay(picture, evidence, opacity / 100)
            alt += f", and where it looks like {label}"
    place.image(picture, width=min(picture.shape[1], SIDE), alt=alt, output_format="JPEG")


def render_similar(source: PhotoSource, similar: list[Similar]) -> None:
    """Draws the training photos that a photo is most like, or names them."""
    st.markdown("**The training photos it is most like**")
    captions = [f"{bold(s.label)}  \n{plain(s.file.split('/')[-1])}" for s in similar]
    photo_grid(source, [s.file for s in similar], captions, width=110)
