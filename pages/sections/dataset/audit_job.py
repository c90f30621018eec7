"""Dataset: the audit as a process of its own, offered, followed and stopped."""

import streamlit as st

from pages.shared.job_progress import follow, say_why, start
from pages.shared.owner import locked
from trashnet.data.dataset import Photos
from trashnet.environment import environment
from trashnet.files import digest
from trashnet.runs.jobs import Job


def audit_of(photos: Photos) -> Job:
    """Returns the audit of a data set, at work or not."""
    return Job(environment().cache, f"audit-{digest(str(photos.root))}")


def offer_audit(photos: Photos, what: str, key: str) -> None:
    """Offers to make the audit, or follows it.

    Args:
        photos: The data set.
        what: What it would show here, in a sentence.
        key: Prefix of the buttons' keys.
    """
    job = audit_of(photos)
    if job.is_running:
        follow(job, key, "What is finished by then is kept.")
        return
    say_why(job, "The audit")
    st.info(
        f"{what} That takes an audit: it compares every photo with every other, in the background, "
        "about three minutes for 2,500 photos on two cores.",
        icon=":material/search_insights:",
    )
    icon = ":material/play_arrow:"
    if st.button("Audit the photos", type="primary", icon=icon, key=f"{key}_go", **locked()):
        start(job, ["audit"])
    st.caption("In a terminal: `python -m trashnet audit`")
