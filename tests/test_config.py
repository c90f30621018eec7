"""Settings: what is refused, how it is said, and where things live."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashnet import config
from trashnet.config import TrainConfig, environment
from trashnet.errors import ConfigError

SETTINGS = [f.name for f in dataclasses.fields(TrainConfig)]


def test_the_defaults_are_the_promised_recipe() -> None:
    recipe = TrainConfig()
    assert (recipe.model, recipe.epochs, recipe.image_size, recipe.batch_size) == (
        "cnn_baseline",
        50,
        224,
        32,
    )
    assert (recipe.learning_rate, recipe.split, recipe.brightness, recipe.rotation) == (
        0.001,
        "object",
        0.2,
        15.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", "resnet9000", "must be one of cnn_baseline"),
        ("model", ["cnn_baseline"], "must be one of"),
        ("epochs", -3, "epochs is -3; it must be between 1 and 1000."),
        ("epochs", 0, "between 1 and 1000"),
        ("epochs", 2.0, "epochs is 2.0; it must be of type int."),
        ("epochs", True, "of type int"),
        ("epochs", "5", "of type int"),
        ("epochs", None, "of type int"),
        ("image_size", 0, "image_size is 0; it must be between 32 and 512."),
        ("batch_size", 10**9, "between 1 and 512"),
        ("learning_rate", 0, "learning_rate is 0; it must be between"),
        ("learning_rate", 10**400, "learning_rate is 1000"),
        ("learning_rate", float("nan"), "learning_rate is nan"),
        ("learning_rate", float("inf"), "learning_rate is inf"),
        ("learning_rate", True, "of type float"),
        ("rotation", "15", "of type float"),
        ("seed", -1, "seed is -1"),
        ("split", "Random", "must be one of object, random, authors"),
        ("horizontal_flip", 1, "of type bool"),
        ("tracking", "on", "must be one of auto, online, offline, off"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict({name: value})
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{name} is ") and str(caught.value).endswith(".")


def test_an_unknown_setting_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'epoch'.*epochs, image_size"):
        TrainConfig.from_dict({"epoch": 3})


def test_whole_numbers_are_good_for_decimals() -> None:
    rotation = TrainConfig(rotation=20).rotation
    assert rotation == 20.0 and isinstance(rotation, float)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.none())
)


@given(st.dictionaries(st.sampled_from([*SETTINGS, "other"]), VALUES))
def test_any_values_are_taken_and_kept_or_refused(values: dict[str, Any]) -> None:
    try:
        settings = TrainConfig.from_dict(values)
    except ConfigError as error:
        assert str(error).endswith(".")
    else:
        assert TrainConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
        assert all(getattr(settings, name) == value for name, value in values.items())


def test_a_file_of_settings_and_a_runs_config_both_work(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"epochs": 3}')
    assert TrainConfig.from_file(path) == TrainConfig(epochs=3)
    path.write_text('{"schema": 1, "train_config": {"epochs": 4}, "classes": []}')
    assert TrainConfig.from_file(path) == TrainConfig(epochs=4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"epochs": 3', "not a readable JSON file"),
        (b"", "not a readable JSON file"),
        (b"\xff\xfe{\x00}", "not a readable JSON file"),
        (b"[]", "must hold a JSON object"),
        (b'["epochs"]', "must hold a JSON object"),
        (b'{"train_config": 3}', "must hold a JSON object"),
        (b'{"train_config": ["epochs"]}', "must hold a JSON object"),
        (b'{"epocs": 3}', "Unknown setting 'epocs'"),
        (b'{"epochs": NaN}', "of type int"),
    ],
)
def test_a_damaged_file_of_settings_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        TrainConfig.from_file(path)


def test_a_missing_file_of_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file .*gone.json"):
        TrainConfig.from_file(tmp_path / "gone.json")
    with pytest.raises(ConfigError, match="not a readable"):
        TrainConfig.from_file(tmp_path)


# ---- where things live ----


def test_variables_decide_home_and_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_HOME", str(tmp_path / "new" / "home"))
    monkeypatch.setenv("TRASHNET_DATA", str(tmp_path / "photos.zip"))
    env = environment()
    assert env.home == tmp_path / "new" / "home" and env.home.is_dir()
    assert env.data == tmp_path / "photos.zip"
    assert {env.photos, env.cache, env.runs} == {env.home / n for n in ("photos", "cache", "runs")}
    monkeypatch.setenv("TRASHNET_DATA", "")
    assert environment().data is None


@pytest.mark.parametrize("name", ["~/trashnet", "~nobody-of-that-name/trashnet"])
def test_a_tilde_is_a_home_if_there_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_DATA", name)
    found = environment().data
    assert found is not None and found.is_absolute() and found.name == "trashnet"
    assert ("~" in str(found)) == name.startswith("~nobody")


def test_the_dot_env_file_fills_in_what_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TRASHNET_DATA=from-the-file\nTRASHNET_HOME=never\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRASHNET_DATA")
    env = environment()
    monkeypatch.delenv("TRASHNET_DATA")  # so that undoing restores what was there before
    assert env.data == tmp_path / "from-the-file"
    assert env.home == tmp_path / "home"


def test_a_home_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRASHNET_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match="cannot be created .*set TRASHNET_HOME to a folder"):
        environment()


def test_a_home_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    # Made up, because an administrator may write everywhere.
    monkeypatch.setattr(config.os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="cannot be written; set TRASHNET_HOME"):
        environment()


@pytest.mark.parametrize(
    ("key", "netrc", "found"),
    [
        ("", None, False),
        ("secret", None, True),
        ("", b"machine api.wandb.ai\n login user", True),
        ("", b"machine example.org \xff", False),
    ],
)
def test_a_wandb_key_is_found(
    key: str, netrc: bytes | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if netrc is not None:
        (tmp_path / "netrc").write_bytes(netrc)
    assert environment().wandb_key is found


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False)])
def test_the_hub_may_be_switched_off(
    value: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert environment().hub_offline is offline


def test_a_child_process_works_in_the_same_home(
    env: config.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_HOME", "elsewhere")
    monkeypatch.setenv("WANDB_MODE", "offline")
    variables = env.variables()
    assert variables["TRASHNET_HOME"] == str(env.home)
    assert variables["WANDB_MODE"] == "offline"
