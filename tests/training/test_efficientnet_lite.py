"""EfficientNet-Lite's backbones give what PyTorch gives, and their weights are read safely.

`tests/assets/efficientnet_lite*_reference.npz` holds PyTorch's answers from the same weights, made
by `tools/reference_efficientnet_lite.py` in float32 with BatchNorm unfolded.
"""

import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from trashnet.training.efficientnet_lite import SCALES, backbone, stages, weights_file

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ("noise", "ramps", "waves", "small")

# The same weights in float32 agree with PyTorch within 2e-5. Stored as float16 each weight is off
# by up to 2^-11 = 5e-4 of itself, and 50 to 65 layers add that up: features of up to 6 move by at
# most 0.04 and 1 % in norm. A wrong stride, padding, channel order or residual, each tried
# alone, moves them by 0.5 and 12 % at the very least.
FEATURE_TOLERANCE = 0.1
NORM_TOLERANCE = 0.02


@pytest.fixture(scope="module", autouse=True)
def tools_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield


@pytest.fixture(scope="module", params=SCALES)
def network(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def feature_maps(network: str) -> dict[str, np.ndarray]:
    """The backbone's (h, w, 1280) answers to the reference's inputs."""
    from reference_efficientnet_lite import reference_inputs

    photos = reference_inputs()
    backbones = {size: backbone(network, size) for size in (128, 224)}
    return {
        name: backbones[len(photo)].predict(photo[None], verbose=0)[0]
        for name, photo in photos.items()
    }


@pytest.fixture(scope="module")
def reference(network: str) -> dict[str, np.ndarray]:
    with np.load(ROOT / "tests" / "assets" / f"{network}_reference.npz") as arrays:
        return {key: arrays[key].astype(np.float32) for key in arrays.files}


def test_lite2_is_wider_and_deeper_than_lite0() -> None:
    assert [stage[3:] for stage in stages("efficientnet_lite0")] == [
        *((16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1))
    ]
    assert [stage[3:] for stage in stages("efficientnet_lite2")] == [
        *((16, 1), (24, 3), (48, 3), (88, 4), (120, 4), (208, 5), (352, 1))
    ]


@pytest.mark.parametrize("name", INPUTS)
def test_pooled_features_equal_pytorch(
    name: str, feature_maps: dict[str, np.ndarray], reference: dict[str, np.ndarray]
) -> None:
    expected = reference[f"{name}/pooled"]
    error = feature_maps[name].mean(axis=(0, 1)) - expected
    assert np.abs(error).max() < FEATURE_TOLERANCE
    assert np.linalg.norm(error) < NORM_TOLERANCE * np.linalg.norm(expected)


def test_feature_map_equals_pytorch_place_by_place(
    feature_maps: dict[str, np.ndarray], reference: dict[str, np.ndarray]
) -> None:
    assert feature_maps["small"].shape == (4, 4, 1280)
    np.testing.assert_allclose(
        feature_maps["small"], reference["small/map"], atol=FEATURE_TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("name", INPUTS)
def test_features_are_within_relu6(name: str, feature_maps: dict[str, np.ndarray]) -> None:
    features = feature_maps[name]
    assert features.dtype == np.float32
    assert features.min() == 0
    assert features.max() <= 6


def test_photos_are_scaled_inside() -> None:
    """Exactly: half a grey level too much is less than float16 weights hide."""
    rescaling = backbone("efficientnet_lite0", 32).get_layer("rescaling")
    scaled = rescaling(np.array([0, 127, 255], np.float32))
    np.testing.assert_array_equal(scaled, [-127 / 128, 0, 1])


@pytest.mark.parametrize(("size", "side"), [(32, 1), (100, 4), (160, 5), (224, 7), (260, 9)])
def test_feature_map_is_a_32nd_of_the_photo(size: int, side: int) -> None:
    assert backbone("efficientnet_lite0", size).output_shape == (None, side, side, 1280)


def test_every_stored_array_is_used_and_small(network: str) -> None:
    model, weights = backbone(network, 64), weights_file(network)
    used = {f"{layer.name}/{v.name}" for layer in model.layers for v in layer.weights}
    with np.load(weights) as arrays:
        assert set(arrays.files) == used
        assert {arrays[key].dtype for key in arrays.files} == {np.dtype(np.float16)}
    assert weights.stat().st_size < 10_000_000 and model.count_params() < 5_000_000


def test_backbone_can_be_saved_and_loaded(tmp_path: Path) -> None:
    photo = np.full((1, 64, 64, 3), 200, np.float32)
    saved = backbone("efficientnet_lite0", 64)
    saved.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    np.testing.assert_array_equal(loaded.predict(photo, verbose=0), saved.predict(photo, verbose=0))


class Hostile:
    """Runs a command when an unrestricted unpickler reads it."""

    def __reduce__(self) -> tuple:
        return os.system, ("exit 1",)


def test_weight_reader_refuses_code() -> None:
    from convert_efficientnet_lite import read_state_dict

    with pytest.raises(pickle.UnpicklingError, match="system has no place in a weight file"):
        read_state_dict(io.BytesIO(pickle.dumps(Hostile())))


def test_weight_reader_honours_offset_and_strides() -> None:
    from convert_efficientnet_lite import strided_tensor

    tensor = strided_tensor(np.arange(8.0), 1, (2, 3), (1, 2))
    np.testing.assert_array_equal(tensor, [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize(
    ("offset", "strides"), [(3, (1, 2)), (-1, (1, 2)), (0, (4, 2)), (0, (-1, 2))]
)
def test_weight_reader_refuses_a_tensor_beyond_its_storage(
    offset: int, strides: tuple[int, int]
) -> None:
    from convert_efficientnet_lite import strided_tensor

    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        strided_tensor(np.arange(8.0), offset, (2, 3), strides)


def test_another_weight_file_is_refused(tmp_path: Path) -> None:
    from convert_efficientnet_lite import weight_bytes

    (tmp_path / "other.pth").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="SHA-256"):
        weight_bytes("efficientnet_lite2", tmp_path / "other.pth")
