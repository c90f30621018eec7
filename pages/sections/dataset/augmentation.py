"""Dataset, Augmentation: what training makes of a photo, made by training's own code."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.sections.training import form as training_form
from pages.shared.caching import cached
from pages.shared.markdown import plain
from pages.shared.page import page_link
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.image_io import as_png, inside, load_photo
from trashnet.environment import environment
from trashnet.errors import PhotoError, TrashnetError
from trashnet.runs.augmentation_preview import (
    AUGMENTATION,
    MOST_PHOTOS,
    MOST_VARIANTS,
    Preview,
    alone,
)

_WIDTH = 150
_OFFERED = 3000
"""Photos that the list offers; the name of any other can be typed."""

RECIPES = {
    "The recipe": "cnn_baseline",
    "Best accuracy": "efficientnet_lite2",
    "None": "frozen_features",
}
VIEWS = ("All together", "Each alone")


@st.fragment
def render(photos: Photos, index: pd.DataFrame) -> None:
    """Draws the strengths, and chosen photos as they come out of them."""
    left, right = st.columns([1, 3], gap="large")
    with left:
        config = _strengths()
    with right:
        st.caption(
            "Training sees every photo changed anew in each epoch; validation and test photos are "
            "never changed. These pictures come from training's own code, as a network gets them: "
            f"{config.image_size} × {config.image_size} pixels."
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            files = _chosen(photos, index)
            seed, count = _draws()
        view = st.segmented_control(
            "Show", VIEWS, default=VIEWS[0], required=True, key="augment_view"
        )
        config = config.replace(seed=seed)
        if files:
            _show(photos, files, config, count, view)
    with left:
        if st.button(
            "Use these in training",
            icon=":material/model_training:",
            key="augment_use",
            help="Puts these strengths into the training form; the seed stays the form's own.",
        ):
            training_form.fill_augmentation(config)
            page_link(
                "pages/2_Training.py",
                "The training form has them: open it",
                ":material/arrow_forward:",
            )


def _strengths() -> TrainConfig:
    """Draws a widget for each strength; they keep their values while the person looks around."""
    for name, value in TrainConfig().to_dict().items():
        if name in AUGMENTATION:
            st.session_state.setdefault(f"augment_{name}", value)
    st.pills("Start from", list(RECIPES), key="augment_recipe", on_change=_use_recipe, wrap=True)
    values: dict[str, Any] = {
        name: training_form.strength(name, "augment", persist_state="session")
        for name in AUGMENTATION
    }
    return TrainConfig.from_dict(values)


def _use_recipe() -> None:
    chosen = st.session_state["augment_recipe"]
    if chosen is not None:
        recipe = TrainConfig.recipe(RECIPES[chosen]).to_dict()
        st.session_state.update({f"augment_{name}": recipe[name] for name in AUGMENTATION})


def _chosen(photos: Photos, index: pd.DataFrame) -> list[str]:
    """Lets a person pick photos; a name that is none of them is said, and passed over."""
    trained = index[index.split == "train"]
    if "augment_photos" not in st.session_state:
        firsts = trained.drop_duplicates("label").file
        st.session_state["augment_photos"] = firsts.iloc[:2].tolist()
    offered = trained.file.iloc[np.linspace(0, len(trained) - 1, min(_OFFERED, len(trained)))]
    asked = st.multiselect(
        "Photos",
        offered.tolist(),
        key="augment_photos",
        max_selections=MOST_PHOTOS,
        accept_new_options=True,
        placeholder="glass/glass12.jpg",
        persist_state="session",
        width=390,
    )
    known = set(photos.files)
    files = [file for file in asked if file in known]
    if len(files) < len(asked):
        unknown = ", ".join(repr(file) for file in asked if file not in known)
        st.warning(
            plain(f"There is no photo {unknown}; a name looks like {photos.files[0]!r}."),
            icon=":material/search_off:",
        )
    elif not files:
        st.info(f"Choose up to {MOST_PHOTOS} photos.", icon=":material/photo_library:")
    return files


def _draws() -> tuple[int, int]:
    seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="augment_seed", width=115)
    count = st.number_input("Variants", 1, MOST_VARIANTS, 7, key="augment_count", width=115)
    return int(seed), int(count)


def _show(photos: Photos, files: list[str], config: TrainConfig, count: int, view: str) -> None:
    """Draws originals at once, and their variants when the process that augments has them."""
    if config.mixup and len(files) == 1:
        st.caption("Mixup blends a photo with another of its batch; choose a second one to see it.")
    settings = {"": config} if view == VIEWS[0] else alone(config)
    if not alone(config):
        st.info(
            "Every strength is zero, so training sees each photo as it is.",
            icon=":material/tune:",
        )
    shown = files if view == VIEWS[0] else files[:1]
    if view != VIEWS[0] and settings:
        st.caption(
            f"{plain(files[0])}, one change at a time. Each draws its own numbers, so a variant's "
            "rotation is the same here as among all the others."
        )
    paths = tuple(inside(photos.root, file) for file in files)
    waiting = "" if preview().is_ready else (
        "Starting TensorFlow, which training augments with, in a process of its own: about six "
        "seconds, once for all visitors"
    )  # fmt: skip
    try:
        with st.spinner(waiting or "Augmenting", show_time=bool(waiting)):
            made = {
                name: augmented(paths, alone_or_all, count)
                for name, alone_or_all in settings.items()
            }
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        st.button("Try again", key="augment_again", icon=":material/refresh:")
        return
    for name, pictures in made.items():
        if name:
            st.markdown(_amount(name, getattr(config, name)))
        for file, row in zip(shown, pictures, strict=False):
            _row(photos, file, row, config.image_size, name or "all together")


def _amount(name: str, value: Any) -> str:
    if value is True:
        return f"**{training_form.label_of(name)}**, half of the photos"
    unit = "°" if name == "rotation" else ""
    return f"**{name.capitalize()}** {'' if name == 'mixup' else '± '}{value:g}{unit}"


def _row(photos: Photos, file: str, variants: list[bytes], size: int, of: str) -> None:
    with st.container(horizontal=True, gap="small"):
        with st.container(width=_WIDTH, gap=None):
            try:
                original = _squared(inside(photos.root, file), size)
                st.image(original, width="stretch", alt=f"{file}: original")
            except PhotoError:
                st.caption(":material/broken_image: photo not on this machine")
            st.caption(f"**original** {plain(file.split('/')[1])}")
        # Stretched to the container, because Streamlit resamples what is wider than it is told.
        for number, variant in enumerate(variants, 1):
            with st.container(width=_WIDTH, gap=None):
                st.image(variant, width="stretch", alt=f"{file}: variant {number}, {of}")
                st.caption(f"variant {number}")


# ---------------------------------------------------------------- the pictures


@st.cache_resource(max_entries=1, show_spinner=False, on_release=lambda worker: worker.close())
def _preview(home: str) -> Preview:
    return Preview(environment())


def preview() -> Preview:
    """Returns the process that augments photos, one for all visitors; it starts when asked."""
    return _preview(str(environment().home))


@cached(max_entries=200)
def _squared(path: Path, size: int) -> bytes:
    """A photo as a network is given it, square, as a PNG."""
    return as_png(load_photo(path, size))


def augmented(paths: tuple[Path, ...], config: TrainConfig, count: int) -> list[list[bytes]]:
    """Returns for each photo what training would be fed of it in so many epochs, as PNGs.

    Raises:
        TrashnetError: A photo cannot be read, or the process that augments gives no answer.
    """
    for path in paths:
        if not path.is_file():
            raise TrashnetError(f"The photo {path} is gone; choose another.")
    matters = {name: getattr(config, name) for name in (*AUGMENTATION, "image_size", "seed")}
    return _augmented(paths, matters, count)


@cached(max_entries=300)
def _augmented(paths: tuple[Path, ...], matters: dict[str, Any], count: int) -> list[list[bytes]]:
    return preview().variants(list(paths), TrainConfig(**matters), count)
