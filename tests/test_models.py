"""The networks: what goes in, what comes out, and what is refused."""

from pathlib import Path

import keras
import numpy as np
import pytest

from trashnet.config import MODELS, TrainConfig, choices
from trashnet.errors import ConfigError
from trashnet.models import FEATURES, build_model, linear_head, with_feature_map

PHOTOS = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("image_size", "num_classes"), [(32, 2), (48, 6), (97, 11)])
def test_photos_in_logits_out(name: str, image_size: int, num_classes: int) -> None:
    model = build_model(name, image_size, num_classes)
    assert model.input_shape == (None, image_size, image_size, 3)
    photos = np.zeros((3, image_size, image_size, 3), np.float32)
    logits = model.predict_on_batch(photos)
    assert logits.shape == (3, num_classes) and logits.dtype == np.float32


def test_cnn_baseline_has_the_parameters_of_its_description() -> None:
    """Three unpadded 3 × 3 convolutions, each pooled: 224 → 222 → 111 → 109 → 54 → 52 → 26."""
    convolutions = (9 * 3 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128
    dense = (26 * 26 * 128 + 1) * 64 + (64 + 1) * 6
    assert build_model("cnn_baseline", 224, 6).count_params() == convolutions + dense == 5_631_494


def test_a_model_takes_0_to_255() -> None:
    """White, not 255 times white, reaches the first convolution."""
    model = build_model("cnn_baseline", 48, 6)
    scaled = model.get_layer("scale")(np.array([0.0, 51.0, 255.0], np.float32))
    np.testing.assert_allclose(scaled, [0, 0.2, 1], rtol=1e-6)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = (
        build_model("cnn_baseline", 32, 6, seed).get_weights() for seed in (4, 4, 5)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(first, other, strict=True))


def test_logits_are_float32_in_mixed_precision() -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model("cnn_baseline", 48, 6)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert model.get_layer("conv_1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_with_feature_map_adds_the_last_feature_map() -> None:
    model = build_model("cnn_baseline", 48, 6)
    both = with_feature_map(model)
    logits, features = both.predict_on_batch(PHOTOS)
    np.testing.assert_array_equal(logits, model.predict_on_batch(PHOTOS))
    assert features.shape == (2, 4, 4, 128)
    assert model.get_layer(FEATURES).output.shape == (None, 4, 4, 128)
    # The rest of the network, applied to the map, gives the logits: it is the last one.
    rest = keras.ops.reshape(features, (2, -1))
    rest = model.get_layer("logits")(model.get_layer("dense")(rest))
    np.testing.assert_allclose(rest, logits, atol=1e-5)


def test_cnn_baseline_has_no_linear_head() -> None:
    assert linear_head(build_model("cnn_baseline", 48, 6)) is None


def test_a_pooled_model_gives_its_head() -> None:
    photo = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 3, name=FEATURES)(photo)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(photo, keras.layers.Dense(4, name="logits")(x))
    head = linear_head(model)
    assert head is not None
    kernel, bias = map(np.asarray, head)
    assert kernel.shape == (5, 4) and bias.shape == (4,)
    photos = np.ones((2, 8, 8, 3), np.float32)
    logits, features = with_feature_map(model).predict_on_batch(photos)
    np.testing.assert_allclose(features.mean(axis=(1, 2)) @ kernel + bias, logits, atol=1e-5)


@pytest.mark.parametrize("image_size", [1, 8, 21])
def test_photos_too_small_for_the_network_are_said(image_size: int) -> None:
    with pytest.raises(ConfigError, match=f"image_size is {image_size}; .* at least 22"):
        build_model("cnn_baseline", image_size, 6)


def test_the_smallest_photos_are_enough() -> None:
    assert with_feature_map(build_model("cnn_baseline", 22, 6)).output_shape[1] == (None, 1, 1, 128)


def test_every_allowed_size_and_model_can_be_built() -> None:
    """What a configuration accepts, the network accepts."""
    fields = {f.name: f for f in TrainConfig.__dataclass_fields__.values()}
    assert choices(fields["model"]) == MODELS
    for name in MODELS:
        build_model(name, fields["image_size"].metadata["min"], 6)


def test_an_unknown_model_is_said() -> None:
    with pytest.raises(ConfigError, match="Unknown model 'resnet9000'"):
        build_model("resnet9000", 224, 6)


def test_a_model_survives_saving(tmp_path: Path) -> None:
    model = build_model("cnn_baseline", 48, 6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(PHOTOS), model.predict_on_batch(PHOTOS))
