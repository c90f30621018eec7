"""Each transformation does what its setting says, alone and with others; mixup blends fairly."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashnet.config import RECIPES, TrainConfig
from trashnet.training.augmentation import augment, mix

Pixels = NDArray[np.float32]

N = 64
"""Photos of a batch: enough to see both ends of what is drawn for each."""

OFF = {"horizontal_flip": False, "brightness": 0.0, "rotation": 0.0}
MOVES = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "rotation": 20.0,
    "zoom": 0.2,
    "stretch": 0.1,
    "shift": 0.1,
}
LIGHTS = {"brightness": 0.1, "contrast": 0.3, "saturation": 0.3, "tint": 0.05}
EVERYTHING = {**MOVES, **LIGHTS}


def augmented(pixels: np.ndarray, seed: int = 0, **strengths: object) -> Pixels:
    """The photos changed by the named transformations and no others."""
    config = TrainConfig(**{**OFF, **strengths})
    return np.asarray(augment(tf.constant(pixels), config, tf.constant((seed, 7), tf.int32)))


def ramps(low: int = 60, high: int = 190, side: int = 32) -> NDArray[np.uint8]:
    """`(N, side, side, 3)` photos that get brighter to the right."""
    row = np.linspace(low, high, side)[None, None, :, None]
    return np.broadcast_to(row, (N, side, side, 3)).astype(np.uint8)


def coloured(low: int = 100, high: int = 150) -> NDArray[np.uint8]:
    """`(N, 16, 16, 3)`: the same photo of random colours, far enough from black and white."""
    photo = np.random.default_rng(0).integers(low, high, (16, 16, 3), dtype=np.uint8)
    return np.broadcast_to(photo, (N, 16, 16, 3))


# ---------------------------------------------------------------- where things go

RADIUS = 12


def spots(height: int = 97, width: int = 97) -> NDArray[np.uint8]:
    """`(N, h, w, 3)`: red right of the middle, green below it, blue on it; the rest is black."""
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    channels = [
        255 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 2.5**2))
        for at_x, at_y in ((RADIUS, 0), (0, RADIUS), (0, 0))
    ]
    return np.broadcast_to(np.stack(channels, axis=-1), (N, height, width, 3)).astype(np.uint8)


def measured(photos: Pixels) -> pd.DataFrame:
    """What was done to each photo of `spots`, read from where its three spots are now."""
    height, width = photos.shape[1:3]
    y, x = np.mgrid[:height, :width]
    mass = photos.sum(axis=(1, 2))
    places = [
        (photos * at[None, :, :, None]).sum(axis=(1, 2)) / mass - (side - 1) / 2
        for at, side in ((x, width), (y, height))
    ]
    red, green, blue = np.moveaxis(np.stack(places, axis=1), 2, 0)  # (n, 2) each
    # What maps a place of the result, less the middle's, to the place in the photo.
    back = np.linalg.inv(np.stack([red - blue, green - blue], axis=2) / RADIUS)
    shift = -np.einsum("nij,nj->ni", back, blue)
    flip_x, flip_y = np.sign(back[:, 0, 0]), np.sign(back[:, 1, 1])  # no turn exceeds 90 degrees
    scale_x, scale_y = np.linalg.norm(back, axis=1).T
    slant = (back[:, :, 0] * back[:, :, 1]).sum(axis=1) / (scale_x * scale_y)
    return pd.DataFrame(
        {
            "horizontal_flip": flip_x,
            "vertical_flip": flip_y,
            "rotation": np.degrees(np.arctan2(back[:, 1, 0] * flip_x, back[:, 0, 0] * flip_x)),
            "zoom": np.sqrt(scale_x * scale_y),
            "stretch": scale_x / scale_y,
            "slant": np.degrees(np.arcsin(slant)),
            "shift_x": shift[:, 0] / width,
            "shift_y": shift[:, 1] / height,
        }
    )


UNMOVED = {
    "horizontal_flip": 1,
    "vertical_flip": 1,
    "rotation": 0,
    "zoom": 1,
    "stretch": 1,
    "slant": 0,  # right angles stay
    "shift_x": 0,
    "shift_y": 0,
}
TOLERANCE = {
    "rotation": 0.7,
    "zoom": 0.02,
    "stretch": 0.03,
    "slant": 0.7,
    "shift_x": 0.003,
    "shift_y": 0.003,
}


def assert_alike(one: pd.DataFrame, two: pd.DataFrame, columns: list[str]) -> None:
    for column in columns:
        np.testing.assert_allclose(one[column], two[column], atol=TOLERANCE.get(column, 0))


def columns_of(name: str) -> list[str]:
    return ["shift_x", "shift_y"] if name == "shift" else [name]


@pytest.mark.parametrize(
    ("name", "strength", "low", "high"),
    [
        ("rotation", 15.0, -15, 15),
        ("rotation", 30.0, -30, 30),
        ("zoom", 0.3, 1 / 1.3, 1.3),
        ("zoom", 0.1, 1 / 1.1, 1.1),
        ("stretch", 0.2, 1 / 1.2, 1.2),
        ("shift", 0.1, -0.1, 0.1),
        ("shift", 0.2, -0.2, 0.2),
    ],
)
def test_a_movement_is_of_its_kind_and_within_its_strength(
    name: str, strength: float, low: float, high: float
) -> None:
    found = measured(augmented(spots(), **{name: strength}))
    for column in columns_of(name):
        room, tenth = TOLERANCE[column], (high - low) / 10
        assert low - room <= found[column].min() < low + tenth
        assert high + room >= found[column].max() > high - tenth
    untouched = [column for column in UNMOVED if column not in columns_of(name)]
    assert_alike(found, pd.DataFrame([UNMOVED] * N), untouched)


def test_a_shift_is_a_share_of_width_and_of_height() -> None:
    found = measured(augmented(spots(61, 121), shift=0.1))
    for column in ("shift_x", "shift_y"):
        assert 0.08 < found[column].abs().max() < 0.103
    assert abs(np.corrcoef(found.shift_x, found.shift_y)[0, 1]) < 0.5  # not along a diagonal


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (6, 11)])
@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 2), ("vertical_flip", 1)])
def test_a_flip_mirrors_half_of_the_photos_exactly(
    name: str, axis: int, shape: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (N, *shape, 3), dtype=np.uint8)
    result = augmented(pixels, **{name: True})
    kept = (result == pixels).all(axis=(1, 2, 3))
    mirrored = (result == np.flip(pixels, axis)).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert N / 4 < mirrored.sum() < 3 * N / 4


def test_the_two_flips_are_independent() -> None:
    found = measured(augmented(spots(), horizontal_flip=True, vertical_flip=True))
    assert found.groupby(["horizontal_flip", "vertical_flip"]).size().min() > N / 10


@pytest.mark.parametrize("name", MOVES)
def test_a_movement_is_the_same_with_and_without_the_others(name: str) -> None:
    alone = measured(augmented(spots(), **{name: MOVES[name]}))
    together = measured(augmented(spots(), **MOVES))
    assert_alike(alone, together, [*columns_of(name), "slant"])
    without = measured(augmented(spots(), **{k: v for k, v in MOVES.items() if k != name}))
    others = [column for other in MOVES if other != name for column in columns_of(other)]
    assert_alike(without, together, others)


# ---------------------------------------------------------------- what comes in from outside


def test_nothing_black_comes_in() -> None:
    white = np.full((N, 32, 32, 3), 255, np.uint8)
    most = {"rotation": 180.0, "zoom": 1.0, "stretch": 1.0, "shift": 0.5}
    for name, strength in most.items():
        assert augmented(white, **{name: strength}).min() > 254.9
    assert augmented(white, **most, horizontal_flip=True, vertical_flip=True).min() > 254.9


@pytest.mark.parametrize("axis", [1, 2])
def test_what_comes_in_is_the_photo_mirrored_at_its_edge(axis: int) -> None:
    side = 60
    ramp = np.broadcast_to(np.arange(side)[None, None, :, None], (N, side, side, 3))
    ramp = np.swapaxes(ramp, axis, 2).astype(np.uint8)
    result = augmented(ramp, shift=0.4)
    lines = np.swapaxes(result, axis, 2)[:, side // 2, :, 0]  # along the ramp
    at = np.arange(side) + (lines[:, 30] - 30)[:, None]
    inside = np.clip(at, 0, side - 1)
    mirrored = np.where(at < 0, np.maximum(-1 - at, 0), inside)
    mirrored = np.where(at > side - 1, np.minimum(2 * side - 1 - at, side - 1), mirrored)
    np.testing.assert_allclose(lines, mirrored, atol=0.01)
    assert (at < -10).any() and (at > side + 10).any()  # both edges were crossed


# ---------------------------------------------------------------- light and colour


def test_no_augmentation_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (N, 9, 9, 3), dtype=np.uint8)
    result = augmented(pixels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, pixels)


def test_brightness_adds_one_number_to_a_photo() -> None:
    pixels = ramps()
    added = augmented(pixels, brightness=0.2) - pixels
    each = added.mean(axis=(1, 2, 3))
    # The ramp has room for the largest change, so nothing is clipped.
    assert abs(added - each[:, None, None, None]).max() < 0.001
    assert abs(each).max() <= 0.2 * 255 + 0.01
    assert each.min() < -0.15 * 255 and each.max() > 0.15 * 255


def test_contrast_scales_about_the_photos_mean() -> None:
    pixels = ramps(100, 150)
    result = augmented(pixels, contrast=0.5)
    means = result.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, pixels.mean(axis=(1, 2, 3)), atol=0.01)
    factors = np.ptp(result, axis=(1, 2, 3)) / np.ptp(pixels, axis=(1, 2, 3))
    scaled = means[:, None, None, None] + factors[:, None, None, None] * (pixels - pixels.mean())
    np.testing.assert_allclose(result, scaled, atol=0.01)
    assert 0.499 < factors.min() < 0.6 and 1.4 < factors.max() < 1.501


LUMA = np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_saturation_scales_the_distance_from_grey(strength: float) -> None:
    pixels = coloured()
    result = augmented(pixels, saturation=strength)
    grey = (pixels @ LUMA)[..., None]
    factors = ((result - grey) * (pixels - grey)).sum(axis=(1, 2, 3)) / ((pixels - grey) ** 2).sum(
        axis=(1, 2, 3)
    )
    scaled = grey + factors[:, None, None, None] * (pixels - grey)
    np.testing.assert_allclose(result, scaled, atol=0.01)
    assert 1 - strength - 0.001 < factors.min() < 1 - 0.8 * strength  # at most to grey
    assert 1 + 0.8 * strength < factors.max() < 1 + strength + 0.001


def test_a_grey_photo_has_no_colours_to_saturate() -> None:
    np.testing.assert_allclose(augmented(ramps(), saturation=1.0), ramps(), atol=0.001)


def test_a_tint_scales_each_channel_by_itself() -> None:
    pixels = coloured()
    ratios = augmented(pixels, tint=0.3) / pixels
    each = ratios.mean(axis=(1, 2))
    assert abs(ratios - each[:, None, None, :]).max() < 0.001
    assert abs(each - 1).max() <= 0.301
    assert (each.min(axis=0) < 0.8).all() and (each.max(axis=0) > 1.2).all()
    assert abs(np.corrcoef(each.T) - np.eye(3)).max() < 0.5  # colours change, not only brightness


def test_lights_are_the_same_with_and_without_the_others() -> None:
    """Together they are one after another: each draws alone what it draws among the others."""
    photos = coloured(120, 135)  # no step leaves 0–255
    step = photos.astype(np.float32)
    for name in ("saturation", "tint", "contrast", "brightness"):
        step = augmented(step, **{name: LIGHTS[name]})
    np.testing.assert_allclose(augmented(photos, **LIGHTS), step, atol=0.01)


def test_light_and_movement_leave_each_other_alone() -> None:
    photos = coloured()
    one_by_one = augmented(augmented(photos, **MOVES), **LIGHTS)
    np.testing.assert_allclose(augmented(photos, **EVERYTHING), one_by_one, atol=0.01)


@pytest.mark.parametrize("name", LIGHTS)
def test_the_strongest_light_stays_within_the_range_of_pixels(name: str) -> None:
    strongest = 0.5 if name == "tint" else 1.0
    result = augmented(coloured(0, 255), **{name: strongest})
    assert result.min() >= 0 and result.max() <= 255
    assert result.max() > 250


# ---------------------------------------------------------------- chance


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_decides_and_each_photo_has_its_own_draw(name: str) -> None:
    photos = coloured()
    result = augmented(photos, **{name: EVERYTHING[name]})
    np.testing.assert_array_equal(result, augmented(photos, **{name: EVERYTHING[name]}))
    assert (result != augmented(photos, seed=1, **{name: EVERYTHING[name]})).any()
    distinct = len({photo.tobytes() for photo in result})
    assert distinct == (2 if name.endswith("flip") else N)


def test_what_is_drawn_for_a_photo_is_unrelated() -> None:
    """A photo that is mirrored is not for that reason brighter, or turned to the left."""
    drawn = measured(augmented(spots(), **MOVES)).drop(columns="slant")
    pixels = coloured()
    for name, strength in LIGHTS.items():
        change = augmented(pixels, **{name: strength}) - pixels
        red, green, _ = np.moveaxis(change[:, 0, 0], -1, 0)  # one pixel tells of the draw
        drawn[name], drawn[f"{name} of green"] = red, green
    drawn = drawn.drop(columns=[f"{name} of green" for name in LIGHTS if name != "tint"])
    related = drawn.corr().abs().to_numpy() - np.eye(len(drawn.columns))
    assert related.max() < 0.45


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipe_augments_the_same_in_a_graph(model: str) -> None:
    """As training calls it: compiled, with a number of photos that is not known beforehand."""
    config, seed = TrainConfig.recipe(model), tf.constant((3, 4), tf.int32)
    signature = [tf.TensorSpec((None, 16, 16, 3), tf.uint8), tf.TensorSpec((2,), tf.int32)]
    compiled = tf.function(lambda photos, s: augment(photos, config, s), signature)
    for n in (1, 5):
        photos = tf.constant(coloured()[:n])
        result = compiled(photos, seed)
        assert result.shape == (n, 16, 16, 3) and result.dtype == tf.float32
        np.testing.assert_allclose(result, augment(photos, config, seed), atol=0.01)


SHARES = st.floats(0, 1)


@settings(max_examples=30)
@given(
    strengths=st.fixed_dictionaries(
        {
            "horizontal_flip": st.booleans(),
            "vertical_flip": st.booleans(),
            "rotation": st.floats(0, 180),
            "shift": st.floats(0, 0.5),
            "tint": st.floats(0, 0.5),
            **dict.fromkeys(("zoom", "stretch", "brightness", "contrast", "saturation"), SHARES),
        }
    ),
    shape=st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 2**31 - 1),
)
def test_whatever_the_strengths_photos_stay_photos(
    strengths: dict[str, object], shape: tuple[int, int, int], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = augmented(pixels, seed, **strengths)
    assert result.shape == pixels.shape and result.dtype == np.float32
    assert result.min() >= 0 and result.max() <= 255  # fails for NaN as well


# ---------------------------------------------------------------- mixup


def mixed(alpha: float, n: int = 200, seed: int = 0) -> tuple[Pixels, Pixels, Pixels]:
    """Mixes `n` photos of classes of their own, so that the labels say what was blended."""
    photos = np.random.default_rng(0).uniform(0, 255, (n, 4, 4, 3)).astype(np.float32)
    weights = np.linspace(0.5, 3, n).astype(np.float32)
    key = tf.constant((seed, 9), tf.int32)
    return tuple(np.asarray(part) for part in mix(photos, tf.eye(n), weights, alpha, key))


def test_mixup_of_alpha_0_changes_nothing() -> None:
    photos, labels, weights = mixed(0.0)
    np.testing.assert_array_equal(labels, np.eye(200))
    np.testing.assert_array_equal(weights, np.linspace(0.5, 3, 200, dtype=np.float32))
    expected = np.random.default_rng(0).uniform(0, 255, (200, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(photos, expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_mixup_blends_photo_label_and_weight_alike(alpha: float) -> None:
    plain_photos, _, plain_weights = mixed(0.0)
    photos, labels, weights = mixed(alpha)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    own = np.diag(labels)
    assert own.min() >= 0.5 and own.max() <= 1
    assert ((labels > 0).sum(axis=1) <= 2).all()
    # The labels are the shares; photos and weights are blended by the same ones.
    np.testing.assert_allclose(photos, np.tensordot(labels, plain_photos, 1), atol=0.01)
    np.testing.assert_allclose(weights, labels @ plain_weights, rtol=1e-5)


def test_every_photo_of_a_mixed_batch_is_the_partner_of_one_by_chance() -> None:
    partners = []
    for seed in (0, 1):
        labels = mixed(1.0, seed=seed)[1]
        partner = np.where(np.eye(200, dtype=bool), 0, labels).argmax(axis=1)
        lent = np.diag(labels) < 1 - 1e-5  # the others are their own partner or lend nothing
        assert len(set(partner[lent])) == lent.sum() > 180
        partners.append(partner)
    assert (partners[0] == partners[1]).sum() < 20


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2, 0.5, 1.0])
def test_mixup_shares_are_betas(alpha: float) -> None:
    """The smaller alpha, the less is blended."""
    draws = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    expected = np.maximum(draws, 1 - draws)
    own = np.diag(mixed(alpha, n=2000)[1])
    assert abs(own.mean() - expected.mean()) < 0.02
    assert abs((own < 0.6).mean() - (expected < 0.6).mean()) < 0.03


def test_the_seed_decides_the_mix() -> None:
    one, again, other = mixed(0.5), mixed(0.5), mixed(0.5, seed=1)
    for part in range(3):
        np.testing.assert_array_equal(one[part], again[part])
        assert (one[part] != other[part]).any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_last_batch_may_be_small(n: int) -> None:
    photos, labels, weights = mixed(0.5, n)
    assert photos.shape == (n, 4, 4, 3) and labels.shape == (n, n) and weights.shape == (n,)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
