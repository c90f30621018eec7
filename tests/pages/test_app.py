"""The pages through AppTest: from home and alone, without photos, without runs, with a run."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from pages.shared.photos import PhotoSource
from tests.pages.visiting import (
    NEED_PHOTOS,
    PAGES,
    ROOT,
    both_ways,
    every_page,
    is_sentence,
    metrics,
    open_page,
    pictures,
    run,
    select,
    words,
)
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import digest
from trashnet.inference.calibration import probabilities
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, list_runs, new_run


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests are about a person's own runs; `test_app_released.py` is about the shipped."""
    monkeypatch.setattr("pages.shared.runs.RELEASED", tmp_path / "nothing")


# ---------------------------------------------------------------- nothing there yet


@both_ways
@pytest.mark.parametrize("name", PAGES)
def test_an_empty_home_has_trashnet_and_no_run(env: Environment, name: str, way: str) -> None:
    page = open_page(name, way)
    assert len(page.error) == 0
    assert "TrashNet, 2,527 photos" in words(page)
    if name in ("Evaluation", "Classify"):
        assert "No run has finished yet" in page.info[0].value
        assert len(page.metric) == 0
    if name == "Home":
        assert "Train a model" in page.info[0].value
    if name == "Training":
        assert "Nothing has been trained yet" in words(page)
        assert len(page.dataframe) == 0


def test_a_model_can_be_opened_without_photos(env: Environment) -> None:
    page = open_page("Training")
    page.text_input(key="training_hub_repo").set_value("nobody")
    (button,) = [b for b in page.button if b.label == "Open"]
    button.click()
    (error,) = run(page).error
    assert "'nobody' is no name on the Hub" in error.value


def test_photos_of_ones_own_are_chosen_on_the_page_remembered_and_left(
    env: Environment, own_folder: Path
) -> None:
    page = open_page("Dataset")
    page.text_input(key="photos_path").set_value(str(own_folder))
    run(page).button(key="photos_use").click()
    assert own_folder.name in words(run(page))
    assert own_folder.name in words(open_page("Training"))  # in another visit, too
    page.button(key="photos_back").click()
    assert "TrashNet, 2,527 photos" in words(run(page))


def test_a_path_without_photos_is_one_sentence_and_changes_nothing(
    env: Environment, tmp_path: Path
) -> None:
    page = open_page("Dataset")
    page.text_input(key="photos_path").set_value(str(tmp_path / "gone"))
    run(page).button(key="photos_use").click()
    (error,) = run(page).error
    assert is_sentence(error.value) and "gone" in error.value
    assert "TrashNet, 2,527 photos" in words(open_page("Dataset"))


def test_fetching_without_a_network_says_so_and_offers_again(env: Environment) -> None:
    page = open_page("Dataset")
    page.button(key="photos_fetch").click()
    run(page)
    (error,) = page.error
    assert is_sentence(error.value)
    assert "HF_HUB_OFFLINE" in error.value
    assert not page.button(key="photos_fetch").disabled


# ---------------------------------------------------------------- what is broken


@pytest.mark.parametrize("source", ["missing", "text", "pictureless", "torn", "empty folder"])
def test_a_bad_data_path_is_one_sentence_on_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    path = tmp_path / "photos.zip"
    if source == "text":
        path.write_text("no zip at all")
    elif source == "empty folder":
        path.mkdir()
    elif source != "missing":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("glass/readme.txt", "no picture " * 1000)
    if source == "torn":
        path.write_bytes(path.read_bytes()[:60])
    monkeypatch.setenv("TRASHNET_DATA", str(path))
    for name, page in every_page():
        (said,) = [c.value for c in page.sidebar.caption if "photos.zip" in c.value]
        assert is_sentence(said)
        assert [e.value for e in page.error if not is_sentence(e.value)] == []
        assert len(page.error) == (name in ("Home", *NEED_PHOTOS))


@pytest.mark.parametrize("name", PAGES)
def test_a_home_that_cannot_be_made_is_one_sentence_on_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRASHNET_HOME", str(tmp_path / "file" / "home"))
    (error,) = open_page(name).error
    assert is_sentence(error.value)
    assert "TRASHNET_HOME" in error.value


def test_half_written_runs_are_passed_over(trained: Run) -> None:
    for number, config in enumerate(["", "{", "[]", '{"train_config": 1}', '{"schema": 99}']):
        folder = trained.path.parent / f"torn-{number}"
        folder.mkdir()
        (folder / "config.json").write_text(config)
    (trained.path.parent / "empty").mkdir()
    for name, page in every_page():
        assert len(page.error) == 0
        for table in page.dataframe:
            assert "torn" not in table.value.to_string()
        if name in ("Evaluation", "Classify"):
            assert len(page.selectbox(key=f"{name.lower()}_run").options) == 1


@pytest.mark.parametrize("content", ["", '{"state": "fini', "[]", '{"state": null}', "{}"])
def test_a_torn_status_breaks_no_page(trained: Run, content: str) -> None:
    (trained.path / "status.json").write_text(content)
    for name, page in every_page():
        if name == "Training":
            assert page.button(key="training_resume")
            assert "lost" in page.dataframe[0].value.to_string()


@pytest.mark.parametrize("file", ["evaluation.json", "model.tflite", "predictions.parquet"])
def test_a_finished_run_that_lost_a_file_is_not_offered(trained: Run, file: str) -> None:
    (trained.path / file).unlink()
    for name, page in every_page():
        said = [error.value for error in page.error]
        assert len(said) == (name == "Training") and all(file in s and is_sentence(s) for s in said)
        if name in ("Evaluation", "Classify"):
            assert "No run has finished yet" in page.info[0].value
            assert file in words(page)  # why the run cannot be chosen


@pytest.mark.parametrize("state", ["waiting", "running", "stopping", "stopped", "failed", "lost"])
def test_a_run_in_any_state_breaks_no_page(samples: Photos, env: Environment, state: str) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=4), samples)
    stored = "running" if state == "lost" else state
    process = {"pid": 2**22 + 1, "process_started": 1.0} if state == "lost" else identity()
    error = "The loss is no longer a number." if state == "failed" else None
    begun.write_status(state=stored, epoch=1, error=error, **process)
    active = state in ("waiting", "running", "stopping")
    for name, page in every_page():
        assert (f"{begun.id} {state}, 25%" in words(page)) == active
        if name == "Training":
            assert state in words(page)
            assert len(page.get("progress")) == active
            offered = {b.key for b in page.button} & {"training_stop", "training_resume"}
            assert offered == {"training_stop" if active else "training_resume"}


# ---------------------------------------------------------------- dataset


def test_photos_can_be_searched_and_filtered(samples: Photos) -> None:
    page = open_page("Dataset")
    page.session_state["dataset_tab"] = page.tabs[1].label
    run(page)
    page.pills(key="dataset_class").set_value(["trash"])
    trash = [f for f in samples.files if f.startswith("trash/")]
    shown = pictures(run(page))
    assert sorted(alt.split(":")[0] for alt in shown) == sorted(trash)
    page.text_input(key="dataset_search").set_value("TRASH1.")
    assert len(pictures(run(page))) == 1
    page.text_input(key="dataset_search").set_value("no such file (")
    run(page)
    assert pictures(page) == []
    assert "No photo fits" in page.info[-1].value


def test_another_filter_starts_on_the_first_page(samples: Photos) -> None:
    page = open_page("Dataset")
    page.session_state["dataset_tab"] = page.tabs[1].label
    page.session_state[f"dataset_page_{digest(''.join(samples.files))}"] = 4
    assert "181–240 of 240" in words(run(page))
    page.pills(key="dataset_class").set_value(["glass", "trash"])
    run(page)
    assert len(pictures(page)) == 60


def test_a_zip_is_opened_where_it_is(
    env: Environment, sample_photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my waste.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sample_photos.files:
            archive.write(sample_photos.root / file, f"waste/{file}")
    monkeypatch.setenv("TRASHNET_DATA", str(path))
    page = open_page("Dataset")
    assert metrics(page)["Photos"].value == "240"
    assert len(page.error) == 0


# ---------------------------------------------------------------- training


def press_start(page: AppTest, **settings: Any) -> AppTest:
    """Fills the form in and starts."""
    for key, value in settings.items():
        (widget,) = [
            w
            for kind in ("number_input", "selectbox", "checkbox", "slider")
            for w in getattr(page, kind)
            if w.key == f"training_{key}"
        ]
        widget.set_value(value)
    (button,) = [b for b in page.button if b.form_id == "training_form" and b.label == "Start"]
    button.click()
    return run(page)


def test_starting_makes_a_run_with_the_chosen_settings(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Run, Environment]] = []
    monkeypatch.setattr(
        "pages.sections.training.form.start", lambda run, env: started.append((run, env))
    )
    page = press_start(
        open_page("Training"),
        epochs=3,
        image_size=64,
        batch_size=16,
        learning_rate=0.01,
        class_weights=False,
        brightness=0.1,
        rotation=30.0,
        horizontal_flip=False,
        seed=7,
        tracking="off",
    )
    (made,) = list_runs(env.runs)
    assert [(r.path, e.home) for r, e in started] == [(made.path, env.home)]
    chosen = {"epochs": 3, "image_size": 64, "batch_size": 16, "learning_rate": 0.01, "seed": 7}
    chosen |= {"class_weights": False, "brightness": 0.1, "rotation": 30.0}
    chosen |= {"horizontal_flip": False, "tracking": "off"}
    assert made.train_config.to_dict() | chosen == made.train_config.to_dict()
    assert made.id in words(page)
    assert len(page.get("progress")) == 1  # it is shown at once, waiting for its process
    assert made.id in page.dataframe[0].value.to_string()


def test_a_start_that_is_refused_is_said(samples: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run, env: Environment) -> None:
        raise RunError(f"The run {run.id} is being trained already; stop it first.")

    monkeypatch.setattr("pages.sections.training.form.start", refuse)
    (error,) = press_start(open_page("Training")).error
    assert "stop it first" in error.value


def test_the_form_offers_only_what_a_run_may_have(samples: Photos) -> None:
    from trashnet.errors import ConfigError

    page = open_page("Training")
    for widget in page.number_input:
        name = widget.key.removeprefix("training_")
        kind = type(getattr(TrainConfig(), name))
        for end in (widget.min, widget.max):
            TrainConfig(**{name: kind(end)})
        if kind is int:
            for beyond in (widget.min - 1, widget.max + 1):
                with pytest.raises(ConfigError):
                    TrainConfig(**{name: int(beyond)})


@pytest.mark.parametrize(("key", "value"), [("image_size", 0), ("epochs", -1), ("seed", -5)])
def test_a_value_out_of_range_is_never_started(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch, key: str, value: int
) -> None:
    monkeypatch.setattr("pages.sections.training.form.start", lambda run, env: None)
    page = open_page("Training")
    page.number_input(key=f"training_{key}").set_value(value)
    (button,) = [b for b in page.button if b.form_id == "training_form" and b.label == "Start"]
    button.click().run()
    for made in list_runs(env.runs):
        assert getattr(made.train_config, key) != value


def test_stop_reaches_the_training_process(samples: Photos, env: Environment) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=4), samples)
    begun.write_status(state="running", **identity())
    page = open_page("Training")
    page.button(key="training_stop").click()
    run(page)
    assert begun.stop_requested
    assert page.button(key="training_stop").disabled


def test_the_monitor_shows_how_far_a_training_is(samples: Photos, env: Environment) -> None:
    begun = new_run(env.runs, TrainConfig(epochs=4), samples)
    epoch = {"kind": "epoch", "loss": 1.5, "accuracy": 0.4, "val_loss": 1.4, "val_accuracy": 0.5}
    epoch |= {"epoch": 1, "seconds": 30.0, "val_recall": [0.5] * 6}
    tick = {"kind": "tick", "what": "Training", "epoch": 1, "done": 5, "total": 10}
    tick |= {"images_per_second": 78.2}
    lines = [json.dumps(epoch), json.dumps(tick), '{"kind": "ti']
    (begun.path / "metrics.jsonl").write_text("\n".join(lines))
    begun.write_status(state="running", epoch=1, **identity())
    (bar,) = open_page("Training").get("progress")
    assert bar.proto.value == int(100 * 1.5 / 4)
    assert "epoch 2 of 4" in bar.proto.text
    assert "78 images/s" in bar.proto.text
    assert "1 min 15 s left" in bar.proto.text


def test_choosing_a_run_in_the_table_shows_it(
    trained: Run, samples: Photos, env: Environment
) -> None:
    newer = new_run(env.runs, TrainConfig(), samples)
    newer.write_status(state="stopped")
    page = open_page("Training")
    assert newer.id in page.subheader[1].value
    (table,) = page.dataframe
    select(page, table.proto.id, {"rows": [1], "columns": [], "cells": []})
    assert trained.id in page.subheader[1].value


# ---------------------------------------------------------------- evaluation


def table_of(run: Run, split: str) -> pd.DataFrame:
    """Returns a split's photos with true and predicted class and confidence, from the files."""
    table = run.predictions()
    table = table[table.split == split]
    p = probabilities(np.stack(table.logits.to_numpy()), run.evaluation()["temperature"])
    predicted = np.array(run.classes)[p.argmax(axis=1)]
    return table.assign(predicted=predicted, confidence=p.max(axis=1)).reset_index(drop=True)


@both_ways
@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_every_figure_carries_its_split_and_n(mistaken: Run, way: str, split: str) -> None:
    page = open_page("Evaluation", way)
    page.segmented_control(key="evaluation_split").set_value(split)
    run(page)
    figures = mistaken.evaluation()["splits"][split]
    accuracy = metrics(page)["Accuracy"]
    assert accuracy.value == f"{figures['accuracy']:.1%}"
    assert f"{split}, n = {figures['n']}" in accuracy.delta
    assert metrics(page)["Macro F1"].value == f"{figures['macro_f1']:.3f}"


@pytest.mark.parametrize("split", ["test", "train"])
def test_choosing_classes_shows_the_photos_of_that_cell(mistaken: Run, split: str) -> None:
    matrix = np.array(mistaken.evaluation()["splits"][split]["confusion_matrix"])
    table = table_of(mistaken, split)
    page = open_page("Evaluation")
    page.segmented_control(key="evaluation_split").set_value(split)
    for true, predicted in [(0, 0), (0, 3), (2, 4), (5, 1), (5, 0)]:
        names = mistaken.classes[true], mistaken.classes[predicted]
        page.selectbox(key="evaluation_true").set_value(names[0])
        page.selectbox(key="evaluation_predicted").set_value(names[1])
        shown = {alt.split(":")[0] for alt in pictures(run(page))}
        assert len(shown) == matrix[true, predicted]
        in_cell = (table.label == names[0]) & (table.predicted == names[1])
        assert shown == set(table.file[in_cell])


def click_cell(page: AppTest, true: str, predicted: str) -> None:
    """Sends what a browser sends after a click on the matrix; AppTest has no clicks on charts."""
    (chart,) = [c for c in page.get("plotly_chart") if c.proto.id.endswith("evaluation_matrix")]
    selection = {"points": [{"customdata": [true, predicted]}], "point_indices": [0]}
    select(page, chart.proto.id, selection)


def test_a_click_on_a_cell_shows_its_photos(mistaken: Run) -> None:
    matrix = np.array(mistaken.evaluation()["splits"]["test"]["confusion_matrix"])
    page = open_page("Evaluation")
    for true, predicted in [(3, 1), (1, 1)]:
        click_cell(page, mistaken.classes[true], mistaken.classes[predicted])
        assert page.selectbox(key="evaluation_true").value == mistaken.classes[true]
        assert page.selectbox(key="evaluation_predicted").value == mistaken.classes[predicted]
        assert len(pictures(page)) == matrix[true, predicted]


def test_a_click_on_a_sum_shows_the_row_or_the_column(mistaken: Run) -> None:
    matrix = np.array(mistaken.evaluation()["splits"]["test"]["confusion_matrix"])
    page = open_page("Evaluation")
    click_cell(page, mistaken.classes[1], "any")
    assert f"{matrix[1].sum()} test photos: true {mistaken.classes[1]}, predicted any" in words(
        page
    )
    click_cell(page, "any", mistaken.classes[1])
    assert f"{matrix[:, 1].sum()} test photos: true any" in words(page)
    click_cell(page, "any", "any")
    wrong = matrix.sum() - np.trace(matrix)
    assert f"{wrong} of the test photos are misclassified" in words(page)


def test_at_first_all_mistakes_are_shown_the_surest_first(mistaken: Run) -> None:
    table = table_of(mistaken, "test")
    wrong = table[table.label != table.predicted].sort_values("confidence", ascending=False)
    page = open_page("Evaluation")
    assert f"{len(wrong)} of the test photos" in words(page)
    shown = [alt.split(":")[0] for alt in pictures(page)]
    assert shown == wrong.file.tolist()[:24]


def of_somebody_else(run: Run) -> None:
    """Makes a run's photos others of the same names, which are not on this machine."""
    run.index().assign(sha256="0" * 64).to_parquet(run.path / "index.parquet")


def test_photos_are_looked_for_where_they_are_now(mistaken: Run, tmp_path: Path) -> None:
    config = json.loads((mistaken.path / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "gone")
    (mistaken.path / "config.json").write_text(json.dumps(config))
    assert pictures(open_page("Evaluation"))


def test_figures_without_photos_have_one_banner_and_tables(mistaken: Run) -> None:
    of_somebody_else(mistaken)
    page = open_page("Evaluation")
    assert pictures(page) == []
    (banner,) = page.info
    assert "not on this machine" in banner.value
    wrong = table_of(mistaken, "test").query("label != predicted")
    (listed,) = [d.value for d in page.dataframe if "photo" in d.value]
    assert len(listed) == min(len(wrong), 24) and set(listed.photo) <= set(wrong.file)
    page.query_params["photo"] = listed.photo[0]  # as a chosen row does
    text = words(run(page))
    assert "The photo itself is not on this machine" in text
    assert "In this run the photo was in test; the run" in text and "| brightness |" in text
    for tab in ("Calibration", "Bias", "Label errors", "Compare"):
        page.session_state["evaluation_tab"] = tab
        assert pictures(run(page)) == []


def test_other_pictures_under_the_same_names_are_never_the_runs(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photos in use have TrashNet's names; the released run's stay TrashNet's own."""
    monkeypatch.setattr("pages.shared.runs.RELEASED", RELEASED)
    released = Run(RELEASED)
    for number, file in enumerate(released.index().file):
        path = tmp_path / "trashnet" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 99)).save(path)
    monkeypatch.setenv("TRASHNET_DATA", str(tmp_path / "trashnet"))
    sent: list[Path | None] = []
    path_of = PhotoSource.path
    monkeypatch.setattr(
        PhotoSource, "path", lambda self, file: sent.append(found := path_of(self, file)) or found
    )
    for name in ("Home", "Evaluation"):
        sent.clear()
        page = open_page(name, "alone")
        assert {path.parents[1] for path in sent if path} == {env.photos / "trashnet-small"}
    page.session_state["evaluation_tab"] = "Label errors"
    run(page)
    assert "not the photos in use" in words(page)
    assert not [b for b in page.button if str(b.key).startswith("label_errors_relabel")]
    page.session_state["evaluation_tab"] = "Errors"
    page.query_params["photo"] = released.predictions(["file"]).file[0]
    run(page)
    assert not [b for b in page.button if str(b.key).startswith("dialog_")]  # nothing to review
    page = open_page("Dataset", "alone")
    for tab in ("Map", "Audit"):
        page.session_state["dataset_tab"] = tab
        assert "a model that never saw" not in words(run(page)).lower()


def test_the_report_has_a_row_per_class(mistaken: Run) -> None:
    page = open_page("Evaluation")
    page.session_state["evaluation_tab"] = page.tabs[1].label
    run(page)
    table = page.dataframe[0].value
    assert list(table.index) == [*mistaken.classes, "macro average", "weighted average"]
    table = table.iloc[:-2]
    per_class = mistaken.evaluation()["splits"]["test"]["per_class"]
    assert table.support.tolist() == [per_class[c]["support"] for c in mistaken.classes]
    assert table.recall.tolist() == [per_class[c]["recall"] for c in mistaken.classes]


# ---------------------------------------------------------------- answers


@both_ways
@pytest.mark.parametrize("name", ["Home", "Classify"])
def test_an_upload_gets_the_stored_answer(
    trained: Run, samples: Photos, name: str, way: str
) -> None:
    page = open_page(name, way)
    for row in table_of(trained, "test").iloc[[0, -1]].itertuples():
        content = (samples.root / row.file).read_bytes()
        page.file_uploader[0].set_value(("a photo.jpg", content, "image/jpeg"))
        answers = [s.value for s in run(page).subheader if "%" in s.value]
        assert len(answers) == 1
        assert row.predicted in answers[0].lower()
        assert f"{row.confidence:.0%}" in answers[0]
        sure = row.confidence >= trained.evaluation()["threshold"]
        assert answers[0].startswith("Not sure") != sure
        assert len(page.error) == 0


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\xff\xd8\xff\xe0 half a header", b"\x89PNG\r\n\x1a\n"]
)
@pytest.mark.parametrize("name", ["Home", "Classify"])
def test_an_upload_that_is_no_picture_is_one_sentence(
    trained: Run, name: str, content: bytes
) -> None:
    page = open_page(name)
    page.file_uploader[0].set_value(("holiday.jpg", content, "image/jpeg"))
    (error,) = run(page).error
    assert is_sentence(error.value)


def test_several_uploads_are_answered_each_for_itself(trained: Run, samples: Photos) -> None:
    good = (samples.root / samples.files[0]).read_bytes()
    page = open_page("Classify")
    # Twice the same photo, and names that would be markup.
    names = ["one.jpg", "`two` **bold** :red[x].jpg", "one.jpg"]
    page.file_uploader[0].set_value(
        [(n, c, "image/jpeg") for n, c in zip(names, [good, b"no picture", good], strict=True)]
    )
    run(page)
    assert len(page.error) == 1
    assert len([s for s in page.subheader if "%" in s.value]) == 2


def test_home_shows_the_latest_runs_figures(trained: Run) -> None:
    page = open_page("Home")
    report = trained.evaluation()["splits"]["test"]
    assert f"**{report['accuracy']:.1%}** of {report['n']} photos" in words(page)
    assert "test photos" in words(page)
    wrong = report["n"] - int(np.trace(np.array(report["confusion_matrix"])))
    assert f"{wrong} photos it gets wrong" in words(page)
    (row,) = page.dataframe[0].value.to_dict("records")
    assert row["run"] == trained.id
    assert list(row["curve"]) == trained.epochs().val_accuracy.tolist()


# ---------------------------------------------------------------- the app's process

VISIT = """
import json, sys
from pathlib import Path
from streamlit.testing.v1 import AppTest

root, photo, *pages = sys.argv[1:]
page = AppTest.from_file(Path(root, "home.py"), default_timeout=60).run()
for name in pages:
    page.switch_page(name).run()
    assert not page.exception, [e.value for e in page.exception]
page.file_uploader[0].set_value(("photo.jpg", Path(photo).read_bytes(), "image/jpeg")).run()
answers = [s.value for s in page.subheader if "%" in s.value]
heavy = ["tensorflow", "keras", "wandb", "datasets", "torch", "huggingface_hub"]
print(json.dumps({"answers": answers, "heavy": [m for m in heavy if m in sys.modules]}))
"""


@pytest.mark.slow
def test_the_apps_process_stays_free_of_tensorflow(trained: Run, samples: Photos) -> None:
    photo = samples.root / samples.files[0]
    *children, classify = [path for path in PAGES.values() if path != "home.py"]
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(ROOT), str(photo), *children, classify],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said["answers"]) == 1
    assert said["heavy"] == []
