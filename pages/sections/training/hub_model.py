"""Training, Hub: open a model that somebody published, as a run of one's own."""

import streamlit as st

from pages.shared.owner import locked, owner_only
from pages.shared.progress import sentence
from trashnet.environment import environment
from trashnet.hub.push_pull import pull_aside


def render() -> None:
    """Draws the field for a model's name."""
    box = st.expander("Open a model from the Hub", icon=":material/cloud_download:")
    with box, st.form("training_hub", border=False):
        repo = st.text_input(
            "Model on the Hugging Face Hub", key="training_hub_repo", placeholder="owner/name"
        )
        st.caption(
            "A run that TrashNet Explorer published. Its files are verified and nothing in "
            "them is executed."
        )
        if st.form_submit_button("Open", **locked(type="primary")):
            _open(repo.strip())


@owner_only
def _open(repo: str) -> None:
    """Fetches the model and shows it; or says why it cannot."""
    if not repo:
        st.error("Name a model, as owner/name.", icon=":material/error:")
        return
    with sentence():
        with st.spinner(f"Fetching and verifying {repo}"):
            run = pull_aside(repo, environment())
        st.session_state["training_run"] = run.id
        st.toast(f"{repo} is here as {run.id}.", icon=":material/cloud_download:")
        st.rerun()
