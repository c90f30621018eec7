"""What the command line shows a person: results in words, and bars while they wait."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trashnet.errors import TrashnetError
from trashnet.progress import Progress, silent
from trashnet.runs.jobs import progress_file


@contextlib.contextmanager
def progress_bar(file: str | None = None) -> Iterator[Progress]:
    """Yields a callback that draws a bar on a terminal; a log has the epochs and gets no bar.

    Args:
        file: Where to write the progress as well, as `trashnet.runs.jobs` reads it.
    """
    bar: tqdm | None = None
    also = progress_file(Path(file)) if file else silent
    shown = ""

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal bar, shown
        also(done, total, what)
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


def show_data(result: dict[str, Any]) -> None:
    """Prints the counts per class and split."""
    print(f"{result['photos']} photos of {result['name']} in {result['root']}")
    splits = list(result["splits"])
    print(f"{'':12}{'all':>8}" + "".join(f"{s:>12}" for s in splits))
    for name, count in result["classes"].items():
        row = "".join(f"{result['splits'][s][name]:12}" for s in splits)
        print(f"{name:12}{count:8}{row}")
    print(f"split: {result['split']}")
    for file in result["excluded"]:
        why = "cannot be read" if file in result["unreadable"] else "conflicting label or review"
        print(f"left out, {why}: {file}")
    if saved := result.get("saved"):
        print(f"{saved['folder']}: {saved['bytes'] / 1e6:.0f} MB saved")
    if pushed := result.get("pushed"):
        print(f"pushed to {pushed['url']}")


def show_audit(result: dict[str, Any]) -> None:
    """Prints what the audit found."""
    print(f"{result['photos']} photos, {len(result['exact_duplicates'])} contents filed repeatedly")
    for files in result["conflicts"]:
        print(f"same photo, different labels: {', '.join(files)}")
    print(
        f"{result['near_duplicate_pairs']} pairs are at least {result['threshold']} similar; "
        f"{result['groups']} objects were photographed repeatedly ({result['grouped_photos']} "
        f"photos, {result['largest_group']} at most)"
    )
    for way, count in (result["leaks"] or {}).items():
        if count is not None:
            print(f"test photos with a near-duplicate in train, {way} split: {count}")


def show_review(result: list[dict[str, Any]]) -> None:
    """Prints one line a decision."""
    for d in result:
        print(f"{d['file']}: {d['action']} {d['label'] or ''} {d['note']}".rstrip())
    if not result:
        print("no decisions")


def show_training(result: dict[str, Any]) -> None:
    """Prints how a training ended and what it reached."""
    print(f"{result['run']}: {result['state']} after {result['epochs']} epochs")
    for split in ("validation", "test"):
        if result[split]:
            show_report(result[split])


def show_estimate(result: dict[str, Any]) -> None:
    """Prints what a step and a photo cost."""
    print(
        f"{result['step']:.3f} s a training step, {1000 * result['photo']:.1f} ms a photo, "
        f"{result['memory'] / 1e9:.1f} GB of memory"
    )


def show_report(result: dict[str, Any]) -> None:
    """Prints a split's report, and the out-of-fold figures where there are some."""
    low, high = result["accuracy_interval"]
    before = result.get("unreviewed")
    print(
        f"{result['split']}, n = {result['n']}: accuracy {result['accuracy']:.1%} "
        f"({low:.1%} to {high:.1%}), macro F1 {result['macro_f1']:.3f}, ECE {result['ece']:.3f}"
    )
    if before:
        print(f"  without the review: n = {before['n']}, accuracy {before['accuracy']:.1%}")
    for name, scores in result["per_class"].items():
        print(
            f"  {name:12} precision {scores['precision']:.3f}  recall {scores['recall']:.3f}  "
            f"F1 {scores['f1']:.3f}  n {scores['support']}"
        )
    if whole := result.get("out_of_fold"):
        low, high = whole["accuracy_interval"]
        print(
            f"out of fold, n = {whole['n']}: accuracy {whole['accuracy']:.1%} "
            f"({low:.1%} to {high:.1%}), macro F1 {whole['macro_f1']:.3f}, ECE {whole['ece']:.3f}"
        )


def show_robustness(result: dict[str, Any]) -> None:
    """Prints one line a transformation and strength."""
    plain, n = result["plain"]["accuracy"], result["n"]
    print(f"{result['split']}, n = {n}, photos as they are: accuracy {plain:.1%}")
    for row in result["rows"]:
        print(
            f"  {row['transformation']:18} {row['strength']:>6g} {row['unit']:28} n {row['n']:4}  "
            f"accuracy {row['accuracy']:.1%} ({row['change']:+.1%})  sure {row['sure']:.0%}"
        )
    print(f"mean over the transformations: {result['mean_transformed']:.1%}")


def show_runs(result: list[dict[str, Any]]) -> None:
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


def show_answers(result: Iterable[dict[str, Any]] | dict[str, Any]) -> None:
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


def show_sweep(result: dict[str, Any]) -> None:
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


def show_export(result: dict[str, Any]) -> None:
    """Prints what was written and how it was checked."""
    print(f"{result['run']} as {result['format']} in {result['folder']}:")
    for file in result["files"]:
        print(f"  {file}")
    print(
        f"checked on {result['photos']} {result['of']}: largest difference in a probability "
        f"{result['difference']:.1g}"
    )


def show_push(result: dict[str, Any]) -> None:
    """Prints what was published and where."""
    _show_files(result["files"])
    print(f"{result['run']} is at {result['url']}")


def show_pull(result: dict[str, Any]) -> None:
    """Prints what a published run is called here."""
    print(f"{result['repo']} is here as {result['run']}, verified")


def show_deploy(result: dict[str, Any]) -> None:
    """Prints the files of the app, and where it is when they were sent."""
    _show_files(result["files"])
    if "address" in result:
        print(f"{result['url']} builds it now; then it is at {result['address']}")


def _show_files(files: list[dict[str, Any]]) -> None:
    for file in files:
        print(f"{file['size']:>12,}  {file['file']}")
    print(f"{sum(file['size'] for file in files):>12,}  bytes in {len(files)} files")


def show_lines(result: Iterable[dict[str, Any]]) -> None:
    """Prints one line of JSON an answer, as it comes."""
    for answer in result:
        print(json.dumps(answer, allow_nan=False), flush=True)


def show_json(result: Any) -> None:
    """Prints one JSON document; of an iterator, an array that grows as its rows come."""
    if not isinstance(result, Iterator):
        print(json.dumps(result, allow_nan=False))
        return
    before = "["
    try:
        for row in result:
            print(before, json.dumps(row, allow_nan=False), sep="", end="", flush=True)
            before = ",\n"
    except TrashnetError:
        if before != "[":  # what was answered stays one document
            print("]")
        raise
    print("[]" if before == "[" else "]")
