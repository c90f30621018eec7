"""The command `cache`: lists what can be computed again, and clears nothing else."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.files import digest, write_json
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import new_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(env: Environment, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this test's home, in this process."""
    from trashnet.cli.main import main

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def keep(path: Path, size: int, days_ago: float = 0) -> Path:
    """Writes a file of so many bytes that was used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    at = time.time() - days_ago * 86_400
    os.utime(path, (at, at))
    return path


@pytest.fixture
def kept(env: Environment) -> dict[str, Path]:
    """A home with something of every kind."""
    name = digest("photos")
    paths = {
        "table": keep(env.cache / f"scan-{name}.parquet", 100),
        "pixels": keep(env.cache / f"pixels-224-{name}.npy", 4_000_000, days_ago=3),
        "other pixels": keep(env.cache / f"pixels-224-{digest('other')}.npy", 1_000_000),
        "half written": keep(env.cache / f".pixels-160-{name}-x1.npy", 7),
        "statistics": keep(env.cache / f"pixels-by-class-{name}.npz", 20),
        "costs": keep(env.cache / "costs.json", 2),
        "thumbnail": keep(env.cache / "thumbnails" / "ab" / "cdef.jpg", 5),
        "old": keep(env.photos / f"mine-{name}" / "can" / "1.jpg", 1_000),
        "newer": keep(env.photos / f"mine-{digest('newer')}" / "can" / "1.jpg", 1_000),
        "trashnet": keep(env.photos / "trashnet" / "glass" / "1.jpg", 10),
        "samples": keep(env.photos / "samples" / "glass" / "1.jpg", 10),
        "review": keep(env.home / "reviews" / "trashnet.json", 10),
    }
    at = time.time() - 2 * 86_400
    os.utime(paths["old"].parents[1], (at, at))
    return paths


def listed(command: Command, *words: str) -> dict[str, Any]:
    code, output, errors = command("cache", "--json", *words)
    assert (code, errors) == (0, "")
    return json.loads(output)


def test_what_is_kept_is_listed(command: Command, env: Environment, kept: dict[str, Path]) -> None:
    found = listed(command)
    assert set(found) == {"home", "entries", "bytes"} and found["home"] == str(env.home)
    entries = {entry["name"]: entry for entry in found["entries"]}
    sizes = {name: (entry["files"], entry["bytes"]) for name, entry in entries.items()}
    assert sizes == {
        "cache/costs": (1, 2),
        "cache/pixels-160": (1, 7),
        "cache/pixels-224": (2, 5_000_000),
        "cache/pixels-by-class": (1, 20),
        "cache/scan": (1, 100),
        "cache/thumbnails": (1, 5),
        f"photos/mine-{digest('photos')}": (1, 1_000),
        f"photos/mine-{digest('newer')}": (1, 1_000),
    }
    assert found["bytes"] == 5_002_134
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert entries["cache/pixels-224"]["last_used"].startswith(today)


def test_a_person_reads_a_table(command: Command, kept: dict[str, Path]) -> None:
    code, output, _ = command("cache")
    first, *rows, last = output.splitlines()
    assert code == 0 and first.split() == ["what", "files", "size", "last", "used"]
    assert rows[2].split()[:4] == ["cache/pixels-224", "2", "5.0", "MB"]
    assert last.startswith("5.0 MB kept in ")


def test_an_empty_home_has_nothing(command: Command, env: Environment) -> None:
    assert listed(command) == {"home": str(env.home), "entries": [], "bytes": 0}
    assert listed(command, "--clear")["freed"] == 0
    assert command("cache")[1].startswith("0.0 MB kept in ")


def test_clearing_removes_what_can_be_computed_again(
    command: Command, env: Environment, kept: dict[str, Path]
) -> None:
    outside = keep(env.home.parent / "outside" / "photo.jpg", 10)
    (env.cache / "link").symlink_to(outside.parent)
    found = listed(command, "--clear")
    left = {name for name, path in kept.items() if path.exists()}
    assert left == {"newer", "trashnet", "samples", "review"} and outside.exists()
    assert found["freed"] == 5_001_134 and found["bytes"] == 1_000
    assert list(env.cache.iterdir()) == []
    assert command("cache", "--clear")[1].startswith("0.0 MB freed\n")


def test_what_a_stopped_run_needs_is_not_cleared(
    command: Command, env: Environment, kept: dict[str, Path]
) -> None:
    root = kept["old"].parents[1]
    photos = Photos(root, "mine", "zip", ("can",), ("can/1.jpg",))
    new_run(env.runs, TrainConfig(), photos).write_status(state="stopped")
    listed(command, "--clear")
    assert kept["old"].exists() and not kept["pixels"].exists()


@pytest.mark.parametrize("state", ["waiting", "running", "stopping"])
def test_nothing_is_cleared_while_a_run_trains(
    command: Command, env: Environment, kept: dict[str, Path], state: str
) -> None:
    photos = Photos(kept["old"].parents[1], "mine", "zip", ("can",), ("can/1.jpg",))
    run = new_run(env.runs, TrainConfig(), photos)
    run.write_status(state=state, **identity())
    code, output, errors = command("cache", "--clear", "--json")
    assert (code, output) == (2, "") and errors.count("\n") == 1
    assert errors.startswith(f"The run {run.id} is being trained; stop it")
    assert all(path.exists() for path in kept.values())
    assert listed(command)["entries"]  # to look is allowed


def test_nothing_is_cleared_while_an_audit_works(
    command: Command, env: Environment, kept: dict[str, Path]
) -> None:
    write_json(env.cache / "audit-0123456789ab.job.json", identity())
    code, _, errors = command("cache", "--clear")
    assert code == 2 and errors.startswith("The photos are being audited;")
    assert all(path.exists() for path in kept.values())
    write_json(env.cache / "audit-0123456789ab.job.json", {"pid": None})  # it has ended
    assert command("cache", "--clear")[0] == 0


def test_what_cannot_be_removed_is_named(
    command: Command, kept: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    code, _, errors = command("cache", "--clear")
    assert code == 2 and "thumbnails could not be removed (Permission denied)" in errors


def test_a_finished_run_is_as_it_was_and_computes_again(command: Command, trained: Run) -> None:
    before = {path: path.stat().st_size for path in trained.path.rglob("*")}
    listed(command, "--clear")
    assert {path: path.stat().st_size for path in trained.path.rglob("*")} == before
    assert command("data")[0] == 0
    assert [entry["name"] for entry in listed(command)["entries"]] == ["cache/scan"]
