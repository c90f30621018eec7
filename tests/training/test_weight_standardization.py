"""The convolution that normalises its kernel, and the plain network it becomes."""

from pathlib import Path

import keras
import numpy as np
import pytest

from trashnet.config import TrainConfig
from trashnet.training.networks import build_model, compiled_model, linear_head, with_feature_map
from trashnet.training.weight_standardization import StandardizedConv2D, deployed

PHOTOS = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    """A few steps away from its first weights, so that gains and biases matter."""
    model = compiled_model(TrainConfig(model="cnn", image_size=48), 6, 1)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1 * rng.normal(size=variable.shape))
    return model


def answers(model: keras.Model) -> np.ndarray:
    return np.asarray(model(PHOTOS, training=False))


def test_a_kernel_has_no_mean_and_a_scale_of_its_own() -> None:
    layer = StandardizedConv2D(7, 3)
    layer.build((None, 8, 8, 5))
    rng = np.random.default_rng(2)
    layer.kernel.assign(3 + 5 * rng.normal(size=layer.kernel.shape))
    gains = rng.uniform(0.5, 2, 7).astype(np.float32)
    layer.gain.assign(gains)
    kernel = np.asarray(layer.effective_kernel())
    np.testing.assert_allclose(kernel.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    # What comes out of ReLU then has a variance of about 1 where what goes in has: 45 inputs each.
    norms = np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(norms, gains * np.sqrt(2 / (1 - 1 / np.pi)), rtol=1e-4)


def test_a_signal_neither_fades_nor_grows_on_its_way_through() -> None:
    """Without it nine layers of random kernels would leave a variance of anything."""
    model = build_model("cnn", 64, 6)
    photos = np.random.default_rng(3).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    deviations = [
        float(np.std(keras.Model(model.input, layer.output)(photos)))
        for layer in model.layers
        if isinstance(layer, StandardizedConv2D)
    ]
    assert len(deviations) == 9 and 0.2 < min(deviations) and max(deviations) < 5


def test_the_plain_network_computes_the_same(trained: keras.Model) -> None:
    plain = deployed(trained)
    np.testing.assert_allclose(answers(plain), answers(trained), atol=1e-3)
    assert not any(isinstance(layer, StandardizedConv2D) for layer in plain.layers)
    assert plain.count_params() < trained.count_params() < 1_000_000  # the gains are gone


def test_the_plain_network_opens_without_our_layer(trained: keras.Model, tmp_path: Path) -> None:
    deployed(trained).save(tmp_path / "model.keras")
    with keras.saving.custom_object_scope({}):
        keras.saving.get_custom_objects().clear()
        try:
            opened = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        finally:
            keras.saving.register_keras_serializable("trashnet")(StandardizedConv2D)
    np.testing.assert_allclose(answers(opened), answers(trained), atol=1e-3)


def test_the_mean_feature_map_explains_the_logits(trained: keras.Model) -> None:
    plain = deployed(trained)
    kernel, bias = map(np.asarray, linear_head(plain))
    logits, features = with_feature_map(plain)(PHOTOS, training=False)
    np.testing.assert_allclose(
        np.asarray(features).mean(axis=(1, 2)) @ kernel + bias, logits, atol=1e-3
    )


@pytest.mark.parametrize("name", ["cnn", "cnn_baseline"])
def test_coarse_arithmetic_ends_with_the_training(name: str) -> None:
    config = TrainConfig(model=name, image_size=48)
    coarse = compiled_model(config, 6, 1, "bfloat16")
    assert {v.dtype for v in coarse.trainable_variables} == {"float32"}
    assert any(layer.compute_dtype == "bfloat16" for layer in coarse.layers)
    plain = deployed(coarse)
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    fine = compiled_model(config, 6, 1)
    np.testing.assert_allclose(answers(plain), answers(fine), atol=1e-3)  # the same seed
    np.testing.assert_allclose(answers(coarse), answers(fine), atol=0.1)
    assert keras.config.dtype_policy().name == "float32"  # whoever builds the next is not affected


def test_a_network_that_is_plain_already_stays_itself() -> None:
    model = build_model("efficientnet_lite0", 48, 6)
    assert deployed(model) is model


def test_dropout_is_only_for_training() -> None:
    kept, dropped = (build_model("cnn", 48, 6, dropout=share) for share in (0.0, 0.5))
    for ours, theirs in zip(dropped.trainable_variables, kept.trainable_variables, strict=True):
        ours.assign(theirs)
    np.testing.assert_array_equal(answers(kept), answers(dropped))
    assert not np.allclose(dropped(PHOTOS, training=True), answers(dropped))
    assert linear_head(dropped) is not None
