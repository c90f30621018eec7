"""A search over settings on Ray Tune, each trial of which is an ordinary run.

A plan is a JSON file: settings as `train` takes them, `search`, and how far to search:

    {"model": "cnn_baseline", "epochs": 20, "samples": 8,
     "search": {"learning_rate": {"loguniform": [1e-4, 1e-2]},
                "class_weights": {"choice": [true, false]}}}

Trials that are behind on validation are stopped early (ASHA, Li et al. 2020); they are left as any
stopped run, to be resumed. Test photos decide nothing. A trial takes all cores of a machine, since
TensorFlow uses them anyway; where two share one, the later waits its turn, as any run does.
"""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import ray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from trashnet.config import SETTINGS, TrainConfig, read_settings
from trashnet.data.dataset import Photos
from trashnet.data.review import Decision
from trashnet.distributed.classify import connect
from trashnet.environment import Environment
from trashnet.errors import ConfigError, RunError
from trashnet.files import mistake, read_json, write_json
from trashnet.progress import Progress, silent
from trashnet.runs.control import STOP_GRACE, check_startable, end_if_overdue, start, stop
from trashnet.runs.run import Run
from trashnet.runs.store import new_run

_SPACES: dict[str, Callable[..., Any]] = {
    "choice": tune.choice,
    "grid": tune.grid_search,
    "uniform": tune.uniform,
    "loguniform": tune.loguniform,
    "randint": tune.randint,
}
"""Ways to search a setting: a list of values, drawn from or all tried, or a range's two ends."""

_LISTS = ("choice", "grid")

_METRICS = {"val_accuracy": "max", "val_loss": "min"}

_WORST = {"epoch": 0, "val_accuracy": 0.0, "val_loss": float("inf")}

_LOOK = 0.5
"""Seconds between two looks at what a training has written."""


class Plan(BaseModel):
    """What to search.

    Attributes:
        config: The settings that all trials share.
        search: By setting, the way to search it and its values.
        samples: Trials, of each point of the grid where there is one.
        metric: `val_accuracy` or `val_loss`, by which trials are stopped and compared.
        grace: Epochs every trial gets.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    config: TrainConfig
    search: dict[str, tuple[str, list[Any]]]
    samples: int = Field(8, ge=1, le=10_000)
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    grace: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _check_grace(self) -> Self:
        if self.grace > max(1, self.epochs):
            raise ConfigError(
                f"grace is {self.grace}; it must be from 1 to the {self.epochs} epochs."
            )
        return self

    @property
    def trials(self) -> int:
        """How many trials there are."""
        grids = [len(values) for kind, values in self.search.values() if kind == "grid"]
        return self.samples * math.prod(grids)

    @property
    def epochs(self) -> int:
        """The most epochs a trial may have."""
        return _most_epochs(self.config, self.search)


def _most_epochs(config: TrainConfig, search: dict[str, tuple[str, list[Any]]]) -> int:
    kind, values = search.get("epochs", ("choice", [config.epochs]))
    return max(values) - (kind == "randint")  # Python's range: without the last


def read_plan(path: Path) -> Plan:
    """Reads a plan.

    Raises:
        ConfigError: It is none, or a setting or value is not allowed; the sentence says which.
    """
    values = read_settings(path)
    search = values.pop("search", None)
    if not isinstance(search, dict):
        raise ConfigError(f'{path} must hold a JSON object of settings with one named "search".')
    if not search:
        raise ConfigError(f"search in {path} is empty; name a setting to search.")
    how = {name: values.pop(name) for name in ("samples", "metric", "grace") if name in values}
    config = TrainConfig.recipe(str(values.get("model", SETTINGS["model"].default)))
    config = config.replace(**values)
    spaces = {name: _space(config, name, space) for name, space in search.items()}
    how.setdefault("grace", max(1, _most_epochs(config, spaces) // 5))
    try:
        return Plan(config=config, search=spaces, **how)
    except ValidationError as error:
        raise ConfigError(f"{mistake(error, path.name)}.") from None


def _space(config: TrainConfig, name: str, space: Any) -> tuple[str, list[Any]]:
    """One setting's way to search, with values that the setting may take."""
    if not isinstance(space, dict) or len(space) != 1 or next(iter(space)) not in _SPACES:
        raise ConfigError(
            f"The search of {name} is {json.dumps(space)}; it must be one of {', '.join(_SPACES)} "
            "with a list."
        )
    ((kind, values),) = space.items()
    if not isinstance(values, list) or not values:
        raise ConfigError(f"The {kind} of {name} is {json.dumps(values)}; it must be a list.")
    if kind in _LISTS:
        tried = values
    else:
        if len(values) != 2 or not all(type(v) in (int, float) for v in values):
            raise ConfigError(f"The {kind} of {name} must be two numbers, the least and the most.")
        low, high = values
        if not low < high or (kind == "loguniform" and low <= 0):
            raise ConfigError(f"The {kind} of {name} must go up, and not from {low} to {high}.")
        if kind == "randint" and not all(type(v) is int for v in values):
            raise ConfigError(f"The randint of {name} must be two whole numbers.")
        whole = kind == "randint"
        tried = [low, high - 1] if whole else [float(low), float(high)]
    for value in tried:
        config.replace(**{name: value})
    return kind, values


# ---------------------------------------------------------------- search


def sweep(
    plan: Plan,
    env: Environment,
    photos: Photos,
    decisions: Mapping[str, Decision],
    address: str | None = None,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Trains the plan's trials and returns them, the best on validation first.

    Args:
        plan: What to search.
        env: Home of the runs; of a cluster, a folder that all its machines share.
        photos: What to train on.
        decisions: As for `new_run`.
        address: As for `trashnet.distributed.classify.connect`.
        on_progress: Told of the trials that have ended.

    Raises:
        TrashnetError: Ray cannot be reached, or no trial could be trained.
    """
    name = f"sweep-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    folder = env.home / "sweeps" / name / "trials"
    folder.mkdir(parents=True)
    spaces = {key: _SPACES[kind](*_given(kind, v)) for key, (kind, v) in plan.search.items()}
    env = dataclasses.replace(env, owner_password=None)  # no trial needs it
    given = {"plan": plan, "env": env, "photos": photos, "decisions": dict(decisions)}
    ended = _Ended(plan.trials, on_progress)
    connect(address)
    try:
        trial = tune.with_parameters(_Trial, folder=folder, is_shared=address is not None, **given)
        tuner = tune.Tuner(
            tune.with_resources(trial, _machine()),
            param_space=spaces,
            tune_config=tune.TuneConfig(
                metric=plan.metric,
                mode=_METRICS[plan.metric],
                num_samples=plan.samples,
                search_alg=BasicVariantGenerator(random_state=plan.config.seed),
                # The last epoch is told with the end, so that nobody is stopped before evaluation.
                scheduler=ASHAScheduler(
                    time_attr="epoch",
                    max_t=plan.epochs + 1,
                    grace_period=plan.grace,
                    reduction_factor=3,
                ),
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(env.home / "sweeps"),
                failure_config=tune.FailureConfig(max_failures=2),  # a machine may be lost
                # All there is to keep is in the run's directory.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[ended],
                verbose=0,
            ),
        )
        tuner.fit()
    finally:
        ray.shutdown()
        for run, _ in _trials(env, folder):  # Tune waits a few seconds for the last of them
            _end(run)
    if ended.done < plan.trials:  # Tune keeps a first Ctrl-C to itself
        raise KeyboardInterrupt
    return _summary(plan, name, env, folder)


def _given(kind: str, values: list[Any]) -> list[Any]:
    return [values] if kind in _LISTS else values


def _machine() -> dict[str, float]:
    """What the smallest machine of the cluster has: as many trials as machines, or near it."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    machines = [found for found in machines if found.get("CPU")]
    least = {kind: min(found.get(kind, 0) for found in machines) for kind in ("CPU", "GPU")}
    return {kind: count for kind, count in least.items() if count}


class _Ended(tune.Callback):
    """Tells how many trials have ended."""

    def __init__(self, trials: int, on_progress: Progress) -> None:
        self.done, self._trials, self._tell = 0, trials, on_progress

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.done += 1
        self._tell(self.done, self._trials, "Searching")

    on_trial_error = on_trial_complete


class _Trial(tune.Trainable):
    """Follows the training of one run, a process of its own, by what it writes."""

    _run: Any = None  # a Run, once it is set up

    def setup(  # type: ignore[override]  # tune.with_parameters gives what is not in `config`
        self,
        config: dict[str, Any],
        plan: Plan,
        env: Environment,
        photos: Photos,
        decisions: dict[str, Decision],
        folder: Path,
        is_shared: bool,
    ) -> None:
        settings = plan.config.replace(**config)
        note = folder / f"{self.trial_id}.json"
        if known := read_json(note):  # begun on a machine that was lost
            self._run = Run(env.runs / known["run"])
        else:
            self._run = new_run(env.runs, settings, photos, decisions)
            write_json(note, {"run": self._run.id, "settings": config})
        self._told = -1
        self._epochs = settings.epochs
        with contextlib.suppress(RunError):  # it trains still, or is finished
            check_startable(self._run)
            start(self._run, env, is_shared)

    def step(self) -> dict[str, Any]:
        """Waits for the next epoch; the last comes when the run is finished."""
        while True:
            state = self._run.status().state  # before the epochs, lest one is missed
            rows = self._run.epochs().to_dict("records")
            new = [row for row in rows if self._told < row["epoch"] < self._epochs]
            if new:
                self._told = new[0]["epoch"]
                return _result(new[0])
            if state == "lost":  # Tune begins the trial again, which resumes the run
                raise RunError(f"The process of {self._run.id} ended without a word.")
            if state in ("finished", "stopped", "failed"):  # stopped by somebody on the page
                last = _result(rows[-1]) if rows and state != "failed" else _WORST
                return last | {"done": True}
            time.sleep(_LOOK)

    def cleanup(self) -> None:
        """Stops the training of a trial that is behind; what it learned is kept."""
        if self._run is not None:
            _end(self._run)


def _end(run: Run) -> None:
    """Stops a training, if it is one, and waits until it has."""
    if not run.stop_requested:
        with contextlib.suppress(RunError):  # nothing trains it
            stop(run)
    last = time.monotonic() + STOP_GRACE + _LOOK
    while run.status().is_active and not end_if_overdue(run) and time.monotonic() < last:
        time.sleep(_LOOK)


def _result(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("epoch", *_METRICS)}


def _trials(env: Environment, folder: Path) -> list[tuple[Run, dict[str, Any]]]:
    """The runs of all trials and the settings each was given."""
    notes = filter(None, (read_json(path) for path in sorted(folder.glob("*.json"))))
    return [(Run(env.runs / note["run"]), note["settings"]) for note in notes]


def _score(run: Run, metric: str) -> float | None:
    """What validation says of a run: of its model where it has one, else of its best epoch."""
    if run.is_finished:
        scores = run.evaluation()["splits"]["validation"]
        # As epochs are told: before calibration, but by all views where a model has several.
        return scores["accuracy"] if metric == "val_accuracy" else scores["uncalibrated"]["nll"]
    epochs = run.epochs()
    if epochs.empty:
        return None
    return float(epochs[metric].max() if _METRICS[metric] == "max" else epochs[metric].min())


def _summary(plan: Plan, name: str, env: Environment, folder: Path) -> dict[str, Any]:
    """The trials, the best on validation first; only finished ones have a model."""
    sign = 1 if _METRICS[plan.metric] == "max" else -1
    trials: list[dict[str, Any]] = []
    for run, settings in _trials(env, folder):
        status = run.status()
        row = {"run": run.id, "state": status.state, "epoch": status.epoch}
        row[plan.metric] = _score(run, plan.metric)
        trials.append(row | {"settings": settings, "error": status.error})
    trials.sort(
        key=lambda t: float("-inf") if t[plan.metric] is None else sign * t[plan.metric],
        reverse=True,
    )
    finished = [trial["run"] for trial in trials if trial["state"] == "finished"]
    if not finished:
        said = next((trial["error"] for trial in trials if trial["error"]), "see their logs")
        raise RunError(f"No trial of {name} was finished ({said.rstrip('.')}).")
    n = Run(env.runs / finished[0]).evaluation()["splits"]["validation"]["n"]
    return {
        "sweep": name,
        "metric": plan.metric,
        "validation_photos": n,
        "best": finished[0],
        "trials": trials,
    }
