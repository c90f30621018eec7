"""Command line: `python -m trashnet COMMAND`, or `trashnet COMMAND` where the package is installed.

With `--json`, stdout is exactly one JSON document and everything else goes to stderr. A mistake
of the person is one sentence on stderr and exit code 2.
"""

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from trashnet.cli import cache, dataset, hub, models, training
from trashnet.cli.output import show_json
from trashnet.environment import absolute, environment, quiet_tensorflow
from trashnet.errors import EXIT_MISTAKE, TrashnetError, disk_refusals
from trashnet.runs.jobs import finish


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    for noisy in ("httpx", "httpx2", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    quiet_tensorflow()
    try:
        with disk_refusals():
            _run(options)
    except TrashnetError as error:
        print(error, file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the answers, as `head` does, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(options: argparse.Namespace) -> None:
    env = environment()
    if getattr(options, "data", None) is not None:
        env = dataclasses.replace(env, data=absolute(options.data))
    # Libraries print too (the LiteRT converter does); stdout is for the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        result = options.command(options, env)
    if isinstance(result, Iterator):
        result = _working_aside(result)
    show = show_json if options.json else options.show
    show(result)
    if getattr(options, "progress", None):
        finish(Path(options.progress))


def _working_aside(rows: Iterator[Any]) -> Iterator[Any]:
    """Yields rows of which each is worked out when it is asked for, stdout kept clean."""
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                row = next(rows)
            except StopIteration:
                return
        yield row


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISTAKE, f"{message[:1].upper()}{message[1:]}; see '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m trashnet", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for topic in (dataset, training, models, hub, cache):
        topic.register(commands)
    return parser
