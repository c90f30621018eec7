"""Dataset, Map: all photos at once, similar ones near each other; a selection opens as a grid."""

import pandas as pd
import streamlit as st

from pages.sections.dataset.photo_browser import render_grid
from pages.shared.markdown import plain
from pages.shared.runs import OUT_OF_FOLD, all_predictions, named_here
from pages.shared.widgets import choose_one
from trashnet.charts import class_colours, photo_map
from trashnet.data.dataset import Photos
from trashnet.data.splits import EXCLUDED, SPLITS
from trashnet.runs.run import Run

CLASS, SPLIT, ANSWER = "class", "split", "model's answer"
_SPLIT_COLOURS = dict(
    zip((*SPLITS, EXCLUDED), ("#56B4E9", "#E69F00", "#0072B2", "#7F7F7F"), strict=True)
)
_ANSWER_COLOURS = {"right": "#56B4E9", "wrong": "#D55E00", "not answered": "#7F7F7F"}


def render(photos: Photos, index: pd.DataFrame, places: pd.DataFrame, run: Run | None) -> None:
    """Draws the map beside the photos that are selected on it.

    Args:
        photos: The data set.
        index: Of its photos.
        places: Where each lies (`trashnet.data.audit_findings.known_places`).
        run: Whose answers can colour them, if one knows their classes.
    """
    ways = [CLASS, SPLIT] + [ANSWER] * (run is not None)
    way = choose_one("Colour by", ways, CLASS, key="map_colour")
    table = index.merge(places, on="file")
    if way == CLASS:
        table["kind"], colours = table.label, class_colours(photos.classes)
        title = "Photos that look alike lie together"
    elif way == SPLIT or run is None:
        table["kind"], colours = table.split, _SPLIT_COLOURS
        title = "Every split should cover the whole map"
    else:
        said = named_here(all_predictions(run), run, index)
        was_right = dict(zip(said.file, said.predicted == said.label, strict=True))
        kinds = {True: "right", False: "wrong", None: "not answered"}
        table["kind"] = [kinds[was_right.get(file)] for file in table.file]
        colours = _ANSWER_COLOURS
        wrong, n = (table.kind == "wrong").sum(), (table.kind != "not answered").sum()
        title = f"{wrong:,} of {n:,} photos answered wrongly, {_how(said)}"
        if not n:
            title = f"None of these photos was classified by {run.id}"
    colours = {kind: colour for kind, colour in colours.items() if (table.kind == kind).any()}
    left, right = st.columns([3, 2], gap="large")
    with left:
        event = st.plotly_chart(
            photo_map(table[["file", "map_x", "map_y", "kind"]], colours, title),
            key=f"map_chart_{way}",
            on_select="rerun",
            selection_mode=("points", "box", "lasso"),
            config={"displaylogo": False, "scrollZoom": True},
            alt=f"Map of {len(table):,} photos, coloured by {way}",
        )
        st.caption(
            "Draw around photos to see them. Placed by t-SNE of what a network trained on other "
            "pictures (ImageNet) sees; only nearness means something, directions do not."
            + (f" Answers: {run.id}." if run and way == ANSWER else "")
        )
    with right:
        # Traces in the order of the legend: a point's file is what it carries.
        files = [_file_of(point) for point in event["selection"]["points"]]
        _render_selected(photos, table[table.file.isin(files)])


def _file_of(point: dict) -> str:
    carried = point.get("customdata", "")
    return carried[0] if isinstance(carried, list) else carried


def _how(said: pd.DataFrame) -> str:
    return "out of fold" if (said.split == OUT_OF_FOLD).all() else "train photos included"


def _render_selected(photos: Photos, chosen: pd.DataFrame) -> None:
    if chosen.empty:
        st.info(
            "Nothing is selected. Draw around a few points with the lasso or the box.",
            icon=":material/lasso_select:",
        )
        return
    counts = chosen.kind.value_counts()
    kinds = plain(", ".join(f"{n:,} {kind}" for kind, n in counts.items()))
    st.markdown(f"**{len(chosen):,} selected**: {kinds}")
    render_grid(photos, chosen, "map_page", per_page=24)
