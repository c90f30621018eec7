"""Commands about trained models: evaluate, robustness, classify and export."""

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trashnet.cli.options import Subparsers, add_command, add_shared, ray_installed
from trashnet.cli.output import progress_bar
from trashnet.data.dataset import find_photos
from trashnet.data.walk import reasons
from trashnet.environment import Environment
from trashnet.errors import ConfigError, PhotoError, RunError, TrashnetError
from trashnet.evaluation.known_objects import of_known_objects
from trashnet.evaluation.metrics import macro_f1_classes
from trashnet.runs import store
from trashnet.runs.damage import damage_of
from trashnet.runs.run import Run


def register(commands: Subparsers) -> None:
    """Adds these commands."""
    for add in (_add_evaluate, _add_robustness, _add_classify, _add_export):
        add(commands)


def _add_evaluate(commands: Subparsers) -> None:
    help = "report a finished run"
    parser = add_command(commands, "evaluate", _evaluate, show_report, help, "run")
    parser.add_argument("--split", default="test", help="train, validation or test")
    help = "folder or zip of class folders of your own to test on; other folders are unknown things"
    parser.add_argument("--photos", metavar="PATH", help=help)


def _evaluate(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    if options.photos is None:
        return report(run, options.split)
    from trashnet.evaluation.external_test import evaluate_own
    from trashnet.inference.inputs import named_photos

    left_out: dict[str, str] = {}
    photos = named_photos([options.photos], sys.stdin.buffer, left_out)
    with progress_bar() as on_progress:
        found = evaluate_own(run, photos, on_progress, options.photos, left_out)
    for name, why in found.left_out.items():
        logging.warning("left out %s: %s", name, why)
    return {"run": run.id, "split": "own photos", **found.figures, "unknown": found.unknown}


def report(run: Run, split: str) -> dict[str, Any]:
    """Returns the stored report of a split.

    Raises:
        RunError: The run was not evaluated, or has no such split.
    """
    evaluation = run.evaluation()
    splits = evaluation["splits"]
    if split not in splits:
        raise RunError(f"The run {run.id} has no split {split!r}; it has {', '.join(splits)}.")
    result = {"run": run.id, "split": split, **splits[split]}
    result["of_known_objects"] = {split: of_known_objects(run, split)}
    if "out_of_fold" in evaluation:
        result["out_of_fold"] = evaluation["out_of_fold"]
        result["of_known_objects"]["out_of_fold"] = of_known_objects(run, "out_of_fold")
    if "unreviewed" in evaluation:
        result["unreviewed"] = evaluation["unreviewed"].get(split)
    return result


def show_report(result: dict[str, Any]) -> None:
    """Prints a split's report, and the out-of-fold figures where there are some."""
    before = result.get("unreviewed")
    print(f"{result['split']}, {_figures(result)}")
    if before:
        print(f"  without the review: n = {before['n']}, accuracy {before['accuracy']:.1%}")
    for name, scores in result["per_class"].items():
        low, high = scores.get("recall_interval", (None, None))
        between = f" ({low:.3f} to {high:.3f})" if low is not None else ""
        print(
            f"  {name:12} precision {scores['precision']:.3f}  recall {scores['recall']:.3f}"
            f"{between}  F1 {scores['f1']:.3f}  n {scores['support']}"
        )
    if "unknown" in result:
        _show_own(result)
    if whole := result.get("out_of_fold"):
        print(f"out of fold, {_figures(whole)}")
    for split, count in result.get("of_known_objects", {}).items():
        if count:
            print(f"{split}: {count:,} photos show an object or a print that it learned from")


def _show_own(result: dict[str, Any]) -> None:
    """Prints what only photos of one's own are asked: mean recall, and how sure the answers are."""
    right = result["answered_accuracy"]
    of_them = "" if right is None else f", {right:.1%} of them right"
    print(f"mean recall {result['mean_recall']:.3f}; sure of {result['coverage']:.1%}{of_them}")
    for folder, found in result["unknown"].items():
        low, high = found["interval"]
        print(
            f"  {folder}, no class: sure of {found['sure']} of {found['n']}, {found['share']:.1%} "
            f"({low:.1%} to {high:.1%})"
        )


def _figures(result: dict[str, Any]) -> str:
    low, high = result["accuracy_interval"]
    return (
        f"n = {result['n']}: accuracy {result['accuracy']:.1%} ({low:.1%} to {high:.1%}), "
        f"macro F1 {result['macro_f1']:.3f} ({macro_f1_classes(result)}), ECE {result['ece']:.3f}"
    )


def _add_robustness(commands: Subparsers) -> None:
    help = "measure a run on changed photos"
    parser = add_command(
        commands, "robustness", _robustness, _show_robustness, help, "--data", "--progress", "run"
    )
    parser.add_argument("--split", default="validation", help="validation or test")


def _robustness(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.evaluation.robustness import measure_and_store

    run = store.open_run(env.runs, options.run)
    photos = find_photos(env)
    with progress_bar(options.progress) as on_progress:
        folder = store.results_folder(run, env)
        return measure_and_store(run, photos.root, options.split, on_progress, folder)


def _show_robustness(result: dict[str, Any]) -> None:
    """Prints one line a transformation and strength."""
    plain, n = result["plain"]["accuracy"], result["n"]
    print(f"{result['split']}, n = {n}, photos as they are: accuracy {plain:.1%}")
    for row in result["rows"]:
        print(
            f"  {row['transformation']:18} {row['strength']:>6g} {row['unit']:28} n {row['n']:4}  "
            f"accuracy {row['accuracy']:.1%} ({row['change']:+.1%})  sure {row['sure']:.0%}"
        )
    print(f"mean over the transformations: {result['mean_transformed']:.1%}")


def _add_classify(commands: Subparsers) -> None:
    parser = add_command(commands, "classify", _classify, _show_answers, "say what photos show")
    help = "photo, folder or zip of photos, pattern, or - for standard input"
    parser.add_argument("photo", nargs="+", metavar="PATH", help=help)
    help = "answer with the mean of photo and mirror image (twice the time)"
    parser.add_argument("--flips", action="store_true", help=help)
    help = "model to use (default: the most accurate that knows the classes of the photos in use)"
    parser.add_argument("--run", metavar="RUN", help=help)
    help = "local, or ray: answer one folder, Parquet file or address of photos on many machines"
    parser.add_argument("--engine", default="local", metavar="local|ray", help=help)
    help = "folder or address that gets the answers as Parquet (Ray)"
    parser.add_argument("--output", metavar="DIR", help=help)
    help = "models at work at once (Ray; default: one a core)"
    parser.add_argument("--workers", type=int, metavar="N", help=help)
    add_shared(parser, "--address")


def _classify(
    options: argparse.Namespace, env: Environment
) -> Iterator[dict[str, Any]] | dict[str, Any]:
    if options.engine not in ("local", "ray"):
        raise ConfigError(f"--engine is {options.engine!r}; it must be local or ray.")
    of_ray = [name for name in ("output", "address", "workers") if getattr(options, name)]
    if options.engine == "local" and of_ray:
        raise ConfigError(f"--{of_ray[0]} goes with --engine ray only.")
    run = _chosen_run(options.run, env)
    logging.info("answered by %s", run.id)
    return _classify_here(options, run) if options.engine == "local" else _scale(options, run)


def _chosen_run(name: str | None, env: Environment) -> Run:
    if name is not None:
        return store.open_run(env.runs, name)
    found = [run for run in (*store.list_runs(env.runs), Run(store.RELEASED)) if run.is_finished]
    whole = [run for run in found if damage_of(run) is None]
    if not whole:
        raise RunError("There is no finished run yet; train one with 'python -m trashnet train'.")
    try:
        classes = find_photos(env).classes
    except TrashnetError:  # the photos in use are not needed to classify others
        classes = None
    return store.best_first(whole, classes)[0]


def _classify_here(options: argparse.Namespace, run: Run) -> Iterator[dict[str, Any]]:
    from trashnet.inference.batch import as_row, classify_each
    from trashnet.inference.inputs import named_photos

    left_out: dict[str, str] = {}
    photos = named_photos(options.photo, sys.stdin.buffer, left_out)
    rows = (as_row(*named) for named in classify_each(run, photos, options.flips))
    failed: list[dict[str, Any]] = []
    for row in rows:
        if "error" not in row:
            yield from (*failed, row)
            break
        failed.append(row)
    else:  # not one answer is a mistake of the whole command
        because = f" (left out: {reasons(left_out)})" if left_out else ""
        nothing = f"There are no pictures in {', '.join(options.photo)}{because}."
        raise PhotoError(failed[0]["error"] if failed else nothing)
    yield from rows
    if left_out:
        logging.warning("left out: %s", reasons(left_out))


def _scale(options: argparse.Namespace, run: Run) -> dict[str, Any]:
    if len(options.photo) != 1 or not options.output:
        raise ConfigError("--engine ray takes one folder or address of photos, and --output DIR.")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; it must be at least 1.")
    with ray_installed(), progress_bar() as on_progress:
        from trashnet.distributed.classify import classify

        return classify(
            run,
            options.photo[0],
            options.output,
            options.flips,
            options.address,
            options.workers,
            on_progress,
        )


def _show_answers(result: Iterable[dict[str, Any]] | dict[str, Any]) -> None:
    """Prints one line a photo, as the answers come; of answers in files, how many there are."""
    if isinstance(result, dict):
        before = f", {result['before']} before" if result["before"] else ""
        print(
            f"{result['answered']} of {result['photos']} photos answered{before}, "
            f"{result['failed']} failed, in {result['output']} "
            f"({result['photos_per_second']} photos/s)"
        )
        return
    for answer in result:
        if "error" in answer:
            line = f"{answer['file']}: {answer['error']}"
        else:
            unsure = "" if answer["sure"] else "  (not sure)"
            line = f"{answer['file']}: {answer['label']} {answer['confidence']:.1%}{unsure}"
        print(line, flush=True)


def _add_export(commands: Subparsers) -> None:
    help = "take a run's model elsewhere"
    parser = add_command(commands, "export", _export, _show_export, help, "run")
    parser.add_argument("--format", default="litert", help="litert, mediapipe, keras or onnx")
    parser.add_argument("--output", metavar="FOLDER", help="new folder (default: RUN-FORMAT)")


def _export(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.training.export_formats import export_run

    run = store.open_run(env.runs, options.run)
    return export_run(run, options.format, Path(options.output or f"{run.id}-{options.format}"))


def _show_export(result: dict[str, Any]) -> None:
    """Prints what was written and how it was checked."""
    print(f"{result['run']} as {result['format']} in {result['folder']}:")
    for file in result["files"]:
        print(f"  {file}")
    print(
        f"checked on {result['photos']} {result['of']}: largest difference in a probability "
        f"{result['difference']:.1g}"
    )
