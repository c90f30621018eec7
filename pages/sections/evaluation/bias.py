"""Evaluation, Bias: which photos are recognised less often, beyond chance."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared import loaders
from pages.shared.markdown import bold, plain
from pages.shared.predictions import answers_to
from pages.shared.widgets import OUT_OF_FOLD, figures_of, paged, photo_grid, split_name
from trashnet.evaluation.slices import ALL, sentence, slice_of
from trashnet.runs.run import Run


def render(run: Run, split: str, figures: dict[str, Any]) -> None:
    """Says the differences that are not chance, and lists all that were looked at."""
    if split != OUT_OF_FOLD and OUT_OF_FOLD in figures_of(run.evaluation()):
        st.caption("Out of fold has more photos to tell differences by; choose it above.")
    said = answers_to(run, split, figures["temperature"])
    index = loaders.run_index(run)
    if index is None:
        st.info(
            "This run has no record of how its photos look; train again.", icon=":material/info:"
        )
        return
    found = loaders.slices_of(str(run.path), loaders.stamp(run), said)
    called = found[found.is_difference]
    st.markdown(
        f"**{len(called)} of {len(found)} comparisons are differences beyond chance**, "
        f"{split_name(split)}, n = {len(said):,}."
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
    event = st.dataframe(
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
                _render_wrong(
                    run,
                    slice_of(said, index, *found.loc[number, ["quality", "end"]]),
                    found.loc[number],
                )


def _render_wrong(run: Run, inside: pd.DataFrame, row: pd.Series) -> None:
    if row.label != ALL:
        inside = inside[inside.label == row.label]
    wrong = inside[inside.label != inside.predicted]
    st.markdown(f"{bold(sentence(row))} The {len(wrong)} that are wrong:")
    first, last = paged(wrong.file, "bias_page", per_page=12)
    shown = wrong.iloc[first:last]
    captions = [
        f"{bold(row.label)}  \n{plain(row.predicted)}, {row.confidence:.0%}"
        for row in shown.itertuples()
    ]
    photo_grid(loaders.photo_root(run), shown.file, captions, width=110)
