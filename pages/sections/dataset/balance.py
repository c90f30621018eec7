"""Dataset, Balance: how many photos of what, and what training does about it."""

import pandas as pd
import streamlit as st

from pages.shared.markdown import plain
from pages.shared.widgets import chart, choose_one, data_table
from trashnet.charts import class_balance
from trashnet.data.dataset import Photos
from trashnet.data.index import class_weights
from trashnet.data.splits import EXCLUDED, SPLITS

COUNTS, SHARES = "photos", "share of the split"


def render(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> None:
    """Draws counts per class and split, the class weights, and the finding in words."""
    counts = pd.crosstab(index.split, index.label).reindex(
        index=[s for s in SPLITS if (index.split == s).any()],
        columns=list(photos.classes),
        fill_value=0,
    )
    weights = pd.Series(
        class_weights(index.label[index.split == "train"], photos.classes), photos.classes
    )
    share = counts.sum() / max(1, counts.to_numpy().sum())
    rarest = share.idxmin()
    title = (
        f"{rarest.capitalize()} is {share[rarest]:.0%} of the photos; "
        f"training weighs it {weights[rarest]:.1f} ×"
    )
    left, right = st.columns(2, gap="large")
    with left:
        chart(class_balance(counts, photos.classes, title), "dataset_balance", title)
    with right:
        _render_table(counts, share, weights)
    st.markdown(plain(_in_words(counts, weights)))
    left_out = index[index.split == EXCLUDED]
    if len(left_out):
        st.markdown(
            f"**{len(left_out)} photos are in no split**: the same picture is filed under two "
            "classes, or a review left it out."
        )
        data_table(left_out[["file", "label", "flag"]], hide_index=True)
    render_unreadable(scanned)
    if photos.left_out:
        with st.expander(f"{len(photos.left_out)} other files and folders are left out"):
            table = pd.DataFrame(photos.left_out.items(), columns=["file", "why"])
            data_table(table, hide_index=True)


def render_unreadable(scanned: pd.DataFrame) -> None:
    """Lists the files that are no photos, if there are any."""
    unreadable = scanned[scanned.error.notna()]
    if len(unreadable):
        one = len(unreadable) == 1
        st.warning(
            f"{len(unreadable)} file{' ' if one else 's '}could not be read and "
            f"{'is' if one else 'are'} left out.",
            icon=":material/broken_image:",
        )
        data_table(unreadable[["file", "error"]], hide_index=True)


def _render_table(counts: pd.DataFrame, share: pd.Series, weights: pd.Series) -> None:
    way = choose_one(
        "Table shows",
        [COUNTS, SHARES],
        COUNTS,
        key="dataset_balance_cells",
        label_visibility="collapsed",
    )
    table = counts.T.assign(all=counts.sum())
    format = None
    if way == SHARES:
        table, format = 100 * table / table.sum(), "%.1f %%"
    table = table.assign(share=100 * share, weight=weights)
    cells = {name: st.column_config.NumberColumn(format=format) for name in (*counts.index, "all")}
    data_table(
        table if way == COUNTS else table.drop(columns="share"),
        height=38 + 35 * len(table),
        column_config=cells
        | {
            "share": st.column_config.NumberColumn("share", format="%.1f %%"),
            "weight": st.column_config.NumberColumn(
                "weight", format="%.2f ×", help="weight of a photo in the training loss"
            ),
        },
    )
    st.caption(", ".join(f"{split} n = {n:,}" for split, n in counts.sum(axis=1).items()))


def _in_words(counts: pd.DataFrame, weights: pd.Series) -> str:
    """Says what the imbalance means, and whether the splits share it."""
    total, by_split = counts.sum(), counts.div(counts.sum(axis=1), axis=0)
    largest, smallest = total.idxmax(), total.idxmin()
    apart = 100 * (by_split.max() - by_split.min()).max()
    words = (
        f"There are {total[largest] / max(1, total[smallest]):.1f} photos of {largest} for each of "
        f"{smallest}. A model that always answers {largest} would be right on "
        f"{total[largest] / max(1, total.sum()):.0%} of them (n = {total.sum():,}), so accuracy "
        "alone says little about rare classes: look at macro F1, too. "
    )
    if len(counts) > 1:
        words += (
            f"A class's share differs by {apart:.1f} points between splits at most. "
            if apart < 1
            else f"A class's share differs by up to {apart:.1f} points between splits. "
        )
    return words + (
        f"By default, training weighs a photo by the train photos over classes × the class's "
        f"count: {weights.max():.2f} × for {weights.idxmax()}, {weights.min():.2f} × for "
        f"{weights.idxmin()}."
    )
