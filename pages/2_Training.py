"""Training: start it, watch it, trust it to survive."""

import streamlit as st

from pages.sections.training import form as training_form
from pages.sections.training import hub_model, monitor, run_table
from pages.shared.page import is_phone, page_header
from pages.shared.photos import require_photos
from pages.shared.runs import active_run
from trashnet.environment import environment

page_header("Training", "Start it, watch it, trust it to survive.")
photos = require_photos(otherwise=hub_model.render)
if environment().is_temporary:
    st.caption(
        ":material/hourglass_empty: Runs are kept in a temporary folder here and are lost when the "
        "app restarts: download what you want to keep."
    )
if is_phone() and active_run():  # what happens now comes before what may come next
    monitor.render()
    training_form.render(photos)
else:
    left, right = st.columns([2, 3], gap="large")
    with left:
        training_form.render(photos)
    with right:
        monitor.render()
run_table.render()
hub_model.render()
