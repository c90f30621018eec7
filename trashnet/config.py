"""Settings: the training configuration, and where things live on this machine.

The only module that reads environment variables.
"""

import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs
from dotenv import load_dotenv

from trashnet.errors import ConfigError

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
    "efficientnetv2_b0": _FINE_TUNING,
}
"""The settings in which each network's own recipe differs from the promised one."""

MODELS = tuple(RECIPES)
"""Names `trashnet.models.build_model` knows."""

FROM_SCRATCH = ("cnn_baseline", "cnn")
"""The networks that start from random weights, not from ImageNet's."""

MUON_TRAINS = ("cnn",)
"""The networks whose kernels are matrices, which Muon makes steps of."""

AVERAGED = tuple(model for model in MODELS if model != "cnn_baseline")
"""The networks that end in a mean over the photo, so that views of it can be averaged."""

TRAIN_SHARE = 0.7
"""Of all photos, after a fifth for test and an eighth of the rest for validation."""


def _setting(default: Any, help: str, minimum: float | None = None, maximum: float | None = None):
    return field(default=default, metadata={"help": help, "min": minimum, "max": maximum})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does; the defaults are the promised recipe.

    Raises:
        ConfigError: A value is of the wrong type or out of range; the sentence names the
            setting, what was received and what is allowed.
    """

    model: str = _setting("cnn_baseline", "network to train")
    epochs: int = _setting(50, "passes over the training photos", 0, 1000)
    image_size: int = _setting(224, "side of the square input, in pixels", 32, 512)
    batch_size: int = _setting(32, "photos per optimisation step", 1, 512)
    learning_rate: float = _setting(0.001, "learning rate, of a cosine the highest", 1e-7, 1.0)
    optimizer: Optimizer = _setting("adam", "what makes steps of gradients; muon is for cnn")
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
    frozen_blocks: int = _setting(
        3, "first blocks of efficientnet_lite0 that fine-tuning leaves as they are", 0, 16
    )
    seed: int = _setting(0, "decides the split, the initial weights and every epoch", 0, 2**31 - 1)
    split: Split = _setting("object", "how photos are divided into train, validation and test")
    fold: int = _setting(0, "which fifth of the photos is the test set", 0, 4)
    folds: int = _setting(1, "1, or 5: train every fold and answer each photo out of fold", 1, 5)
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
    class_weights: bool = _setting(True, "weigh rare classes up in the loss")
    tracking: Tracking = _setting("auto", "Weights & Biases: auto, online, offline or off")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            _check(f, value)
            if f.type is float:  # JSON writes 1.0 as 1
                object.__setattr__(self, f.name, float(value))
        self._check_together()

    def _check_together(self) -> None:
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

    @classmethod
    def recipe(cls, model: str) -> "TrainConfig":
        """Returns the settings a network is best trained with.

        Raises:
            ConfigError: There is no such network.
        """
        return cls(model=model, **RECIPES.get(model, {}))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Builds a configuration from JSON values; settings that are left out keep their default.

        Raises:
            ConfigError: An unknown setting, or a value that is not allowed.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"Unknown setting {name!r}; the settings are {', '.join(known)}.")
        return cls(**values)

    @classmethod
    def from_file(cls, path: Path) -> "TrainConfig":
        """Reads a JSON file of settings, or the `config.json` of a run."""
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
        return cls.from_dict(values)

    @property
    def total_epochs(self) -> int:
        """Epochs of all folds together."""
        return self.epochs * self.folds

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        return dataclasses.asdict(self)


def choices(f: dataclasses.Field) -> tuple[str, ...]:
    """Returns the values a setting may take, or an empty tuple if it is no choice."""
    return MODELS if f.name == "model" else get_args(f.type)


def option(name: str, value: Any) -> str:
    """Returns a setting as the command line takes it."""
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{words}" if value else f"--no-{words}"
    return f"--{words} {value}"


def _check(f: dataclasses.Field, value: Any) -> None:
    name, allowed = f.name, choices(f)
    if allowed:
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
        return
    types = (int, float) if f.type is float else (f.type,)
    if type(value) not in types:
        raise ConfigError(f"{name} is {value!r}; it must be of type {f.type.__name__}.")
    low, high = f.metadata["min"], f.metadata["max"]
    if low is not None and not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must be between {low} and {high}.")


@dataclass(frozen=True)
class Environment:
    """What the machine and its owner decide, as opposed to what a run decides.

    Attributes:
        home: Folder for photos, caches and runs.
        data: Folder of class folders, or zip, to use instead of the fetched photos.
        wandb_key: Whether Weights & Biases can be reached with a key.
        wandb_mode: What `WANDB_MODE` asks for (`online`, `offline`, `off`), or None.
        hub_offline: Whether the Hugging Face Hub must not be tried.
        owner_password: What lets the owner act on a server that others can reach.
        public: Whether others can reach it, where that is known.
    """

    home: Path
    data: Path | None = None
    wandb_key: bool = False
    wandb_mode: str | None = None
    hub_offline: bool = False
    owner_password: str | None = field(default=None, repr=False)
    public: bool | None = None

    @property
    def photos(self) -> Path:
        """Folder of extracted data sets."""
        return self.home / "photos"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again: decoded photos, thumbnails, scans."""
        return self.home / "cache"

    @property
    def runs(self) -> Path:
        """Folder of run directories."""
        return self.home / "runs"

    @property
    def is_temporary(self) -> bool:
        """Whether the home is in the system's temporary folder, which a restart may empty."""
        return Path(tempfile.gettempdir()).resolve() in self.home.resolve().parents

    def variables(self) -> dict[str, str]:
        """Returns the environment variables of a process that is to work in the same home.

        The owner's password is emptied, which means none: only the app asks for it.
        """
        variables = {**os.environ, "TRASHNET_HOME": str(self.home)}
        variables[_PASSWORD] = ""  # left out, a child would read it from `.env` again
        return variables


def environment() -> Environment:
    """Reads `.env` (real variables win) and the environment variables.

    Raises:
        ConfigError: `TRASHNET_HOME` cannot be created or written, or `TRASHNET_PUBLIC` is neither
            1 nor 0.
    """
    load_dotenv(Path.cwd() / ".env")
    home = os.environ.get("TRASHNET_HOME") or platformdirs.user_data_dir("trashnet")
    data = os.environ.get("TRASHNET_DATA")
    path = absolute(home)
    way_on = "set TRASHNET_HOME to a folder you can write to"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder {path} cannot be created ({error.strerror}); {way_on}."
        ) from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"The folder {path} cannot be written; {way_on}.")
    return Environment(
        home=path,
        data=absolute(data) if data else None,
        wandb_key=bool(os.environ.get("WANDB_API_KEY")) or _netrc_has_wandb(),
        wandb_mode=_WANDB_MODES.get(os.environ.get("WANDB_MODE", "").lower()),
        hub_offline=os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"},
        owner_password=os.environ.get(_PASSWORD, "").strip() or None,
        public=_is_public(),
    )


_PASSWORD = "TRASHNET_OWNER_PASSWORD"


def _is_public() -> bool | None:
    """A Space's address is known to everybody; elsewhere the owner may say so, either way."""
    if os.environ.get("SPACE_ID"):
        return True
    said = os.environ.get("TRASHNET_PUBLIC", "").strip()
    if said not in {"", "0", "1"}:
        raise ConfigError(f"TRASHNET_PUBLIC is {said!r}; it must be 1 or 0, or left out.")
    return said == "1" if said else None


def secret(name: str) -> str:
    """Returns the value of an environment variable that a command is to hand on.

    Raises:
        ConfigError: It is not set.
    """
    load_dotenv(Path.cwd() / ".env")
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"The environment variable {name} is not set; set it to the secret.")
    return value


_WANDB_MODES = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}


def absolute(path: str) -> Path:
    """Returns the path as typed, with `~` expanded, from the root of the disk."""
    # Unlike Path.expanduser, this leaves the `~` of an unknown user as it is.
    return Path(os.path.expanduser(path)).resolve()


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's start-up notices, which help nobody here, off stderr; errors stay."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def quiet_ray() -> None:
    """Keeps Ray from reporting its use to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def _netrc_has_wandb() -> bool:
    """`wandb login` stores the key in the netrc file."""
    path = absolute(os.environ.get("NETRC", "~/.netrc"))
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return any(host in content for host in (b"api.wandb.ai", b"api.forge.coreweave.com"))
