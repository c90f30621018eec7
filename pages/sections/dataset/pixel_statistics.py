"""Dataset, Statistics: what the photos of each class look like on the whole."""

import pandas as pd
import streamlit as st

from pages.shared.markdown import bold
from pages.shared.progress import progress_bar
from pages.shared.widgets import chart
from trashnet.charts import colour_histogram, quality_boxes
from trashnet.data.dataset import Photos
from trashnet.data.image_io import QUALITIES
from trashnet.data.pixel_statistics import PER_CLASS, class_differences, pixel_statistics
from trashnet.environment import environment

_WIDTH = 260


def render(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> None:
    """Draws the finding, each quality by class, and each class's mean picture and colours."""
    if index.label.nunique() > 1:
        _render_finding(index)
    for start in range(0, len(QUALITIES), 2):
        for column, quality in zip(st.columns(2), QUALITIES[start : start + 2], strict=True):
            with column:
                figure = quality_boxes(index, quality, photos.classes, quality.capitalize())
                alt = f"{quality} of the photos of each class"
                chart(figure, f"statistics_{quality}", alt)
    st.subheader("Mean picture and colours")
    found = pixel_statistics(photos, scanned, environment().cache, progress_bar())
    many = max(found.counts) >= PER_CLASS
    large = f" Of large classes, {PER_CLASS:,} photos drawn at random." if many else ""
    st.caption(
        "The mean of all photos of a class, pixel by pixel: what is sharp here is the same in many "
        "photos. Below it, how often each shade of red, green and blue occurs." + large
    )
    highest = float(found.colours[:, :, 1:].max()) or 1.0
    with st.container(horizontal=True):
        for i, name in enumerate(photos.classes):
            with st.container(border=True, width=_WIDTH + 34, gap="xsmall"):
                st.markdown(f"{bold(name)} · n = {found.counts[i]:,}")
                if not found.counts[i]:
                    st.caption("None of its photos can be read.")
                    continue
                st.image(
                    found.mean[i], width=_WIDTH, alt=f"Mean picture of {name}", output_format="PNG"
                )
                chart(
                    colour_histogram(found.colours[i].tolist(), highest),
                    f"statistics_colours_{name}",
                    f"Shares of red, green and blue in {name}",
                )


def _render_finding(index: pd.DataFrame) -> None:
    most = class_differences(index).iloc[0]
    st.markdown(
        f"**Classes differ most in {most.quality}**: {most.highest} has the highest "
        f"({most.highest_median:.2f} in the median), {most.lowest} the lowest "
        f"({most.lowest_median:.2f}). Classes account for {most.share:.0%} of its variation over "
        f"all {len(index):,} photos. What they differ in besides the thing shown, a model can "
        "mistake for it."
    )
