"""The folder of runs: make, list and open them."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.review import Decision
from trashnet.environment import PACKAGE, Environment
from trashnet.errors import RunError, TrashnetError
from trashnet.files import write_json
from trashnet.runs.damage import damage_of
from trashnet.runs.run import SCHEMA, Run

RELEASED = PACKAGE / "released"

_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow", "scikit-learn")


def new_run(
    root: Path,
    config: TrainConfig,
    photos: Photos,
    decisions: Mapping[str, Decision] | None = None,
) -> Run:
    """Makes the directory of a run that waits to be trained.

    Args:
        root: Folder of runs.
        config: What to train.
        photos: What to train on.
        decisions: Review decisions the run is to honour; it keeps them, whatever is decided later.
    """
    root.mkdir(parents=True, exist_ok=True)
    day = datetime.now().date().isoformat()
    for number in range(1, 10_000):
        path = root / f"{config.model.replace('_', '-')}-{day}-{number}"
        try:
            path.mkdir()
            break
        except FileExistsError:  # taken; two starts at once get two numbers
            continue
    run = Run(path)
    run.write_status(state="waiting")  # first: a run is one as soon as it has a config.json
    write_json(
        path / "config.json",
        {
            "schema": SCHEMA,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "train_config": config.to_dict(),
            "classes": list(photos.classes),
            "seed": config.seed,
            "split": config.split,
            # What "auto" comes to is found when the run starts.
            "precision": None if config.precision == "auto" else config.precision,
            "data": {
                "name": photos.name,
                "source": photos.source,
                "root": str(photos.root),
                "photos": len(photos.files),
            },
            "review": [dataclasses.asdict(d) for d in (decisions or {}).values()],
            "versions": {"python": sys.version.split()[0]} | {p: _version(p) for p in _PACKAGES},
            "git_commit": _git_commit(),
        },
    )
    return run


def make_fold(run: Run, fold: Run) -> None:
    """Makes the directory of one of a run's further folds, if it is not there yet."""
    if (fold.path / "config.json").exists():
        return
    fold.path.mkdir(parents=True, exist_ok=True)
    number = int(fold.path.name)
    settings = run.config["train_config"] | {"fold": number, "folds": 1, "tracking": "off"}
    fold.write_status(state="waiting")
    write_json(fold.path / "config.json", run.config | {"train_config": settings})


def _version(package: str) -> str | None:
    """A variant of a package, such as `tensorflow-cpu`, goes by another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def list_runs(root: Path) -> list[Run]:
    """Returns the readable runs, newest first; a half-written directory is passed over."""
    runs = []
    for path in root.glob("*/config.json"):
        run = Run(path.parent)
        if run.id.startswith("."):  # on its way out
            continue
        try:
            _ = run.train_config
            runs.append((run.config["created"], run.id, run))
        except TrashnetError:
            continue
    return [run for _, _, run in sorted(runs, key=lambda r: r[:2], reverse=True)]


def unreadable_runs(root: Path) -> dict[str, str]:
    """Returns the directories that `list_runs` passes over though they hold a run, and why."""
    found = {}
    for path in sorted(root.glob("*/config.json")):
        if path.parent.name.startswith("."):
            continue
        try:
            _ = Run(path.parent).train_config
        except TrashnetError as error:
            found[path.parent.name] = str(error).replace(str(path.parent), path.parent.name)
    return found


def open_run(root: Path, name: str) -> Run:
    """Opens a run by its id, by its directory, or the shipped one as `released`.

    Raises:
        RunError: There is no such run, or its directory is incomplete.
    """
    candidates = [RELEASED] if name == "released" else [root / name, Path(name)]
    for path in candidates:
        # Unlike Path's, this is False for a name that is too long.
        if name and os.path.isdir(path) and (path.parent == root or _looks_like_a_run(path)):
            run = Run(path.resolve())
            _ = run.config  # an incomplete directory is said here, not later
            return run
    known = ", ".join(run.id for run in list_runs(root)[:5]) or "none yet"
    raise RunError(f"There is no run {name!r}; the latest are: {known}.")


def best_first(runs: Iterable[Run], classes: tuple[str, ...] | None) -> list[Run]:
    """Returns finished runs, the one to classify with first.

    Those that know exactly these classes come before others, and among them the more accurate:
    cross-validated, or on validation where a run has no folds.
    """
    return sorted(runs, key=lambda run: (run.classes != classes, -judged(run)[1]["accuracy"]))


def judged(run: Run) -> tuple[str, dict[str, Any]]:
    """Returns the report that a finished run is compared by: `out_of_fold`, else validation's."""
    evaluation = run.evaluation()
    if "out_of_fold" in evaluation:
        return "out_of_fold", evaluation["out_of_fold"]
    splits = evaluation["splits"]
    name = "validation" if "validation" in splits else "test"
    return name, splits[name]


def results_folder(run: Run, env: Environment) -> Path:
    """Returns where what is measured of a run later is kept.

    That is with the run; the shipped one's folder belongs to the package, so its is in the home.
    """
    is_shipped = run.path.resolve() == RELEASED.resolve()
    return env.home / "released" if is_shipped else run.path


def _looks_like_a_run(path: Path) -> bool:
    return (path / "config.json").exists() or (path / "status.json").exists()


def describe(run: Run) -> dict[str, Any]:
    """Returns the row of a run in a table of runs."""
    status, config = run.status(), run.train_config
    try:
        splits = run.evaluation()["splits"]
    except RunError:  # not yet
        splits = {}
    return {
        "run": run.id,
        "model": config.model,
        "state": f"damaged: {damage}" if (damage := damage_of(run)) else status.state,
        "epoch": status.epoch,
        "epochs": config.total_epochs,
        "validation_accuracy": splits.get("validation", {}).get("accuracy"),
        "test_accuracy": splits.get("test", {}).get("accuracy"),
        "test_photos": splits.get("test", {}).get("n"),
        "data": run.config["data"]["name"],
        "started": run.config["created"],
        "seconds": round(status.seconds, 1),
    }
