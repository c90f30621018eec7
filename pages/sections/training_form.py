"""Training, form: the settings of a new run."""

import dataclasses

import streamlit as st

from pages.shared import loaders
from trashnet.config import MODELS, TrainConfig
from trashnet.data import Photos
from trashnet.errors import TrashnetError
from trashnet.index import check_splittable, review_of
from trashnet.runs import new_run, start

SHOWN = (
    "epochs",
    "image_size",
    "batch_size",
    "learning_rate",
    "class_weights",
    "brightness",
    "rotation",
    "horizontal_flip",
)
"""The settings of the form that a network's recipe may change."""

HELP = {f.name: f.metadata["help"] for f in dataclasses.fields(TrainConfig)}
MODEL_HELP = {
    "cnn_baseline": "the described recipe's network, from scratch",
    "frozen_features": "ImageNet's features as they are, a linear head: two minutes",
    "efficientnet_lite0": "ImageNet's features, fine-tuned: the released model's recipe",
    "efficientnetv2_b0": "the same with a larger network; downloads its weights, unmeasured here",
}


def render(photos: Photos) -> None:
    """Draws the form; starting makes a run directory and a process of its own."""
    st.subheader("New run")
    # Outside of the form, because it sets the other settings to the network's own recipe.
    model = st.selectbox(
        "Model", MODELS, key="training_model", help=HELP["model"], on_change=_use_recipe
    )
    st.caption(f"{MODEL_HELP[model].capitalize()}.")
    recipe = TrainConfig.recipe(model)
    with st.form("training_form"):
        values = recipe.to_dict() | _recipe(recipe) | _augmentation(recipe) | _more(photos, recipe)
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


def _use_recipe() -> None:
    """Sets every setting in the form to the chosen network's."""
    recipe = TrainConfig.recipe(st.session_state["training_model"]).to_dict()
    for name in SHOWN:
        st.session_state[f"training_{name}"] = recipe[name]


def _recipe(default: TrainConfig) -> dict[str, object]:
    one, two = st.columns(2)
    return {
        "epochs": one.number_input(
            "Epochs",
            min(1, default.epochs),
            1000,
            default.epochs,
            key="training_epochs",
            help=HELP["epochs"],
            disabled=default.epochs == 0,
        ),
        "folds": two.selectbox(
            "Folds",
            [1, 5],
            key="training_folds",
            help=HELP["folds"],
        ),
        "image_size": one.number_input(
            "Image size (pixels)",
            32,
            512,
            default.image_size,
            32,
            key="training_image_size",
            help=HELP["image_size"],
        ),
        "batch_size": two.number_input(
            "Batch size",
            1,
            512,
            default.batch_size,
            key="training_batch_size",
            help=HELP["batch_size"],
        ),
        "learning_rate": one.number_input(
            "Learning rate",
            1e-6,
            1.0,
            default.learning_rate,
            format="%.5f",
            key="training_learning_rate",
            help=HELP["learning_rate"],
        ),
        "class_weights": two.checkbox(
            "Class weights",
            default.class_weights,
            key="training_class_weights",
            help=HELP["class_weights"],
        ),
    }


def _augmentation(default: TrainConfig) -> dict[str, object]:
    st.markdown("**Augmentation**, on training photos only")
    one, two = st.columns(2)
    return {
        "brightness": one.slider(
            "Brightness ±",
            0.0,
            0.5,
            default.brightness,
            0.05,
            key="training_brightness",
            help=HELP["brightness"],
        ),
        "rotation": two.slider(
            "Rotation ± (degrees)",
            0.0,
            45.0,
            default.rotation,
            1.0,
            key="training_rotation",
            help=HELP["rotation"],
        ),
        "horizontal_flip": st.checkbox(
            "Horizontal flip",
            default.horizontal_flip,
            key="training_horizontal_flip",
            help=HELP["horizontal_flip"],
        ),
    }


def _more(photos: Photos, default: TrainConfig) -> dict[str, object]:
    with st.expander("Split, seed and tracking"):
        one, two, three = st.columns(3)
        ways = ["object", "random"] + ["authors"] * photos.is_trashnet
        return {
            "split": one.selectbox("Split", ways, key="training_split", help=HELP["split"]),
            "seed": two.number_input(
                "Seed", 0, 2**31 - 1, default.seed, key="training_seed", help=HELP["seed"]
            ),
            "tracking": three.selectbox(
                "W&B",
                ["auto", "online", "offline", "off"],
                key="training_tracking",
                help=HELP["tracking"],
            ),
        }
