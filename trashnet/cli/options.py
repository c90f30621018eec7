"""What the options of several commands have in common."""

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from trashnet.config import SETTINGS, TrainConfig
from trashnet.environment import quiet_ray
from trashnet.errors import ConfigError

Subparsers = Any
"""What `ArgumentParser.add_subparsers` returns; its class has no public name."""

_SHARED: dict[str, dict[str, Any]] = {
    "run": {"metavar": "RUN", "help": "run id, directory, or released"},
    "--json": {"action": "store_true", "help": "print one JSON document"},
    "--data": {
        "metavar": "PATH",
        "help": "folder of class folders or zip (default: TRASHNET_DATA)",
    },
    "--progress": {
        "metavar": "FILE",
        "help": "write how far it is to this file, as JSON of done, total and what",
    },
    "--config": {"metavar": "FILE", "help": "JSON settings, or a run's config.json"},
    "--address": {
        "metavar": "ADDRESS",
        "help": "of a Ray cluster, or auto (default: this machine alone)",
    },
    "--public": {"action": "store_true", "help": "let everybody see a new repository"},
}


def add_command(
    commands: Subparsers,
    name: str,
    command: Callable[..., Any],
    show: Callable[[Any], None],
    help: str,
    *shared: str,
) -> argparse.ArgumentParser:
    """Adds a command and returns its parser, for the options that are its own.

    Args:
        commands: Where to add it.
        name: As it is typed.
        command: Takes the options and the environment; returns what `--json` prints.
        show: Prints that in words instead.
        help: What it does, in a line.
        shared: Names of options that other commands have, too.
    """
    parser = commands.add_parser(name, help=help, description=help)
    add_shared(parser, "--json", *shared)
    parser.set_defaults(command=command, show=show)
    return parser


def add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds options that several commands have."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])


def add_settings(
    parser: argparse.ArgumentParser,
    names: Iterable[str] = tuple(SETTINGS),
    with_defaults: bool = False,
) -> None:
    """Makes an option of every setting, or of some; refusing values is left to `TrainConfig`."""
    for name in names:
        setting = SETTINGS[name]
        how: dict[str, Any] = {"type": setting.type} if setting.type in (int, float) else {}
        if setting.type is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif setting.choices:
            how = {"metavar": "|".join(setting.choices)}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=setting.default if with_defaults else None,
            help=f"{setting.help} (default: {setting.default})".replace("%", "%%"),
            **how,
        )


def configured(options: argparse.Namespace) -> TrainConfig:
    """Returns the network's recipe, or a file's settings, changed by the options that were given.

    Raises:
        ConfigError: The file or an option is no setting, or a value is out of range.
    """
    base = (
        TrainConfig.from_file(Path(options.config))
        if options.config
        else TrainConfig.recipe(options.model or SETTINGS["model"].default)
    )
    return base.replace(**given_settings(options))


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that were given as options."""
    values = {name: getattr(options, name) for name in SETTINGS}
    return {name: value for name, value in values.items() if value is not None}


@contextlib.contextmanager
def ray_installed() -> Iterator[None]:
    """Turns the error of a missing Ray into what to do about it.

    Raises:
        ConfigError: Ray is not installed.
    """
    quiet_ray()
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise ConfigError(
            "--engine ray needs Ray, which is not installed; install it in the checkout with "
            "pip install -e '.[ray]'."
        ) from error
