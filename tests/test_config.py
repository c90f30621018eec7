"""Settings: what is refused, how it is said, and where things live."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from trashnet.config import MODELS, RECIPES, SETTINGS, TrainConfig
from trashnet.environment import Environment, environment
from trashnet.errors import ConfigError


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
        ("epochs", -3, "epochs is -3; it must be between 0 and 1000."),
        ("epochs", 1001, "between 0 and 1000"),
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
        ("schedule", "linear", "must be one of constant, cosine"),
        ("label_smoothing", 0.6, "label_smoothing is 0.6; it must be between 0.0 and 0.5."),
        ("interpolation", 1.1, "between 0.0 and 1.0"),
        ("fold", 5, "fold is 5; it must be between 0 and 4."),
        ("fold", 1.0, "of type int"),
        ("folds", 0, "folds is 0; it must be between 1 and 5."),
        ("folds", 6, "folds is 6; it must be between 1 and 5."),
        ("vertical_flip", "yes", "of type bool"),
        ("zoom", -0.1, "zoom is -0.1; it must be between"),
        ("stretch", 1.5, "between 0.0 and 1.0"),
        ("shift", 0.51, "between 0.0 and 0.5"),
        ("brightness", 1.01, "between 0.0 and 1.0"),
        ("contrast", 2, "contrast is 2; it must be between"),
        ("saturation", None, "of type float"),
        ("tint", 0.51, "between 0.0 and 0.5"),
        ("mixup", 1.2, "mixup is 1.2; it must be between 0.0 and 1.0."),
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


AUTHORS = "The authors' split has one test set; folds need another split."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"folds": 2}, "folds is 2; it must be 1 or 5."),
        ({"folds": 4}, "folds is 4; it must be 1 or 5."),
        ({"folds": 5, "fold": 3}, "fold is 3; it must be 0 when every fold is trained."),
        ({"split": "authors", "fold": 1}, AUTHORS),
        ({"split": "authors", "folds": 5}, AUTHORS),
        ({"model": "frozen_features"}, "epochs must be 0."),
        ({"model": "frozen_features", "epochs": 1}, "epochs must be 0."),
        ({"epochs": 0}, "epochs is 0; cnn_baseline needs at least 1."),
        ({"interpolation": 0.99}, "interpolation must be 1."),
        (
            {"model": "efficientnet_lite0", "optimizer": "muon"},
            "muon trains cnn only; efficientnet_lite0 needs the optimizer adam.",
        ),
        ({"mirrored_views": True}, "mirrored_views must be off."),
    ],
)
def test_settings_that_do_not_go_together_are_said_in_one_sentence(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict(values)
    sentence = str(caught.value)
    assert sentence.endswith(said)
    assert sentence.count(". ") == 0 and "\n" not in sentence


@pytest.mark.parametrize(
    "values",
    [
        {"folds": 5, "split": "random"},
        {"fold": 4},
        {"split": "authors"},
        {"model": "frozen_features", "epochs": 0},
        {"model": "frozen_features", "epochs": 0, "folds": 5},
        {"model": "efficientnet_lite0", "epochs": 0},
        {"model": "efficientnet_lite0", "interpolation": 0.0},
        {"model": "efficientnetv2_b0", "interpolation": 0.5, "schedule": "cosine"},
        {"model": "cnn", "optimizer": "muon", "weight_decay": 0.1, "mirrored_views": True},
    ],
)
def test_settings_that_go_together_are_taken(values: dict[str, Any]) -> None:
    settings = TrainConfig.from_dict(values).to_dict()
    assert {name: settings[name] for name in values} == values


# ---- recipes ----


@pytest.mark.parametrize("model", MODELS)
def test_a_recipe_survives_its_file(model: str, tmp_path: Path) -> None:
    recipe = TrainConfig.recipe(model)
    assert recipe.model == model
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(recipe.to_dict()))
    assert TrainConfig.from_file(path) == recipe


@pytest.mark.parametrize("model", MODELS)
def test_a_recipe_lists_what_differs_from_the_defaults_and_nothing_else(model: str) -> None:
    recipe, default = TrainConfig.recipe(model).to_dict(), TrainConfig().to_dict()
    differing = {name: recipe[name] for name in SETTINGS if recipe[name] != default[name]}
    assert differing == RECIPES[model] | ({} if model == default["model"] else {"model": model})


def test_recipes_divide_the_photos_alike() -> None:
    """So their figures compare: the same test photos, under the same seed."""
    recipes = [TrainConfig.recipe(model) for model in MODELS]
    for name in ("split", "seed", "fold", "folds", "exclude_conflicts"):
        assert len({getattr(recipe, name) for recipe in recipes}) == 1


def test_frozen_features_augment_nothing() -> None:
    recipe = TrainConfig.recipe("frozen_features")
    strengths = ("rotation", "zoom", "stretch", "shift", "brightness", "contrast", "mixup")
    assert not any(getattr(recipe, name) for name in strengths)
    assert not recipe.horizontal_flip and not recipe.vertical_flip and recipe.epochs == 0


def test_changed_settings_are_checked_anew() -> None:
    recipe = TrainConfig.recipe("cnn")
    changed = recipe.replace(epochs=3, rotation=5)
    assert changed.to_dict() == recipe.to_dict() | {"epochs": 3, "rotation": 5.0}
    assert recipe == TrainConfig.recipe("cnn")
    with pytest.raises(ConfigError, match="epochs is 0; cnn needs at least 1."):
        recipe.replace(epochs=0)
    with pytest.raises(ConfigError, match="Unknown setting 'epoch'"):
        recipe.replace(epoch=3)


def test_there_is_no_recipe_for_an_unknown_network() -> None:
    with pytest.raises(ConfigError, match="model is 'resnet9000'; it must be one of cnn_baseline"):
        TrainConfig.recipe("resnet9000")


def test_epochs_of_all_folds_are_counted() -> None:
    assert TrainConfig(epochs=7).total_epochs == 7
    assert TrainConfig(epochs=7, folds=5).total_epochs == 35
    assert TrainConfig.recipe("frozen_features").total_epochs == 0


OLD = {
    "model": "cnn_baseline",
    "epochs": 12,
    "image_size": 128,
    "batch_size": 16,
    "learning_rate": 0.0005,
    "seed": 3,
    "split": "authors",
    "exclude_conflicts": False,
    "horizontal_flip": False,
    "brightness": 0.1,
    "rotation": 5,
    "class_weights": False,
    "tracking": "off",
}
"""A configuration as version 0.1.0 wrote it."""


def test_a_configuration_from_before_the_newer_settings_means_what_it_meant(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"schema": 1, "train_config": OLD, "classes": ["a", "b"]}))
    settings = TrainConfig.from_file(path).to_dict()
    assert {name: settings[name] for name in OLD} == OLD
    newer = {name: settings[name] for name in SETTINGS if name not in OLD}
    # What was not there is switched off: constant rate, plain labels, one fold, nothing else moved.
    # Three frozen blocks were fixed before they were a setting. Which precision "auto" came to is
    # the run's own knowledge: float32, in those.
    assert {k: v for k, v in newer.items() if v} == {
        "schedule": "constant",
        "optimizer": "adam",
        "interpolation": 1.0,
        "backbone": "efficientnet_lite0",
        "frozen_blocks": 3,
        "folds": 1,
        "precision": "auto",
    }


def test_every_setting_says_what_it_is() -> None:
    for name, setting in SETTINGS.items():
        assert setting.help, name
        if setting.type in (int, float):  # forms and the command line show the range
            assert setting.minimum <= setting.default <= setting.maximum, name


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


def asked_elsewhere(
    tmp_path: Path, settings: str | bytes, environ: dict[str, str], code: str = "e()"
) -> str:
    """What a copy of the package with these settings beside it finds, started in another folder."""
    app = tmp_path / "app"
    shutil.copytree(
        ROOT / "trashnet", app / "trashnet", ignore=shutil.ignore_patterns("released", "assets")
    )
    (app / ".env").write_bytes(settings if isinstance(settings, bytes) else settings.encode())
    (tmp_path / "other").mkdir()
    program = f"from trashnet.environment import environment as e; print({code})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "other",
        env={"PYTHONPATH": str(app), "PATH": os.environ["PATH"]} | environ,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_settings_beside_the_app_hold_wherever_it_is_started(tmp_path: Path) -> None:
    settings = f"TRASHNET_HOME={tmp_path / 'kept'}\nTRASHNET_OWNER_PASSWORD=secret\n"
    settings += "TRASHNET_PUBLIC=1\n"
    said = asked_elsewhere(
        tmp_path, settings, {}, "(e().home.name, e().owner_password, e().public)"
    )
    assert said == "('kept', 'secret', True)\n"


def test_settings_that_cannot_be_read_open_nothing(tmp_path: Path) -> None:
    said = asked_elsewhere(tmp_path, b"TRASHNET_OWNER_PASSWORD=caf\xe9\n", {})
    assert said.endswith(
        "ConfigError: The file .env cannot be read (it is no UTF-8 text); correct it.\n"
    )


def test_photos_named_from_here_are_the_same_for_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRASHNET_DATA", "mine/photos.zip")
    assert environment().variables()["TRASHNET_DATA"] == str(tmp_path / "mine" / "photos.zip")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_HOME", "")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as of a container's made-up user
    with pytest.raises(ConfigError, match="no home folder; set TRASHNET_HOME to a folder"):
        environment()


def test_a_home_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRASHNET_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match="cannot be created .*set TRASHNET_HOME to a folder"):
        environment()


def test_a_home_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    # Made up, because an administrator may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="cannot be written; set TRASHNET_HOME"):
        environment()


@pytest.mark.parametrize(
    ("key", "netrc", "found"),
    [
        ("", False, False),
        ("secret", False, True),
        ("", True, False),
    ],
)
def test_a_wandb_key_is_one_that_is_set_and_no_login_of_another_program(
    key: str, netrc: bool, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if netrc:
        (tmp_path / "netrc").write_bytes(b"machine api.wandb.ai\n login user")
    assert environment().wandb_key is found


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False)])
def test_the_hub_may_be_switched_off(
    value: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert environment().hub_offline is offline


def test_a_child_process_works_in_the_same_home(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_HOME", "elsewhere")
    monkeypatch.setenv("WANDB_MODE", "offline")
    variables = env.variables()
    assert variables["TRASHNET_HOME"] == str(env.home)
    assert variables["WANDB_MODE"] == "offline"


# ---- who may act ----


def test_the_password_stays_in_the_app(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_OWNER_PASSWORD", " a secret \n")
    found = environment()
    assert found.owner_password == "a secret"
    assert "a secret" not in repr(found)
    assert "a secret" not in "".join(found.variables().values())


def test_a_child_does_not_read_the_password_anew(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TRASHNET_OWNER_PASSWORD=secret\nTRASHNET_DATA=read\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TRASHNET_DATA", raising=False)
    code = (
        "from trashnet.environment import environment as e; "
        "print(e().owner_password, e().data.name)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["None", "read"]


@pytest.mark.parametrize(
    ("space", "said", "public"),
    [
        ("", "", None),
        ("", "1", True),
        ("", "0", False),
        ("somebody/trashnet", "", True),
        ("somebody/trashnet", "0", True),  # its address is known to everybody all the same
    ],
)
def test_whether_others_can_reach_the_app(
    space: str, said: str, public: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", space)
    monkeypatch.setenv("TRASHNET_PUBLIC", said)
    assert environment().public is public


def test_a_mistyped_setting_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_PUBLIC", "ture")
    with pytest.raises(ConfigError, match="TRASHNET_PUBLIC is 'ture'; it must be 1 or 0"):
        environment()
