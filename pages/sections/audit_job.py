"""Dataset: the audit as a process of its own, offered, followed and stopped."""

import streamlit as st

from pages.shared import loaders
from pages.shared.jobs import say_why
from pages.shared.owner import locked, owner_only
from trashnet.data import Photos
from trashnet.errors import TrashnetError
from trashnet.files import digest
from trashnet.jobs import Job

REFRESH_SECONDS = 1


def job_of(photos: Photos) -> Job:
    """Returns the audit of a data set, at work or not."""
    folder = loaders.env().cache
    folder.mkdir(parents=True, exist_ok=True)
    return Job(folder, f"audit-{digest(str(photos.root))}")


def render(photos: Photos, what: str, key: str) -> None:
    """Offers to make the audit, or follows it.

    Args:
        photos: The data set.
        what: What it would show here, in a sentence.
        key: Prefix of the buttons' keys.
    """
    job = job_of(photos)
    if job.is_running:
        st.fragment(_render_progress, run_every=REFRESH_SECONDS)(job, key)
        return
    say_why(job, "The audit")
    st.info(
        f"{what} That takes an audit: it compares every photo with every other, in the background, "
        "about a minute for 2,500 photos.",
        icon=":material/search_insights:",
    )
    icon = ":material/play_arrow:"
    if st.button("Audit the photos", type="primary", icon=icon, key=f"{key}_go", **locked()):
        start(job)
    st.caption("In a terminal: `python -m trashnet audit`")


@owner_only
def start(job: Job) -> None:
    """Starts the audit: the one place where pages do."""
    try:
        job.start(["audit"], loaders.env())
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
    else:
        st.rerun()


@owner_only
def stop(job: Job) -> None:
    """Ends the audit; the photos embedded so far are not kept."""
    job.stop()
    st.rerun()


def _render_progress(job: Job, key: str) -> None:
    """Draws how far it is; the whole page again when it has ended."""
    if not job.is_running:
        st.rerun()
    done, total, what = job.progress()
    share = done / total if total else 0.0
    st.progress(share, f"{what or 'Starting'}: {done:,} of {total:,}" if total else "Starting")
    st.caption("It goes on when this page is closed.")
    if st.button("Stop", icon=":material/stop:", key=f"{key}_stop", **locked()):
        stop(job)
