"""An answer for one photo: the photo, the class, and how sure the model is."""

import io

import streamlit as st
from PIL import Image

from pages.shared import loaders
from trashnet.errors import TrashnetError
from trashnet.figures import probability_bars
from trashnet.photos import thumbnail
from trashnet.runs import Run

KNOWS = (
    "The model knows one kind of photo: a single object on a plain, light background. "
    "Nothing you upload is kept."
)


def render_answer(run: Run, content: bytes, key: str) -> None:
    """Answers for an uploaded photo, or says in a sentence why it cannot."""
    try:
        prediction = loaders.classifier(run).classify(content)
        picture = thumbnail(content, 640)
    except TrashnetError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    left, right = st.columns([2, 3], vertical_alignment="center")
    wide = Image.open(io.BytesIO(picture)).width
    left.image(picture, width=min(wide, 360), alt="the photo you uploaded")
    with right:
        if prediction.sure:
            st.subheader(f"{prediction.label.capitalize()}, {prediction.confidence:.0%}")
        else:
            st.subheader(f"Not sure; perhaps {prediction.label}, {prediction.confidence:.0%}")
            st.caption(
                "Try another angle, one object at a time, or a plain background."
                if prediction.familiar
                else "This picture is unlike anything in training, so the answer is a guess. Try a "
                "photo of one piece of waste on a plain background."
            )
        st.plotly_chart(
            probability_bars(prediction.probabilities, run.classes),
            key=f"{key}_bars",
            config={"displayModeBar": False},
            alt="Probability of each class",
        )
        st.caption(f"{KNOWS} Answered by {run.id}.")
