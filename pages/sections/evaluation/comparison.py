"""Two runs side by side, for the training page and the evaluation page."""

import streamlit as st

from pages.shared.caching import cached
from pages.shared.markdown import bold, plain
from pages.shared.runs import photos_of
from pages.shared.widgets import chart, data_table, photo_cards
from trashnet.charts import compared_curves
from trashnet.errors import TrashnetError
from trashnet.evaluation.comparison import Comparison, compare, differing_settings
from trashnet.runs.run import Run


def render(one: Run, two: Run, key: str) -> None:
    """Draws what was set differently, the curves, and who is right where the other is not."""
    st.subheader(f"{one.id} against {two.id}")
    left, right = st.columns(2, gap="large")
    with left:
        _render_settings([one, two])
    with right:
        epochs = {run.id: run.epochs() for run in (one, two)}
        figure = compared_curves(epochs, "val_accuracy")
        chart(figure, f"{key}_curves", "Validation accuracy per epoch of both runs")
    if not (one.is_finished and two.is_finished):
        st.info("Their test photos are compared when both are finished.", icon=":material/info:")
        return
    try:
        result = _comparison(one, two)
    except TrashnetError as error:
        st.info(str(error), icon=":material/info:")
        return
    st.markdown(f"**{result.finding}.**")
    _render_photos(result, one, two, key)


@cached(max_entries=8)
def _comparison(one: Run, two: Run) -> Comparison:
    return compare(one, two)


def _render_settings(runs: list[Run]) -> None:
    table = differing_settings(runs)
    if table.empty:
        st.markdown("Their settings are the same.")
        return
    st.markdown("**Settings that differ**")
    data_table(table.astype(str).rename_axis("setting"), height=38 + 35 * len(table))


def _render_photos(result: Comparison, one: Run, two: Run, key: str) -> None:
    tables = {one.id: result.only_one, two.id: result.only_two}
    better = st.segmented_control(
        "Photos that one gets right and the other wrong",
        list(tables),
        default=one.id,
        required=True,
        format_func=lambda name: f"only {name} is right ({len(tables[name])})",
        key=f"{key}_better",
    )
    rows = tables[better]
    if rows.empty:
        st.caption("There are none.")
        return
    st.caption(f"Under each photo: its class, then what {one.id} · {two.id} said.")
    photo_cards(
        photos_of(one),
        rows,
        lambda row: f"{bold(row.label)}  \n{plain(row.one)} · {plain(row.two)}",
        f"{key}_page",
        per_page=24,
    )
