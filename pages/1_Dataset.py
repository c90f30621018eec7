"""Dataset: can I trust these photos? Counts, splits and the photos themselves."""

import streamlit as st

from pages.sections.dataset import (
    augmentation,
    balance,
    photo_audit,
    photo_browser,
    photo_map,
    photo_source,
    pixel_statistics,
    publish,
    splits,
)
from pages.sections.dataset.audit_job import audit_of, offer_audit
from pages.shared.markdown import plain
from pages.shared.page import page_header
from pages.shared.photo_dialog import asked_photo, show_photo
from pages.shared.photos import groups_of, index_of, require_photos, scan_of, source_of, splits_of
from pages.shared.progress import sentence
from pages.shared.runs import all_predictions, named_here, run_for
from pages.shared.widgets import choose_one
from trashnet.data.audit_findings import known_pairs, known_places
from trashnet.data.index import decisions_found
from trashnet.data.splits import check_left
from trashnet.environment import environment

page_header("Dataset", "Can I trust these photos?")
photos = require_photos()
photo_source.render(photos)
scanned, cache = None, environment().cache
with sentence():
    scanned = scan_of(photos)
if scanned is None:
    st.stop()
groups = groups_of(photos, scanned)
counts = scanned[scanned.error.isna()].label.value_counts()

ways = splits_of(photos, groups)
split = choose_one(
    "Split",
    ways,
    ways[0],
    key="dataset_split",
    help="object: all photos of one object on one side. random: photo by photo. Both put 20 % in "
    "test and an eighth of the rest in validation, stratified by class. authors: the lists "
    "TrashNet's authors published.",
)
index = None
with sentence():
    index = index_of(photos, scanned, split, groups)
if index is None:
    balance.render_unreadable(scanned)
    st.stop()
if found := decisions_found(index):
    st.info(f"{found[0].upper()}{found[1:]}.", icon=":material/rate_review:")
with sentence(":material/block:"):
    check_left(index, photos.classes)
sizes = index.group.value_counts()

with st.container(horizontal=True):
    st.metric("Photos", f"{counts.sum():,}", border=True)
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
        help="Objects in more than one photo: photos look alike or have a print in common.",
    )
if "object" not in ways:
    st.info(
        "Which photos show the same object is not known yet; the tab Audit finds out.",
        icon=":material/search_insights:",
    )
file = asked_photo(index.file)
if file is not None:
    run, predictions = run_for(photos), None
    with sentence():  # the photo is shown without them, too
        predictions = run and named_here(all_predictions(run), run, index)
    show_photo(file, source_of(photos), index, run, predictions)


def render_splits() -> None:
    """Draws what the ways of splitting leak, once an audit has found what looks alike."""
    pairs = known_pairs(photos, scanned, cache)
    if groups is None or pairs is None:
        offer_audit(photos, "What a split leaks is not known yet.", "splits")
    else:
        splits.render(photos, scanned, groups, pairs)


def render_audit() -> None:
    """Draws the findings, those of an audit among them."""
    pairs, places = known_pairs(photos, scanned, cache), known_places(photos, scanned, cache)
    photo_audit.render(photos, scanned, index, pairs, places)


def render_map() -> None:
    """Draws the map, once an audit has placed the photos on it."""
    places = known_places(photos, scanned, cache)
    if places is None or audit_of(photos).is_running:
        offer_audit(photos, "Where the photos lie on a map is not known yet.", "map")
    else:
        photo_map.render(photos, index, places, run_for(photos))


SECTIONS = {
    "Balance": lambda: balance.render(photos, scanned, index),
    "Photos": lambda: photo_browser.render(photos, index),
    "Augmentation": lambda: augmentation.render(photos, index),
    "Splits": render_splits,
    "Audit": render_audit,
    "Map": render_map,
    "Statistics": lambda: pixel_statistics.render(photos, scanned, index),
    "Publish": lambda: publish.render(photos, index),
}
tabs = st.tabs(list(SECTIONS), key="dataset_tab", on_change="rerun", bind="query-params")
for tab, render in zip(tabs, SECTIONS.values(), strict=True):
    if tab.open:
        with tab, sentence():
            render()
