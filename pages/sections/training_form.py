"""Training, form: the settings of a new run."""

import dataclasses

import streamlit as st

from pages.shared import loaders
from trashnet.config import MODELS, TrainConfig
from trashnet.data import Photos
from trashnet.errors import TrashnetError
from trashnet.index import check_splittable, review_of
from trashnet.runs import new_run, start

HELP = {f.name: f.metadata["help"] for f in dataclasses.fields(TrainConfig)}
DEFAULT = TrainConfig()


def render(photos: Photos) -> None:
    """Draws the form; starting makes a run directory and a process of its own."""
    with st.form("training_form"):
        st.subheader("New run")
        values = _recipe() | _augmentation() | _more(photos)
        pressed = st.form_submit_button(
            "Start", type="primary", icon=":material/play_arrow:", width="stretch"
        )
    if pressed:
        try:
            env, config = loaders.env(), TrainConfig.from_dict(values)
            check_splittable(photos, env, config, loaders.progress_bar())
            run = new_run(env.runs, config, photos, review_of(photos, env).latest())
            start(run, env)
        except TrashnetError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.session_state["training_run"] = run.id
        st.rerun()


def _recipe() -> dict[str, object]:
    one, two = st.columns(2)
    return {
        "model": one.selectbox("Model", MODELS, key="training_model", help=HELP["model"]),
        "epochs": two.number_input(
            "Epochs", 1, 1000, DEFAULT.epochs, key="training_epochs", help=HELP["epochs"]
        ),
        "image_size": one.number_input(
            "Image size (pixels)",
            32,
            512,
            DEFAULT.image_size,
            32,
            key="training_image_size",
            help=HELP["image_size"],
        ),
        "batch_size": two.number_input(
            "Batch size",
            1,
            512,
            DEFAULT.batch_size,
            key="training_batch_size",
            help=HELP["batch_size"],
        ),
        "learning_rate": one.number_input(
            "Learning rate",
            1e-6,
            1.0,
            DEFAULT.learning_rate,
            format="%.5f",
            key="training_learning_rate",
            help=HELP["learning_rate"],
        ),
        "class_weights": two.checkbox(
            "Class weights",
            DEFAULT.class_weights,
            key="training_class_weights",
            help=HELP["class_weights"],
        ),
    }


def _augmentation() -> dict[str, object]:
    st.markdown("**Augmentation**, on training photos only")
    one, two = st.columns(2)
    return {
        "brightness": one.slider(
            "Brightness ±",
            0.0,
            0.5,
            DEFAULT.brightness,
            0.05,
            key="training_brightness",
            help=HELP["brightness"],
        ),
        "rotation": two.slider(
            "Rotation ± (degrees)",
            0.0,
            45.0,
            DEFAULT.rotation,
            1.0,
            key="training_rotation",
            help=HELP["rotation"],
        ),
        "horizontal_flip": st.checkbox(
            "Horizontal flip",
            DEFAULT.horizontal_flip,
            key="training_flip",
            help=HELP["horizontal_flip"],
        ),
    }


def _more(photos: Photos) -> dict[str, object]:
    with st.expander("Split, seed and tracking"):
        one, two, three = st.columns(3)
        ways = ["object", "random"] + ["authors"] * photos.is_trashnet
        return {
            "split": one.selectbox("Split", ways, key="training_split", help=HELP["split"]),
            "seed": two.number_input(
                "Seed", 0, 2**31 - 1, DEFAULT.seed, key="training_seed", help=HELP["seed"]
            ),
            "tracking": three.selectbox(
                "W&B",
                ["auto", "online", "offline", "off"],
                key="training_tracking",
                help=HELP["tracking"],
            ),
        }
