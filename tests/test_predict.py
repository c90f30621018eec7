"""A photo gets the stored answer, however it comes, without TensorFlow and from any thread."""

import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trashnet.data import Photos
from trashnet.errors import PhotoError, RunError
from trashnet.evaluate import probabilities
from trashnet.photos import load_photo
from trashnet.predict import Classifier, Prediction, picture_paths
from trashnet.runs import Run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(training: Any) -> Run:
    return training.run


@pytest.fixture(scope="module")
def classifier(run: Run) -> Classifier:
    return Classifier(run)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may damage."""
    shutil.copytree(run.path, tmp_path / run.id)
    return Run(tmp_path / run.id)


def assert_same(ours: Prediction, theirs: Prediction) -> None:
    assert ours.to_dict() == theirs.to_dict()
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    np.testing.assert_array_equal(ours.feature_map, theirs.feature_map)


@pytest.mark.parametrize("source", ["path", "text", "bytes", "file"])
def test_a_photo_gets_its_stored_answer_exactly(
    source: str, run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    temperature = run.evaluation()["temperature"]
    for row in run.predictions().iloc[::24].itertuples():
        path = sample_photos.root / row.file
        forms = {
            "path": path,
            "text": str(path),
            "bytes": path.read_bytes(),
            "file": io.BytesIO(path.read_bytes()),
        }
        prediction = classifier.classify(forms[source])
        np.testing.assert_array_equal(prediction.logits, row.logits)
        np.testing.assert_array_equal(prediction.embedding, row.embedding)
        expected = probabilities(row.logits, temperature)
        assert list(prediction.probabilities.values()) == expected.tolist()
        assert prediction.label == run.classes[expected.argmax()]


def test_an_answer_is_consistent_in_itself(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    threshold = run.evaluation()["threshold"]
    answers = [classifier.classify(sample_photos.root / f) for f in sample_photos.files[::12]]
    for answer in answers:
        assert tuple(answer.probabilities) == run.classes
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert answer.confidence == max(answer.probabilities.values())
        assert answer.probabilities[answer.label] == answer.confidence
        assert answer.sure == (answer.confidence >= threshold)
        np.testing.assert_allclose(
            answer.feature_map.mean(axis=(0, 1)), answer.embedding, rtol=1e-6
        )
    assert len({answer.confidence for answer in answers}) > 1


def test_sure_follows_the_runs_threshold(copied: Run, sample_photos: Photos) -> None:
    text = (copied.path / "evaluation.json").read_text()
    threshold = copied.evaluation()["threshold"]
    photo = sample_photos.root / sample_photos.files[0]
    for other, sure in ((0.0, True), (1.0, False)):
        changed = text.replace(f'"threshold": {threshold}', f'"threshold": {other}')
        (copied.path / "evaluation.json").write_text(changed)
        assert Classifier(copied).classify(photo).sure is sure


def test_temperature_softens_without_changing_the_answer(
    copied: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    photo = sample_photos.root / sample_photos.files[0]
    (copied.path / "evaluation.json").write_text('{"temperature": 100.0, "threshold": 0.5}')
    sharp, soft = classifier.classify(photo), Classifier(copied).classify(photo)
    np.testing.assert_array_equal(sharp.logits, soft.logits)
    assert soft.label == sharp.label
    assert 1 / 6 < soft.confidence < 0.2


def test_pixels_that_were_read_before_get_the_same_answer(
    classifier: Classifier, sample_photos: Photos
) -> None:
    path = sample_photos.root / sample_photos.files[7]
    pixels = load_photo(path, classifier.image_size)
    assert_same(classifier.classify_pixels(pixels), classifier.classify(path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_photo_can_be_classified(mode: str, classifier: Classifier) -> None:
    buffer = io.BytesIO()
    kind = "JPEG" if mode == "CMYK" else "PNG"
    Image.new("RGB", (300, 20), "red").convert(mode).save(buffer, kind)
    assert classifier.classify(buffer.getvalue()).label in classifier.classes


def test_what_is_no_photo_is_said(classifier: Classifier) -> None:
    with pytest.raises(PhotoError, match="not a picture"):
        classifier.classify(b"hello")


def test_threads_may_share_a_classifier(classifier: Classifier, sample_photos: Photos) -> None:
    paths = [sample_photos.root / f for f in sample_photos.files[::10]]
    alone = [classifier.classify(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: [classifier.classify(p) for p in paths], range(8)):
            for ours, theirs in zip(together, alone, strict=True):
                assert_same(ours, theirs)


def test_an_answer_outlives_the_next_one(classifier: Classifier, sample_photos: Photos) -> None:
    """Its arrays are copies, not windows into the model's memory."""
    first = classifier.classify(sample_photos.root / sample_photos.files[0])
    logits, feature_map = first.logits.copy(), first.feature_map.copy()
    classifier.classify(sample_photos.root / sample_photos.files[-1])
    np.testing.assert_array_equal(first.logits, logits)
    np.testing.assert_array_equal(first.feature_map, feature_map)


def test_no_tensorflow_is_needed(run: Run, sample_photos: Photos) -> None:
    script = """
import sys
from pathlib import Path
import trashnet.predict
from trashnet.runs import Run
answer = trashnet.predict.Classifier(Run(Path(sys.argv[1]))).classify(sys.argv[2])
print(answer.label)
loaded = {name.split(".")[0] for name in sys.modules}
sys.exit(", ".join(sorted(loaded & {"tensorflow", "keras", "streamlit", "wandb"})) or None)
"""
    photo = sample_photos.root / sample_photos.files[0]
    done = subprocess.run(
        [sys.executable, "-c", script, str(run.path), str(photo)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() in run.classes, done.stderr
    assert done.returncode == 0, f"imported: {done.stderr}"


# ---------------------------------------------------------------- what is missing or damaged


def test_a_missing_model_is_said(copied: Run) -> None:
    (copied.path / "model.tflite").unlink()
    with pytest.raises(RunError, match=f"{copied.id} has no model yet"):
        Classifier(copied)


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "zeros"])
def test_a_damaged_model_is_said(damage: str, copied: Run) -> None:
    path = copied.path / "model.tflite"
    whole = path.read_bytes()
    damaged = {
        "empty": b"",
        "garbage": b"no model",
        "half": whole[: len(whole) // 2],
        "zeros": bytes(len(whole)),
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(RunError, match="is not a readable LiteRT model"):
        Classifier(copied)


def test_a_model_of_another_kind_is_said(copied: Run) -> None:
    import keras

    from trashnet.train import to_litert

    photo = keras.Input((8, 8, 3))
    other = keras.Model(photo, keras.layers.Conv2D(2, 3)(photo))
    (copied.path / "model.tflite").write_bytes(to_litert(other))
    with pytest.raises(RunError, match="not a readable LiteRT model of logits and feature map"):
        Classifier(copied)


# ---------------------------------------------------------------- which photos


def test_folders_stand_for_the_pictures_below_them(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/c.webp", "._b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    single = tmp_path / "notes.txt"
    found = picture_paths([str(single), str(tmp_path)])
    assert found == [single, *(tmp_path / name for name in ("a.PNG", "b.jpg", "deep/c.webp"))]


def test_a_path_that_is_not_there_is_left_to_be_said(classifier: Classifier) -> None:
    (path,) = picture_paths(["no/such.jpg"])
    with pytest.raises(PhotoError, match="There is no photo"):
        classifier.classify(path)
