"""The training page beyond one run: presets, costs, notes, deletion, comparison, a hard end."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.pages.visiting import open_page, pictures, run, words
from trashnet.config import MODELS, RECIPES, TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.evaluation.report import evaluate
from trashnet.runs import control
from trashnet.runs.annotations import about, describe_as
from trashnet.runs.cost_estimate import Cost
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs, new_run


def widget(page: object, name: str) -> object:
    """Returns the form's widget of a setting."""
    (found,) = [
        w
        for kind in ("number_input", "selectbox", "checkbox", "slider")
        for w in getattr(page, kind)
        if w.key == f"training_{name}"
    ]
    return found


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("model", MODELS)
def test_choosing_a_network_fills_in_its_recipe(samples: Photos, model: str) -> None:
    page = open_page("Training")
    page.selectbox(key="training_model").set_value(model)
    run(page)
    recipe = TrainConfig.recipe(model).to_dict()
    for name in RECIPES["efficientnet_lite0"]:
        assert widget(page, name).value == pytest.approx(recipe[name]), name


def test_a_preset_chooses_network_and_recipe(samples: Photos) -> None:
    page = open_page("Training")
    page.pills(key="training_preset").set_value("Quick look, 2 min")
    run(page)
    assert page.selectbox(key="training_model").value == "frozen_features"
    assert widget(page, "epochs").value == 0
    assert widget(page, "epochs").disabled


def test_every_setting_is_in_the_form_within_its_range(samples: Photos) -> None:
    page = open_page("Training")
    for name in TrainConfig().to_dict():
        found = widget(page, name)
        assert found.help, name
        assert found.value == getattr(TrainConfig(), name), name
    for slider in page.slider:
        name = slider.key.removeprefix("training_")
        for end in (slider.min, slider.max):
            TrainConfig.from_dict({"model": "efficientnet_lite0", name: float(end)})


def test_what_is_asked_before_starting_is_answered_and_starts_nothing(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = Cost(step=0.5, photo=0.01, memory=1_300_000_000)
    monkeypatch.setattr("pages.sections.training.form.measured", lambda config, env: cost)
    page = open_page("Training")
    (button,) = [b for b in page.button if b.label == "How long will it take?"]
    button.click()
    said = [i.value for i in run(page).info if "memory" in i.value]
    seconds = 15 + 50 * 6 * 0.5 + 2 * 240 * 0.01  # 240 pictures, 168 to train, 6 steps of 32
    assert said == [f"About {seconds / 60:.0f} min and 1.3 GB of memory on this machine."]
    assert list_runs(env.runs) == []


# ---------------------------------------------------------------- what people write about runs


def test_a_name_and_tags_are_shown_where_the_run_is(trained: Run) -> None:
    describe_as(trained, "Night run", ("first", "small"), "To see whether it works.")
    page = open_page("Training")
    assert "Night run" in words(page)
    assert "small" in words(page) and "To see whether it works." in words(page)
    table = page.dataframe[0].value
    assert table.name.tolist() == ["Night run"]
    assert [list(tags) for tags in table.tags] == [["first", "small"]]


def test_notes_are_kept_from_the_page(trained: Run) -> None:
    page = open_page("Training")
    page.text_input(key=f"training_title_{trained.id}").set_value("Mine")
    page.text_input(key=f"training_tags_{trained.id}").set_value("a, b,, a")
    (keep,) = [b for b in page.button if b.label == "Save"]
    keep.click()
    run(page)
    assert (about(trained).title, about(trained).tags) == ("Mine", ("a", "b"))


def test_a_run_is_deleted_only_on_the_second_press(trained: Run, env: Environment) -> None:
    page = open_page("Training")
    assert f"Delete **{trained.id}**" in words(page)
    page.button(key="training_delete").click()
    run(page)
    assert list_runs(env.runs) == []
    assert "Nothing has been trained yet" in words(page)


def test_a_run_that_trains_offers_no_deletion(samples: Photos, env: Environment) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=4), samples)
    begun.write_status(state="running", **identity())
    assert [b for b in open_page("Training").button if b.key == "training_delete"] == []


# ---------------------------------------------------------------- compare


@pytest.fixture
def other(trained: Run, samples: Photos, env: Environment) -> Run:
    """A second finished run, of other settings, that is right about every photo."""
    second = new_run(env.runs, TrainConfig(epochs=9, seed=3), samples)
    table = trained.predictions()
    right = np.zeros((len(table), len(trained.classes)), np.float32)
    right[np.arange(len(table)), table.label.map(trained.classes.index)] = 9
    table = table.assign(logits=list(right))
    table.to_parquet(second.path / "predictions.parquet", index=False)
    (second.path / "evaluation.json").write_text(json.dumps(evaluate(table, trained.classes)))
    shutil.copy(trained.path / "model.tflite", second.path)
    second.write_status(state="finished")
    return second


def test_two_chosen_runs_are_compared(trained: Run, other: Run) -> None:
    page = open_page("Training")
    chosen = {"selection": {"rows": [0, 1], "columns": [], "cells": []}}
    page.session_state["training_table"] = chosen
    text = words(run(page))
    assert f"{trained.id} against {other.id}" in text
    wrong = len(trained.predictions().query("split == 'test'")) - round(
        trained.evaluation()["splits"]["test"]["accuracy"]
        * trained.evaluation()["splits"]["test"]["n"]
    )
    assert wrong > 5, "the fixture's first run must be wrong somewhere"
    assert f"{other.id} is better" in text and "McNemar" in text
    settings = next(d.value for d in page.dataframe if "epochs" in d.value.index)
    assert settings.loc["epochs"].tolist() == ["1", "9"]
    page.segmented_control(key="training_compare_better").set_value(other.id)
    assert len(pictures(run(page))) == min(wrong, 24)


def test_the_evaluation_page_compares_too(trained: Run, other: Run) -> None:
    page = open_page("Evaluation")
    page.session_state["evaluation_tab"] = "Compare"
    text = words(run(page))
    assert "McNemar" in text


# ---------------------------------------------------------------- monitor


@pytest.mark.slow
def test_a_process_that_does_not_stop_is_ended_and_its_epochs_are_kept(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STOP_GRACE", 4.0)  # a page takes a while on a busy machine
    deaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        begun = new_run(env.runs, TrainConfig(epochs=4), samples)
        began = psutil.Process(deaf.pid).create_time()
        begun.write_status(state="running", epoch=2, pid=deaf.pid, process_started=began)
        page = open_page("Training")
        page.button(key="training_stop").click()
        run(page)
        assert deaf.poll() is None, "it gets time to stop by itself"
        time.sleep(4.1)
        page = open_page("Training")
        assert not psutil.pid_exists(deaf.pid)
        assert (begun.status().state, begun.status().epoch) == ("stopped", 2)
        assert page.button(key="training_resume")
    finally:
        deaf.kill()


@pytest.mark.slow
def test_four_tabs_watch_a_training_that_goes_on_undisturbed(
    samples: Photos, env: Environment
) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=6, image_size=32, tracking="off"), samples)
    control.start(begun, env)
    tabs = [open_page("Training") for _ in range(4)]
    end = time.monotonic() + 240
    while begun.status().is_active and time.monotonic() < end:
        for tab in tabs:
            assert begun.id in words(run(tab))
            time.sleep(0.5)  # a page asks every few seconds, and training needs the cores
    assert begun.status().state == "finished"
    assert begun.epochs().epoch.tolist() == list(range(1, 7))
    for tab in tabs:
        assert [s.value for s in run(tab).success if "test photos right" in s.value]


def test_the_log_and_the_learning_rate_can_be_looked_at(samples: Photos, env: Environment) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=4), samples)
    epoch = {"kind": "epoch", "loss": 1.5, "accuracy": 0.4, "val_loss": 1.4, "val_accuracy": 0.5}
    epoch |= {"epoch": 1, "seconds": 30.0, "val_recall": [0.5] * 6, "learning_rate": 0.00025}
    epoch |= {"val_confusion_matrix": np.eye(6, dtype=int).tolist()}
    (begun.path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    lines = [f"line {i}" for i in range(60)]
    (begun.path / "train.log").write_text("\n".join(lines))
    begun.write_status(state="running", epoch=1, **identity())
    page = open_page("Training")
    assert "learning rate 0.00025" in words(page) and "GB of memory" in words(page)
    (log,) = page.code
    assert log.value.splitlines() == lines[-20:]
    assert len(page.get("plotly_chart")) == 4


def test_the_best_on_validation_answers_not_the_latest_try(trained: Run, other: Run) -> None:
    assert list_runs(trained.path.parent)[0].id == other.id, "the fixture's second run is newer"
    for better, worse in ((trained, other), (other, trained)):
        for of, accuracy in ((better, 0.9), (worse, 0.3)):
            path = of.path / "evaluation.json"
            evaluation = json.loads(path.read_text())
            evaluation["splits"]["validation"]["accuracy"] = accuracy
            path.write_text(json.dumps(evaluation))
        # The released run knows photos, and these are drawings.
        page = open_page("Classify")
        options = page.selectbox(key="classify_run").options
        assert [o for o in options if o != "released"] == [better.id, worse.id]


def test_starting_does_not_wait_for_the_photos_to_be_read(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("Training")
    for scan in env.cache.glob("scan-*"):
        scan.unlink()
    begun: list[Run] = []
    monkeypatch.setattr("pages.sections.training.form.start", lambda run, _: begun.append(run))
    (start,) = [b for b in page.button if b.label == "Start"]
    start.click()
    run(page)
    assert [r.id for r in begun] == [r.id for r in list_runs(env.runs)] and len(begun) == 1
    assert not list(env.cache.glob("scan-*"))


def test_an_offline_run_says_how_to_upload_it(trained: Run) -> None:
    (trained.path / "wandb" / "offline-run-1-a").mkdir(parents=True)
    folder = trained.path / "wandb" / "offline-run-1-a"
    assert f"`wandb sync {folder}`" in words(open_page("Training"))


def test_a_run_downloads_as_a_zip(trained: Run) -> None:
    from pages.sections.training.run_notes import _zipped

    assert all(_zipped(trained, is_owner)[:2] == b"PK" for is_owner in (True, False))
    assert Path(trained.path).is_dir()
