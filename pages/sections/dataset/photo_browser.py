"""Dataset, Photos: the photos themselves, filtered, sorted and paged; each opens."""

import pandas as pd
import streamlit as st

from pages.shared.markdown import plain
from pages.shared.photo_dialog import open_photo
from pages.shared.photos import source_of
from pages.shared.review_buttons import open_desk, render_undo
from pages.shared.widgets import photo_cards
from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES
from trashnet.data.splits import EXCLUDED, SPLITS

NO_FLAG, REVIEWED = "no flag", "reviewed"
_SORTS = {"file name": "file", "pixels": "pixels", "file size": "bytes"} | {q: q for q in QUALITIES}
_EDGE = 0.001
"""Ranges are shown in thousandths, so their ends reach a little beyond the photos'."""


def render(photos: Photos, index: pd.DataFrame) -> None:
    """Draws the filters and one page of thumbnails."""
    desk = open_desk()
    chosen = _filtered(photos, index, desk.reviewed if desk else set())
    if desk is not None:
        render_undo(desk, "dataset_undo")
    if chosen.empty:
        st.info("No photo fits these filters; take one away.", icon=":material/filter_alt_off:")
        return
    render_grid(photos, chosen, "dataset_page")


def render_grid(photos: Photos, chosen: pd.DataFrame, key: str, per_page: int = 60) -> None:
    """Draws one page of the photos, each with the button that opens it."""
    if len(chosen) <= per_page:
        st.caption(f"{len(chosen):,} photo{'s' * (len(chosen) != 1)}")
    photo_cards(
        source_of(photos),
        chosen,
        lambda row: f"{plain(row.file.split('/')[1])} · {row.split}",
        key,
        per_page,
        on_open=open_photo,
        open_label="Open",
    )


def _filtered(photos: Photos, index: pd.DataFrame, reviewed: set[str]) -> pd.DataFrame:
    """Draws the filters, all kept in the address, and returns the photos that fit, sorted."""
    flags = sorted({name for flag in index.flag.unique() for name in flag.split(";") if name})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        labels = _pills("Class", photos.classes, "dataset_class")
        splits = _pills("Part", [*SPLITS, EXCLUDED], "dataset_part")
        marks = _pills("Flag", [*flags, NO_FLAG, REVIEWED], "dataset_flag")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "File name",
            key="dataset_search",
            placeholder="glass12",
            width=200,
            icon=":material/search:",
            bind="query-params",
        )
        sort = st.selectbox(
            "Sort by", list(_SORTS), key="dataset_sort", width=160, bind="query-params"
        )
        descending = st.toggle("Highest first", key="dataset_descending", bind="query-params")
    ranges = _ranges(index)
    fits = pd.Series(True, index.index)
    if labels:
        fits &= index.label.isin(labels)
    if splits:
        fits &= index.split.isin(splits)
    if marks:
        fits &= _has_any(index, marks, reviewed)
    if text and text.strip():
        fits &= index.file.str.contains(text.strip(), case=False, regex=False)
    for quality, (low, high) in ranges.items():
        fits &= index[quality].between(low, high)
    chosen = index[fits]
    chosen = chosen.assign(pixels=chosen.width * chosen.height)
    return chosen.sort_values(_SORTS[sort], ascending=not descending, kind="stable")


def _pills(label: str, options: list[str] | tuple[str, ...], key: str) -> list[str]:
    return st.pills(
        label,
        options,
        selection_mode="multi",
        format_func=plain,
        key=key,
        bind="query-params",
    )


def _has_any(index: pd.DataFrame, marks: list[str], reviewed: set[str]) -> pd.Series:
    fits = pd.Series(False, index.index)
    for mark in marks:
        if mark == REVIEWED:
            fits |= index.file.isin(reviewed)
        elif mark == NO_FLAG:
            fits |= index.flag == ""
        else:
            fits |= (";" + index.flag + ";").str.contains(f";{mark};", regex=False)
    return fits


def _ranges(index: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Draws a range for each quality and returns those that leave photos out."""
    found = {}
    with st.expander("Quality ranges", icon=":material/tune:", key="dataset_qualities"):
        columns = st.columns(len(QUALITIES))
        for column, quality in zip(columns, QUALITIES, strict=True):
            low = round(float(index[quality].min()) - _EDGE, 3)
            high = round(float(index[quality].max()) + _EDGE, 3)
            chosen = column.slider(
                quality.capitalize(),
                low,
                high,
                (low, high),
                step=_EDGE,
                format="%.3f",
                key=f"dataset_{quality}",
                bind="query-params",
            )
            if chosen != (low, high):
                found[quality] = chosen
    if found:
        words = [f"{quality} {low:.3f} to {high:.3f}" for quality, (low, high) in found.items()]
        st.caption(":material/tune: " + ", ".join(words))
    return found
