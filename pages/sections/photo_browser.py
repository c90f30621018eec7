"""Dataset, Photos: the photos themselves, filtered and paged."""

import pandas as pd
import streamlit as st

from pages.shared.widgets import paged, photo_grid
from trashnet.data import Photos
from trashnet.index import EXCLUDED, SPLITS


def render(photos: Photos, index: pd.DataFrame) -> None:
    """Draws the filters and one page of thumbnails."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        labels = st.pills(
            "Class",
            photos.classes,
            selection_mode="multi",
            key="dataset_class",
            bind="query-params",
        )
        splits = st.pills(
            "Part",
            [*SPLITS, EXCLUDED],
            selection_mode="multi",
            key="dataset_part",
            bind="query-params",
        )
        text = st.text_input(
            "File name",
            key="dataset_search",
            placeholder="glass12",
            width=200,
            icon=":material/search:",
        )
    chosen = index
    if labels:
        chosen = chosen[chosen.label.isin(labels)]
    if splits:
        chosen = chosen[chosen.split.isin(splits)]
    if text:
        chosen = chosen[chosen.file.str.contains(text.strip(), case=False, regex=False)]
    if chosen.empty:
        st.info("No photo fits these filters; take one away.", icon=":material/filter_alt_off:")
        return
    first, last = paged(chosen.file, "dataset_page")
    rows = chosen.iloc[first:last]
    photo_grid(
        photos.root,
        rows.file,
        [f"{f.split('/')[1]} · {s}" for f, s in zip(rows.file, rows.split, strict=True)],
    )
