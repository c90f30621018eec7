"""Training, notes: name a run, tag it, note why, take it along, delete it."""

import tempfile
from pathlib import Path

import streamlit as st

from pages.shared.markdown import plain
from pages.shared.owner import allowed_later, locked, owner_only
from pages.shared.progress import sentence
from trashnet.hub.bundle import ship
from trashnet.runs.annotations import about, delete, describe_as, zip_run
from trashnet.runs.run import Run


def render(run: Run) -> None:
    """Draws what people do with a run in a row of small buttons."""
    known, may_take_all = about(run), allowed_later()
    help = "The run's directory as a zip, without what only serves to resume it here."
    # Of an unfinished run nothing is for everybody yet.
    look = {"help": help} if run.is_finished else locked(help=help)
    if known.tags:
        st.markdown(" ".join(f":gray-badge[{plain(tag)}]" for tag in known.tags))
    if known.note:
        st.caption(plain(known.note))
    with st.container(horizontal=True):
        with st.popover("Name, tags, note", icon=":material/edit:"):
            _render_form(run)
        st.download_button(
            "Download",
            lambda: _zipped(run, may_take_all()),
            file_name=f"{run.id}.zip",
            mime="application/zip",
            icon=":material/download:",
            key="training_download",
            on_click="ignore",
            **look,
        )
        if not run.status().is_active:
            # Of this run: with the run it goes, and does not stay open for the next one.
            with st.popover("Delete", icon=":material/delete:", key=f"training_delete_{run.id}"):
                st.markdown(f"Delete **{run.id}**, its model and its figures for good?")
                if st.button("Delete for good", type="primary", key="training_delete", **locked()):
                    _delete(run)


def _render_form(run: Run) -> None:
    known = about(run)
    with st.form("training_about", border=False):
        title = st.text_input("Name", known.title, key=f"training_title_{run.id}", max_chars=80)
        tags = st.text_input(
            "Tags",
            ", ".join(known.tags),
            key=f"training_tags_{run.id}",
            placeholder="quick, test",
        )
        note = st.text_area(
            "Note", known.note, key=f"training_note_{run.id}", max_chars=2000, height=68
        )
        if st.form_submit_button("Save", type="primary", **locked()):
            _save(run, title, tags, note)


@owner_only
def _save(run: Run, title: str, tags: str, note: str) -> None:
    with sentence():
        describe_as(run, title, tuple(tags.split(",")), note)
        st.rerun()


def _zipped(run: Run, is_owner: bool) -> bytes:
    """The run as a zip: the owner gets all that is of use elsewhere, visitors what is published."""
    with tempfile.TemporaryDirectory() as folder:
        packed, path = run, Path(folder) / "run.zip"
        if not is_owner:
            packed = Run(Path(folder) / run.id)
            packed.path.mkdir()
            ship(run, packed.path)
        zip_run(packed, path)
        return path.read_bytes()


@owner_only
def _delete(run: Run) -> None:
    with sentence():
        delete(run)
        st.session_state.pop("training_run", None)
        st.toast(f"{run.id} is deleted.", icon=":material/delete:")
        st.rerun()
