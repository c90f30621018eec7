"""Training settings: every network's recipe, and what a run is configured with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trashnet.errors import ConfigError

Model = Literal[
    "cnn_baseline",
    "cnn",
    "frozen_features",
    "efficientnet_lite0",
    "efficientnet_lite2",
    "efficientnetv2_b0",
]

Backbone = Literal["efficientnet_lite0", "efficientnet_lite2"]

Split = Literal["object", "random", "authors"]

Schedule = Literal["constant", "cosine"]

Optimizer = Literal["adam", "muon"]

Precision = Literal["auto", "float32", "bfloat16"]

Tracking = Literal["auto", "online", "offline", "off"]

_STRONG: dict[str, Any] = {
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "vertical_flip": True,
    "rotation": 30.0,
    "zoom": 0.3,
    "stretch": 0.2,
    "shift": 0.1,
    "contrast": 0.3,
    "saturation": 0.3,
    "tint": 0.05,
    "mixup": 0.2,
}
"""What keeps a network from learning the training photos by heart."""

_FINE_TUNING = _STRONG | {"epochs": 10, "learning_rate": 2e-4}

RECIPES: dict[str, dict[str, Any]] = {
    "cnn_baseline": {},
    "cnn": _STRONG
    | {"optimizer": "muon", "learning_rate": 0.002, "weight_decay": 0.1, "mirrored_views": True}
    | {"epochs": 80, "image_size": 160, "rotation": 180.0, "zoom": 0.5, "stretch": 0.3},
    # The head is fitted, not trained: there are no epochs and nothing is augmented.
    "frozen_features": {"epochs": 0, "horizontal_flip": False, "brightness": 0.0, "rotation": 0.0},
    "efficientnet_lite0": _FINE_TUNING,
    "efficientnet_lite2": _FINE_TUNING
    | {"image_size": 260, "frozen_blocks": 0, "learning_rate": 2.5e-4, "interpolation": 0.5}
    # People's photos differ more from each other than TrashNet's do.
    | {"zoom": 0.5, "shift": 0.15, "brightness": 0.25, "contrast": 0.4}
    | {"saturation": 0.5, "tint": 0.15},
    "efficientnetv2_b0": _FINE_TUNING,
}
"""The settings in which each network's own recipe differs from the defaults."""

MODELS = get_args(Model)
"""Names `trashnet.training.networks.build_model` knows."""

FROM_SCRATCH = ("cnn_baseline", "cnn")
"""The networks that start from random weights, not from ImageNet's."""

MUON_TRAINS = ("cnn",)
"""The networks whose kernels are matrices, which Muon makes steps of."""

AVERAGED = tuple(model for model in MODELS if model != "cnn_baseline")
"""The networks that end in a mean over the photo, so that views of it can be averaged."""

TRAIN_SHARE = 0.7
"""Of all photos, after a fifth for test and an eighth of the rest for validation."""


def _setting(default: Any, help: str, minimum: float | None = None, maximum: float | None = None):
    return Field(default, description=help, ge=minimum, le=maximum)


class TrainConfig(BaseModel):
    """Everything that decides what a training run does; the defaults are the TrashNet recipe.

    Raises:
        ConfigError: A value is of the wrong type or out of range; the sentence names the
            setting, what was received and what is allowed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    model: Model = _setting("cnn_baseline", "network to train")
    epochs: int = _setting(50, "passes over the training photos", 0, 1000)
    image_size: int = _setting(224, "side of the square input, in pixels", 32, 512)
    batch_size: int = _setting(32, "photos per optimisation step", 1, 512)
    learning_rate: float = _setting(0.001, "learning rate (peak of the cosine schedule)", 1e-7, 1.0)
    optimizer: Optimizer = _setting("adam", "optimizer; muon works only with cnn")
    weight_decay: float = _setting(
        0.0, "share a step of rate 1 would take of every weight, by muon of kernels only", 0.0, 1.0
    )
    schedule: Schedule = _setting(
        "constant", "constant, or cosine: warm up for an epoch, then fall to zero, keep the last"
    )
    precision: Precision = _setting(
        "auto", "what layers compute in: auto measures which is faster here when the run starts"
    )
    label_smoothing: float = _setting(0.0, "share of each label spread over all classes", 0.0, 0.5)
    interpolation: float = _setting(
        1.0, "share of the trained weights in the mean with the pretrained ones (WiSE-FT)", 0.0, 1.0
    )
    backbone: Backbone = _setting(
        "efficientnet_lite0", "network whose features frozen_features classifies"
    )
    frozen_blocks: int = _setting(
        3, "first blocks of an EfficientNet-Lite that fine-tuning leaves as they are", 0, 16
    )
    seed: int = _setting(0, "decides the split, the initial weights and every epoch", 0, 2**31 - 1)
    split: Split = _setting("object", "how photos are divided into train, validation and test")
    fold: int = _setting(0, "which fifth of the photos is the test set", 0, 4)
    folds: int = _setting(1, "1, or 5: train every fold and predict each photo out of fold", 1, 5)
    exclude_conflicts: bool = _setting(True, "leave out photos that are filed under two labels")
    horizontal_flip: bool = _setting(True, "mirror half of the training photos")
    vertical_flip: bool = _setting(False, "turn half of the training photos upside down")
    rotation: float = _setting(15.0, "largest rotation, in degrees either way", 0.0, 180.0)
    zoom: float = _setting(0.0, "largest zoom in or out, as a share of the size", 0.0, 1.0)
    stretch: float = _setting(0.0, "largest change of the ratio of width to height", 0.0, 1.0)
    shift: float = _setting(0.0, "largest shift, as a share of the size", 0.0, 0.5)
    brightness: float = _setting(0.2, "largest brightness change, as a share of white", 0.0, 1.0)
    contrast: float = _setting(0.0, "largest change of contrast, as a share", 0.0, 1.0)
    saturation: float = _setting(0.0, "largest change of saturation, as a share", 0.0, 1.0)
    tint: float = _setting(0.0, "largest change of each colour channel, as a share", 0.0, 0.5)
    dropout: float = _setting(
        0.0, "share of what the last layer sees that is left out at random", 0.0, 0.9
    )
    mixup: float = _setting(
        0.0, "how much photos are blended with others (Beta's alpha; Zhang et al. 2018)", 0.0, 1.0
    )
    mirrored_views: bool = _setting(
        False, "once trained, answer with the mean over the photo and its three mirror images"
    )
    class_weights: bool = _setting(True, "weight the loss by inverse class frequency")
    tracking: Tracking = _setting(
        "auto", "Weights & Biases: auto (only with a key in WANDB_API_KEY), online, offline or off"
    )
    track_photos: bool = _setting(
        False, "send misclassified photos to Weights & Biases even if they are not TrashNet's"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _check_each(cls, values: Any, check: Callable[[Any], Self]) -> Self:
        try:
            return check(values)
        except ValidationError as error:
            raise ConfigError(_sentence(error)) from None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.folds not in (1, 5):
            raise ConfigError(f"folds is {self.folds}; it must be 1 or 5.")
        if self.folds > 1 and self.fold:
            raise ConfigError(f"fold is {self.fold}; it must be 0 when every fold is trained.")
        if self.split == "authors" and (self.folds > 1 or self.fold):
            raise ConfigError("The authors' split has one test set; folds need another split.")
        if self.model == "frozen_features" and self.epochs:
            raise ConfigError("frozen_features has nothing to train by epochs; epochs must be 0.")
        if self.model in FROM_SCRATCH and not self.epochs:
            raise ConfigError(f"epochs is 0; {self.model} needs at least 1.")
        if self.model in FROM_SCRATCH and self.interpolation < 1:
            raise ConfigError(
                f"{self.model} has no pretrained weights to mix with; interpolation must be 1."
            )
        if self.optimizer == "muon" and self.model not in MUON_TRAINS:
            raise ConfigError(f"muon trains cnn only; {self.model} needs the optimizer adam.")
        if self.mirrored_views and self.model not in AVERAGED:
            raise ConfigError(
                f"{self.model} does not end in a mean over the photo; mirrored_views must be off."
            )
        return self

    @classmethod
    def recipe(cls, model: str) -> Self:
        """Returns the settings a network is best trained with.

        Raises:
            ConfigError: There is no such network.
        """
        return cls.from_dict({"model": model} | RECIPES.get(model, {}))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds a configuration from JSON values; settings that are left out keep their default.

        Raises:
            ConfigError: An unknown setting, or a value that is not allowed.
        """
        return cls.model_validate(values)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Reads a JSON file of settings, or the `config.json` of a run."""
        return cls.from_dict(read_settings(path))

    def replace(self, **changes: Any) -> Self:
        """Returns the settings with some of them changed.

        Raises:
            ConfigError: An unknown setting, or a value that is not allowed.
        """
        return self.from_dict(self.to_dict() | changes)

    @property
    def total_epochs(self) -> int:
        """Epochs of all folds together."""
        return self.epochs * self.folds

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        return self.model_dump()


class Setting(NamedTuple):
    """A setting as forms and the command line offer it.

    Attributes:
        name: Of the field.
        type: Of the value.
        default: Its value in the TrashNet recipe.
        help: What it is, in a few words.
        minimum: The lowest value of a number, else None.
        maximum: The highest value of a number, else None.
        choices: The values it may have, empty if it is no choice.
    """

    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]


def _described(name: str) -> Setting:
    f = TrainConfig.model_fields[name]
    low, high = (
        next((getattr(limit, end) for limit in f.metadata if hasattr(limit, end)), None)
        for end in ("ge", "le")
    )
    help = f.description or ""
    return Setting(name, f.annotation, f.default, help, low, high, get_args(f.annotation))


SETTINGS = {name: _described(name) for name in TrainConfig.model_fields}
"""Every setting by its name, in the order of the fields."""


def read_settings(path: Path) -> dict[str, Any]:
    """Returns the settings in a JSON file, or those in the `config.json` of a run.

    Raises:
        ConfigError: There is no such file, or it holds no JSON object.
    """
    try:
        values = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration file {path}.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a readable JSON file: {error}.") from error
    if isinstance(values, dict):
        values = values.get("train_config", values)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a JSON object of settings.")
    return values


def option(name: str, value: Any) -> str:
    """Returns a setting as the command line takes it."""
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{words}" if value else f"--no-{words}"
    return f"--{words} {value}"


def _sentence(error: ValidationError) -> str:
    """Names the first setting that is wrong, what was received and what is allowed."""
    mistake = error.errors(include_url=False)[0]
    if not mistake["loc"]:
        return "Settings must be a JSON object."
    name, value = mistake["loc"][0], mistake["input"]
    if name not in SETTINGS:
        return f"Unknown setting {name!r}; the settings are {', '.join(SETTINGS)}."
    setting = SETTINGS[name]
    if setting.choices:
        allowed = f"one of {', '.join(setting.choices)}"
    elif mistake["type"] in ("greater_than_equal", "less_than_equal"):
        allowed = f"between {setting.minimum} and {setting.maximum}"
    else:
        allowed = f"of type {setting.type.__name__}"
    return f"{name} is {value!r}; it must be {allowed}."
