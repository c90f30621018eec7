"""Training: start it, watch it, trust it to survive."""

import streamlit as st

from pages.sections import monitor, run_table, training_form
from pages.shared import loaders
from pages.shared.page import is_phone, page_header

page_header("Training", "Start it, watch it, trust it to survive.")
photos = loaders.require_photos()
if is_phone() and loaders.active_run():  # what happens now comes before what may come next
    monitor.render()
    training_form.render(photos)
else:
    left, right = st.columns([2, 3], gap="large")
    with left:
        training_form.render(photos)
    with right:
        monitor.render()
run_table.render()
