"""The command `cache`: what is kept on the disk besides runs, and clearing it."""

import argparse
import contextlib
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trashnet.cli.options import Subparsers, add_command
from trashnet.data.dataset import extractions, old_extractions, remove_extraction
from trashnet.environment import Environment
from trashnet.errors import DataError, RunError
from trashnet.runs.jobs import Job
from trashnet.runs.store import list_runs


def register(commands: Subparsers) -> None:
    """Adds the command."""
    help = "list what is kept and can be computed again, or clear it"
    parser = add_command(commands, "cache", _cache, _show, help)
    help = "remove the cache, and extracted zips that are older than another of the same name"
    parser.add_argument("--clear", action="store_true", help=help)


def _cache(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    kept = _kept(env)
    if not options.clear:
        return kept
    _check_idle(env)
    try:
        for path in env.cache.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in old_extractions(env):
            remove_extraction(path)
    except OSError as error:
        raise DataError(
            f"{error.filename} could not be removed ({error.strerror}); check its permissions "
            "and clear again."
        ) from error
    left = _kept(env)
    return left | {"freed": kept["bytes"] - left["bytes"]}


def _check_idle(env: Environment) -> None:
    """Raises `RunError` while a process works with what is to be removed."""
    for run in list_runs(env.runs):
        if run.status().is_active:
            raise RunError(
                f"The run {run.id} is being trained; stop it or let it finish, then clear again."
            )
    for path in env.cache.glob("*.job.json"):
        if Job(env.cache, path.name.removesuffix(".job.json")).is_running:
            raise RunError("The photos are being audited; let the audit finish, then clear again.")


def _kept(env: Environment) -> dict[str, Any]:
    """Lists the cache, by what its files hold, and every extracted zip."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(env.cache.glob("*")):
        # A digest tells the contents apart; a file that is being written begins with a dot.
        kind = re.sub(r"-[0-9a-f]{12}\b.*|\..*", "", path.name.lstrip("."))
        found[f"cache/{kind}"].append(path)
    for path in sorted(path for folders in extractions(env).values() for path in folders):
        found[f"photos/{path.name}"].append(path)
    entries = [_entry(name, paths) for name, paths in sorted(found.items())]
    total = sum(entry["bytes"] for entry in entries)
    return {"home": str(env.home), "entries": entries, "bytes": total}


def _entry(name: str, paths: Iterable[Path]) -> dict[str, Any]:
    stats = []
    for path in paths:
        inside = () if path.is_symlink() else path.rglob("*")
        for file in (path, *inside):
            with contextlib.suppress(OSError):  # gone in the meantime
                stats.append(file.lstat())
    sizes = [info.st_size for info in stats if stat.S_ISREG(info.st_mode)]
    used = datetime.fromtimestamp(max((info.st_mtime for info in stats), default=0), UTC)
    return {
        "name": name,
        "files": len(sizes),
        "bytes": sum(sizes),
        "last_used": used.isoformat(timespec="seconds"),
    }


def _show(result: dict[str, Any]) -> None:
    """Prints one line an entry, and their sum."""
    if "freed" in result:
        print(f"{result['freed'] / 1e6:,.1f} MB freed")
    elif result["entries"]:
        print(f"{'what':44} {'files':>7} {'size':>12}  last used")
    for entry in [] if "freed" in result else result["entries"]:
        size, day = f"{entry['bytes'] / 1e6:,.1f} MB", entry["last_used"][:10]
        print(f"{entry['name']:44} {entry['files']:>7,} {size:>12}  {day}")
    print(f"{result['bytes'] / 1e6:,.1f} MB kept in {result['home']}, runs aside")
