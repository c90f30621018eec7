"""The evaluation page beyond the matrix: calibration, bias, robustness, labels, one photo."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pages.shared import photo_dialog
from tests.pages.visiting import metrics, open_page, pictures, run, words
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.evaluation.label_errors import suspects
from trashnet.evaluation.report import answers, report_out_of_fold
from trashnet.evaluation.slices import sentence, slices
from trashnet.files import write_json
from trashnet.runs.jobs import Job
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

SHIPPED = Run(RELEASED)


def open_tab(name: str, split: str | None = None) -> AppTest:
    page = open_page("Evaluation")
    if split is not None:
        page.segmented_control(key="evaluation_split").set_value(split)
    page.session_state["evaluation_tab"] = name
    return run(page)


@pytest.fixture
def photos(samples: Photos, env: Environment) -> Photos:
    """The sample pictures; the shipped run is the only one."""
    return samples


def test_calibration_shows_both_errors_and_a_threshold_that_moves(env: Environment) -> None:
    page = open_tab("Calibration", "out_of_fold")
    report = SHIPPED.evaluation()["out_of_fold"]
    titles = [json.loads(c.proto.spec)["layout"]["title"]["text"] for c in page.get("plotly_chart")]
    before, after = report["uncalibrated"]["ece"], report["ece"]
    assert f"{before:.3f} before temperature, {after:.3f} after" in titles[0]
    (slider,) = page.slider
    table = SHIPPED.out_of_fold()
    said = answers(table, SHIPPED.classes, table.temperature.to_numpy()[:, None])
    own, first = table.threshold[said.index], SHIPPED.evaluation()["threshold"]
    familiar = (table.distance <= table.distance_limit)[said.index]
    sure = round(report["coverage"] * report["n"])
    assert f"Withheld: {report['n'] - sure:,} photos" in words(page)  # as the header says
    for threshold in (50.0, 97.0):
        slider.set_value(threshold)
        page = run(page)
        (slider,) = page.slider
        withheld = said[~familiar | (said.confidence < own + threshold / 100 - first)]
        wrong = (withheld.label != withheld.predicted).sum()
        assert f"Withheld: {len(withheld):,} photos, {wrong:,} of which" in words(page)
        strange = said[~familiar]
        wrong = (strange.label != strange.predicted).sum()
        assert f"{len(strange):,} photos are unlike it, {wrong:,} of them" in words(page)


def test_bias_says_what_is_beyond_chance_and_nothing_else(env: Environment) -> None:
    page = open_tab("Bias", "out_of_fold")
    table = SHIPPED.out_of_fold()
    said = answers(table, SHIPPED.classes, table.temperature.to_numpy()[:, None])
    found = slices(said, pd.read_parquet(SHIPPED.path / "index.parquet"), SHIPPED.classes)
    text = words(page)
    called = [sentence(row) for _, row in found[found.is_difference].iterrows()]
    assert f"{len(called)} of {len(found)} comparisons" in text
    assert all(said in text for said in called)
    assert not any(sentence(r) in text for _, r in found[~found.is_difference].iterrows())


def test_a_cross_validated_answer_is_explained_by_the_model_that_gave_it(
    trained: Run, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def overlay(picture: np.ndarray, evidence: np.ndarray, opacity: float) -> np.ndarray:
        drawn.append(np.unique(evidence).tolist())
        return picture

    monkeypatch.setattr(photo_dialog, "overlay", overlay)
    table = trained.predictions().query("split == 'test'").drop(columns=["split", "embedding"])
    maps = [np.repeat(np.float16([1, 0]), 9)] * len(table)  # all for the answer, none for the truth
    table = table.assign(fold=0, temperature=1.0, threshold=0.5, distance_limit=2.0, maps=maps)
    table.to_parquet(trained.path / "out_of_fold.parquet", index=False)
    evaluation = trained.evaluation()
    whole = report_out_of_fold(table, trained.classes)
    write_json(trained.path / "evaluation.json", evaluation | {"out_of_fold": whole})
    said = answers(table, trained.classes)
    page = open_tab("Errors", "out_of_fold")
    page.query_params["photo"] = said[said.label != said.predicted].file.iloc[0]
    text = words(run(page))
    assert "the maps are its own, the bars are of the run's model" in text
    assert drawn == [[1.0], [0.0]]  # predicted, then true
    table.drop(columns="maps").to_parquet(trained.path / "out_of_fold.parquet", index=False)
    page = open_tab("Errors", "out_of_fold")
    page.query_params["photo"] = said.file.iloc[0]
    drawn.clear()
    assert "maps and bars are of the run's model" in words(run(page))
    assert drawn and not {0.0, 1.0} & {value for map in drawn for value in map[1:-1]}
    assert all(len(map) > 2 for map in drawn)


def test_robustness_is_shown_where_it_was_measured(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.shared.runs.RELEASED", RELEASED)
    page = open_tab("Robustness")
    text = words(page)
    page.selectbox(key="evaluation_run").set_value(trained.id)
    assert f"python -m trashnet robustness {trained.id}" in words(run(page))
    assert "on average over the transformations" in text and "validation, n = 243" in text


def test_robustness_is_measured_in_the_background(env: Environment, trained: Run) -> None:
    page = open_tab("Robustness")
    page.button(key="robustness_go").click()
    run(page)
    job = Job(trained.path, "robustness")
    assert job.is_running
    end = time.monotonic() + 120
    while job.is_running and time.monotonic() < end:
        page = open_tab("Robustness")  # as after a reload
        if job.is_running:
            assert page.get("progress") and "It goes on when this page is closed." in words(page)
        time.sleep(3)  # looking costs the measurement a core
    text = words(open_tab("Robustness"))
    n = trained.evaluation()["splits"]["validation"]["n"]
    assert "on average over the transformations" in text and f"validation, n = {n}" in text


def test_a_measurement_is_stopped_and_begun_anew(env: Environment, trained: Run) -> None:
    page = open_tab("Robustness")
    page.button(key="robustness_go").click()
    run(page)
    page.button(key="robustness_stop").click()
    run(page)
    assert not Job(trained.path, "robustness").is_running
    assert page.button(key="robustness_go") and not page.error


def test_a_measurement_that_fails_says_why(
    env: Environment, trained: Run, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_DATA", str(own_folder))  # other photos than the run's
    page = open_tab("Robustness")
    page.button(key="robustness_go").click()
    run(page)
    end = time.monotonic() + 60
    while Job(trained.path, "robustness").is_running and time.monotonic() < end:
        time.sleep(0.2)
    (said,) = open_tab("Robustness").error
    assert said.value.startswith("The measurement ended: ") and "Traceback" not in said.value


def test_suspected_labels_are_listed_the_surest_first(env: Environment) -> None:
    page = open_tab("Label errors")
    found = suspects(SHIPPED.out_of_fold(), SHIPPED.classes)
    text = words(page)
    assert f"{len(found)} of 2,521 photos" in text
    assert text.index(found.file[0]) < text.index(found.file[1])
    assert "nothing to review" not in text  # TrashNet is in use and the run's


def test_a_run_without_folds_suspects_nobody(trained: Run) -> None:
    assert "five folds" in words(open_tab("Label errors"))


def test_a_mistake_opens_with_both_maps_and_can_be_suspected(mistaken: Run) -> None:
    page = open_page("Evaluation")
    said = answers(
        mistaken.predictions().query("split == 'test'"),
        mistaken.classes,
        mistaken.evaluation()["temperature"],
    )
    first = said[said.label != said.predicted].iloc[0]
    page.button(key=f"open_{first.file}").click()
    run(page)
    maps = [alt for alt in pictures(page) if "where it looks like" in alt]
    assert maps == [
        f"{first.file}, and where it looks like {label}" for label in (first.predicted, first.label)
    ]
    assert f"{first.file}, full size" in pictures(page)
    text = words(page)
    assert "The training photos it is most like" in text and "above" in text
    assert f"In this run the photo was in test; the run answered **{first.predicted}**" in text
    page.button(key=f"dialog_relabel_{first.file}").click()
    run(page)
    assert f"relabelled {first.predicted}" in words(page)


def test_the_matrix_shows_photos_or_shares(mistaken: Run) -> None:
    page = open_page("Evaluation")

    def cells() -> list[str]:
        (chart,) = [c for c in page.get("plotly_chart") if "matrix" in c.proto.id]
        return [a["text"] for a in json.loads(chart.proto.spec)["layout"]["annotations"]]

    assert not any("%" in text for text in cells())
    page.segmented_control(key="evaluation_cells").set_value("share of the true class")
    run(page)
    assert any("%" in text for text in cells()) and metrics(page)["Accuracy"]


def test_the_table_holds_the_numbers_of_the_matrix_and_their_sums(mistaken: Run) -> None:
    page = open_page("Evaluation")
    page.segmented_control(key="evaluation_cells").set_value("table")
    run(page)
    (table,) = [d.value for d in page.dataframe if "any" in d.value]
    matrix = np.array(mistaken.evaluation()["splits"]["test"]["confusion_matrix"])
    classes = list(mistaken.classes)
    assert table.loc[classes, classes].to_numpy().tolist() == matrix.tolist()
    assert table.loc["any", classes].tolist() == matrix.sum(axis=0).tolist()
    assert table.loc[classes, "any"].tolist() == matrix.sum(axis=1).tolist()
    assert table.loc["any", "any"] == matrix.sum()


def test_photos_are_filtered_by_confidence_quality_and_flag(env: Environment) -> None:
    page = open_tab("Errors", "out_of_fold")
    table = SHIPPED.out_of_fold()
    said = answers(table, SHIPPED.classes, table.temperature.to_numpy()[:, None])
    index = pd.read_parquet(SHIPPED.path / "index.parquet")
    wrong = said[said.label != said.predicted].merge(index, on="file")
    assert f"{len(wrong)} of the out of fold photos are misclassified**, the surest" in words(page)
    page.slider(key="evaluation_confidence").set_value((80, 100))
    sure = (wrong.confidence >= 0.8).sum()
    assert f"{sure} of the out of fold photos are misclassified; confidence 80" in words(run(page))
    page.slider(key="evaluation_confidence").set_value((0, 100))
    page.selectbox(key="evaluation_flag").set_value("dark")
    dark = wrong.flag.str.contains("dark").sum()
    assert 0 < dark and f"{dark} of the out of fold photos are misclassified" in words(run(page))
    page.selectbox(key="evaluation_flag").set_value("any")
    page.selectbox(key="evaluation_quality").set_value("lowest brightness")
    limit = said.merge(index, on="file").brightness.quantile(0.25)
    dim = (wrong.brightness <= limit).sum()
    assert f"{dim} of the out of fold photos are misclassified; the quarter" in words(run(page))


def test_the_report_draws_a_curve_for_each_class(env: Environment) -> None:
    page = open_tab("Report", "out_of_fold")
    (chart,) = page.get("plotly_chart")
    drawn = json.loads(chart.proto.spec)
    assert [line["name"].split()[0] for line in drawn["data"]] == list(SHIPPED.classes)
    assert drawn["layout"]["title"]["text"].endswith("trash")
    assert "out of fold, n = 2,521; mean average precision 0.9" in words(page)


def test_a_run_without_an_index_shows_what_it_can(trained: Run) -> None:
    (trained.path / "index.parquet").unlink()
    assert metrics(open_tab("Errors"))["Accuracy"]
    (said,) = open_tab("Bias").info
    assert "no record" in said.value
