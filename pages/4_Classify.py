"""Classify: what is this? A photo in, ranked answers out."""

import streamlit as st

from pages.shared import loaders
from pages.shared.answers import render_answer
from pages.shared.page import page_header
from pages.shared.widgets import pick_run, warn_of_samples

page_header("Classify", "What is this?")
uploads = st.file_uploader(
    "Drop photos of waste, or take one with your phone",
    accept_multiple_files=True,
    key="classify_photos",
    help="JPEG, PNG, WebP, AVIF, BMP, GIF or TIFF. Nothing you upload is kept.",
)
answers = st.container()  # above the picker: on a phone the answer comes first
run = pick_run("classify_run", loaders.answering_runs())
warn_of_samples(run)
with answers:
    for number, upload in enumerate(uploads):
        with st.container(border=True):
            st.caption(upload.name.replace("`", "'"))
            render_answer(run, upload.getvalue(), f"classify_{number}")
