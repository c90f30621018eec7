"""A model that leaves answers as it did here."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from tests.conftest import Training
from tests.pages.visiting import is_sentence
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.errors import ConfigError, RunError
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED
from trashnet.training.export_formats import FORMATS, export_run


@pytest.fixture(scope="module")
def run(training: Training) -> Run:
    return training.run


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_is_exported_with_what_feeds_it(kind: str, run: Run, tmp_path: Path) -> None:
    done = export_run(run, kind, tmp_path / "mine")
    assert done["photos"] == 64 and done["of"] == "photos with stored answers"
    assert 0 <= done["difference"] < 0.005
    expected = ["README.md", "labels.txt", FORMATS[kind], "preprocessing.json"]
    assert done["files"] == sorted(expected)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(expected)
    assert (tmp_path / "mine" / "labels.txt").read_text().split() == list(run.classes)
    feed = json.loads((tmp_path / "mine" / "preprocessing.json").read_text())
    assert feed["image_size"] == run.train_config.image_size
    assert feed["temperature"] == run.evaluation()["temperature"]
    assert ("probabilities" in feed) == (kind == "mediapipe") != ("logits" in feed)


def test_an_onnx_model_answers_as_is_written_beside_it(
    run: Run, sample_photos: Photos, tmp_path: Path
) -> None:
    """Fed by its README alone, without this package."""
    export_run(run, "onnx", tmp_path / "mine")
    session = onnxruntime.InferenceSession(tmp_path / "mine" / "model.onnx")
    labels = (tmp_path / "mine" / "labels.txt").read_text().split()
    feed = json.loads((tmp_path / "mine" / "preprocessing.json").read_text())
    ours = Classifier(run)
    for file in sample_photos.files[::50]:
        with Image.open(sample_photos.root / file) as photo:
            side = feed["image_size"]
            square = photo.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.asarray(square, np.float32)[None]
        logits = session.run(["logits"], {"photos": pixels})[0][0] / feed["temperature"]
        p = np.exp(logits - logits.max())
        expected = ours.classify(sample_photos.root / file).probabilities
        assert dict(zip(labels, p / p.sum(), strict=True)) == pytest.approx(expected, abs=0.002)


def test_a_litert_model_answers_as_is_written_beside_it(
    run: Run, sample_photos: Photos, tmp_path: Path
) -> None:
    export_run(run, "litert", tmp_path / "mine")
    feed = json.loads((tmp_path / "mine" / "preprocessing.json").read_text())
    interpreter = Interpreter(str(tmp_path / "mine" / "model.tflite"))
    interpreter.allocate_tensors()
    (logits,) = [
        output
        for output in interpreter.get_output_details()
        if f"the output of shape {tuple(map(int, output['shape']))}" == feed["logits"]
    ]
    photo = load_photo(sample_photos.root / sample_photos.files[0], feed["image_size"])
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], photo[None].astype(np.float32)
    )
    interpreter.invoke()
    expected = Classifier(run).classify(sample_photos.root / sample_photos.files[0]).logits
    np.testing.assert_array_equal(interpreter.get_tensor(logits["index"])[0], expected)


def test_the_shipped_model_is_exported_without_its_photos(tmp_path: Path) -> None:
    done = export_run(Run(RELEASED), "onnx", tmp_path / "shipped")
    assert done["of"] == "pictures of noise" and done["difference"] < 1e-4
    copy = export_run(Run(RELEASED), "litert", tmp_path / "copy")
    assert copy["photos"] == 0 and "copy of the run's own file" in copy["of"]
    with pytest.raises(RunError, match=r"keeps no model\.keras"):
        export_run(Run(RELEASED), "keras", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_export_that_answers_otherwise_is_not_written(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / run.id)
    changed = Run(tmp_path / run.id)
    table = changed.predictions()
    table["logits"] = [logits + np.arange(len(logits), dtype=np.float32) for logits in table.logits]
    table.to_parquet(changed.path / "predictions.parquet", index=False)
    with pytest.raises(RunError, match="differs by .* nothing was written"):
        export_run(changed, "litert", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("mistake", ["format", "folder", "packages", "place"])
def test_a_mistake_in_exporting_is_said(
    mistake: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"format": "it must be litert", "folder": "exists already"}
    said |= {"packages": r"install -e '\.\[onnx]'", "place": "could not be written"}
    if mistake == "folder":
        (tmp_path / "mine").mkdir()
    if mistake == "place":
        (tmp_path / "mine").write_text("a file, in which there can be no folder")
        with pytest.raises(ConfigError, match=said[mistake]) as caught:
            export_run(run, "litert", tmp_path / "mine" / "deeper")
        assert is_sentence(str(caught.value))
        return
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    kind = "torch" if mistake == "format" else "onnx"
    with pytest.raises(ConfigError, match=said[mistake]) as caught:
        export_run(run, kind, tmp_path / "mine")
    assert is_sentence(str(caught.value))
