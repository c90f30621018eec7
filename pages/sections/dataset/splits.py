"""Dataset, Splits: what each way of splitting leaks from train to test, with the photos."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from pages.shared.caching import cached
from pages.shared.markdown import plain
from pages.shared.photos import source_of
from pages.shared.progress import sentence
from pages.shared.widgets import chart, choose_one, data_table, photo_grid, share_text
from trashnet.charts import leak_bars
from trashnet.data.audit_findings import SAME_OBJECT, SAME_PRINT, SAME_PRINT_ACROSS, SIMILAR
from trashnet.data.dataset import Photos, trashnet_facts
from trashnet.data.leakage import (
    COST,
    COST_CROSS_VALIDATED,
    STILL_LEAKING,
    Way,
    ways_to_split,
)
from trashnet.evaluation.metrics import wilson_interval

NAMES = {
    "hub_rows": "Random, the Hub's rows",
    "random": "Random",
    "authors": "The authors' lists",
    "grouped": "By object",
}
MEANING = {
    "hub_rows": "`load_dataset` on TrashNet's Hub repository gives 5,054 rows: every photo twice. "
    "A random split of them puts the very same picture in train and in test.",
    "random": "Photo by photo, stratified by class. Photos of one object fall on both sides.",
    "authors": "The lists that TrashNet's authors published. They were dealt photo by photo, too.",
    "grouped": "All photos of one object on one side, stratified by class. What is left lies below "
    f"the lines that tell objects apart: a similarity of {SAME_OBJECT:.2f}, {SAME_PRINT} matched "
    f"features, or {SAME_PRINT_ACROSS} across two classes.",
}
_PAIRS_SHOWN = 9


def render(photos: Photos, scanned: pd.DataFrame, groups: pd.Series, pairs: pd.DataFrame) -> None:
    """Draws the leaks of every way, what they are worth in accuracy, and pairs that leak.

    Args:
        photos: The data set.
        scanned: Its scan.
        groups: The object of each photo, by file.
        pairs: The photos that are similar (`trashnet.data.audit_findings.known_pairs`).
    """
    facts = scanned.loc[scanned.error.isna(), ["file", "label"]].reset_index(drop=True)
    facts["group"] = facts.file.map(groups).astype(int)
    with sentence():
        authors = trashnet_facts().authors_split if photos.is_trashnet else None
        _render_ways(photos, _ways(facts, pairs.drop(columns="points"), authors))


@cached(max_entries=4, show_spinner="Splitting the photos in every way")
def _ways(facts: pd.DataFrame, pairs: pd.DataFrame, authors: pd.Series | None) -> dict[str, Way]:
    return ways_to_split(facts, pairs, authors)


def _render_ways(photos: Photos, ways: dict[str, Way]) -> None:
    names = [name for name in NAMES if name in ways and (name != "hub_rows" or photos.is_trashnet)]
    ways = {name: ways[name] for name in names}
    st.write(
        "A test says something only about photos the model has not seen. Where another photo of "
        "the same object was trained on, the model can know the answer by heart: that is a leak."
    )
    threshold = st.slider(
        "Similarity from which two photos count as near-duplicates",
        SIMILAR,
        0.98,
        SAME_OBJECT,
        0.01,
        key="splits_threshold",
        persist_state="session",
        width=420,
        help="Cosine of the photos' ImageNet embeddings. Photos with a print in common "
        f"({SAME_PRINT} matched features, {SAME_PRINT_ACROSS} across two classes) always count. "
        "This changes what is shown here, not how photos are split.",
    )
    leaking = {name: way.leaking(threshold) for name, way in ways.items()}
    _render_figures(photos, ways, leaking)
    _render_pairs(photos, ways, leaking)


def _render_figures(
    photos: Photos, ways: Mapping[str, Way], leaking: Mapping[str, pd.DataFrame]
) -> None:
    rows = pd.DataFrame(
        {
            "way": [NAMES[name] for name in ways],
            "leaked": [_leaked(photos, name, leaking[name]) for name in ways],
            "tested": [way.tested for way in ways.values()],
        }
    )
    random = rows.set_index("way").loc[NAMES["random"]]
    grouped = rows.set_index("way").loc[NAMES["grouped"]]
    by_object = f"{grouped.leaked / grouped.tested:.0%}"
    by_object = f"at least {by_object}" if photos.is_trashnet else f"{by_object} that we know of"
    title = f"A random split leaks {random.leaked / random.tested:.0%}, by object {by_object}"
    left, right = st.columns([3, 2], gap="large")
    with left:
        chart(leak_bars(rows, title), "splits_leaks", title)
    with right:
        if photos.is_trashnet:
            _render_cost()
        else:
            st.markdown("**What is it worth in accuracy?**")
            st.caption(
                "Train twice with the same settings, by object and at random, and compare the two "
                "runs on the evaluation page: the difference is what the leak flatters."
            )


def _leaked(photos: Photos, name: str, leaking: pd.DataFrame) -> int:
    """By object none is left that the audit knows of: what a look at the others found counts."""
    known = STILL_LEAKING if name == "grouped" and photos.is_trashnet else 0
    return max(known, len(leaking))


def _render_cost() -> None:
    st.markdown("**What a leak is worth: test accuracy of `frozen_features`**")
    measured = [name for name in NAMES if name in COST]
    table = pd.DataFrame(
        {
            "way": [NAMES[name] for name in measured],
            "accuracy": [_accuracy(*COST[name]) for name in measured],
            "test photos": [COST[name][1] for name in measured],
        }
    )
    data_table(table, hide_index=True, key="splits_cost")
    by_object, at_random = (_accuracy(*COST_CROSS_VALIDATED[n]) for n in ("grouped", "random"))
    st.caption(
        "With 95 % intervals; the three have different test photos. Cross-validated over all "
        f"photos it is {by_object} by object and {at_random} at random. The README has the "
        "commands. Of the Hub's rows nothing is measured: four in five of its test rows were "
        "trained on."
    )


def _accuracy(right: int, n: int) -> str:
    return share_text(right / n, wilson_interval(right, n))


def _render_pairs(
    photos: Photos, ways: Mapping[str, Way], leaking: Mapping[str, pd.DataFrame]
) -> None:
    way = choose_one(
        "Leaked photos", list(ways), "random", key="splits_way", format_func=NAMES.__getitem__
    )
    st.caption(MEANING[way])
    pairs = leaking[way]
    if pairs.empty:
        n = ways[way].tested
        found = (
            f"At least {STILL_LEAKING} of them ({STILL_LEAKING / n:.0%}) still show an object that "
            "is learned from: we looked at pairs that the audit had not joined (docs/data.md)."
            if photos.is_trashnet
            else "A pair that no audit can see, such as two plain bottles, may still be there."
        )
        st.info(
            f"None of its {n:,} test photos counts as one object with a photo of train: that holds "
            f"by construction. {found}",
            icon=":material/info:",
        )
        return
    # Spread over all that leak, not the worst alone.
    step = max(1, len(pairs) // _PAIRS_SHOWN)
    shown = pairs.iloc[::step].head(_PAIRS_SHOWN)
    st.caption(
        f"{len(shown)} of {len(pairs):,} leaked test photos ({ways[way].tested:,} tested), each "
        "beside the photo of train or validation that gives it away; the most similar first."
    )
    with st.container(horizontal=True, gap="medium"):
        for row in shown.itertuples():
            with st.container(border=True, width=292):
                matches = f", **{row.matches}** matched features" if row.matches else ""
                st.markdown(f"similarity **{row.similarity:.2f}**{matches}")
                photo_grid(
                    source_of(photos),
                    [row.test, row.train],
                    [
                        f"**{end}** {plain(getattr(row, end).split('/')[1])}"
                        for end in ("test", "train")
                    ],
                    width=120,
                )
