"""Commands about the Hugging Face Hub: push, pull and deploy."""

import argparse
from typing import Any

from trashnet.cli.options import Subparsers, add_command, add_shared
from trashnet.cli.output import progress_bar
from trashnet.environment import Environment, secret
from trashnet.errors import ConfigError
from trashnet.runs import store


def register(commands: Subparsers) -> None:
    """Adds these commands."""
    for add in (_add_push, _add_pull, _add_deploy):
        add(commands)


def _show_files(files: list[dict[str, Any]]) -> None:
    for file in files:
        print(f"{file['size']:>12,}  {file['file']}")
    print(f"{sum(file['size'] for file in files):>12,}  bytes in {len(files)} files")


def _add_push(commands: Subparsers) -> None:
    help = "publish a run on the Hugging Face Hub"
    parser = add_command(commands, "push", _push, _show_push, help, "run")
    parser.add_argument("--repo", metavar="OWNER/NAME", required=True, help="model on the Hub")
    add_shared(parser, "--public")


def _push(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.hub.push_pull import push

    with progress_bar() as on_progress:
        run = store.open_run(env.runs, options.run)
        return push(run, options.repo, not options.public, on_progress)


def _show_push(result: dict[str, Any]) -> None:
    """Prints what was published and where."""
    _show_files(result["files"])
    print(f"{result['run']} is at {result['url']}")


def _add_pull(commands: Subparsers) -> None:
    help = "bring a published run back, verified"
    parser = add_command(commands, "pull", _pull, _show_pull, help)
    parser.add_argument("repo", metavar="OWNER/NAME", help="model on the Hub")


def _pull(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.hub.push_pull import pull
    from trashnet.runs.processes import limit_memory

    limit_memory()  # its files may unpack to far more than they say
    with progress_bar() as on_progress:
        run = pull(options.repo, env.runs, on_progress)
    return store.describe(run) | {"repo": options.repo}


def _show_pull(result: dict[str, Any]) -> None:
    """Prints what a published run is called here."""
    print(f"{result['repo']} is here as {result['run']}, verified")


def _add_deploy(commands: Subparsers) -> None:
    help = "put the app on a Hugging Face Space"
    parser = add_command(commands, "deploy", _deploy, _show_deploy, help)
    parser.add_argument("--space", metavar="OWNER/NAME", required=True, help="the Space")
    many: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--secret", metavar="NAME", help="hand on this variable's value", **many)
    parser.add_argument("--variable", metavar="NAME=VALUE", help="set it in the Space", **many)
    parser.add_argument("--model", metavar="OWNER/NAME", help="link with this model", **many)
    parser.add_argument("--dry-run", action="store_true", help="only list files and sizes")
    parser.add_argument("--private", action="store_true", help="if it is new: only for you")


def _deploy(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.hub import space
    from trashnet.hub.repository import Repository

    variables = {}
    for given in options.variable:
        name, equals, value = given.partition("=")
        if not (name and equals):
            raise ConfigError(f"--variable is {given!r}; it must be NAME=VALUE.")
        variables[name] = value
    Repository(options.space, "space")  # a wrong name is a mistake in a dry run, too
    models = tuple(options.model)
    if options.dry_run:
        return {"files": space.listed(space.space_files(models=models))}
    secrets = {name: secret(name) for name in options.secret}
    with progress_bar() as on_progress:
        return space.deploy(options.space, secrets, variables, models, options.private, on_progress)


def _show_deploy(result: dict[str, Any]) -> None:
    """Prints the files of the app, and where it is when they were sent."""
    _show_files(result["files"])
    if "address" in result:
        print(f"{result['url']} builds it now; then it is at {result['address']}")
