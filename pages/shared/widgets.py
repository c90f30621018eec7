"""Pieces that several pages draw: run picker, chart, grid of photos, accuracy in words."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pandas as pd
import streamlit as st

from pages.shared.markdown import plain, unmarked
from pages.shared.page import page_link
from pages.shared.photos import PhotoSource, thumbnails
from pages.shared.runs import OUT_OF_FOLD, damaged_runs
from trashnet.evaluation.report_tables import disarmed_table
from trashnet.files import digest
from trashnet.runs.run import Run
from trashnet.runs.store import judged

TILE: dict[str, Any] = {
    "delta_color": "off",
    "delta_arrow": "off",
    "border": True,
    "height": "stretch",
}
"""How `st.metric` shows a figure with a remark where others have a change."""


def pick_run(key: str, runs: list[Run]) -> Run:
    """Lets a person choose one of the runs; where there is none, says so and ends the page."""
    by_id = {run.id: run for run in runs}
    if not runs:
        st.info(
            "No run has finished yet. A first one on small pictures takes about two minutes.",
            icon=":material/model_training:",
        )
        page_link("pages/2_Training.py", "Start a training", ":material/play_arrow:")
        st.stop()
    # Its id as it is: what a choice is called is also what an address names it by.
    chosen = by_id[st.selectbox("Run", list(by_id), key=key, bind="query-params")]
    st.caption(plain(describe_run(chosen)))
    return chosen


def warn_of_damage() -> None:
    """Names the runs that cannot be chosen, and what is wrong with each."""
    for name, why in damaged_runs().items():
        st.caption(f":material/broken_image: {plain(name)} is left out: {plain(why)}")


def describe_run(run: Run) -> str:
    """Says what a run is in half a line: network, size, length and data."""
    config, data = run.train_config, run.config["data"]["name"]
    epochs = f" · {config.epochs} epochs" if config.epochs else ""
    settings = f"{config.model} · {config.image_size} px{epochs} · {data}"
    name, report = judged(run)
    of = "cross-validated" if name == OUT_OF_FOLD else f"on {name}"
    return f"{settings} · {report['accuracy']:.1%} right, {of}"


def choose_one(label: str, options: Sequence[str], default: str, key: str, **look: Any) -> str:
    """Lets a person choose one of a few, kept in the address.

    An address that names none gets the default, which Streamlit alone leaves at None.

    Args:
        label: What is chosen.
        options: What there is to choose from.
        default: One of them.
        key: Of the widget, and of the address.
        look: Further arguments of `st.segmented_control`.
    """
    chosen = st.segmented_control(
        label, options, default=default, required=True, key=key, bind="query-params", **look
    )
    return chosen or default


def split_name(split: str) -> str:
    """Writes a split for people."""
    return split.replace("_", " ")


def accuracy_text(report: dict[str, Any], split: str) -> str:
    """Says an accuracy's interval, split and n, as every accuracy on screen must."""
    low, high = report["accuracy_interval"]
    return f"{low:.1%} to {high:.1%}, {split_name(split)}, n = {report['n']:,}"


def share_text(value: float, interval: Sequence[float]) -> str:
    """Writes a share with its 95 % interval."""
    low, high = interval
    return f"{value:.1%} ({low:.1%}–{high:.1%})"


def data_table(table: pd.DataFrame, **look: Any) -> Any:
    """Draws a table, whose CSV button gives no formulas; returns what is selected in it.

    Args:
        table: Texts in it may be anybody's.
        look: Further arguments of `st.dataframe`.
    """
    return st.dataframe(disarmed_table(table), **look)


def chart(figure: Any, key: str, alt: str, **look: Any) -> Any:
    """Draws a figure without Plotly's own buttons; returns what is selected in it.

    Args:
        figure: Of `trashnet.charts`.
        key: Of the widget.
        alt: What it shows, for those who cannot see it.
        look: Further arguments of `st.plotly_chart`.
    """
    return st.plotly_chart(figure, key=key, alt=alt, config={"displayModeBar": False}, **look)


def warn_of_missing_photos(source: PhotoSource, files: Sequence[str]) -> None:
    """Says once what to do where none of some photos is on this machine."""
    if len(files) and not any(source.path(file) for file in files):
        st.info(
            "The photos of this run are not on this machine, so tables take their place. To see "
            "them, choose the folder or zip that it was trained on.",
            icon=":material/no_photography:",
        )
        page_link("pages/1_Dataset.py", "Choose photos", ":material/folder_open:", "content")


def render_thumbnail(
    content: bytes | None, alt: str, width: int | Literal["content"] = "content"
) -> None:
    """Draws a photo's thumbnail, or says that there is none."""
    if content is None:
        st.caption(":material/broken_image: photo not on this machine")
    else:
        st.image(content, width=width, alt=alt)


def photo_button(
    content: bytes, label: str, key: str, on_click: Callable[..., None], *args: Any
) -> None:
    """Draws a photo that is a button.

    Args:
        content: The photo, as wide as its container.
        label: What a press does, for those who cannot see it.
        key: Of the button.
        on_click: Called with `args` when it is pressed.
        args: Its arguments.
    """
    # style.css lays the button over the photo, unseen.
    with st.container(key=f"photo_button_{key}", gap=None):
        st.image(content, width="stretch", alt="")
        st.button(unmarked(label), key=key, on_click=on_click, args=args, width="stretch")


def photo_grid(
    source: PhotoSource,
    files: Sequence[str],
    captions: Sequence[str],
    width: int = 140,
    on_open: Callable[[str], None] | None = None,
    open_label: str = "Why?",
) -> None:
    """Draws thumbnails that flow into as many columns as fit, on a phone as on a desktop.

    With `on_open`, each has a button below it, named `open_label`, that calls it with the file.
    Photos that are not on this machine are listed in a table instead.
    """
    shown = list(zip(files, captions, thumbnails(source, files, 2 * width), strict=True))
    missing = [(file, caption) for file, caption, content in shown if content is None]
    if missing:
        render_missing(missing, on_open)
    with st.container(horizontal=True, gap="small"):
        for file, caption, content in shown:
            if content is None:
                continue
            with st.container(width=width, gap=None):
                render_thumbnail(content, f"{file}: {unmarked(caption)}", width)
                st.caption(caption)
                if on_open is not None:
                    st.button(
                        open_label,
                        key=f"open_{file}",
                        type="tertiary",
                        on_click=on_open,
                        args=(file,),
                        help=plain(f"Open {file}"),
                    )


def render_missing(
    missing: list[tuple[str, str]], on_open: Callable[[str], None] | None = None
) -> None:
    """Lists photos that are not on this machine; with `on_open`, a chosen row opens."""
    st.caption(f":material/no_photography: {len(missing)} not on this machine")
    files = [file for file, _ in missing]
    about = [" ".join(unmarked(caption).split()) for _, caption in missing]
    table = pd.DataFrame({"photo": files, "what is known of it": about})
    if on_open is None:
        data_table(table, hide_index=True)
        return
    key = f"missing_{digest(''.join(files))}"

    def choose() -> None:
        for row in st.session_state[key]["selection"]["rows"]:
            on_open(files[row])

    data_table(table, hide_index=True, key=key, on_select=choose, selection_mode="single-row")


def photo_cards(
    source: PhotoSource,
    rows: pd.DataFrame,
    caption: Callable[[Any], str],
    key: str,
    per_page: int = 12,
    **grid: Any,
) -> None:
    """Draws a page of a table's photos, with what there is to say of each below it.

    Args:
        source: Where they are found.
        rows: Their table; `file` names them.
        caption: Writes a row, as `itertuples` gives it, in Markdown.
        key: Of the choice of a page.
        per_page: Photos on one.
        grid: Further arguments of `photo_grid`.
    """
    first, last = paged(rows.file, key, per_page)
    shown = rows.iloc[first:last]
    photo_grid(source, shown.file, [caption(row) for row in shown.itertuples()], **grid)


def paged(files: Sequence[str], key: str, per_page: int = 60) -> tuple[int, int]:
    """Lets a person page through a long list; returns the slice to show."""
    pages = max(1, -(-len(files) // per_page))
    page = 1
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            # Another list is another widget, so it starts on its first page.
            page = st.pagination(pages, key=f"{key}_{digest(''.join(files))}")
            first = (page - 1) * per_page
            st.caption(f"{first + 1:,}–{min(first + per_page, len(files)):,} of {len(files):,}")
    return (page - 1) * per_page, page * per_page
