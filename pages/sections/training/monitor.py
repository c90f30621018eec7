"""Training, monitor: the run that trains now, or the latest one, read from its directory."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.sections.training import run_notes
from pages.shared.markdown import plain
from pages.shared.owner import locked, owner_only
from pages.shared.page import page_link
from pages.shared.progress import duration, sentence
from pages.shared.runs import active_run, all_runs
from pages.shared.widgets import chart
from trashnet.charts import confusion, recall_bars, training_curves
from trashnet.environment import environment
from trashnet.runs.annotations import about
from trashnet.runs.control import end_if_overdue, start, stop
from trashnet.runs.damage import damage_of
from trashnet.runs.run import Run

REFRESH_SECONDS = 2
STATE_ICONS = {
    "waiting": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "stopping": ":material/stop_circle:",
    "stopped": ":material/pause_circle:",
    "finished": ":material/check_circle:",
    "failed": ":material/error:",
    "lost": ":material/link_off:",
}


def render() -> None:
    """Draws the run in view; refreshes by itself only while something is happening."""
    runs = all_runs()
    if not runs:
        st.info(
            "Nothing has been trained yet. Start a run and watch it here.",
            icon=":material/model_training:",
        )
        return
    chosen = st.session_state.get("training_run")
    run = next((r for r in runs if r.id == chosen), None) or active_run() or runs[0]
    active = run.status().is_active
    st.fragment(_render_state, run_every=REFRESH_SECONDS if active else None)(run)
    # Figures cost more than a bar, and there is nothing new to draw before the next epoch.
    st.fragment(_render_epochs, run_every=_epoch_refresh(run) if active else None)(run)
    _render_result(run)
    run_notes.render(run)  # outside, so that no refresh disturbs what is being typed


def _epoch_refresh(run: Run) -> float:
    """Seconds between two looks for a new epoch: two an epoch, as far as its length is known."""
    epochs = run.epochs()
    seconds: Any = epochs.seconds.dropna() if "seconds" in epochs else []
    return min(30.0, max(REFRESH_SECONDS, seconds.median() / 2)) if len(seconds) else 5.0


def _render_state(run: Run) -> None:
    """Draws name, buttons and progress."""
    status, config = run.status(), run.train_config
    seen = st.session_state.get("training_seen")
    st.session_state["training_seen"] = (run.id, status.state)
    if seen is not None and seen[0] == run.id and seen[1] != status.state:
        st.rerun()  # the whole page: the form, the table and the sidebar show another state now
    with st.container(horizontal=True, vertical_alignment="center"):
        name = plain(about(run).title) or run.id
        st.subheader(f"{STATE_ICONS[status.state]} {name}", width="stretch")
        _render_buttons(run)
    if status.is_active:
        rows = run.metrics()
        tick = rows[-1] if rows and _is_tick(rows[-1]) else None
        _render_progress(run, tick, rows)
    else:
        epochs = f"epoch {status.epoch} of {config.total_epochs}, " if config.epochs else ""
        precision = run.config["precision"]  # none where it never started
        computed = f", computed in {precision}" if precision else ""
        st.caption(f"{status.state}, {epochs}{duration(status.seconds)}{computed}")
    if status.error:
        st.error(status.error, icon=":material/error:")


def _is_tick(row: dict[str, Any]) -> bool:
    return row["kind"] == "tick" and bool(row.get("what") and row.get("total") and "done" in row)


def _render_epochs(run: Run) -> None:
    """Draws the curves and what the latest epoch knows."""
    epochs = run.epochs()
    if epochs.empty:
        return
    one, two = st.columns(2)
    for column, metric in ((one, "loss"), (two, "accuracy")):
        with column:
            figure = training_curves(epochs, metric, run.train_config.epochs)
            chart(figure, f"training_{metric}", f"{metric} per epoch, train and validation")
    _render_latest_epoch(run, epochs.iloc[-1])
    _render_details(run, epochs)


def _render_result(run: Run) -> None:
    if damage := damage_of(run):
        st.error(f"This run is damaged: {damage}. Train it again.", icon=":material/error:")
    if damage or not run.is_finished:
        return
    report = run.evaluation()["splits"]["test"]
    low, high = report["accuracy_interval"]
    st.success(
        f"Finished: {report['accuracy']:.1%} of {report['n']} test photos right "
        f"(95 % interval {low:.1%} to {high:.1%}).",
        icon=":material/check_circle:",
    )
    page_link("pages/3_Evaluation.py", "See where it fails", ":material/monitoring:")


def _render_latest_epoch(run: Run, epoch: pd.Series) -> None:
    one, two = st.columns(2)
    if isinstance(epoch.get("val_recall"), list):
        with one:
            figure = recall_bars(epoch.val_recall, run.classes)
            chart(figure, "training_recall", "Recall of each class after the latest epoch")
    if isinstance(epoch.get("val_confusion_matrix"), list):
        figure = confusion(
            epoch.val_confusion_matrix,
            run.classes,
            f"Validation, epoch {epoch.epoch}",
            dark=st.context.theme.type == "dark",
        )
        alt = "Confusion matrix of the validation photos after the latest epoch"
        with two:
            chart(figure, "training_matrix", alt)


def _render_details(run: Run, epochs: pd.DataFrame) -> None:
    with st.expander("Details and log", key="training_details"):
        _render_log(run, epochs)


@owner_only
def _render_log(run: Run, epochs: pd.DataFrame) -> None:
    """Draws what one looks at when something seems odd; it names what is on this machine."""
    facts = []
    if "learning_rate" in epochs:
        facts.append(f"learning rate {epochs.learning_rate.iloc[-1]:.2g}")
    if (memory := run.memory()) is not None:
        facts.append(f"{memory / 1e9:.1f} GB of memory")
    facts.append(f"in `{run.path}`")
    st.caption(" · ".join(facts))
    offline = sorted((run.path / "wandb").glob("offline-run-*"))
    if offline:
        st.caption(f"W&B kept this run offline; `wandb sync {offline[-1]}` uploads it.")
    if tail := run.log_tail():
        st.code(tail, language=None, wrap_lines=True)


def _render_buttons(run: Run) -> None:
    with sentence():
        end_if_overdue(run)
    status = run.status()
    if status.is_active:
        stopping = run.stop_requested
        label, look = "Stopping…" if stopping else "Stop", locked(disabled=stopping)
        if st.button(label, icon=":material/stop:", key="training_stop", **look):
            _stop(run)
    elif status.state != "finished" and st.button(
        "Resume", icon=":material/play_arrow:", key="training_resume", **locked()
    ):
        _resume(run)


@owner_only
def _stop(run: Run) -> None:
    with sentence():
        stop(run)
        st.rerun()  # the sidebar says it too


@owner_only
def _resume(run: Run) -> None:
    with sentence():
        start(run, environment())
        st.rerun()


def _render_progress(run: Run, tick: dict[str, Any] | None, rows: list[dict[str, Any]]) -> None:
    status, config = run.status(), run.train_config
    if status.state == "waiting":
        other = active_run() or run
        waits = other.path != run.path
        st.progress(0.0, f"Waiting until {other.id} is over" if waits else "Starting")
        return
    if tick and tick["what"] != "Training":
        st.progress(
            tick["done"] / max(1, tick["total"]),
            f"{tick['what']}: {tick['done']:,} of {tick['total']:,}",
        )
        return
    part = tick["done"] / tick["total"] if tick and tick.get("epoch") == status.epoch else 0.0
    done = status.epoch + part
    total = max(1, config.total_epochs)
    text = f"epoch {min(status.epoch + 1, total)} of {total}"
    if tick and "images_per_second" in tick:
        text += f" · {tick['images_per_second']:.0f} images/s"
    if (left := _seconds_left(rows, total - done)) is not None:
        text += f" · {duration(left)} left"
    st.progress(min(1.0, done / total), text)


def _seconds_left(rows: list[dict[str, Any]], epochs_left: float) -> float | None:
    epochs = [row for row in rows if row["kind"] == "epoch" and row["epoch"]]
    seconds = [row["seconds"] for row in epochs if row.get("seconds") is not None][-5:]
    return epochs_left * sum(seconds) / len(seconds) if seconds else None
