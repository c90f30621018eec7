"""Command line: `python -m trashnet data|train|resume|stop|runs|evaluate|classify`.

With `--json`, stdout is exactly one JSON document and everything else goes to stderr. A mistake
of the person is one sentence on stderr and exit code 2.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from trashnet import runs
from trashnet.config import (
    Environment,
    TrainConfig,
    absolute,
    choices,
    environment,
    quiet_tensorflow,
)
from trashnet.data import (
    fetch_trashnet,
    find_photos,
    make_index,
    scan,
    summarise,
    use_samples,
)
from trashnet.errors import ConfigError, PhotoError, RunError, TrashnetError
from trashnet.files import Progress, write_atomically

EXIT_MISTAKE = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    for noisy in ("httpx", "httpx2", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    quiet_tensorflow()
    try:
        env = environment()
        if options.data is not None:
            env = dataclasses.replace(env, data=absolute(options.data))
        # Libraries print too (the LiteRT converter does); stdout is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            result = options.command(options, env)
    except TrashnetError as error:
        print(error, file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        options.show(result)
    return 0


# ---------------------------------------------------------------- commands


def _data(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    config = TrainConfig.from_dict({"split": options.split, "seed": options.seed})
    with _progress() as on_progress:
        if options.fetch:
            photos = fetch_trashnet(env, on_progress)
        elif options.samples:
            photos = use_samples(env, on_progress)
        else:
            photos = find_photos(env, on_progress)
        scanned = scan(photos, env.cache, on_progress)
    index = make_index(scanned, config.split, config.seed)
    if options.index:
        _write_table(index.drop(columns=["mtime"]), Path(options.index))
    return summarise(photos, scanned, index)


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


def _train(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    base = TrainConfig.from_file(Path(options.config)) if options.config else TrainConfig()
    given = {
        f.name: getattr(options, f.name)
        for f in dataclasses.fields(TrainConfig)
        if getattr(options, f.name) is not None
    }
    config = TrainConfig.from_dict(base.to_dict() | given)
    with _progress() as on_progress:
        photos = use_samples(env, on_progress) if options.samples else find_photos(env, on_progress)
    run = runs.new_run(env.runs, config, photos)
    logging.info("run %s in %s", run.id, run.path)
    return _go(run, env)


def _resume(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    return _go(runs.open_run(env.runs, options.run), env)


def _go(run: runs.Run, env: Environment) -> dict[str, Any]:
    runs.check_startable(run)
    from trashnet.train import train_and_evaluate  # TensorFlow takes seconds to import

    with _progress() as on_progress:
        train_and_evaluate(run, env, on_progress)
    status, epochs = run.status(), run.epochs()
    result: dict[str, Any] = {
        "run": run.id,
        "state": status.state,
        "epochs": status.epoch,
        "seconds": round(status.seconds, 2),
        "images_per_second": float(epochs.images_per_second.median()) if len(epochs) else None,
        "validation": None,
        "test": None,
    }
    if status.state == "finished":
        result |= {split: _report(run, split) for split in ("validation", "test")}
    return result


def _stop(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    run = runs.open_run(env.runs, options.run)
    runs.stop(run)
    return {"run": run.id, "state": "stopping"}


def _runs(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    return [runs.describe(run) for run in runs.list_runs(env.runs)]


def _evaluate(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    return _report(runs.open_run(env.runs, options.run), options.split)


def _report(run: runs.Run, split: str) -> dict[str, Any]:
    splits = run.evaluation()["splits"]
    if split not in splits:
        raise RunError(f"The run {run.id} has no split {split!r}; it has {', '.join(splits)}.")
    return {"run": run.id, "split": split, **splits[split]}


def _classify(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    from trashnet.predict import Classifier, picture_paths

    classifier = Classifier(_chosen_run(options.run, env))
    answers = []
    for path in picture_paths(options.photo):
        try:
            answers.append({"file": str(path), **classifier.classify(path).to_dict()})
        except PhotoError as error:
            answers.append({"file": str(path), "error": str(error)})
    if answers and all("error" in answer for answer in answers):
        raise PhotoError(answers[0]["error"])
    return answers


def _chosen_run(name: str | None, env: Environment) -> runs.Run:
    if name is not None:
        return runs.open_run(env.runs, name)
    for run in runs.list_runs(env.runs):
        if run.is_finished:
            return run
    raise RunError("There is no finished run yet; train one with 'python -m trashnet train'.")


# ---------------------------------------------------------------- what people see


def _show_data(result: dict[str, Any]) -> None:
    print(f"{result['photos']} photos of {result['name']} in {result['root']}")
    splits = list(result["splits"])
    print(f"{'':12}{'all':>8}" + "".join(f"{s:>12}" for s in splits))
    for name, count in result["classes"].items():
        row = "".join(f"{result['splits'][s][name]:12}" for s in splits)
        print(f"{name:12}{count:8}{row}")
    for file in result["excluded"]:
        print(f"left out, cannot be read: {file}")


def _show_training(result: dict[str, Any]) -> None:
    print(f"{result['run']}: {result['state']} after {result['epochs']} epochs")
    for split in ("validation", "test"):
        if result[split]:
            _show_report(result[split])


def _show_report(result: dict[str, Any]) -> None:
    low, high = result["accuracy_interval"]
    print(
        f"{result['split']}, n = {result['n']}: accuracy {result['accuracy']:.1%} "
        f"({low:.1%} to {high:.1%}), macro F1 {result['macro_f1']:.3f}, ECE {result['ece']:.3f}"
    )
    for name, scores in result["per_class"].items():
        print(
            f"  {name:12} precision {scores['precision']:.3f}  recall {scores['recall']:.3f}  "
            f"F1 {scores['f1']:.3f}  n {scores['support']}"
        )


def _show_rows(result: list[dict[str, Any]]) -> None:
    for row in result:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


def _show_answers(result: list[dict[str, Any]]) -> None:
    for answer in result:
        if "error" in answer:
            print(f"{answer['file']}: {answer['error']}")
        else:
            unsure = "" if answer["sure"] else "  (not sure)"
            print(f"{answer['file']}: {answer['label']} {answer['confidence']:.1%}{unsure}")


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Draws a bar on a terminal; into a log it writes nothing, the log has the epochs."""
    bar: tqdm | None = None
    shown = ""

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal bar, shown
        if bar is None or what != shown:
            if bar is not None:
                bar.close()
            quiet = not sys.stderr.isatty()
            bar = tqdm(total=total, desc=what, disable=quiet, file=sys.stderr, leave=False)
            shown = what
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()


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
        sub.add_argument(
            "--data", metavar="PATH", help="folder of class folders or zip (default: TRASHNET_DATA)"
        )
        sub.set_defaults(command=command, show=show)
        return sub

    data = add("data", _data, _show_data, "find, fetch, verify and split the photos")
    source = data.add_mutually_exclusive_group()
    source.add_argument("--fetch", action="store_true", help="download TrashNet (43 MB)")
    source.add_argument("--samples", action="store_true", help="draw the sample pictures")
    data.add_argument("--index", metavar="FILE", help="write the index as .csv or .parquet")
    _add_settings(data, ("split", "seed"), with_defaults=True)

    train = add("train", _train, _show_training, "train and evaluate a model")
    train.add_argument("--config", metavar="FILE", help="JSON settings, or a run's config.json")
    train.add_argument("--samples", action="store_true", help="train on the sample pictures")
    _add_settings(train, tuple(f.name for f in dataclasses.fields(TrainConfig)))

    resume = add("resume", _resume, _show_training, "go on with a stopped, failed or lost run")
    resume.add_argument("run", metavar="RUN", help="run id or directory")
    stop = add("stop", _stop, lambda r: print(f"{r['run']} is stopping"), "stop a training")
    stop.add_argument("run", metavar="RUN", help="run id or directory")
    add("runs", _runs, _show_rows, "list the runs, newest first")
    evaluate = add("evaluate", _evaluate, _show_report, "report a finished run")
    evaluate.add_argument("run", metavar="RUN", help="run id or directory")
    evaluate.add_argument("--split", default="test", help="train, validation or test")
    classify = add("classify", _classify, _show_answers, "say what photos show")
    classify.add_argument("photo", nargs="+", metavar="PATH", help="photo, or folder of photos")
    classify.add_argument("--run", metavar="RUN", help="run to answer with (default: the latest)")
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


if __name__ == "__main__":
    raise SystemExit(main())
