"""The card of a published run: its figures, its snippet, and what it may say of its photos."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import Training
from tests.hub.conftest import REPO
from tests.hub.hub_server import Hub, Repo
from trashnet.hub.model_card import model_card, train_command
from trashnet.hub.push_pull import push
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED


def test_the_card_states_the_figures_for_people_and_for_the_hub(hub: Hub) -> None:
    released = Run(RELEASED)
    push(released, REPO)
    text = hub.repo(REPO).files["README.md"].decode()
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "mit" and about["datasets"] == ["garythung/trashnet"]
    (entry,) = about["model-index"]
    values = {
        (result["dataset"]["split"], metric["type"]): metric["value"]
        for result in entry["results"]
        for metric in result["metrics"]
    }
    evaluation = released.evaluation()
    for split, report in (
        ("test", evaluation["splits"]["test"]),
        ("out of fold", evaluation["out_of_fold"]),
    ):
        assert values[split, "accuracy"] == pytest.approx(report["accuracy"], abs=1e-4)
        assert values[split, "f1"] == pytest.approx(report["macro_f1"], abs=1e-4)
        assert f"{report['accuracy']:.1%}".replace("%", " %") in body
    counts = evaluation["out_of_fold"]["confusion_matrix"][0]
    assert f"| **cardboard** | {' | '.join(map(str, counts))} |" in body
    assert "MIT licence" in body and "Apache-2.0" in body
    assert "python -m trashnet train --model efficientnet_lite2 --folds 5" in body


def test_the_cards_snippet_gives_the_apps_answer(
    published: Repo,
    training: Training,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.jpg", "PNG")  # exact: nothing to decode
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    code = published.files["README.md"].decode().split("```python\n")[1].split("```")[0]
    exec(compile(code, "snippet", "exec"), {})
    said = eval(capsys.readouterr().out)
    ours = Classifier(training.run).classify_pixels(photo).probabilities
    assert said == pytest.approx(ours, abs=2e-3)


def test_the_command_names_what_differs_from_the_recipe(training: Training) -> None:
    command = train_command(training.run)
    start = "python -m trashnet train --model cnn_baseline"
    assert command == f"{start} --epochs 1 --image-size 32"


def test_a_card_says_of_other_photos_only_what_is_known(
    published: Repo, training: Training, tmp_path: Path
) -> None:
    shutil.copytree(training.run.path, tmp_path / "run")
    config = training.run.config
    config["data"] |= {"name": "kitchen"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    text = model_card(Run(tmp_path / "run"), "Title", "About.", [])
    assert "plain background" not in text and "Thung" not in text and "TrashNet" not in text
    assert "whose licence is not known here" in text and "Labels are people's" in text
    push(Run(tmp_path / "run"), REPO)
    about = yaml.safe_load(published.files["README.md"].decode().split("---\n")[1])
    assert "license" not in about and "datasets" not in about


def test_names_that_are_markup_stay_text_in_a_card(training: Training, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(training.run.path, tmp_path / "run")))
    odd = "glass|<b>*x*"
    config, evaluation = run.config, run.evaluation()
    config["classes"] = [odd if name == "glass" else name for name in config["classes"]]
    config["data"] |= {"source": "folder", "name": "[me](http://x)"}
    scores = evaluation["splits"]["test"]["per_class"]
    evaluation["splits"]["test"]["per_class"] = {
        odd if name == "glass" else name: values for name, values in scores.items()
    }
    (run.path / "config.json").write_text(json.dumps(config))
    (run.path / "evaluation.json").write_text(json.dumps(evaluation))
    text = model_card(Run(run.path), "Title", "About.", [])
    assert odd not in text and "](http" not in text
    assert text.count(r"glass\|\<b\>\*x\*") == 4  # the sentence, two tables, the matrix's head
