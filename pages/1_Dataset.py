"""Dataset: can I trust these photos? Counts, splits and the photos themselves."""

import streamlit as st

from pages.sections.dataset import (
    augmentation,
    balance,
    photo_audit,
    photo_browser,
    photo_map,
    pixel_statistics,
    publish,
    splits,
)
from pages.shared import dataset_dialog, loaders
from pages.shared.markdown import plain
from pages.shared.page import page_header
from pages.shared.widgets import choose_one
from trashnet.errors import TrashnetError

page_header("Dataset", "Can I trust these photos?")
photos = loaders.require_photos()
scanned = loaders.scanned(photos)
counts = scanned[scanned.error.isna()].label.value_counts()

ways = loaders.splits_of(photos, scanned)
split = choose_one(
    "Split",
    ways,
    ways[0],
    key="dataset_split",
    help="object: all photos of one object on one side. random: photo by photo. Both put 20 % in "
    "test and an eighth of the rest in validation, stratified by class. authors: the lists "
    "TrashNet's authors published.",
)
try:
    index = loaders.index(photos, scanned, split, seed=0)
except TrashnetError as error:
    st.error(str(error), icon=":material/error:")
    balance.render_unreadable(scanned)
    st.stop()
sizes = index.group.value_counts()

with st.container(horizontal=True):
    noun = "Pictures" if photos.is_sample else "Photos"
    st.metric(noun, f"{counts.sum():,}", border=True)
    st.metric("Classes", len(photos.classes), border=True)
    st.metric(
        "Imbalance",
        f"{counts.max() / counts.min():.1f} : 1",
        border=True,
        help=plain(f"{counts.idxmax()} against {counts.idxmin()}"),
    )
    st.metric(
        "Conflicts",
        int(index.flag.str.contains("conflict").sum()),
        border=True,
        help="Photos of which an exact copy is filed under another class.",
    )
    st.metric(
        "Objects seen repeatedly",
        f"{(sizes > 1).sum():,}" if "object" in ways else "unknown",
        border=True,
        help="Objects photographed more than once, by an audit of near-duplicates.",
    )
if "object" not in ways:
    st.info(
        "Which photos show the same object is not known yet; the tab Audit finds out.",
        icon=":material/search_insights:",
    )
dataset_dialog.open_if_asked(photos, index)

SECTIONS = {
    "Balance": lambda: balance.render(photos, scanned, index),
    "Photos": lambda: photo_browser.render(photos, index),
    "Augmentation": lambda: augmentation.render(photos, index),
    "Splits": lambda: splits.render(photos, scanned),
    "Audit": lambda: photo_audit.render(photos, scanned, index),
    "Map": lambda: photo_map.render(photos, scanned, index),
    "Statistics": lambda: pixel_statistics.render(photos, scanned, index),
    "Publish": lambda: publish.render(photos, index),
}
tabs = st.tabs(list(SECTIONS), key="dataset_tab", on_change="rerun", bind="query-params")
for tab, render in zip(tabs, SECTIONS.values(), strict=True):
    if tab.open:
        with tab:
            render()
