"""The networks: what goes in, what comes out, what is trained of them, and what is refused."""

import functools
import socket
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from trashnet.config import FROM_SCRATCH, MODELS, SETTINGS, TrainConfig
from trashnet.errors import ConfigError
from trashnet.training import efficientnet_lite
from trashnet.training.networks import (
    FEATURES,
    build_model,
    compiled_model,
    embedder,
    interpolate,
    is_pretrained,
    keras_application,
    linear_head,
    set_head,
    with_feature_map,
    with_mirrored_views,
)
from trashnet.training.weight_standardization import deployed

PHOTOS = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3)).astype(np.float32)
PRETRAINED = [name for name in MODELS if name not in FROM_SCRATCH]
EARLY = ("stem", "block_01_", "block_02_", "block_03_")


@pytest.fixture(scope="module", autouse=True)
def no_download() -> Iterator[None]:
    """Gives Keras's network random weights where it would download ImageNet's."""
    original = keras.applications.EfficientNetV2B0

    @functools.wraps(original)
    def with_random_weights(weights: str, **arguments: object) -> keras.Model:
        assert weights == "imagenet"
        return original(weights=None, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "EfficientNetV2B0", with_random_weights)
        yield


@functools.cache
def network(name: str) -> keras.Model:
    """A network of six classes for photos of 48 pixels; tests must leave it as it is."""
    return build_model(name, 48, 6)


def answers(model: keras.Model, photos: np.ndarray) -> np.ndarray:
    """The logits, without the seconds that compiling a large network takes."""
    return np.asarray(model(photos, training=False))


def changed_by_a_step(model: keras.Model) -> tuple[set[str], set[str]]:
    """Trains one step and returns the layers that have weights: changed ones, the others."""
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    size, classes = model.input_shape[1], model.output_shape[1]
    photos = np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    loss = model.train_on_batch(photos, np.eye(classes, dtype=np.float32)[:2])
    assert np.isfinite(loss)
    after = {name: model.get_layer(name).get_weights() for name in before}
    changed = {
        name
        for name, arrays in before.items()
        if any((a != b).any() for a, b in zip(arrays, after[name], strict=True))
    }
    return changed, set(before) - changed


SMALLEST = SETTINGS["image_size"].minimum


@pytest.mark.parametrize(
    ("name", "image_size", "num_classes"),
    [
        *((name, SMALLEST, 2) for name in MODELS),
        ("cnn_baseline", 97, 11),
        ("efficientnet_lite0", 97, 11),
    ],
)
def test_photos_in_logits_out(name: str, image_size: int, num_classes: int) -> None:
    model = build_model(name, image_size, num_classes)
    assert model.input_shape == (None, image_size, image_size, 3)
    photos = np.zeros((3, image_size, image_size, 3), np.float32)
    logits = answers(model, photos)
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


@pytest.mark.parametrize(
    ("name", "convolution"), [("cnn_baseline", "conv_1"), ("efficientnet_lite0", "stem")]
)
def test_logits_are_float32_in_mixed_precision(name: str, convolution: str) -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(name, 48, 6)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert model.get_layer(convolution).compute_dtype == "bfloat16"
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


@pytest.mark.parametrize("image_size", [48, 33])
def test_mirrored_views_are_averaged(image_size: int) -> None:
    rng = np.random.default_rng(0)
    model = deployed(build_model("cnn", image_size, 6))
    photos = rng.uniform(0, 255, (3, image_size, image_size, 3)).astype(np.float32)
    four = with_mirrored_views(model)
    assert four.count_params() == model.count_params()
    views = [photos, photos[:, :, ::-1], photos[:, ::-1], photos[:, ::-1, ::-1]]
    each = [answers(model, view) for view in views]
    assert min(np.abs(one - each[0]).max() for one in each[1:]) > 0.01
    for view in views:  # whichever way round the photo is shown
        np.testing.assert_allclose(answers(four, view), np.mean(each, axis=0), atol=1e-4)
    # Where the mean map is high, the photo as it is shown is the reason.
    logits, features = map(np.asarray, with_feature_map(four)(photos, training=False))
    kernel, bias = map(np.asarray, linear_head(four))
    np.testing.assert_allclose(features.mean(axis=(1, 2)) @ kernel + bias, logits, atol=1e-4)
    mirrored = np.asarray(with_feature_map(four)(views[1], training=False)[1])
    np.testing.assert_allclose(mirrored, features[:, :, ::-1], atol=1e-4)


@pytest.mark.slow
def test_muon_makes_steps_of_equal_size_in_every_direction() -> None:
    """Of the kernels; the head is moved by Adam."""
    rate, decay = 0.01, 0.5
    photos = np.random.default_rng(0).uniform(0, 255, (6, 32, 32, 3)).astype(np.float32)
    settings = {"image_size": 32, "learning_rate": rate, "optimizer": "muon"}
    steps = {}
    for given in (0.0, decay):
        config = TrainConfig(model="cnn", weight_decay=given, **settings)
        model = compiled_model(config, 6, 1)
        before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        model.train_on_batch(photos, np.eye(6, dtype=np.float32))
        after = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        names = [v.path for v in model.trainable_variables]
        steps[given] = {n: (b, a - b) for n, a, b in zip(names, after, before, strict=True)}
    # Later kernels have more filters than six photos have places.
    for name in ("conv_1/kernel", "conv_2a/kernel", "conv_2b/kernel"):
        sizes = np.linalg.svd(steps[0.0][name][1], compute_uv=False)
        assert np.quantile(sizes, 0.1) > 0.5 * sizes.max(), name
    head = np.linalg.svd(steps[0.0]["logits/kernel"][1], compute_uv=False)
    assert head[5] < 0.5 * head[0]
    for name, (start, step) in steps[decay].items():
        taken = decay * rate * start if name.startswith("conv") and "kernel" in name else 0
        np.testing.assert_allclose(step + taken, steps[0.0][name][1], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("image_size", [1, 8, 21])
def test_photos_too_small_for_the_network_are_said(image_size: int) -> None:
    with pytest.raises(ConfigError, match=f"image_size is {image_size}; .* at least 22"):
        build_model("cnn_baseline", image_size, 6)


def test_the_smallest_photos_are_enough() -> None:
    assert with_feature_map(build_model("cnn_baseline", 22, 6)).output_shape[1] == (None, 1, 1, 128)


def test_every_network_may_be_chosen() -> None:
    assert SETTINGS["model"].choices == MODELS


def test_an_unknown_model_is_said() -> None:
    with pytest.raises(ConfigError, match="Unknown model 'resnet9000'"):
        build_model("resnet9000", 224, 6)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_survives_saving(name: str, tmp_path: Path) -> None:
    """With what is frozen of it, or a resumed training would go on with other layers."""
    model = network(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(loaded, PHOTOS), answers(model, PHOTOS), atol=1e-6)
    frozen, frozen_before = (
        {layer.name for layer in one.layers if layer.weights and not layer.trainable}
        for one in (loaded, model)
    )
    assert frozen == frozen_before and bool(frozen) == is_pretrained(name)


# ---- pretrained ----


def test_all_but_the_baseline_start_from_pretrained_weights() -> None:
    assert [name for name in MODELS if is_pretrained(name)] == PRETRAINED
    assert "cnn_baseline" in MODELS


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_pretrained_network_ends_in_a_linear_head(name: str) -> None:
    model = network(name)
    head = linear_head(model)
    assert head is not None
    kernel, bias = map(np.asarray, head)
    assert kernel.shape == (1280, 6) and bias.shape == (6,)
    logits, features = map(np.asarray, with_feature_map(model)(PHOTOS, training=False))
    assert features.shape == (2, 2, 2, 1280)
    np.testing.assert_allclose(logits, answers(model, PHOTOS), atol=1e-5)
    np.testing.assert_allclose(features.mean(axis=(1, 2)) @ kernel + bias, logits, atol=1e-3)
    np.testing.assert_allclose(
        answers(embedder(model), PHOTOS), features.mean(axis=(1, 2)), atol=1e-5
    )


@pytest.mark.parametrize("name", [*efficientnet_lite.SCALES, "frozen_features"])
def test_the_backbone_starts_from_the_shipped_weights(name: str) -> None:
    default = SETTINGS["backbone"].default
    shipped = efficientnet_lite.backbone(default if name == "frozen_features" else name, 48)
    features = with_feature_map(network(name))(PHOTOS, training=False)[1]
    np.testing.assert_array_equal(features, answers(shipped, PHOTOS))


def test_frozen_features_may_be_those_of_another_backbone() -> None:
    assert SETTINGS["backbone"].choices == tuple(efficientnet_lite.SCALES)
    model = build_model("frozen_features", 48, 6, backbone="efficientnet_lite2")
    shipped = efficientnet_lite.backbone("efficientnet_lite2", 48)
    features = with_feature_map(model)(PHOTOS, training=False)[1]
    np.testing.assert_array_equal(features, answers(shipped, PHOTOS))


def test_fine_tuning_leaves_the_early_layers_as_they_are() -> None:
    changed, unchanged = changed_by_a_step(build_model("efficientnet_lite0", 48, 6))
    assert unchanged and all(name.startswith(EARLY) for name in unchanged)
    assert not any(name.startswith(EARLY) for name in changed)
    assert {"block_04_expand", "block_16_project", "head", "logits"} <= changed


@pytest.mark.parametrize(("blocks", "first"), [(0, "stem"), (1, "block_02"), (5, "block_06")])
def test_as_many_blocks_stay_as_are_asked_for(blocks: int, first: str) -> None:
    model = build_model("efficientnet_lite0", 48, 6, frozen_blocks=blocks)
    trained = [layer.name for layer in model.layers if layer.weights and layer.trainable]
    assert trained[0].startswith(first)
    left = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert all(name.startswith("stem") or int(name[6:8]) <= blocks for name in left)


def test_frozen_features_leave_all_but_the_head_as_it_is() -> None:
    model = build_model("frozen_features", 48, 6)
    changed, unchanged = changed_by_a_step(model)
    assert changed == {"logits"} and {"stem", "block_16_project", "head"} <= unchanged
    kernel_and_bias = {id(variable) for variable in linear_head(model)}
    assert {id(variable) for variable in model.trainable_weights} == kernel_and_bias


def test_frozen_features_and_efficientnet_lite0_are_one_network() -> None:
    frozen, tuned = network("frozen_features"), network("efficientnet_lite0")
    np.testing.assert_array_equal(answers(frozen, PHOTOS), answers(tuned, PHOTOS))


def test_a_new_head_answers() -> None:
    model = build_model("frozen_features", 48, 3)
    kernel = np.random.default_rng(0).normal(size=(1280, 3))  # float64, as scikit-learn's
    bias = np.array([1.0, -2.0, 3.0])
    set_head(model, kernel, bias)
    expected = answers(embedder(network("frozen_features")), PHOTOS) @ kernel + bias
    np.testing.assert_allclose(answers(model, PHOTOS), expected, atol=1e-3)


def small(seed: int) -> keras.Model:
    """A network with every kind of weight that there is in the large ones."""
    keras.utils.set_random_seed(seed)
    photo = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name=FEATURES)(photo)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    model = keras.Model(photo, keras.layers.Dense(2, name="logits")(x))
    for weight in model.weights:
        weight.assign(np.random.default_rng(seed).uniform(0.5, 2, weight.shape))
    return model


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_interpolation_keeps_the_share_of_the_trained_weights(share: float) -> None:
    pretrained, trained = small(1), small(2)
    start, end = pretrained.get_weights(), trained.get_weights()
    interpolate(pretrained, trained, share)
    between = trained.get_weights()
    assert len(between) == 8  # kernels, biases, and all four of the normalisation
    for one, two, found in zip(start, end, between, strict=True):
        np.testing.assert_allclose(found, (1 - share) * one + share * two, rtol=1e-6)
        if share == 1:
            np.testing.assert_array_equal(found, two)
        if share == 0.5:
            np.testing.assert_allclose(found, np.mean([one, two], axis=0), rtol=1e-6)
    for one, untouched in zip(start, pretrained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, untouched)


def test_interpolation_moves_only_what_was_trained() -> None:
    lite = network("efficientnet_lite0")
    trained = build_model("efficientnet_lite0", 48, 6)
    changed, _ = changed_by_a_step(trained)
    moved = {name: trained.get_layer(name).get_weights() for name in changed}
    interpolate(lite, trained, 0.5)
    for layer in filter(lambda layer: layer.weights, trained.layers):
        for now, start in zip(
            layer.get_weights(), lite.get_layer(layer.name).get_weights(), strict=True
        ):
            if layer.name not in moved:
                np.testing.assert_array_equal(now, start)
    kernel = trained.get_layer("logits").get_weights()[0]
    halfway = (moved["logits"][0] + lite.get_layer("logits").get_weights()[0]) / 2
    np.testing.assert_allclose(kernel, halfway, atol=1e-6)


# ---- Keras's networks ----


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """EfficientNetV2-B0 with random weights; tests must leave it as it is."""
    return keras_application(original_application(), 64, weights=None)


def original_application() -> Callable[..., keras.Model]:
    return keras.applications.EfficientNetV2B0.__wrapped__


def test_an_application_ends_in_its_feature_map(backbone: keras.Model) -> None:
    assert backbone.input_shape == (None, 64, 64, 3)
    assert backbone.output_shape == (None, 2, 2, 1280)
    assert answers(backbone, np.full((1, 64, 64, 3), 90, np.float32)).shape == (1, 2, 2, 1280)


def test_an_application_scales_photos_itself(backbone: keras.Model) -> None:
    """ImageNet's mean and deviation, which are given for 0–1, of photos that are 0–255."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = keras.Model(backbone.input, backbone.get_layer("stem_conv").input)
    for value in (0.0, 127.5, 255.0):
        found = answers(scaled, np.full((1, 64, 64, 3), value, np.float32))[0, 10, 10]
        np.testing.assert_allclose(found, (value / 255 - mean) / deviation, rtol=1e-4)


def test_efficientnetv2_b0_trains_all_but_its_normalisations() -> None:
    model = build_model("efficientnetv2_b0", 64, 6)
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    changed, unchanged = changed_by_a_step(model)
    assert {kinds[name] for name in unchanged} == {"BatchNormalization"}
    assert "BatchNormalization" not in {kinds[name] for name in changed}
    assert {"stem_conv", "top_conv", "logits"} <= changed


class Refusal:
    """Takes the place of a download: notes the time limit it is given, and fails."""

    def __init__(self, error: Exception) -> None:
        self.error, self.limits = error, []

    def __call__(self, *_: object) -> None:
        self.limits.append(socket.getdefaulttimeout())
        raise self.error


@pytest.fixture
def time_limit() -> Iterator[float]:
    """A time limit for sockets that somebody set before."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77.5)
    yield 77.5
    socket.setdefaulttimeout(before)


def assert_says_what_to_do(sentence: str) -> None:
    assert sentence.startswith("The ImageNet weights of EfficientNetV2B0 cannot be downloaded")
    assert "choose efficientnet_lite0" in sentence
    assert sentence.endswith(".") and sentence.count(". ") == 0 and "\n" not in sentence


def test_weights_that_cannot_be_downloaded_are_said(
    time_limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Keras's own code up to where it asks the network."""
    refusal = Refusal(urllib.error.URLError(OSError(101, "Network is unreachable")))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", refusal)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr(keras.applications, "EfficientNetV2B0", original_application())
    with pytest.raises(ConfigError) as caught:
        build_model("efficientnetv2_b0", 32, 6)
    assert_says_what_to_do(str(caught.value))
    assert len(refusal.limits) == 1 and 0 < refusal.limits[0] <= 60  # it does not wait for ever
    assert socket.getdefaulttimeout() == time_limit


@pytest.mark.parametrize(
    "error", [Exception("URL fetch failure"), TimeoutError("timed out"), ValueError("corrupted")]
)
def test_however_a_download_fails_it_is_said(
    error: Exception, time_limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    @functools.wraps(original_application())
    def failing(**_: object) -> keras.Model:
        raise error

    monkeypatch.setattr(keras.applications, "EfficientNetV2B0", failing)
    with pytest.raises(ConfigError) as caught:
        build_model("efficientnetv2_b0", 32, 6)
    assert_says_what_to_do(str(caught.value))
    assert socket.getdefaulttimeout() == time_limit


def test_the_time_limit_of_downloads_ends_with_them(time_limit: float) -> None:
    found = []

    def application(**_: object) -> keras.Model:
        found.append(socket.getdefaulttimeout())
        return small(0)

    keras_application(application, 32)
    assert found[0] != time_limit and socket.getdefaulttimeout() == time_limit


def test_what_is_no_download_is_not_called_one(time_limit: float) -> None:
    def broken(**_: object) -> keras.Model:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        keras_application(broken, 32, weights=None)
    assert socket.getdefaulttimeout() == time_limit
