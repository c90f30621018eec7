"""A photo gets the stored answer, however it comes, without TensorFlow and from any thread."""

import io
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Training
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.data.nearest_neighbours import NEAREST
from trashnet.errors import PhotoError, RunError
from trashnet.inference.calibration import probabilities
from trashnet.inference.classifier import Classifier, Prediction
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(training: Training) -> Run:
    return training.run


@pytest.fixture(scope="module")
def classifier(run: Run) -> Classifier:
    return Classifier(run)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may damage."""
    shutil.copytree(run.path, tmp_path / run.id)
    return Run(tmp_path / run.id)


def change_evaluation(run: Run, **values: float) -> None:
    path = run.path / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


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
        # To the last digit a photo is projected otherwise alone than among many.
        np.testing.assert_allclose(prediction.embedding, row.embedding, atol=1e-5)
        expected = probabilities(row.logits, temperature)
        assert list(prediction.probabilities.values()) == expected.tolist()
        assert prediction.label == run.classes[expected.argmax()]


def test_an_answer_is_consistent_in_itself(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    evaluation, projection = run.evaluation(), run.projection()
    answers = [classifier.classify(sample_photos.root / f) for f in sample_photos.files[::12]]
    for answer in answers:
        assert tuple(answer.probabilities) == run.classes
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert answer.confidence == max(answer.probabilities.values())
        assert answer.probabilities[answer.label] == answer.confidence
        assert answer.familiar == (answer.distance <= evaluation["distance_limit"])
        assert answer.sure == (answer.confidence >= evaluation["threshold"] and answer.familiar)
        np.testing.assert_allclose(
            projection(answer.feature_map.mean(axis=(0, 1))), answer.embedding, atol=1e-6
        )
        assert json.loads(json.dumps(answer.to_dict()))["familiar"] is answer.familiar
    assert len({answer.confidence for answer in answers}) > 1


# ---------------------------------------------------------------- how unlike the training photos


def test_a_photo_is_as_far_from_training_as_is_stored(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    limit = run.evaluation()["distance_limit"]
    table = run.predictions().query("split != 'train'").iloc[::3]
    assert table.distance.nunique() > 10
    for row in table.itertuples():
        answer = classifier.classify(sample_photos.root / row.file)
        assert answer.distance == pytest.approx(row.distance, abs=1e-5)
        if abs(row.distance - limit) > 1e-4:
            assert answer.familiar == (row.distance <= limit)


def test_the_stored_distance_is_that_to_the_fifth_nearest_other_training_photo(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    """By the angle between the whole embedding and what is stored of the other's."""
    table, mean = run.predictions(), run.projection().mean
    paths = [sample_photos.root / file for file in table.file]
    maps = [classifier.classify(path).feature_map for path in paths]
    whole = np.linalg.norm(np.stack([m.mean(axis=(0, 1)) for m in maps]) - mean, axis=1)
    vectors = np.stack(table.embedding).astype(float)
    training = np.flatnonzero(table.split == "train")
    others = vectors[training] / np.linalg.norm(vectors[training], axis=1, keepdims=True)
    distances = 1 - (vectors / whole[:, None]) @ others.T
    distances[training, np.arange(len(training))] = np.inf
    np.testing.assert_allclose(np.sort(distances, axis=1)[:, 4], table.distance, atol=1e-5)


def test_a_training_photo_that_is_sent_again_is_its_own_nearest_unless_left_out(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    for row in run.predictions().query("split == 'train'").iloc[::40].itertuples():
        answer = classifier.classify(sample_photos.root / row.file)
        near = classifier.similar(answer)
        assert row.file in [one.file for one in near]
        assert 0 <= answer.distance <= row.distance + 1e-5
        own = {row.file, near[-1].file}
        others = classifier.similar(answer, without=own)
        assert len(others) == NEAREST and not own & {one.file for one in others}
        assert [one for one in near if one.file not in own] == others[: NEAREST - len(own)]


@pytest.mark.slow
def test_the_stored_answers_are_as_sure_as_the_evaluation_counts_them(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    test = run.evaluation()["splits"]["test"]
    files = run.predictions().query("split == 'test'").file
    answers = {file: classifier.classify(sample_photos.root / file) for file in files}
    sure = [file for file, answer in answers.items() if answer.sure]
    assert len(sure) / len(files) == pytest.approx(test["coverage"])
    right = sum(answers[file].label == file.split("/")[0] for file in sure)
    if sure:
        assert right / len(sure) == pytest.approx(test["answered_accuracy"])


SIDE = Run(RELEASED).train_config.image_size
UNFAMILIAR = {
    "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
    "darkness": np.zeros((SIDE, SIDE, 3), np.uint8),
    "one colour": np.full((SIDE, SIDE, 3), (255, 0, 255), np.uint8),
}


@pytest.mark.parametrize("pixels", UNFAMILIAR.values(), ids=UNFAMILIAR)
def test_a_picture_of_another_kind_is_unfamiliar_to_the_released_model(pixels: np.ndarray) -> None:
    answer = Classifier(Run(RELEASED)).classify_pixels(pixels)
    assert not answer.familiar and not answer.sure


def test_most_photos_are_familiar_to_the_model_they_test(
    frozen: Training, sample_photos: Photos
) -> None:
    classifier = Classifier(frozen.run)
    test = frozen.run.predictions().query("split == 'test'").file
    familiar = [classifier.classify(sample_photos.root / file).familiar for file in test]
    assert sum(familiar) >= 0.8 * len(familiar)  # the limit is chosen on 24 others


def test_sure_needs_both_confidence_and_familiarity(copied: Run, sample_photos: Photos) -> None:
    photo = sample_photos.root / sample_photos.files[0]
    for threshold, limit, sure, familiar in (
        (0.0, 2.0, True, True),
        (1.0, 2.0, False, True),
        (0.0, 0.0, False, False),
        (1.0, 0.0, False, False),
    ):
        change_evaluation(copied, threshold=threshold, distance_limit=limit)
        answer = Classifier(copied).classify(photo)
        assert (answer.sure, answer.familiar) == (sure, familiar)


def test_temperature_softens_without_changing_the_answer(
    copied: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    photo = sample_photos.root / sample_photos.files[0]
    change_evaluation(copied, temperature=100.0)
    sharp, soft = classifier.classify(photo), Classifier(copied).classify(photo)
    np.testing.assert_array_equal(sharp.logits, soft.logits)
    assert soft.label == sharp.label
    assert 1 / 6 < soft.confidence < 0.2
    assert soft.distance == sharp.distance


# ---------------------------------------------------------------- both orientations


def test_with_flips_the_answer_is_the_mean_of_both_orientations(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    both = Classifier(run, flips=True)
    for file in sample_photos.files[::60]:
        pixels = load_photo(sample_photos.root / file, classifier.image_size)
        plain = classifier.classify_pixels(pixels)
        mirrored = classifier.classify_pixels(pixels[:, ::-1])
        answer = both.classify(sample_photos.root / file)
        assert abs(plain.logits - mirrored.logits).max() > 1e-3  # else nothing is shown here
        np.testing.assert_allclose(answer.logits, (plain.logits + mirrored.logits) / 2, rtol=1e-6)
        expected = probabilities(answer.logits, run.evaluation()["temperature"])
        assert list(answer.probabilities.values()) == pytest.approx(expected.tolist())
        assert answer.label == run.classes[expected.argmax()]
        # Where the network looked and what is similar are said of the photo as it is.
        np.testing.assert_array_equal(answer.feature_map, plain.feature_map)
        assert answer.distance == plain.distance


def test_with_flips_a_photo_and_its_mirror_image_get_the_same_answer(
    run: Run, classifier: Classifier, sample_photos: Photos
) -> None:
    both = Classifier(run, flips=True)
    pixels = load_photo(sample_photos.root / sample_photos.files[3], classifier.image_size)
    one, other = both.classify_pixels(pixels), both.classify_pixels(pixels[:, ::-1])
    np.testing.assert_array_equal(one.logits, other.logits)


# ---------------------------------------------------------------- however it comes


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
import trashnet.inference.classifier
from trashnet.runs.run import Run
answer = trashnet.inference.classifier.Classifier(Run(Path(sys.argv[1]))).classify(sys.argv[2])
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

    from trashnet.training.litert_export import to_litert

    photo = keras.Input((8, 8, 3))
    other = keras.Model(photo, keras.layers.Conv2D(2, 3)(photo))
    (copied.path / "model.tflite").write_bytes(to_litert(other))
    with pytest.raises(RunError, match="not a readable LiteRT model of logits and feature map"):
        Classifier(copied)


def test_a_run_of_an_older_version_is_said(copied: Run) -> None:
    """It has neither projection nor distances, nor a limit to them."""
    (copied.path / "projection.npz").unlink()
    evaluation = copied.evaluation()
    del evaluation["distance_limit"]
    (copied.path / "evaluation.json").write_text(json.dumps(evaluation))
    table = copied.predictions().drop(columns=["embedding", "distance"])
    table.to_parquet(copied.path / "predictions.parquet", index=False)
    with pytest.raises(RunError, match=f"{copied.id} cannot answer: .*older version.*[Tt]rain"):
        Classifier(copied)


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "half", "other arrays"])
def test_a_damaged_projection_is_said(damage: str, copied: Run) -> None:
    path = copied.path / "projection.npz"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "other arrays":
        np.savez(path, one=np.zeros(3))
    else:
        path.write_bytes(
            {"empty": b"", "garbage": b"torn", "half": whole[: len(whole) // 2]}[damage]
        )
    with pytest.raises(RunError, match=f"{copied.id} cannot answer: projection.npz is missing or"):
        Classifier(copied)
