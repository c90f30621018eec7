"""Dataset, Audit: what somebody should look at before trusting the photos, and decide about."""

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages.sections.dataset.audit_job import audit_of, offer_audit
from pages.shared.caching import cached
from pages.shared.markdown import bold, plain
from pages.shared.photo_dialog import open_photo
from pages.shared.photos import source_of, thumbnails
from pages.shared.progress import sentence
from pages.shared.review_buttons import (
    UNCHANGED,
    Desk,
    open_desk,
    render_pair_review,
    render_review,
    render_undo,
)
from pages.shared.runs import answering_runs, named_here, out_of_fold, suspects_of
from pages.shared.widgets import choose_one, data_table, paged, render_thumbnail
from trashnet.data.audit_findings import (
    CONFLICT,
    DUPLICATE,
    KINDS,
    LISTED,
    ONE_OBJECT,
    OUTLIER,
    PAIR,
    POOR,
    SAME_OBJECT,
    SAME_PRINT,
    SAME_PRINT_ACROSS,
    SIMILAR,
    SUSPECT,
    UNREADABLE,
    findings,
)
from trashnet.data.dataset import Photos
from trashnet.data.image_io import difference, side_by_side
from trashnet.data.review import pair_key
from trashnet.errors import PhotoError
from trashnet.evaluation.report_tables import as_csv

ALIKE, PRINTS, SUSPECTED = "looks alike", "same print", "suspected"
_WIDTH = 240
_MEANING = {
    DUPLICATE: "The same picture twice in one class, byte for byte: one of them can go.",
    CONFLICT: "The same picture filed under two classes: both are left out of every split until "
    "somebody decides.",
    PAIR: "Two photos of one object or one print. Photos from a similarity of "
    f"{SAME_OBJECT:.2f} up, or with {SAME_PRINT} matched features ({SAME_PRINT_ACROSS} across two "
    "classes), count as one object and stay in one split.",
    SUSPECT: "A model that never saw the photo is as sure of another class as it is of photos of "
    "that class.",
    OUTLIER: "Far from all other objects of its class, in what a network trained on other pictures "
    "sees: a rare thing, or one in the wrong folder.",
    POOR: "More than 3.5 robust standard deviations from the data set's median.",
    UNREADABLE: "Left out of everything; mend or remove the file.",
}


def render(
    photos: Photos,
    scanned: pd.DataFrame,
    index: pd.DataFrame,
    pairs: pd.DataFrame | None,
    places: pd.DataFrame | None,
) -> None:
    """Draws one kind of finding at a time, with what can be decided about it.

    Args:
        photos: The data set.
        scanned: Its scan.
        index: Of its photos.
        pairs: The similar ones, or None before an audit.
        places: Where each lies on the map, or None before an audit.
    """
    suspected = _suspected(photos, scanned, index)
    found = _findings(
        scanned[["file", "label", "sha256", "error"]],
        index[["file", "flag", "original_label"]],
        None if pairs is None else pairs.drop(columns="points"),
        places,
        suspected,
    )
    counts = found.kind.value_counts().reindex(KINDS, fill_value=0)
    desk = open_desk()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        default = CONFLICT if counts[CONFLICT] else PAIR
        kind = choose_one("Finding", KINDS, default, key="audit_kind")
        st.download_button(
            "Findings as CSV",
            lambda: _as_csv(found, desk),
            file_name=f"{photos.name}-findings.csv",
            mime="text/csv",
            icon=":material/download:",
            key="audit_csv",
        )
    # Not on the buttons: what they say is what an address names them by, and counts change.
    st.caption(" · ".join(f"{kind} {n:,}" for kind, n in counts.items() if n))
    st.markdown(f"{_MEANING[kind]} {UNCHANGED if kind != UNREADABLE else ''}")
    if desk is not None:
        render_undo(desk, "audit_undo")
    rows = found[found.kind == kind]
    audited = {PAIR: pairs, OUTLIER: places}
    if kind in audited and (audited[kind] is None or audit_of(photos).is_running):
        offer_audit(photos, "Which photos look alike or odd is not known yet.", "audit")
    elif kind == SUSPECT and suspected is None:
        st.info(
            "Suspected labels need a run with five folds on these photos: only a model that never "
            "saw a photo can doubt its label.",
            icon=":material/info:",
        )
    elif rows.empty:
        st.success("None found.", icon=":material/check_circle:")
    elif kind == UNREADABLE:
        data_table(rows[["file", "why"]], hide_index=True, key="audit_unreadable")
    elif kind in (PAIR, DUPLICATE, CONFLICT):
        _render_pairs(photos, index, rows if kind != PAIR else _in_range(rows), pairs, desk)
    else:
        _render_cards(photos, rows, desk)


def _suspected(photos: Photos, scanned: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame | None:
    """The labels that the best run doubts, of those that never saw the photos they answered.

    None where no run answered all of them so.
    """
    for run in answering_runs():
        table = out_of_fold(run) if run.classes == photos.classes else None
        if table is not None and len(named_here(table, run, scanned)) == len(table):
            return named_here(suspects_of(run), run, index)
    return None


@cached(max_entries=4)
def _findings(*tables: pd.DataFrame | None) -> pd.DataFrame:
    return findings(*tables)


def _as_csv(found: pd.DataFrame, desk: Desk | None) -> bytes:
    decisions = desk.decisions if desk is not None else {}
    about = np.where(found.kind == PAIR, list(map(pair_key, found.file, found.other)), found.file)
    words = [decisions[name].words if name in decisions else "" for name in about]
    return as_csv(found.assign(decision=words)).encode()


def _in_range(rows: pd.DataFrame) -> pd.DataFrame:
    evidence = choose_one("Evidence", [ALIKE, PRINTS, SUSPECTED], ALIKE, key="audit_evidence")
    if evidence != ALIKE:
        kept = rows.matches >= LISTED if evidence == PRINTS else rows.why != ONE_OBJECT
        shown = rows[kept].sort_values(["matches", "score"], ascending=False)
        across = (shown.label != shown.other_label).sum()
        what = "with matched features" if evidence == PRINTS else "that do not count as one object"
        st.markdown(
            f"**{len(shown):,} pairs {what}**, {across:,} of them across two classes; the most "
            "matches first."
        )
        return shown
    low, high = st.slider(
        "Similarity",
        SIMILAR,
        1.0,
        (SAME_OBJECT, 1.0),
        step=0.01,
        key="audit_similarity",
        bind="query-params",
        width=420,
        help="Chooses the pairs that are shown here and changes nothing else.",
    )
    shown = rows[rows.score.between(low, high)]
    across = (shown.label != shown.other_label).sum()
    st.markdown(
        f"**{len(shown):,} pairs from {low:.2f} to {high:.2f}**, {across:,} of them across two "
        "classes; the most similar first."
    )
    return shown


def _render_pairs(
    photos: Photos,
    index: pd.DataFrame,
    rows: pd.DataFrame,
    pairs: pd.DataFrame | None,
    desk: Desk | None,
) -> None:
    split_of = index.set_index("file").split
    points = {} if pairs is None else pairs.set_index(["one", "two"]).points
    first, last = paged(rows.file + rows.other, "audit_page", per_page=6)
    for row in rows.iloc[first:last].itertuples():
        with st.container(border=True):
            if row.kind == PAIR:
                matches = f", **{row.matches}** matched features" if row.matches else ""
                st.markdown(f"**{row.score:.2f}** similar{matches}: {row.why}")
                if desk is not None:
                    key = f"audit_pair_{row.file}_{row.other}"
                    render_pair_review(desk, row.file, row.other, key)
            with st.container(horizontal=True):
                for n, (file, label) in enumerate(
                    ((row.file, row.label), (row.other, row.other_label))
                ):
                    key = f"audit_{n}_{row.file}_{row.other}"
                    suggested = row.other_label if n == 0 else row.label
                    _render_photo(
                        photos,
                        file,
                        f"{bold(label)} · {split_of[file]}",
                        desk,
                        label,
                        key,
                        suggested,
                    )
                if row.kind == PAIR and row.matches:
                    _render_points(photos, row.file, row.other, points[row.file, row.other])
                elif row.kind == PAIR:  # between equal pictures there is nothing to see
                    _render_difference(photos, row.file, row.other)


def _render_points(photos: Photos, one: str, two: str, points: NDArray[np.float32]) -> None:
    """Draws two photos with lines between the features that match."""
    with sentence(), st.container(width=2 * _WIDTH):
        pixels = side_by_side(photos.root / one, photos.root / two, np.reshape(points, (-1, 4)))
        st.image(pixels, width="stretch", alt=f"Matches of {one} and {two}", output_format="JPEG")


def _render_difference(photos: Photos, one: str, two: str) -> None:
    with st.container(width=_WIDTH, gap="xsmall"):
        try:
            pixels = _difference(photos.root / one, photos.root / two)
        except (OSError, PhotoError):
            return
        st.image(pixels, width=_WIDTH, alt=f"Where {one} and {two} differ", output_format="JPEG")
        share = (pixels.max(axis=2) > 60).mean()
        st.caption("no difference" if not pixels.any() else f"difference, {share:.0%} of the area")


@cached(max_entries=200)
def _difference(one: Path, two: Path) -> NDArray[np.uint8]:
    return difference(one, two)


def _render_cards(photos: Photos, rows: pd.DataFrame, desk: Desk | None) -> None:
    first, last = paged(rows.file, "audit_page", per_page=12)
    with st.container(horizontal=True):
        for row in rows.iloc[first:last].itertuples():
            score = {SUSPECT: f", {row.score:.0%}", OUTLIER: f", {row.score:.1f} SD"}
            words = f"{bold(row.label)} · {plain(row.why)}{score.get(row.kind, '')}"
            with st.container(border=True, width=_WIDTH + 34):
                _render_photo(
                    photos, row.file, words, desk, row.label, "audit", row.other_label or None
                )


def _render_photo(
    photos: Photos,
    file: str,
    words: str,
    desk: Desk | None,
    label: str,
    key: str,
    suggested: str | None,
) -> None:
    with st.container(width=_WIDTH, gap="xsmall"):
        (content,) = thumbnails(source_of(photos), [file], 2 * _WIDTH)
        render_thumbnail(content, f"{file}: {label}", _WIDTH)
        st.markdown(words)
        st.button(
            plain(file.split("/")[-1]),
            key=f"{key}_open_{file}",
            type="tertiary",
            icon=":material/open_in_full:",
            on_click=open_photo,
            args=(file,),
            help=plain(f"Open {file}"),
        )
        if desk is not None:
            render_review(desk, file, label, key, suggested)
