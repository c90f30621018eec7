"""What every page starts with: its set-up, the navigation, and the line of status."""

from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.shared.markdown import data_name
from pages.shared.owner import render_door
from pages.shared.photos import photos_in_use
from pages.shared.runs import active_run
from trashnet.data.editions import DESCRIBED
from trashnet.environment import environment
from trashnet.errors import TrashnetError

PAGES = (
    ("home.py", "Home", ":material/home:"),
    ("pages/1_Dataset.py", "Dataset", ":material/photo_library:"),
    ("pages/2_Training.py", "Training", ":material/model_training:"),
    ("pages/3_Evaluation.py", "Evaluation", ":material/monitoring:"),
    ("pages/4_Classify.py", "Classify", ":material/center_focus_strong:"),
)


STYLE = Path(__file__).with_name("style.css")
"""What Streamlit's theme has no setting for."""


def page_header(name: str, question: str) -> None:
    """Sets the page up and draws its title, the navigation and the status.

    Args:
        name: The page's name in the navigation.
        question: What a person comes here to find out.
    """
    st.set_page_config(
        page_title="TrashNet Explorer" if name == "Home" else f"{name} · TrashNet Explorer",
        page_icon="♻️",  # a Material icon would be fetched from Google by every visitor
        layout="wide",
    )
    try:
        environment()
    except TrashnetError as error:  # no page can do anything without a home
        st.error(str(error), icon=":material/error:")
        st.stop()
    st.html(STYLE)
    with st.sidebar:
        st.markdown("### :material/recycling: TrashNet Explorer")
        if not is_phone():
            _render_links("stretch")
            st.divider()
        # By itself only while there is something new to say.
        st.fragment(_render_status, run_every=5 if active_run() else None)()
        render_door()
    if is_phone():  # there the sidebar would lie over the page and stay open
        with st.container(horizontal=True, gap="xsmall"):
            _render_links("content")
    if name != "Home":
        st.title(name)
        st.caption(question)


def is_phone() -> bool:
    """Whether the visitor's browser says that it runs on a phone."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def _render_links(width: Literal["stretch", "content"]) -> None:
    for path, label, icon in PAGES:
        page_link(path, label, icon, width)


def page_link(
    path: str,
    label: str,
    icon: str | None = None,
    width: Literal["stretch", "content"] = "stretch",
    query: dict[str, str] | None = None,
) -> None:
    """Links to a page; draws plain text where a page runs on its own, without the app."""
    try:
        st.page_link(path, label=label, icon=icon, width=width, query_params=query)
    except StreamlitAPIException:
        st.markdown(f"{icon or ''} {label}")


def _render_status() -> None:
    try:
        photos = photos_in_use()
    except TrashnetError as error:
        st.caption(f":material/error: {error}")
    else:
        count = f"{len(photos.files):,} photos"
        st.caption(
            f":material/photo_library: {data_name(photos.name)}, {count}",
            help=DESCRIBED[photos.edition].capitalize() + "." if photos.edition else None,
        )
    if environment().is_temporary:
        st.caption(
            ":material/hourglass_empty: runs are lost on restart",
            help=f"They are kept in a temporary folder, `{environment().home}`. Take along what "
            "you want to keep, or set `TRASHNET_HOME` to a folder that stays.",
        )
    active = active_run()
    if active is None:
        st.caption(":material/pause_circle: no training running")
    else:
        status = active.status()
        done = status.epoch / max(1, active.train_config.total_epochs)
        st.caption(f":material/model_training: {active.id} {status.state}, {done:.0%}")
