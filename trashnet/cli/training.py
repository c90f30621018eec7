"""Commands about trainings: train, estimate, resume, stop, runs and sweep."""

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import Any

from trashnet.cli.models import report, show_report
from trashnet.cli.options import (
    Subparsers,
    add_command,
    add_settings,
    add_shared,
    configured,
    given_settings,
    ray_installed,
)
from trashnet.cli.output import progress_bar
from trashnet.data.dataset import find_photos
from trashnet.data.index import check_splittable, review_of
from trashnet.environment import Environment
from trashnet.errors import ConfigError, RunError
from trashnet.runs import control, store
from trashnet.runs.run import Run


def register(commands: Subparsers) -> None:
    """Adds these commands."""
    for add in (_add_train, _add_estimate, _add_resume, _add_stop, _add_runs, _add_sweep):
        add(commands)


def _add_train(commands: Subparsers) -> None:
    help = "train and evaluate a model"
    parser = add_command(commands, "train", _train, _show_training, help, "--data", "--config")
    add_settings(parser)
    help = "train this run, which waits to be trained, with its own settings"
    parser.add_argument("--run", metavar="RUN", help=help)


def _train(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    if options.run is not None:
        return _train_waiting(options, env)
    config = configured(options)
    with progress_bar() as on_progress:
        photos = find_photos(env, on_progress)
        check_splittable(photos, env, config, on_progress)
    run = store.new_run(env.runs, config, photos, review_of(photos, env).latest())
    logging.info("run %s in %s", run.id, run.path)
    return _go(run, env)


def _train_waiting(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    """Trains a run that the app or a sweep has made, and that has not begun."""
    given = [name for name in ("config", "data") if getattr(options, name)]
    if given := [*given, *given_settings(options)]:
        option = given[0].replace("_", "-")
        raise ConfigError(f"--run trains a run with its own settings; leave out --{option}.")
    run = store.open_run(env.runs, options.run)
    control.check_startable(run)
    if run.has_begun:
        raise RunError(
            f"The run {run.id} has begun already; go on with 'python -m trashnet resume {run.id}'."
        )
    return _resume(options, env)


def _add_resume(commands: Subparsers) -> None:
    help = "go on with a stopped, failed or lost run"
    parser = add_command(commands, "resume", _resume, _show_training, help)
    parser.add_argument("run", metavar="RUN", help="run id or directory")


def _resume(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    if not run.status().is_active:  # else it was started by the app, and may be stopped by now
        control.clear_stop(run)
    return _go(run, env)


def _go(run: Run, env: Environment) -> dict[str, Any]:
    control.check_startable(run)
    from trashnet.training.session import train_and_evaluate  # TensorFlow takes seconds to import

    with progress_bar() as on_progress:
        train_and_evaluate(run, env, on_progress)
    status, epochs = run.status(), run.epochs()
    result: dict[str, Any] = {
        "run": run.id,
        "state": status.state,
        "epochs": status.epoch,
        "seconds": round(status.seconds, 2),
        "images_per_second": (
            float(epochs.images_per_second.median()) if "images_per_second" in epochs else None
        ),
        "validation": None,
        "test": None,
    }
    if status.state == "finished":
        result |= {split: report(run, split) for split in ("validation", "test")}
    return result


def _show_training(result: dict[str, Any]) -> None:
    """Prints how a training ended and what it reached."""
    print(f"{result['run']}: {result['state']} after {result['epochs']} epochs")
    for split in ("validation", "test"):
        if result[split]:
            show_report(result[split])


def _add_estimate(commands: Subparsers) -> None:
    help = "measure a few steps of a training"
    add_settings(add_command(commands, "estimate", _estimate, _show_estimate, help, "--config"))


def _estimate(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.training.profiling import measure

    return dataclasses.asdict(measure(configured(options)))


def _show_estimate(result: dict[str, Any]) -> None:
    """Prints what a step and a photo cost."""
    print(
        f"{result['step']:.3f} s a training step, {1000 * result['photo']:.1f} ms a photo, "
        f"{result['memory'] / 1e9:.1f} GB of memory"
    )


def _add_stop(commands: Subparsers) -> None:
    parser = add_command(commands, "stop", _stop, _show_stop, "stop a training")
    parser.add_argument("run", metavar="RUN", help="run id or directory")


def _stop(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    control.stop(run)
    return {"run": run.id, "state": "stopping"}


def _show_stop(result: dict[str, Any]) -> None:
    print(f"{result['run']} is stopping")


def _add_runs(commands: Subparsers) -> None:
    add_command(commands, "runs", _runs, _show_runs, "list the runs, newest first")


def _runs(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    for name, why in store.unreadable_runs(env.runs).items():
        logging.warning("left out %s: %s", name, why)
    return [store.describe(run) for run in store.list_runs(env.runs)]


def _show_runs(result: list[dict[str, Any]]) -> None:
    """Prints one line a run."""
    if not result:
        print("no runs yet")
        return
    print(f"{'run':36} {'state':9} {'epoch':>9} {'validation':>10} {'test':>7} {'n':>5}  data")
    for row in result:
        scores = [row["validation_accuracy"], row["test_accuracy"]]
        validation, test = ("–" if score is None else f"{score:.1%}" for score in scores)
        epoch = f"{row['epoch']}/{row['epochs']}"
        print(
            f"{row['run']:36} {row['state']:9} {epoch:>9} {validation:>10} {test:>7} "
            f"{row['test_photos'] or '–':>5}  {row['data']}"
        )


def _add_sweep(commands: Subparsers) -> None:
    help = "search settings on a Ray cluster"
    parser = add_command(commands, "sweep", _sweep, _show_sweep, help)
    parser.add_argument("config", metavar="CONFIG", help="JSON of settings and what to search")
    parser.add_argument("--engine", default="ray", metavar="ray", help="ray")
    add_shared(parser, "--address")


def _sweep(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    if options.engine != "ray":
        raise ConfigError(f"--engine is {options.engine!r}; it must be ray.")
    with ray_installed(), progress_bar() as on_progress:
        from trashnet.distributed.sweep import read_plan, sweep

        plan = read_plan(Path(options.config))
        photos = find_photos(env, on_progress)
        check_splittable(photos, env, plan.config, on_progress)
        decisions = review_of(photos, env).latest()
        return sweep(plan, env, photos, decisions, options.address, on_progress)


def _show_sweep(result: dict[str, Any]) -> None:
    """Prints one line a trial, the best first."""
    for trial in result["trials"]:
        score = trial[result["metric"]]
        said = "–" if score is None else f"{score:.3f}"
        searched = "  ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial["settings"].items()
        )
        print(
            f"{trial['run']:36} {trial['state']:9} epoch {trial['epoch']:3} {said:>7}  {searched}"
        )
    print(
        f"best by {result['metric']} of the finished, n = {result['validation_photos']}: "
        f"{result['best']}"
    )
