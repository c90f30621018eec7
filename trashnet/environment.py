"""Where things live on this machine, and its secrets: the only reader of `os.environ`."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
from dotenv import load_dotenv

from trashnet.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
"""The folder of the package: its modules, `assets` and `released`."""

CHECKOUT = PACKAGE.parent
"""The folder the package lies in, beside `app.py` and `pages` where it is a checkout."""


@dataclass(frozen=True)
class Environment:
    """What the machine and its owner decide, as opposed to what a run decides.

    Attributes:
        home: Folder for photos, caches and runs.
        data: Folder of class folders, or zip, to use instead of the fetched photos.
        wandb_key: Whether a key of Weights & Biases is set for this program. A login that another
            one left in `~/.netrc` is not.
        wandb_mode: The most that `WANDB_MODE` allows (`online`, `offline`, `off`), or None.
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
        if self.data is not None:  # the child may work in another folder
            variables["TRASHNET_DATA"] = str(self.data)
        variables[_PASSWORD] = ""  # left out, a child would read it from `.env` again
        return variables


def environment() -> Environment:
    """Reads `.env` (real variables win) and the environment variables.

    Raises:
        ConfigError: There is no home, it cannot be created or written, or `TRASHNET_PUBLIC` is
            neither 1 nor 0.
    """
    _read_settings()
    data = os.environ.get("TRASHNET_DATA")
    path = _home()
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
        wandb_key=bool(os.environ.get("WANDB_API_KEY")),
        wandb_mode=_WANDB_MODES.get(os.environ.get("WANDB_MODE", "").lower()),
        hub_offline=os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"},
        owner_password=os.environ.get(_PASSWORD, "").strip() or None,
        public=_is_public(),
    )


_PASSWORD = "TRASHNET_OWNER_PASSWORD"


def _read_settings() -> None:
    """Reads the `.env` of the working folder and that beside `app.py`; the first one wins.

    Raises:
        ConfigError: One is there and cannot be read.
    """
    try:
        for folder in (Path.cwd(), CHECKOUT):
            load_dotenv(folder / ".env")
    except (OSError, ValueError) as error:  # without it, a password would be missing
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigError(f"The file .env cannot be read ({why}); correct it.") from error


def _home() -> Path:
    try:
        return absolute(os.environ.get("TRASHNET_HOME") or platformdirs.user_data_dir("trashnet"))
    except RuntimeError as error:
        raise ConfigError(
            "This user has no home folder; set TRASHNET_HOME to a folder you can write to."
        ) from error


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
    _read_settings()
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"The environment variable {name} is not set; set it to the secret.")
    return value


_WANDB_MODES = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}


def absolute(path: str) -> Path:
    """Returns the path as typed, with `~` expanded, from the root of the disk."""
    # Unlike Path.expanduser, this leaves the `~` of an unknown user as it is.
    return Path(os.path.expanduser(path)).resolve()


def wandb_login() -> bool:
    """Whether `wandb login` left a key; to be used only where tracking was asked for."""
    try:
        content = absolute(os.environ.get("NETRC", "~/.netrc")).read_bytes()
    except OSError:
        return False
    return any(host in content for host in (b"api.wandb.ai", b"api.forge.coreweave.com"))


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's start-up notices, which help nobody here, off stderr; errors stay."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def quiet_ray() -> None:
    """Keeps Ray from reporting its use to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
