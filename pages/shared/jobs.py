"""What pages say of the jobs they start."""

import streamlit as st

from pages.shared.owner import owner_only
from trashnet.jobs import Job


def say_why(job: Job, what: str) -> None:
    """Says how a job failed, if it did."""
    if job.failure:
        _say(what, job.failure)


@owner_only
def _say(what: str, failure: str) -> None:
    # The last line of a log, and logs are the owner's.
    st.error(f"{what} ended: {failure}", icon=":material/error:")
