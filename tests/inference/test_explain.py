"""Maps of evidence add up to the answer they explain."""

import numpy as np
import pytest

from tests.conftest import Training
from trashnet.data.dataset import Photos
from trashnet.inference.classifier import Classifier
from trashnet.inference.explain import (
    activation_map,
    explain,
    kept_maps,
    occlusion_map,
    overlay,
)
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED


@pytest.fixture(scope="module")
def pooled(frozen: Training) -> Classifier:
    """A classifier whose head is linear in the mean feature map."""
    return Classifier(frozen.run)


def test_an_activation_map_and_the_bias_average_to_the_logit(
    pooled: Classifier, frozen: Training, sample_photos: Photos
) -> None:
    kernel, bias = frozen.run.head()
    for file in sample_photos.files[::60]:
        answer = pooled.classify(sample_photos.root / file)
        for number in range(len(pooled.classes)):
            evidence = activation_map(answer.feature_map, kernel, number)
            assert evidence.shape == answer.feature_map.shape[:2]
            # The model's weights are float16, the head's float32.
            assert evidence.mean() + bias[number] == pytest.approx(answer.logits[number], abs=0.02)


def test_maps_are_kept_of_each_test_photo_by_the_model_that_answered(
    pooled: Classifier, frozen: Training, sample_photos: Photos
) -> None:
    kernel, _ = frozen.run.head()
    table = frozen.run.predictions()
    assert table.maps.notna().equals(table.split == "test")
    for row in table[table.split == "test"].iloc[::12].itertuples():
        answer = pooled.classify(sample_photos.root / row.file)
        kept = kept_maps(row.maps)
        for number, name in enumerate((answer.label, row.label)):
            whole = activation_map(answer.feature_map, kernel, pooled.classes.index(name))
            np.testing.assert_allclose(kept[number], whole, rtol=0.01, atol=0.02)


def test_a_linear_head_is_explained_by_its_activation_map(
    pooled: Classifier, sample_photos: Photos
) -> None:
    path = sample_photos.root / sample_photos.files[0]
    answer = pooled.classify(path)
    for number, label in enumerate(pooled.classes):
        expected = activation_map(answer.feature_map, pooled.kernel, number)
        np.testing.assert_array_equal(explain(pooled, path, label), expected)
        np.testing.assert_array_equal(explain(pooled, path, label, answer), expected)


def test_another_network_is_explained_by_occlusion(
    training: Training, sample_photos: Photos
) -> None:
    classifier = Classifier(training.run)
    assert classifier.kernel is None
    path = sample_photos.root / sample_photos.files[0]
    evidence = explain(classifier, path, classifier.classes[2])
    assert evidence.shape == (8, 8) and evidence.dtype == np.float32
    assert evidence.std() > 0


def test_covering_what_a_model_looks_at_lowers_its_logit() -> None:
    """A made-up model that sees only how red the upper right quarter is."""
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[:20, 20:, 0] = 200

    def logits_of(pixels: np.ndarray) -> np.ndarray:
        return np.array([0.0, pixels[:20, 20:, 0].mean()])

    falls = occlusion_map(logits_of, photo, 1, grid=4)
    assert (falls[:2, 2:] > 0).all()
    falls[:2, 2:] = 0
    np.testing.assert_array_equal(falls, 0)
    np.testing.assert_array_equal(occlusion_map(logits_of, photo, 0, grid=4), 0)


@pytest.mark.parametrize("side", [33, 50])
def test_occlusion_covers_every_pixel_of_sizes_that_do_not_divide(side: int) -> None:
    seen = np.zeros((side, side), int)
    photo = np.zeros((side, side, 3), np.uint8)
    photo[:, ::2] = 255  # so that the mean differs from every pixel

    def logits_of(pixels: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += (pixels != photo).any(axis=-1)
        return np.zeros(1)

    occlusion_map(logits_of, photo, 0)
    assert (seen == 1).all()


def test_an_overlay_is_the_photo_the_map_or_between() -> None:
    photo = np.full((30, 40, 3), 100, np.uint8)
    evidence = np.array([[-5.0, 0.0], [1.0, 4.0]], np.float32)
    np.testing.assert_array_equal(overlay(photo, evidence, 0), photo)
    alone = overlay(photo, evidence, 1)
    assert alone.shape == photo.shape and alone.dtype == np.uint8
    light = alone.astype(int).sum(axis=-1)
    assert light[-1, -1] == light.max() and light[0, 0] == light.min()
    half = overlay(photo, evidence, 0.5).astype(float)
    np.testing.assert_allclose(half, (photo + alone.astype(float)) / 2, atol=1)


def test_no_evidence_at_all_is_dark_everywhere() -> None:
    photo = np.full((8, 8, 3), 50, np.uint8)
    for value in (0.0, -1.0):
        shown = overlay(photo, np.full((2, 2), value, np.float32), 1)
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 1 and shown.max() < 100


def test_similar_photos_are_the_nearest_of_training(
    pooled: Classifier, frozen: Training, sample_photos: Photos
) -> None:
    table = frozen.run.predictions()
    train = table[table.split == "train"].set_index("file")
    row = train.iloc[3]
    first, *others = pooled.similar(pooled.classify(sample_photos.root / row.name))
    assert first.file == row.name and first.label == row.label  # itself
    assert first.distance == pytest.approx(0, abs=1e-5)
    distances = [s.distance for s in others]
    assert len(others) == 4 and distances == sorted(distances) and distances[0] > 0
    assert all(train.label[s.file] == s.label for s in others)


def test_the_shipped_model_explains_itself(sample_photos: Photos) -> None:
    run = Run(RELEASED)
    classifier = Classifier(run)
    path = sample_photos.root / sample_photos.files[5]
    evidence = explain(classifier, path, run.classes[0])
    assert evidence.shape == classifier.classify(path).feature_map.shape[:2]
