"""Dataset: can I trust these photos? Counts, splits and the photos themselves."""

import streamlit as st

from pages.sections import balance, photo_browser
from pages.shared import loaders
from pages.shared.page import page_header
from trashnet.errors import TrashnetError

page_header("Dataset", "Can I trust these photos?")
photos = loaders.require_photos()
scanned = loaders.scanned(photos)
counts = scanned[scanned.error.isna()].label.value_counts()

with st.container(horizontal=True):
    noun = "Pictures" if photos.is_sample else "Photos"
    st.metric(noun, f"{counts.sum():,}", border=True)
    st.metric("Classes", len(photos.classes), border=True)
    st.metric(
        "Imbalance",
        f"{counts.max() / counts.min():.1f} : 1",
        border=True,
        help=f"{counts.idxmax()} against {counts.idxmin()}",
    )
    st.metric("Unreadable", int(scanned.error.notna().sum()), border=True)

with st.container(horizontal=True, vertical_alignment="bottom"):
    ways = ["random", "authors"] if photos.is_trashnet else ["random"]
    split = st.segmented_control(
        "Split",
        ways,
        default="random",
        required=True,
        key="dataset_split",
        bind="query-params",
        help="random: 80 % train, 20 % test, an eighth of train for validation, stratified by "
        "class. authors: the lists TrashNet's authors published.",
    )
try:
    index = loaders.index(scanned, split, seed=0)
except TrashnetError as error:
    st.error(str(error), icon=":material/error:")
    st.stop()

tabs = st.tabs(
    ["Balance", "Photos"],
    key="dataset_tab",
    on_change="rerun",
    bind="query-params",
)
if tabs[0].open:
    with tabs[0]:
        balance.render(photos, scanned, index)
if tabs[1].open:
    with tabs[1]:
        photo_browser.render(photos, index)
