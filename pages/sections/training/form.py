"""Training, form: the settings of a new run."""

from collections.abc import Iterable
from typing import Any

import streamlit as st

from pages.shared.owner import locked, owner_only
from pages.shared.progress import progress_bar, sentence
from pages.shared.runs import active_run
from trashnet.config import AVERAGED, MODELS, MUON_TRAINS, RECIPES, SETTINGS, TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.index import check_splittable, review_of
from trashnet.data.scan import is_scanned
from trashnet.data.splits import check_classes
from trashnet.environment import environment
from trashnet.runs.augmentation_preview import AUGMENTATION
from trashnet.runs.control import start
from trashnet.runs.cost_estimate import measured
from trashnet.runs.store import new_run

PRESETS = {
    "Quick look, 2 min": "frozen_features",
    "The recipe, 50 epochs": "cnn_baseline",
    "Best accuracy": "efficientnet_lite2",
}
"""A preset is a network with its own recipe."""

MODEL_HELP = {
    "cnn_baseline": "The described recipe's network, from scratch.",
    "cnn": "Our own small network, from scratch: how far convolutions go without ImageNet.",
    "frozen_features": "ImageNet's features as they are, with a linear head.",
    "efficientnet_lite0": "ImageNet's features, fine-tuned: smaller and quicker than Lite2.",
    "efficientnet_lite2": "ImageNet's features, tuned half-way, to know other photos as well.",
    "efficientnetv2_b0": "Fine-tuned too, larger; downloads its weights, unmeasured here.",
}

FIRST = ("epochs", "learning_rate", "image_size", "batch_size", "class_weights")
SCHEDULE = (
    "schedule",
    "optimizer",
    "weight_decay",
    "backbone",
    "frozen_blocks",
    "label_smoothing",
    "dropout",
    "interpolation",
    "mirrored_views",
    "precision",
)
DATA = ("split", "folds", "fold", "exclude_conflicts", "seed", "tracking")

LABELS = {
    "learning_rate": "Learning rate",
    "image_size": "Image size (pixels)",
    "horizontal_flip": "Mirror",
    "vertical_flip": "Upside down",
    "rotation": "Rotation ± (degrees)",
    "exclude_conflicts": "Leave out conflicts",
    "fold": "Test fold",
    "mirrored_views": "Answer by mirrored views",
    "tracking": "Weights & Biases",
    "track_photos": "Send misclassified photos to Weights & Biases",
}
"""Where the setting's name, written for people, would not do."""

NUMBERS: dict[str, dict[str, Any]] = {
    "learning_rate": {"format": "%.5f", "step": 1e-4},
    "weight_decay": {"format": "%.3f", "step": 0.005},
}
"""Settings for which the steps of a slider are too coarse."""


def render(photos: Photos) -> None:
    """Draws the form; starting makes a run directory and a process of its own."""
    st.subheader("New run")
    model = st.session_state.setdefault("training_model", MODELS[0])
    for name, value in TrainConfig.recipe(model).to_dict().items():
        st.session_state.setdefault(f"training_{name}", value)
    # Outside of the form, because they set all settings to a network's own recipe.
    st.pills("Preset", list(PRESETS), key="training_preset", on_change=_use_preset, wrap=True)
    model = st.selectbox(
        "Model", MODELS, key="training_model", on_change=_use_recipe, help=_help("model")
    )
    st.caption(MODEL_HELP[model])
    with st.form("training_form"):
        values = {"model": model} | _widgets(FIRST, photos)
        carried = st.session_state.get("training_carried", False)
        with st.expander("Augmentation, on training photos only", expanded=carried):
            if carried:
                st.caption(":material/check: As in the preview on the dataset page.")
            values |= _widgets(AUGMENTATION, photos)
        with st.expander("Schedule and regularisation"):
            values |= _widgets(SCHEDULE, photos)
        with st.expander("Split, folds, seed and tracking"):
            own = () if photos.is_trashnet else ("track_photos",)
            values |= _widgets((*DATA, *own), photos)
        with st.container(horizontal=True):
            pressed = st.form_submit_button(
                "Start", type="primary", icon=":material/play_arrow:", **locked()
            )
            asked = st.form_submit_button(
                "How long will it take?", icon=":material/timer:", **locked()
            )
    if asked:
        _render_estimate(values, photos)
    if pressed:
        _start(values, photos)


@owner_only
def _start(values: dict[str, Any], photos: Photos) -> None:
    with sentence():
        env, config = environment(), TrainConfig.from_dict(values)
        check_classes(photos.classes)
        if is_scanned(photos, env.cache):  # else the run reads them first, and says it itself
            check_splittable(photos, env, config, progress_bar())
        run = new_run(env.runs, config, photos, review_of(photos, env).latest())
        start(run, env)
        st.session_state["training_run"] = run.id
        st.rerun()


def fill_augmentation(config: TrainConfig) -> None:
    """Puts the strengths of a configuration into the form that is drawn next."""
    for name in AUGMENTATION:
        st.session_state[f"training_{name}"] = getattr(config, name)
    st.session_state["training_carried"] = True


@owner_only
def _render_estimate(values: dict[str, Any], photos: Photos) -> None:
    """Says what a run of these settings will take, measured by a few steps of it."""
    with sentence():
        config = TrainConfig.from_dict(values)
        with st.spinner("Measuring a few steps, about half a minute", show_time=True):
            cost = measured(config, environment())
        busy = " A training is running now, so it will be quicker." if active_run() else ""
        st.info(f"{cost.sentence(config, len(photos.files))}{busy}", icon=":material/timer:")


def _use_preset() -> None:
    preset = st.session_state["training_preset"]
    if preset is not None:
        st.session_state["training_model"] = PRESETS[preset]
        _use_recipe()


def _use_recipe() -> None:
    """Sets every setting to the chosen network's; how the photos are divided stays."""
    recipe = TrainConfig.recipe(st.session_state["training_model"]).to_dict()
    st.session_state["training_carried"] = False
    for name in (*FIRST, *SCHEDULE, *AUGMENTATION):
        st.session_state[f"training_{name}"] = recipe[name]


def _widgets(names: Iterable[str], photos: Photos) -> dict[str, Any]:
    columns = st.columns(2)
    return {name: _widget(columns[place % 2], name, photos) for place, name in enumerate(names)}


def label_of(name: str) -> str:
    """Writes a setting's name for people."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def strength(name: str, prefix: str, **more: Any) -> Any:
    """Draws the widget of an augmentation setting; its value is in the session."""
    setting = SETTINGS[name]
    common: dict[str, Any] = {"key": f"{prefix}_{name}", "help": _help(name)} | more
    if setting.type is bool:
        return st.checkbox(label_of(name), **common)
    low, high = setting.minimum, setting.maximum
    step = 1.0 if high > 1 else 0.05  # type: ignore[operator]  # every number here has a range
    return st.slider(label_of(name), low, high, step=step, **common)


def _widget(column: Any, name: str, photos: Photos) -> Any:
    """Draws the widget that suits a setting's type and range; its value is in the session."""
    if name in AUGMENTATION:
        with column:
            return strength(name, "training")
    setting, label = SETTINGS[name], label_of(name)
    common: dict[str, Any] = {"key": f"training_{name}", "help": _help(name)}
    model = st.session_state["training_model"]
    if name == "optimizer":
        common["disabled"] = model not in MUON_TRAINS
    elif name == "mirrored_views":
        common["disabled"] = model not in AVERAGED
    if setting.type is bool:
        return column.checkbox(label, **common)
    if name == "split":
        ways = ["object", "random"] + ["authors"] * photos.is_trashnet
        return column.selectbox(label, ways, **common)
    if name == "folds":
        return column.selectbox(label, [1, 5], **common)
    if setting.choices:
        return column.selectbox(label, setting.choices, **common)
    low, high = setting.minimum, setting.maximum
    if name == "epochs":  # a network without epochs has none, any other needs one
        none = not RECIPES[model].get("epochs", 1)
        low, common["disabled"] = 0 if none else 1, none
    style = NUMBERS.get(name, {})
    if setting.type is float and not style:
        return column.slider(label, low, high, step=0.05, **common)
    low = 1e-6 if name == "learning_rate" else low
    return column.number_input(label, low, high, **common, **style)


def _help(name: str) -> str:
    text = SETTINGS[name].help
    return text[0].upper() + text[1:] + "."
