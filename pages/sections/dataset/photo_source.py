"""Dataset, which photos: TrashNet in either edition, or a folder or zip of one's own."""

import functools

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from pages.shared.markdown import data_name
from pages.shared.owner import locked, owner_only
from pages.shared.photos import CHOICES, back_to_trashnet, use_photos
from trashnet.data.dataset import Photos, choose_photos, chosen_photos, keep_photos
from trashnet.data.download import fetch_trashnet
from trashnet.data.editions import DESCRIBED, SMALL
from trashnet.environment import Environment, absolute, environment
from trashnet.progress import Progress


def render(photos: Photos) -> None:
    """Says which photos are in use and offers others."""
    env = environment()
    described = DESCRIBED[photos.edition] if photos.edition else f"from `{photos.root}`"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Photos in use: **{data_name(photos.name)}**, {described}.", width="content")
        turn = st.session_state.get(CHOICES, 0)  # so that it closes when photos were chosen
        key, icon = f"photos_change_{turn}", ":material/folder_open:"
        with st.popover("Change", icon=icon, key=key, on_change="rerun"):
            if env.data is not None:
                st.markdown("`TRASHNET_DATA` names these photos. Start without it to choose here.")
            else:
                _render_choice(photos, turn)
    if photos.warning:
        st.warning(photos.warning, icon=":material/rule:")


def _render_choice(photos: Photos, turn: int) -> None:
    if chosen_photos(environment()) is not None:
        back_to_trashnet()
    elif photos.edition == SMALL and st.button(
        "Fetch the full-size photos (43 MB)",
        icon=":material/download:",
        key="photos_fetch",
        **locked(help="From the Hugging Face Hub: 512 × 384 pixels instead of 384 × 288."),
    ):
        _fetch()
    st.markdown("**Your own photos**: a folder that holds one folder per class, or a zip of it.")
    path = st.text_input("Path on this computer", key="photos_path", placeholder="~/photos/waste")
    if st.button(
        "Use this path", key="photos_use", **locked(type="primary", disabled=not path.strip())
    ):
        _use(path.strip())
    zipped = st.file_uploader("Or drop a zip", type="zip", key=f"photos_zip_{turn}")
    files = st.file_uploader(
        "Or drop the folder", accept_multiple_files="directory", key=f"photos_folder_{turn}"
    )
    sent = {zipped.name: zipped} if zipped else {file.name: file for file in files}
    if sent and st.button("Use what I dropped", key="photos_keep", **locked(type="primary")):
        _keep(sent)


@owner_only
def _fetch() -> None:
    use_photos(fetch_trashnet)


@owner_only
def _use(path: str) -> None:
    use_photos(functools.partial(choose_photos, path=absolute(path)))


@owner_only
def _keep(sent: dict[str, UploadedFile]) -> None:
    def keep(env: Environment, on_progress: Progress) -> Photos:
        contents = {name: upload.getvalue() for name, upload in sent.items()}
        return choose_photos(env, keep_photos(env, contents), on_progress)

    use_photos(keep)
