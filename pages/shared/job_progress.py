"""Commands that pages start: begun, followed, stopped, and why they failed."""

import streamlit as st

from pages.shared.owner import locked, owner_only
from pages.shared.progress import duration, sentence
from trashnet.environment import environment
from trashnet.runs.jobs import Job

REFRESH_SECONDS = 1


@owner_only
def start(job: Job, arguments: list[str]) -> None:
    """Starts a command and draws the page again, or says why it cannot be started."""
    with sentence():
        job.start(arguments, environment())
        st.rerun()


@owner_only
def stop(job: Job) -> None:
    """Ends a command; what it has finished so far is up to it."""
    with sentence():
        job.stop()
        st.rerun()


def counted(job: Job) -> str:
    """Says how far a job is, and how long what it does will still take."""
    done, total, what = job.progress()
    left = job.seconds_left()
    rest = f", about {duration(max(1, left))} left" if left is not None and done < total else ""
    return f"{what}: {done:,} of {total:,}{rest}" if total else "Starting"


def follow(job: Job, key: str, note: str = "") -> None:
    """Draws a running job's bar and its stop button, anew every second until it has ended.

    Args:
        job: At work.
        key: Prefix of the button's key.
        note: What becomes of it when it is stopped.
    """
    st.fragment(_render_progress, run_every=REFRESH_SECONDS)(job, key, note)


def _render_progress(job: Job, key: str, note: str) -> None:
    if not job.is_running:
        st.rerun()  # the whole page
    done, total, _ = job.progress()
    st.progress(min(1.0, done / total) if total else 0.0, counted(job))
    st.caption(f"It goes on when this page is closed. {note}".rstrip())
    if st.button("Stop", icon=":material/stop:", key=f"{key}_stop", **locked()):
        stop(job)


def say_why(job: Job, what: str) -> None:
    """Says how a job failed, if it did."""
    if job.failure:
        _say(what, job.failure)


@owner_only
def _say(what: str, failure: str) -> None:
    # The last line of a log, and logs are the owner's.
    st.error(f"{what} ended: {failure}", icon=":material/error:")
