"""Dataset, Publish: the audited, split photos for others, on disk or on the Hub."""

import tempfile
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.shared.job_progress import follow, say_why, start
from pages.shared.owner import allowed_later, locked, owner_only, refusal
from pages.shared.progress import sentence
from trashnet.data.dataset import Photos
from trashnet.data.splits import EXCLUDED
from trashnet.environment import environment
from trashnet.files import digest
from trashnet.hub.dataset_repo import card, check_repository, is_saved, obstacle, zip_saved
from trashnet.runs.jobs import Job

SEED = 0
_LARGEST_DOWNLOAD = 500_000_000
_STOPPED = "Stopped, it leaves what was there before."


def render(photos: Photos, index: pd.DataFrame) -> None:
    """Draws what would be published, and the two ways to do it."""
    split = index.attrs["split"]
    left_out = int((index.split == EXCLUDED).sum())
    st.write(
        f"{len(index) - left_out:,} photos, split {_by(split)} as chosen above, {left_out:,} left "
        "out, reviews honoured: one `datasets.DatasetDict` of image, label, file and group, with "
        "a card that says all this."
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("On disk")
        _render_disk(photos, split)
    with right:
        st.subheader("On the Hugging Face Hub")
        _render_hub(photos, split)
    with st.expander("The card", icon=":material/description:"):
        st.code(card(photos, index, SEED), language="markdown", wrap_lines=True)


def _by(split: str) -> str:
    return {"object": "by object", "random": "at random", "authors": "by the authors' lists"}[split]


# ---------------------------------------------------------------- on disk


def _render_disk(photos: Photos, split: str) -> None:
    folder = _home() / _name(photos, split)
    job = Job(_home(), f"save-{digest(str(photos.root) + split)}")
    if job.is_running:
        follow(job, "publish_save", _STOPPED)
        return
    say_why(job, "The saving")
    may_see = refusal() is None  # where things lie on a server is its owner's to know
    if is_saved(folder) and may_see:
        saved = (folder / "README.md").stat().st_mtime
        when = pd.Timestamp(saved, unit="s", tz="UTC").strftime("%d %B %Y, %H:%M UTC")
        st.markdown(f"Saved {when} in")
        st.code(str(folder), language=None, wrap_lines=True)
        st.code(
            f'import datasets\n\nsplits = datasets.load_from_disk("{folder}")', language="python"
        )
        _render_download(folder)
    elif may_see:
        st.caption(f"Goes to `{folder}`, about as large as the photos are.")
    label = "Save again" if is_saved(folder) else "Save to disk"
    if st.button(label, icon=":material/save:", key="publish_save_go", **locked()):
        save(job, split, folder)
    st.caption(f"In a terminal: `python -m trashnet data --split {split} --save FOLDER`")


@owner_only
def save(job: Job, split: str, folder: Path) -> None:
    """Starts the saving: the one place where pages do."""
    start(job, ["data", "--split", split, "--save", str(folder)])


def _render_download(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > _LARGEST_DOWNLOAD:
        st.caption(f"{size / 1e9:.1f} GB are too much for a download; copy the folder instead.")
        return
    may_take = allowed_later()
    st.download_button(
        f"Download as a zip ({size / 1e6:.0f} MB)",
        lambda: _zipped(folder) if may_take() else b"",  # packed when it is asked for
        file_name=f"{folder.name}.zip",
        mime="application/zip",
        icon=":material/download:",
        key="publish_download",
        on_click="ignore",
    )


def _zipped(folder: Path) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "splits.zip"
        zip_saved(folder, path)
        return path.read_bytes()


# ---------------------------------------------------------------- on the Hub


def _render_hub(photos: Photos, split: str) -> None:
    job = Job(_home(), f"push-{digest(str(photos.root))}")
    if job.is_running:
        follow(job, "publish_push", _STOPPED)
        return
    say_why(job, "The pushing")
    # Where it went may be private.
    if job.said.startswith("pushed to ") and refusal() is None:
        url = job.said.removeprefix("pushed to ")
        st.success(f"Pushed to [{url}]({url}).", icon=":material/cloud_done:")
    if why := obstacle(environment()):
        st.info(why, icon=":material/key_off:")
        st.code(
            f'import datasets\n\nsplits = datasets.load_from_disk("{_name(photos, split)}")\n'
            'splits.push_to_hub("OWNER/NAME")',
            language="python",
        )
        return
    with st.form("publish_push_form", border=False):
        name = st.text_input(
            "Repository", key="publish_repository", placeholder="OWNER/NAME", max_chars=120
        )
        public = st.checkbox(
            "Let everybody see it",
            key="publish_public",
            help="Otherwise a new repository is yours alone; the Hub's settings change it later.",
        )
        icon = ":material/cloud_upload:"
        if st.form_submit_button("Push", icon=icon, key="publish_push_go", **locked()):
            push(job, split, name.strip(), public)


@owner_only
def push(job: Job, split: str, name: str, public: bool) -> None:
    """Starts the pushing: the one place where pages do."""
    with sentence():
        check_repository(name)
        options = ["--push", name] + ["--public"] * public
        start(job, ["data", "--split", split, *options])


# ---------------------------------------------------------------- both


def _name(photos: Photos, split: str) -> str:
    """Of the saved folder: two data sets may be folders of one name."""
    where = "" if photos.is_trashnet else f"-{digest(str(photos.root))[:6]}"
    return f"{photos.name}{where}-{split}"


def _home() -> Path:
    return environment().home / "published"
