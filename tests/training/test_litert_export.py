"""The exported model answers as the trained one does, or is refused."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import Training
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.errors import RunError
from trashnet.inference.calibration import probabilities
from trashnet.inference.litert import LiteModel
from trashnet.runs.run import Run
from trashnet.training.litert_export import check_export, to_litert
from trashnet.training.networks import with_feature_map


@pytest.fixture(scope="module")
def run(training: Training) -> Run:
    return training.run


@pytest.fixture(scope="module")
def network(run: Run) -> keras.Model:
    return keras.saving.load_model(run.path / "model.keras", compile=False)


@pytest.fixture(scope="module")
def lite(run: Run) -> LiteModel:
    return LiteModel(run.path / "model.tflite")


@pytest.fixture(scope="module")
def pixels(run: Run, sample_photos: Photos) -> np.ndarray:
    """Every photo of the run's table, in its order."""
    files = run.predictions().file
    return np.stack([load_photo(sample_photos.root / file, 32) for file in files])


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def test_the_exported_model_answers_as_keras_does(
    run: Run, network: keras.Model, pixels: np.ndarray
) -> None:
    table = run.predictions()
    logits, features = with_feature_map(network).predict_on_batch(pixels.astype(np.float32))
    theirs = probabilities(np.stack(table.logits))
    assert abs(probabilities(logits) - theirs).max() < 0.005
    embeddings, stored = run.projection()(features.mean(axis=(1, 2))), np.stack(table.embedding)
    assert abs(embeddings - stored).max() < 0.01 * abs(embeddings).max()


def test_both_outputs_are_the_networks(
    network: keras.Model, lite: LiteModel, noise: np.ndarray
) -> None:
    expected = with_feature_map(network).predict_on_batch(noise.astype(np.float32))
    for photo, logits, feature_map in zip(noise, *expected, strict=True):
        ours = lite(photo)
        assert (ours[0].shape, ours[1].shape) == (logits.shape, feature_map.shape)
        np.testing.assert_allclose(ours[0], logits, atol=0.01)
        np.testing.assert_allclose(ours[1], feature_map, atol=0.01)


def test_weights_are_stored_in_half_the_bytes(run: Run, network: keras.Model) -> None:
    full = 4 * network.count_params()
    assert 0.5 * full < (run.path / "model.tflite").stat().st_size < 0.6 * full


def test_an_export_like_its_original_is_accepted(
    network: keras.Model, lite: LiteModel, noise: np.ndarray
) -> None:
    check_export(network, lite, noise)


@pytest.mark.parametrize("shift", [0.2, np.nan])
def test_an_export_unlike_its_original_is_refused(
    network: keras.Model, lite: LiteModel, noise: np.ndarray, shift: float
) -> None:
    other = keras.models.clone_model(network)
    other.set_weights(network.get_weights())
    bias = other.get_layer("logits").bias
    bias.assign(np.asarray(bias) + np.eye(6, dtype=np.float32)[0] * np.float32(shift))
    with pytest.raises(RunError, match="differs from the trained one"):
        check_export(other, lite, noise)


def test_exporting_says_nothing(
    tmp_path: Path, network: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json`, standard output belongs to the result."""
    (tmp_path / "model.tflite").write_bytes(to_litert(with_feature_map(network)))
    assert capsys.readouterr().out == ""
    assert LiteModel(tmp_path / "model.tflite").image_size == 32
