"""The shipped model: its figures are what its files say, and it answers as it did."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import run_command
from tests.pictures import squares
from tools.release import released_card
from trashnet.data.dataset import Photos, trashnet_facts
from trashnet.evaluation.report import evaluate, report_out_of_fold
from trashnet.files import read_json
from trashnet.hub.model_card import ELSEWHERE
from trashnet.inference.calibration import probabilities
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

RUN = Run(RELEASED)
README = (RELEASED.parent.parent / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return RUN.predictions()


@pytest.fixture(scope="module")
def out_of_fold() -> pd.DataFrame:
    table = RUN.out_of_fold()
    assert table is not None
    return table


def test_it_is_a_finished_run_small_enough_for_git_and_free_of_this_machine() -> None:
    assert RUN.is_finished
    assert RUN.config["data"]["root"] == ""
    assert RUN.train_config.to_dict()["folds"] == 5
    for path in RELEASED.iterdir():
        assert path.stat().st_size < 10_000_000, path
        if path.suffix in (".json", ".jsonl", ".md"):
            text = path.read_text("utf-8")
            assert "/home/" not in text and "/tmp/" not in text and "/work/" not in text


def test_its_evaluation_is_that_of_its_predictions(
    predictions: pd.DataFrame, out_of_fold: pd.DataFrame
) -> None:
    stored = RUN.evaluation()
    again = evaluate(predictions, RUN.classes)
    again["out_of_fold"] = report_out_of_fold(out_of_fold, RUN.classes)
    assert_alike(again, stored)


def assert_alike(one: object, two: object) -> None:
    """Numbers may differ in the last digits between machines."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_alike(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_alike(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(two, rel=1e-6)
    else:
        assert one == two


def test_the_command_line_gives_test_and_out_of_fold_figures(tmp_path: Path) -> None:
    code, output, errors = run_command(tmp_path, "evaluate", "released", "--json")
    assert code == 0, errors
    result, stored = json.loads(output), RUN.evaluation()
    assert result["split"] == "test"
    assert {k: result[k] for k in stored["splits"]["test"]} == stored["splits"]["test"]
    assert result["out_of_fold"] == stored["out_of_fold"]


def test_every_photo_is_answered_once_by_the_fold_it_is_in(
    predictions: pd.DataFrame, out_of_fold: pd.DataFrame
) -> None:
    facts, index = trashnet_facts(), RUN.index().set_index("file")
    kept = facts.index[~facts.flag.str.contains("conflict")]
    assert sorted(out_of_fold.file) == sorted(kept)
    assert (out_of_fold.fold.to_numpy() == index.fold.reindex(out_of_fold.file).to_numpy()).all()
    # An object's photos share a fold, so the model that answers one has seen none of them, as far
    # as objects were known when it was trained.
    assert index.loc[kept].groupby("group").fold.nunique().max() == 1
    assert (out_of_fold.label.to_numpy() == facts.label.reindex(out_of_fold.file)).all()
    splits = index.split.reindex(predictions.file)
    used = predictions.split.to_numpy() != "excluded"
    assert (predictions.split.to_numpy()[used] == splits.to_numpy()[used]).all()


def test_the_first_fold_is_the_shipped_model(
    predictions: pd.DataFrame, out_of_fold: pd.DataFrame
) -> None:
    test = predictions[predictions.split == "test"].set_index("file")
    first = out_of_fold[out_of_fold.fold == 0].set_index("file")
    assert set(first.index) == set(test.index)
    ours = np.stack(test.logits.reindex(first.index).to_numpy())
    np.testing.assert_array_equal(ours, np.stack(first.logits.to_numpy()))


def test_documents_state_the_figures_of_the_files() -> None:
    evaluation = RUN.evaluation()
    test, whole = evaluation["splits"]["test"], evaluation["out_of_fold"]
    card = (RELEASED / "README.md").read_text("utf-8")
    (row,) = [
        line for line in README.splitlines() if line.startswith("| `efficientnet_lite2`, shipped")
    ]
    for report in (whole, test):
        low, high = (f"{100 * edge:.1f}" for edge in report["accuracy_interval"])
        for text in (card, row):
            assert f"{report['accuracy']:.1%}".replace("%", " %") in text
            assert f"{low}–{high}" in text
    assert f"{whole['macro_f1']:.3f}" in row and f"{whole['ece']:.3f}" in row
    elsewhere = read_json(RELEASED / ELSEWHERE)
    assert elsewhere["n"] == 385 and len(elsewhere["sources"]) == 2
    assert f"**{elsewhere['mean_recall']:.1%}**".replace("%", " %") in card
    assert f"| {100 * elsewhere['mean_recall']:.1f} % |" in row


def test_its_card_is_what_the_card_writer_says() -> None:
    assert (RELEASED / "README.md").read_text("utf-8") == released_card(RUN)


@pytest.mark.slow
def test_it_answers_real_photos_as_it_did(
    shipped_photos: Photos, predictions: pd.DataFrame, tmp_path: Path
) -> None:
    """All test photos, through the command line, file by file."""
    test = predictions[predictions.split == "test"].set_index("file")
    paths = [str(shipped_photos.root / file) for file in test.index]
    command = ("classify", "--run", "released", "--json", *paths)
    code, output, errors = run_command(tmp_path, *command)
    assert code == 0, errors
    answers = {str(Path(a["file"]).relative_to(shipped_photos.root)): a for a in json.loads(output)}
    temperature = RUN.evaluation()["temperature"]
    for file, row in test.iterrows():
        stored = dict(zip(RUN.classes, probabilities(row.logits, temperature), strict=True))
        # Other processors round otherwise; on one machine the answers are the same to the bit.
        assert answers[file]["probabilities"] == pytest.approx(stored, abs=2e-3)
        if sorted(stored.values())[-2] < max(stored.values()) - 4e-3:
            assert answers[file]["label"] == max(stored, key=stored.__getitem__)


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_that_is_no_waste_is_not_answered_surely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    side = RUN.train_config.image_size
    noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    for pixels in (noise, squares(side, seed)):
        assert not Classifier(RUN).classify_pixels(pixels).sure
