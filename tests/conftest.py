"""What tests share: a home of their own, sample pictures, the real photos, the command line."""

import errno
import functools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from filelock import FileLock
from hypothesis import settings

from tests.pictures import trashnet_photo, write_few
from trashnet.data.dataset import Photos, find_photos, open_folder, small_trashnet
from trashnet.data.editions import FULL
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.evaluation.report import evaluate
from trashnet.files import temporary_folder
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

ROOT = Path(__file__).resolve().parents[1]

# A machine that is busy with something else must not fail a test.
settings.register_profile("trashnet", deadline=None)
settings.load_profile("trashnet")

# Read before any test runs, because tests see neither.
_DATA = os.environ.get("TRASHNET_DATA")
_HOME = os.environ.get("TRASHNET_HOME")

Command = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with many slow tests first, so that parallel processes end at the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def _isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.setenv("TRASHNET_HOME", str(home))
    # Empty, not deleted: a developer's .env fills in what is not set at all.
    patch.setenv("TRASHNET_DATA", "")
    patch.setenv("WANDB_API_KEY", "")
    patch.setenv("NETRC", str(home / "netrc"))
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("SPACE_ID", "TRASHNET_PUBLIC", "TRASHNET_OWNER_PASSWORD"):
        patch.setenv(name, "")


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps fixtures that live longer than a test out of the developer's home, too."""
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, tmp_path_factory.mktemp("session-home"))
        yield


@pytest.fixture(autouse=True)
def _isolated_test(
    _isolated_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _isolate(monkeypatch, tmp_path / "home")


@pytest.fixture(autouse=True)
def _from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest sends no headers, and who sends no `Host` is not at home: pages see a browser's."""
    monkeypatch.setattr(type(st.context), "headers", {"Host": "localhost:8501"})


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """An environment whose home is this test's own, without photos and offline."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return Environment(home, hub_offline=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what takes long to make: pytest-xdist's processes share it."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


@pytest.fixture(scope="session")
def sample_photos(shared: Path) -> Photos:
    """A folder of 240 photos of TrashNet; tests must leave them as they are."""
    folder = shared / "samples"
    with FileLock(shared / "samples.lock"):
        if not folder.is_dir():
            with temporary_folder(folder) as partial:
                write_few(partial / "photos")
                os.replace(partial / "photos", folder)
    return open_folder(folder, "samples", "folder")


@pytest.fixture(scope="session")
def real_photos(shared: Path) -> Photos:
    """TrashNet: `TRASHNET_DATA`, what `data --fetch` left in `TRASHNET_HOME`, or the package's."""
    if _DATA:
        return find_photos(Environment(shared / "photos-home", data=Path(_DATA).resolve()))
    if _HOME and (fetched := Path(_HOME, "photos", "trashnet")).is_dir():
        return open_folder(fetched.resolve(), "trashnet", "cache", edition=FULL)
    return small_trashnet(Environment(shared / "photos-home"))


@pytest.fixture(scope="session")
def shipped_photos(shared: Path) -> Photos:
    """TrashNet as the package has it, on which the released model was trained and measured."""
    return small_trashnet(Environment(shared / "shipped-home"))


@pytest.fixture(scope="session")
def real_env(real_photos: Photos, shared: Path) -> Environment:
    """A home in which the real photos were read, once for all; tests must not review them."""
    env = Environment(shared / "real-home", hub_offline=True)
    with FileLock(shared / "real-home.lock"):
        scan(real_photos, env.cache)
    return env


def run_command(home: Path, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
    """Runs `python -m trashnet …` as a process with this home: (exit code, stdout, stderr)."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "trashnet", *map(str, arguments)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRASHNET_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m trashnet …` in this test's home: (exit code, stdout, stderr)."""
    return functools.partial(run_command, tmp_path / "home")


@dataclass(frozen=True)
class Training:
    """A training as its caller sees it: its home, its run and what it printed."""

    env: Environment
    run: Run
    output: str


@pytest.fixture(scope="session")
def training(sample_photos: Photos, shared: Path) -> Training:
    """A finished run of one epoch on the sample pictures; tests must leave it as it is."""
    home = shared / "training-home"
    return _train(home, sample_photos, "--epochs", "1", "--image-size", "32")


@pytest.fixture(scope="session")
def frozen(sample_photos: Photos, shared: Path) -> Training:
    """A finished run of a head on frozen features, of the sample pictures, which it knows well."""
    home = shared / "frozen-home"
    options = ["--model", "frozen_features", "--image-size", "128", "--split", "random"]
    return _train(home, sample_photos, *options)


def _train(home: Path, photos: Photos, *options: str) -> Training:
    """Trains in a home, unless another of the tests' processes has done so."""
    said = home.with_suffix(".json")
    with FileLock(home.with_suffix(".lock")):
        if not said.exists():
            given = ["--data", photos.root, "--tracking", "off", "--json"]
            code, output, errors = run_command(home, "train", *given, *options)
            assert code == 0, errors
            said.write_text(output)
    return Training(Environment(home), list_runs(home / "runs")[0], said.read_text())


@pytest.fixture
def samples(
    env: Environment, sample_photos: Photos, training: Training, monkeypatch: pytest.MonkeyPatch
) -> Photos:
    """The sample pictures, in use by the pages, and no run."""
    monkeypatch.setenv("TRASHNET_DATA", str(sample_photos.root))
    shutil.copytree(training.env.cache, env.cache)  # what a first visit reads for a second
    return sample_photos


@pytest.fixture
def trained(
    samples: Photos, env: Environment, training: Training, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A finished run on the sample photos, in this test's own home; pages have no other."""
    monkeypatch.setattr("pages.shared.runs.RELEASED", env.home / "nothing")
    shutil.copytree(training.env.runs, env.runs)
    return Run(env.runs / training.run.id)


@pytest.fixture
def mistaken(trained: Run) -> Run:
    """The finished run with other answers: many classes are taken for many others."""
    table, rng = trained.predictions(), np.random.default_rng(0)
    logits = rng.normal(size=(len(table), len(trained.classes)))
    logits[np.arange(len(table)), table.label.map(trained.classes.index)] += 1
    table = table.assign(logits=list(logits.astype(np.float32)))
    table.to_parquet(trained.path / "predictions.parquet", index=False)
    content = json.dumps(evaluate(table, trained.classes))
    (trained.path / "evaluation.json").write_text(content)
    return trained


@pytest.fixture(scope="session")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes that is not TrashNet; tests must leave it as it is.

    Photos of odd sizes and formats, one twice in a class, one in two classes, one torn.
    """
    root = tmp_path_factory.mktemp("own") / "workshop"
    kinds = {"bolts": "metal", "planks": "cardboard", "rags": "paper"}
    for number, (name, drawn) in enumerate(kinds.items()):
        (root / name).mkdir(parents=True)
        for i in range(14):
            picture = trashnet_photo(drawn, 100 * number + i)
            size = ((301, 77), (90, 250), (64, 64))[i % 3]
            suffix = ("jpg", "png", "webp")[i % 3]
            picture.resize(size).save(root / name / f"{name}{i:02d}.{suffix}")
    shutil.copy(root / "bolts" / "bolts00.jpg", root / "bolts" / "bolts90.jpg")
    shutil.copy(root / "rags" / "rags00.jpg", root / "planks" / "planks90.jpg")
    (root / "rags" / "torn.jpg").write_bytes((root / "rags" / "rags03.jpg").read_bytes()[:300])
    return root


@pytest.fixture(params=["full", "read-only"])
def refusing_disk(request: pytest.FixtureRequest) -> Callable[[pytest.MonkeyPatch, Path], None]:
    """Makes a folder, from the call on, a disk that takes nothing more."""

    def refuse(patch: pytest.MonkeyPatch, root: Path) -> None:
        if request.param == "full":

            def fsync(handle: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(os, "fsync", fsync)
            return
        make, open_file = os.mkdir, os.open

        def check(path: Any) -> None:
            if Path(os.fsdecode(path)).is_relative_to(root):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fsdecode(path))

        def mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
            if not os.path.isdir(path):
                check(path)
            make(path, *args, **kwargs)

        def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_CREAT:
                check(path)
            return open_file(path, flags, *args, **kwargs)

        patch.setattr(os, "mkdir", mkdir)
        patch.setattr(os, "open", opened)

    return refuse
