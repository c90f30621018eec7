"""Evaluation, Bias: which photos are recognised less often, beyond chance."""

import pandas as pd
import streamlit as st

from pages.shared.caching import cached
from pages.shared.markdown import bold, plain
from pages.shared.photos import PhotoSource
from pages.shared.runs import OUT_OF_FOLD, RunView
from pages.shared.widgets import data_table, photo_cards, split_name
from trashnet.evaluation.slices import ALL, sentence, slice_of, slices
from trashnet.runs.run import Run


def render(view: RunView) -> None:
    """Says the differences that are not chance, and lists all that were looked at."""
    if view.split != OUT_OF_FOLD and OUT_OF_FOLD in view.evaluation:
        st.caption("Out of fold has more photos to tell differences by; choose it above.")
    said, index = view.predictions, view.index
    if index is None:
        st.info(
            "This run has no record of how its photos look; train again.", icon=":material/info:"
        )
        return
    found = _slices(view.run, view.split, said, index)
    called = found[found.is_difference]
    st.markdown(
        f"**{len(called)} of {len(found)} comparisons are differences beyond chance**, "
        f"{split_name(view.split)}, n = {len(said):,}."
    )
    for _, row in called.iterrows():
        st.markdown(f"- {plain(sentence(row))}")
    if called.empty:
        st.caption(
            "That says that no difference is large enough to be seen among so many photos, not "
            "that there is none."
        )
    chosen = st.container()
    st.caption("Every comparison, the largest first; choose a row for its wrongly answered photos.")
    shown = found.assign(
        accuracy=100 * found.accuracy,
        rest_accuracy=100 * found.rest_accuracy,
        difference=100 * found.difference,
    )
    percent = {
        name: st.column_config.NumberColumn(format=form)
        for name, form in (("accuracy", "%.1f %%"), ("rest_accuracy", "%.1f %%"))
    }
    event = data_table(
        shown,
        key="bias_table",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config=percent
        | {
            "difference": st.column_config.NumberColumn(format="%+.1f"),
            "p_value": st.column_config.NumberColumn("p (Holm)", format="%.3g"),
            "is_difference": st.column_config.CheckboxColumn("beyond chance"),
        },
    )
    for number in event["selection"]["rows"]:
        if number < len(found):
            with chosen:
                row = found.loc[number]
                _render_wrong(view.photos, slice_of(said, index, row.quality, row.end), row)


@cached(max_entries=16, show_spinner="Comparing slices")
def _slices(run: Run, split: str, _said: pd.DataFrame, _index: pd.DataFrame) -> pd.DataFrame:
    return slices(_said, _index, run.classes)


def _render_wrong(source: PhotoSource, inside: pd.DataFrame, row: pd.Series) -> None:
    if row.label != ALL:
        inside = inside[inside.label == row.label]
    wrong = inside[inside.label != inside.predicted]
    st.markdown(f"{bold(sentence(row))} The {len(wrong)} that are wrong:")
    photo_cards(
        source,
        wrong,
        lambda row: f"{bold(row.label)}  \n{plain(row.predicted)}, {row.confidence:.0%}",
        "bias_page",
        width=110,
    )
