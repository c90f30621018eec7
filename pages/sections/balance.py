"""Dataset, Balance: how many photos of what, and what training does about it."""

import pandas as pd
import streamlit as st

from trashnet.data import Photos
from trashnet.figures import class_balance
from trashnet.index import EXCLUDED, SPLITS, class_weights


def render(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> None:
    """Draws counts per class and split, the class weights, and the finding in words."""
    counts = pd.crosstab(index.split, index.label).reindex(
        index=[s for s in SPLITS if (index.split == s).any()], columns=list(photos.classes)
    )
    weights = class_weights(index.label[index.split == "train"], photos.classes)
    share = counts.sum() / counts.to_numpy().sum()
    rarest = share.idxmin()
    weight = weights[photos.classes.index(rarest)]
    title = (
        f"{rarest.capitalize()} is {share[rarest]:.0%} of the photos; "
        f"training weighs it {weight:.1f} ×"
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.plotly_chart(
            class_balance(counts, photos.classes, title),
            key="dataset_balance",
            config={"displayModeBar": False},
            alt=title,
        )
    table = counts.T.assign(all=counts.sum(), share=100 * share, weight=weights)
    with right:
        st.dataframe(
            table,
            height=38 + 35 * len(table),
            column_config={
                "share": st.column_config.NumberColumn("share", format="%.1f %%"),
                "weight": st.column_config.NumberColumn(
                    "weight", format="%.2f ×", help="weight of a photo in the training loss"
                ),
            },
        )
    left_out = index[index.split == EXCLUDED]
    if len(left_out):
        st.markdown(
            f"**{len(left_out)} photos are in no split**: the same picture is filed under two "
            "classes, or a review left it out."
        )
        st.dataframe(left_out[["file", "label", "flag"]], hide_index=True)
    unreadable = scanned[scanned.error.notna()]
    if len(unreadable):
        st.warning(
            f"{len(unreadable)} files could not be read and are left out.",
            icon=":material/broken_image:",
        )
        st.dataframe(unreadable[["file", "error"]], hide_index=True)
