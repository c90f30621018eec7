"""A person's own photos become a test set."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Training
from tests.data.test_archive import jpeg, zip_bytes
from tests.pages.visiting import is_sentence, metrics, open_page, run, words
from trashnet.data.dataset import Photos
from trashnet.errors import DataError
from trashnet.evaluation.external_test import evaluate_own
from trashnet.evaluation.metrics import wilson_interval
from trashnet.evaluation.report import answers
from trashnet.inference.classifier import Classifier
from trashnet.inference.inputs import named_photos
from trashnet.runs.run import Run


def test_the_runs_own_test_photos_give_its_own_figures(
    training: Training, sample_photos: Photos
) -> None:
    table = training.run.predictions().query("split == 'test'")
    photos = [(file, sample_photos.root / file) for file in table.file]
    found = evaluate_own(training.run, photos)
    stored = training.run.evaluation()["splits"]["test"]
    for name in ("n", "accuracy", "macro_f1", "nll", "coverage"):
        assert found.figures[name] == pytest.approx(stored[name])
    assert found.figures["confusion_matrix"] == stored["confusion_matrix"]
    said = answers(table, training.run.classes, training.run.evaluation()["temperature"])
    assert found.table.file.tolist() == said.file.tolist()
    assert found.left_out == {}


def test_a_folder_says_the_class_whatever_its_case(training: Training, tmp_path: Path) -> None:
    for name in ("mine/Glass/a.jpg", "mine/glass/b.jpg", "mine/bones/c.jpg", "mine/metal/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture" if "d.jpg" in name else jpeg())
    found = evaluate_own(training.run, named_photos([str(tmp_path / "mine")], io.BytesIO()))
    assert found.table.label.tolist() == ["glass", "glass"] and found.figures["n"] == 2
    ((name, why),) = found.left_out.items()
    assert Path(name).name == "d.jpg" and "not a picture" in why
    assert found.unknown["bones"]["n"] == 1


def test_recall_and_what_it_is_sure_of_follow_from_single_answers(
    training: Training, sample_photos: Photos
) -> None:
    table = training.run.predictions()
    some = [*table.file[table.label == "glass"][:9], *table.file[table.label == "metal"][:5]]
    known = [(file, sample_photos.root / file) for file in some]
    strange = [(f"bones/{Path(f).name}", sample_photos.root / f) for f in table.file[:30]]
    found = evaluate_own(training.run, [*strange, *known, *strange[:1]])
    classifier = Classifier(training.run)
    said = [classifier.classify(path) for _, path in known]
    right = np.array([a.label == file.split("/")[0] for a, file in zip(said, some, strict=True)])
    figures, sure = found.figures, np.array([a.sure for a in said])
    assert figures["mean_recall"] == pytest.approx((right[:9].mean() + right[9:].mean()) / 2)
    assert figures["per_class"]["metal"]["recall_interval"] == wilson_interval(right[9:].sum(), 5)
    assert "recall_interval" not in figures["per_class"]["paper"]
    assert figures["coverage"] == sure.mean()
    count = sum(classifier.classify(path).sure for _, path in [*strange, *strange[:1]])
    assert found.unknown == {
        "bones": {
            "n": 31,
            "sure": count,
            "share": count / 31,
            "interval": wilson_interval(count, 31),
        }
    }


def test_photos_of_no_class_are_one_sentence(training: Training) -> None:
    with pytest.raises(DataError, match="make one of cardboard") as caught:
        evaluate_own(training.run, [("a.jpg", jpeg()), ("bones/b.jpg", jpeg())])
    assert is_sentence(str(caught.value))


def test_the_nearest_folder_says_the_class_and_none_above_the_given_one(
    training: Training, tmp_path: Path
) -> None:
    root = tmp_path / "trash"
    for name in ("glass/phone/a.jpg", "glass/METAL/b.jpg", "bones/c.jpg", "d.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg())
    photos = named_photos([str(root)], io.BytesIO())
    found = evaluate_own(training.run, photos, root=str(root))
    labels = dict(zip(found.table.file.map(lambda f: Path(f).name), found.table.label, strict=True))
    assert labels == {"a.jpg": "glass", "b.jpg": "metal", "d.jpg": "trash"}
    assert found.left_out == {} and set(found.unknown) == {"bones"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"glass/a.jpg": jpeg()[:200], "glass/b.jpg": jpeg()[:200]},
            "it is damaged.* .2, such as .*glass/a.jpg",
        ),
        ({"bones/a.jpg": jpeg(), "x/notes.txt": b"x"}, "no class of the run: 'bones'"),
        ({"glass/notes.txt": b"x"}, "not a picture .*glass/notes.txt"),
        ({}, "there is none"),
    ],
)
def test_an_empty_result_gives_its_reasons(
    training: Training, tmp_path: Path, content: dict[str, bytes], said: str
) -> None:
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    left_out: dict[str, str] = {}
    photos = named_photos([str(tmp_path)], io.BytesIO(), left_out)
    with pytest.raises(DataError, match=rf"{said}.*make one of cardboard") as caught:
        evaluate_own(training.run, photos, root=str(tmp_path), left_out=left_out)
    assert is_sentence(str(caught.value))


def test_the_command_line_evaluates_a_folder(
    training: Training, sample_photos: Photos, command: Callable[..., Any]
) -> None:
    code, output, errors = command(
        "evaluate", training.run.path, "--photos", sample_photos.root, "--json"
    )
    assert code == 0, errors
    said = json.loads(output)
    assert (said["run"], said["split"], said["n"]) == (training.run.id, "own photos", 240)


def test_a_zip_is_evaluated_on_the_page(trained: Run, samples: Photos) -> None:
    files = samples.files[::20]
    page = open_page("Evaluation")
    page.session_state["evaluation_tab"] = "Own photos"
    run(page)
    content = {f"my photos/{file}": (samples.root / file).read_bytes() for file in files}
    content["my photos/bones/x.jpg"] = jpeg()
    page.file_uploader[0].upload("mine.zip", zip_bytes(content), "application/zip")
    run(page)
    expected = evaluate_own(trained, [(file, samples.root / file) for file in files])
    shown = metrics(page)["Accuracy on your photos"]
    assert shown.value == f"{expected.figures['accuracy']:.1%}"
    assert f"yours, n = {len(files)}" in shown.delta
    page.file_uploader[0].upload("mine.zip", zip_bytes({"a.jpg": jpeg()}), "application/zip")
    assert "make one of cardboard" in run(page).error[0].value
    assert "Traceback" not in words(page)
