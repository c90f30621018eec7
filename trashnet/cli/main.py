"""Command line: `python -m trashnet data|audit|review|preview|train|resume|stop|runs|evaluate|
robustness|estimate|classify|sweep|export|push|pull|deploy`.

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
from typing import Any, NoReturn, get_args

from trashnet.cli import output
from trashnet.config import Split, TrainConfig, choices
from trashnet.data import index
from trashnet.data.dataset import find_photos, trashnet_facts, use_samples
from trashnet.data.download import fetch_trashnet
from trashnet.data.index import load_index
from trashnet.data.scan import scan
from trashnet.environment import (
    Environment,
    absolute,
    environment,
    quiet_ray,
    quiet_tensorflow,
    secret,
)
from trashnet.errors import (
    EXIT_MISTAKE,
    ConfigError,
    DataError,
    PhotoError,
    RunError,
    TrashnetError,
)
from trashnet.files import write_atomically
from trashnet.hub import dataset_repo
from trashnet.runs import control, store
from trashnet.runs import run as run_module
from trashnet.runs.cost_estimate import as_json
from trashnet.runs.jobs import finish


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    for noisy in ("httpx", "httpx2", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    quiet_tensorflow()
    try:
        env = environment()
        if getattr(options, "data", None) is not None:
            env = dataclasses.replace(env, data=absolute(options.data))
        # Libraries print too (the LiteRT converter does); stdout is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            result = options.command(options, env)
        if isinstance(result, Iterator):
            result = _working_aside(result)
        show = output.show_json if options.json else options.show
        show(result)
        if getattr(options, "progress", None):
            finish(Path(options.progress))
    except TrashnetError as error:
        print(error, file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the answers, as `head` does, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _working_aside(rows: Iterator[Any]) -> Iterator[Any]:
    """Yields rows of which each is worked out when it is asked for, stdout kept clean."""
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                row = next(rows)
            except StopIteration:
                return
        yield row


# ---------------------------------------------------------------- commands


def _data(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    if options.split is not None:
        TrainConfig.from_dict({"split": options.split})
    config = TrainConfig.from_dict({"seed": options.seed})
    if options.push:
        dataset_repo.check_repository(options.push)
    with output.progress_bar(options.progress) as on_progress:
        if options.fetch:
            photos = fetch_trashnet(env, on_progress)
        elif options.samples:
            photos = use_samples(env, on_progress)
        else:
            photos = find_photos(env, on_progress)
        table = load_index(photos, env, options.split, config.seed, on_progress=on_progress)
        scanned = scan(photos, env.cache, on_progress)
        result = index.summarise(photos, scanned, table)
        given = (photos, table, config.seed)
        if options.save:
            result["saved"] = dataset_repo.save(*given, absolute(options.save), on_progress)
        if options.push:
            is_private = not options.public
            result["pushed"] = dataset_repo.push(*given, options.push, env, is_private, on_progress)
    if options.index:
        _write_table(table, Path(options.index))
    return result


def _audit(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.data import audit as audit_module
    from trashnet.training.embedding import embed_and_audit

    with output.progress_bar(options.progress) as on_progress:
        photos = find_photos(env, on_progress)
        scanned = scan(photos, env.cache, on_progress)
        embeddings, found = embed_and_audit(photos, scanned, env.cache, on_progress)
        places = audit_module.lay_out(scanned, embeddings, found, env.cache, on_progress)
    authors = trashnet_facts().authors_split if photos.is_trashnet else None
    if options.pairs:
        _write_table(found.pairs, Path(options.pairs))
    if options.manifest:
        if authors is None:
            raise DataError("The manifest holds facts about TrashNet, and these are other photos.")
        _write_table(audit_module.manifest(found, scanned, places, authors), Path(options.manifest))
    return audit_module.summarise(found, scanned, authors)


def _review(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    action = "relabel" if options.relabel else "exclude" if options.exclude else None
    action = "keep" if options.keep else action
    if (options.photo is None) != (action is None):
        raise ConfigError("Name a photo together with --keep, --exclude or --relabel CLASS.")
    photos = find_photos(env)
    review = index.review_of(photos, env)
    if options.undo:
        review.undo()
    elif action is not None:
        review.decide(
            options.photo,
            action,
            options.relabel,
            options.note,
            files=photos.files,
            classes=photos.classes,
        )
    return [dataclasses.asdict(decision) for decision in review.history()]


def _preview(options: argparse.Namespace, env: Environment) -> Iterator[dict[str, Any]]:
    from trashnet.training.augmentation_worker import serve

    if not 0 < options.idle <= 86_400:
        raise ConfigError(f"--idle is {options.idle}; it must be from above 0 to 86400.")
    return serve(sys.stdin.buffer, options.idle)


def _write_table(table: Any, path: Path) -> None:
    writers = {
        ".csv": lambda p: table.to_csv(p, index=False),
        ".parquet": lambda p: table.to_parquet(p, index=False),
    }
    if path.suffix not in writers:
        raise ConfigError(f"{path} must end in .csv or .parquet.")
    try:
        write_atomically(path, writers[path.suffix])
    except OSError as error:
        raise ConfigError(f"{path} could not be written ({error.strerror}).") from error


def _configured(options: argparse.Namespace) -> TrainConfig:
    """The network's recipe, or a file's settings, changed by the options that were given."""
    base = (
        TrainConfig.from_file(Path(options.config))
        if options.config
        else TrainConfig.recipe(options.model or TrainConfig.model)
    )
    given = {
        f.name: getattr(options, f.name)
        for f in dataclasses.fields(TrainConfig)
        if getattr(options, f.name) is not None
    }
    return TrainConfig.from_dict(base.to_dict() | given)


def _train(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    config = _configured(options)
    with output.progress_bar() as on_progress:
        photos = use_samples(env, on_progress) if options.samples else find_photos(env, on_progress)
        index.check_splittable(photos, env, config, on_progress)
    run = store.new_run(env.runs, config, photos, index.review_of(photos, env).latest())
    logging.info("run %s in %s", run.id, run.path)
    return _go(run, env)


def _resume(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    if not run.status().is_active:  # else it was started by the app, and may be stopped by now
        control.clear_stop(run)
    return _go(run, env)


def _go(run: run_module.Run, env: Environment) -> dict[str, Any]:
    control.check_startable(run)
    from trashnet.training.trainer import train_and_evaluate  # TensorFlow takes seconds to import

    with output.progress_bar() as on_progress:
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
        result |= {split: _report(run, split) for split in ("validation", "test")}
    return result


def _estimate(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.training.profiling import measure

    return as_json(measure(_configured(options)))


def _stop(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    control.stop(run)
    return {"run": run.id, "state": "stopping"}


def _runs(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    return [store.describe(run) for run in store.list_runs(env.runs)]


def _evaluate(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = store.open_run(env.runs, options.run)
    if options.photos is None:
        return _report(run, options.split)
    from trashnet.evaluation.external_test import evaluate_own
    from trashnet.inference.inputs import named_photos

    with output.progress_bar() as on_progress:
        found = evaluate_own(run, named_photos([options.photos], sys.stdin.buffer), on_progress)
    for name, why in found.left_out.items():
        logging.warning("left out %s: %s", name, why)
    return {"run": run.id, "split": "own photos", **found.figures}


def _report(run: run_module.Run, split: str) -> dict[str, Any]:
    evaluation = run.evaluation()
    splits = evaluation["splits"]
    if split not in splits:
        raise RunError(f"The run {run.id} has no split {split!r}; it has {', '.join(splits)}.")
    result = {"run": run.id, "split": split, **splits[split]}
    if "out_of_fold" in evaluation:
        result["out_of_fold"] = evaluation["out_of_fold"]
    if "unreviewed" in evaluation:
        result["unreviewed"] = evaluation["unreviewed"].get(split)
    return result


def _robustness(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.evaluation.robustness import measure_and_store

    run = store.open_run(env.runs, options.run)
    photos = find_photos(env)
    with output.progress_bar(options.progress) as on_progress:
        return measure_and_store(run, photos.root, options.split, on_progress)


def _classify(
    options: argparse.Namespace, env: Environment
) -> Iterator[dict[str, Any]] | dict[str, Any]:
    if options.engine not in ("local", "ray"):
        raise ConfigError(f"--engine is {options.engine!r}; it must be local or ray.")
    of_ray = [name for name in ("output", "address", "workers") if getattr(options, name)]
    if options.engine == "local" and of_ray:
        raise ConfigError(f"--{of_ray[0]} goes with --engine ray only.")
    run = _chosen_run(options.run, env)
    drawn = ", which was trained on drawn sample pictures" if run.is_sample else ""
    logging.info("answered by %s%s", run.id, drawn)
    return _classify_here(options, run) if options.engine == "local" else _scale(options, run)


def _scale(options: argparse.Namespace, run: run_module.Run) -> dict[str, Any]:
    if len(options.photo) != 1 or not options.output:
        raise ConfigError("--engine ray takes one folder or address of photos, and --output DIR.")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; it must be at least 1.")
    with _ray_installed(), output.progress_bar() as on_progress:
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


@contextlib.contextmanager
def _ray_installed() -> Iterator[None]:
    quiet_ray()
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise ConfigError(
            "--engine ray needs Ray, which is not installed: 'pip install -r "
            "requirements-scale.txt'."
        ) from error


def _classify_here(options: argparse.Namespace, run: run_module.Run) -> Iterator[dict[str, Any]]:
    from trashnet.inference.batch import as_row, classify_each
    from trashnet.inference.inputs import named_photos

    photos = named_photos(options.photo, sys.stdin.buffer)
    rows = (as_row(*named) for named in classify_each(run, photos, options.flips))
    failed = []
    for row in rows:
        if "error" not in row:
            yield from (*failed, row)
            break
        failed.append(row)
    else:  # not one answer is a mistake of the whole command
        nothing = f"There are no pictures in {', '.join(options.photo)}."
        raise PhotoError(failed[0]["error"] if failed else nothing)
    yield from rows


def _sweep(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    if options.engine != "ray":
        raise ConfigError(f"--engine is {options.engine!r}; it must be ray.")
    with _ray_installed(), output.progress_bar() as on_progress:
        from trashnet.distributed.sweep import read_plan, sweep

        plan = read_plan(Path(options.config))
        photos = find_photos(env, on_progress)
        index.check_splittable(photos, env, plan.config, on_progress)
        decisions = index.review_of(photos, env).latest()
        return sweep(plan, env, photos, decisions, options.address, on_progress)


def _export(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.training.export_formats import export_run

    run = store.open_run(env.runs, options.run)
    return export_run(run, options.format, Path(options.output or f"{run.id}-{options.format}"))


def _push(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.hub.push_pull import push

    with output.progress_bar() as on_progress:
        run = store.open_run(env.runs, options.run)
        return push(run, options.repo, not options.public, on_progress)


def _pull(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.hub.push_pull import pull
    from trashnet.runs.processes import limit_memory

    limit_memory()  # its files may unpack to far more than they say
    with output.progress_bar() as on_progress:
        run = pull(options.repo, env.runs, on_progress)
    return store.describe(run) | {"repo": options.repo}


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
    if options.dry_run:
        return {"files": space.listed(space.space_files(models=tuple(options.model)))}
    secrets = {name: secret(name) for name in options.secret}
    models, private = tuple(options.model), options.private
    with output.progress_bar() as on_progress:
        return space.deploy(options.space, secrets, variables, models, private, on_progress)


def _chosen_run(name: str | None, env: Environment) -> run_module.Run:
    if name is not None:
        return store.open_run(env.runs, name)
    released = run_module.Run(store.RELEASED)
    finished = [run for run in [*store.list_runs(env.runs), released] if run.is_finished]
    # The latest that knows photos; one that knows drawings only where it is named.
    for run in sorted(finished, key=lambda run: run.is_sample):
        return run
    raise RunError("There is no finished run yet; train one with 'python -m trashnet train'.")


# ---------------------------------------------------------------- options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISTAKE, f"{message[:1].upper()}{message[1:]}; see '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m trashnet", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Any, show: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        if name in ("data", "audit", "review", "train", "robustness"):
            what = "folder of class folders or zip (default: TRASHNET_DATA)"
            sub.add_argument("--data", metavar="PATH", help=what)
        if name in ("data", "audit", "robustness"):
            what = "write how far it is to this file, as JSON of done, total and what"
            sub.add_argument("--progress", metavar="FILE", help=what)
        sub.set_defaults(command=command, show=show)
        return sub

    data = add("data", _data, output.show_data, "find, fetch, verify and split the photos")
    source = data.add_mutually_exclusive_group()
    source.add_argument("--fetch", action="store_true", help="download TrashNet (43 MB)")
    source.add_argument("--samples", action="store_true", help="draw the sample pictures")
    data.add_argument("--index", metavar="FILE", help="write the index as .csv or .parquet")
    help = "save the splits in a new folder, as datasets.load_from_disk opens them"
    data.add_argument("--save", metavar="FOLDER", help=help)
    help = "push the splits to this data set repository on the Hugging Face Hub"
    data.add_argument("--push", metavar="OWNER/NAME", help=help)
    data.add_argument(
        "--split",
        metavar="|".join(get_args(Split)),
        help="how to divide (default: object where an audit knows the objects, else random)",
    )
    _add_settings(data, ("seed",), with_defaults=True)

    audit = add(
        "audit", _audit, output.show_audit, "find duplicates, conflicts and repeated objects"
    )
    audit.add_argument("--pairs", metavar="FILE", help="write similar pairs as .csv or .parquet")
    audit.add_argument("--manifest", metavar="FILE", help="write TrashNet's facts as .csv")

    review = add("review", _review, output.show_review, "keep, exclude or relabel photos")
    review.add_argument("photo", nargs="?", metavar="FILE", help="the photo, as glass/glass1.jpg")
    decision = review.add_mutually_exclusive_group()
    decision.add_argument("--keep", action="store_true", help="keep it although it is flagged")
    decision.add_argument("--exclude", action="store_true", help="leave it out of every split")
    decision.add_argument("--relabel", metavar="CLASS", help="give it another class")
    decision.add_argument("--undo", action="store_true", help="take the last decision back")
    review.add_argument("--note", default="", help="why")

    preview = add(
        "preview",
        _preview,
        output.show_lines,
        "augment photos as training does: questions and answers are lines of JSON",
    )
    help = "end after so many seconds without a question (default: 600)"
    preview.add_argument("--idle", type=float, default=600.0, metavar="SECONDS", help=help)

    train = add("train", _train, output.show_training, "train and evaluate a model")
    estimate = add("estimate", _estimate, output.show_estimate, "measure a few steps of a training")
    for command in (train, estimate):
        help = "JSON settings, or a run's config.json"
        command.add_argument("--config", metavar="FILE", help=help)
        _add_settings(command, tuple(f.name for f in dataclasses.fields(TrainConfig)))
    train.add_argument("--samples", action="store_true", help="train on the sample pictures")

    resume = add(
        "resume", _resume, output.show_training, "go on with a stopped, failed or lost run"
    )
    resume.add_argument("run", metavar="RUN", help="run id or directory")
    stop = add("stop", _stop, lambda r: print(f"{r['run']} is stopping"), "stop a training")
    stop.add_argument("run", metavar="RUN", help="run id or directory")
    add("runs", _runs, output.show_runs, "list the runs, newest first")
    evaluate = add("evaluate", _evaluate, output.show_report, "report a finished run")
    evaluate.add_argument("run", metavar="RUN", help="run id, directory, or released")
    evaluate.add_argument("--split", default="test", help="train, validation or test")
    evaluate.add_argument(
        "--photos", metavar="PATH", help="folder or zip of class folders of your own, to test on"
    )
    robustness = add(
        "robustness", _robustness, output.show_robustness, "measure a run on changed photos"
    )
    robustness.add_argument("run", metavar="RUN", help="run id, directory, or released")
    robustness.add_argument("--split", default="validation", help="validation or test")
    classify = add("classify", _classify, output.show_answers, "say what photos show")
    classify.add_argument(
        "photo",
        nargs="+",
        metavar="PATH",
        help="photo, folder or zip of photos, pattern, or - for standard input",
    )
    classify.add_argument(
        "--flips",
        action="store_true",
        help="answer with the mean of photo and mirror image (twice the time)",
    )
    classify.add_argument("--run", metavar="RUN", help="run to answer with (default: the latest)")
    help = "local, or ray: answer one folder, Parquet file or address of photos on many machines"
    classify.add_argument("--engine", default="local", metavar="local|ray", help=help)
    help = "folder or address that gets the answers as Parquet (Ray)"
    classify.add_argument("--output", metavar="DIR", help=help)
    help = "models at work at once (Ray; default: one a core)"
    classify.add_argument("--workers", type=int, metavar="N", help=help)
    sweep = add("sweep", _sweep, output.show_sweep, "search settings on a Ray cluster")
    sweep.add_argument("config", metavar="CONFIG", help="JSON of settings and what to search")
    sweep.add_argument("--engine", default="ray", metavar="ray", help="ray")
    for command in (classify, sweep):
        help = "of a Ray cluster, or auto (default: this machine alone)"
        command.add_argument("--address", metavar="ADDRESS", help=help)
    export = add("export", _export, output.show_export, "take a run's model elsewhere")
    export.add_argument("run", metavar="RUN", help="run id, directory, or released")
    export.add_argument("--format", default="litert", help="litert, keras or onnx")
    export.add_argument("--output", metavar="FOLDER", help="new folder (default: RUN-FORMAT)")
    push = add("push", _push, output.show_push, "publish a run on the Hugging Face Hub")
    push.add_argument("run", metavar="RUN", help="run id, directory, or released")
    push.add_argument("--repo", metavar="OWNER/NAME", required=True, help="model on the Hub")
    pull = add("pull", _pull, output.show_pull, "bring a published run back, verified")
    pull.add_argument("repo", metavar="OWNER/NAME", help="model on the Hub")
    deploy = add("deploy", _deploy, output.show_deploy, "put the app on a Hugging Face Space")
    deploy.add_argument("--space", metavar="OWNER/NAME", required=True, help="the Space")
    deploy.add_argument(
        "--secret",
        metavar="NAME",
        action="append",
        default=[],
        help="hand on this variable's value",
    )
    deploy.add_argument(
        "--variable", metavar="NAME=VALUE", action="append", default=[], help="set it in the Space"
    )
    deploy.add_argument(
        "--model", metavar="OWNER/NAME", action="append", default=[], help="link with this model"
    )
    deploy.add_argument("--dry-run", action="store_true", help="only list files and sizes")
    deploy.add_argument("--private", action="store_true", help="if it is new: only for you")
    for command in (data, push):
        help = "let everybody see a new repository"
        command.add_argument("--public", action="store_true", help=help)
    return parser


def _add_settings(
    parser: argparse.ArgumentParser, names: tuple[str, ...], with_defaults: bool = False
) -> None:
    """Makes an option of every setting; refusing values is left to `TrainConfig`."""
    for f in dataclasses.fields(TrainConfig):
        if f.name not in names:
            continue
        how: dict[str, Any] = {"type": f.type} if f.type in (int, float) else {}
        if f.type is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif allowed := choices(f):
            how = {"metavar": "|".join(allowed)}
        parser.add_argument(
            f"--{f.name.replace('_', '-')}",
            default=f.default if with_defaults else None,
            help=f"{f.metadata['help']} (default: {f.default})".replace("%", "%%"),
            **how,
        )
