"""Commands about the photos: data, audit, review and preview."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from trashnet.cli.options import Subparsers, add_command, add_settings, add_shared
from trashnet.cli.output import progress_bar, show_lines
from trashnet.config import Split, TrainConfig
from trashnet.data import index
from trashnet.data.dataset import find_photos, trashnet_facts
from trashnet.data.download import fetch_trashnet
from trashnet.data.review import Action
from trashnet.data.scan import scan
from trashnet.data.splits import check_left
from trashnet.data.walk import reasons
from trashnet.environment import Environment, absolute
from trashnet.errors import ConfigError, DataError
from trashnet.files import write_atomically
from trashnet.hub import dataset_repo


def register(commands: Subparsers) -> None:
    """Adds these commands."""
    for add in (_add_data, _add_audit, _add_review, _add_preview):
        add(commands)


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


def _add_data(commands: Subparsers) -> None:
    help = "find, fetch, verify and split the photos"
    parser = add_command(commands, "data", _data, _show_data, help, "--data", "--progress")
    help = "download TrashNet's photos in full size (43 MB); small ones come with the package"
    parser.add_argument("--fetch", action="store_true", help=help)
    parser.add_argument("--index", metavar="FILE", help="write the index as .csv or .parquet")
    help = "save the splits in a new folder, as datasets.load_from_disk opens them"
    parser.add_argument("--save", metavar="FOLDER", help=help)
    help = "push the splits to this data set repository on the Hugging Face Hub"
    parser.add_argument("--push", metavar="OWNER/NAME", help=help)
    help = "how to divide (default: object where an audit knows the objects, else random)"
    parser.add_argument("--split", metavar="|".join(get_args(Split)), help=help)
    add_settings(parser, ("seed",), with_defaults=True)
    add_shared(parser, "--public")


def _data(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    if options.split is not None:
        TrainConfig.from_dict({"split": options.split})
    config = TrainConfig.from_dict({"seed": options.seed})
    if options.push:
        dataset_repo.check_repository(options.push)
    with progress_bar(options.progress) as on_progress:
        if options.fetch:
            photos = fetch_trashnet(env, on_progress)
        else:
            photos = find_photos(env, on_progress)
        table = index.load_index(photos, env, options.split, config.seed, on_progress=on_progress)
        if found := index.decisions_found(table):
            logging.info(found)
        try:
            check_left(table, photos.classes)
        except DataError as error:
            logging.warning("these photos cannot be trained on: %s", error)
        result = index.summarise(photos, scan(photos, env.cache, on_progress), table)
        given = (photos, table, config.seed)
        if options.save:
            result["saved"] = dataset_repo.save(*given, absolute(options.save), on_progress)
        if options.push:
            is_private = not options.public
            result["pushed"] = dataset_repo.push(*given, options.push, env, is_private, on_progress)
    if options.index:
        _write_table(table, Path(options.index))
    return result


def _show_data(result: dict[str, Any]) -> None:
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
    print(f"other files left out: {reasons(result['left_out'], most=9) or 'none'}")
    if saved := result.get("saved"):
        print(f"{saved['folder']}: {saved['bytes'] / 1e6:.0f} MB saved")
    if pushed := result.get("pushed"):
        print(f"pushed to {pushed['url']}")


def _add_audit(commands: Subparsers) -> None:
    help = "find duplicates, conflicts and repeated objects"
    parser = add_command(commands, "audit", _audit, _show_audit, help, "--data", "--progress")
    parser.add_argument("--pairs", metavar="FILE", help="write similar pairs as .csv or .parquet")
    parser.add_argument("--manifest", metavar="FILE", help="write TrashNet's facts as .csv")


def _audit(options: argparse.Namespace, env: Environment) -> dict[str, Any]:
    from trashnet.data import audit
    from trashnet.training.embedding import embed_and_audit

    with progress_bar(options.progress) as on_progress:
        photos = find_photos(env, on_progress)
        scanned = scan(photos, env.cache, on_progress)
        embeddings, found = embed_and_audit(photos, scanned, env.cache, on_progress)
        places = audit.lay_out(scanned, embeddings, found, env.cache, on_progress)
    authors = trashnet_facts().authors_split if photos.is_trashnet else None
    if options.pairs:
        _write_table(found.pairs, Path(options.pairs))
    if options.manifest:
        if authors is None:
            raise DataError("The manifest holds facts about TrashNet, and these are other photos.")
        _write_table(audit.manifest(found, scanned, places, authors), Path(options.manifest))
    return audit.summarise(found, scanned, authors)


def _show_audit(result: dict[str, Any]) -> None:
    """Prints what the audit found."""
    print(f"{result['photos']} photos, {len(result['exact_duplicates'])} contents filed repeatedly")
    for files in result["conflicts"]:
        print(f"same photo, different labels: {', '.join(files)}")
    print(
        f"{result['near_duplicate_pairs']} pairs are at least {result['threshold']} similar, "
        f"{result['print_pairs']} have a print in common; "
        f"{result['groups']} objects were photographed repeatedly ({result['grouped_photos']} "
        f"photos, {result['largest_group']} at most)"
    )
    for way, count in (result["leaks"] or {}).items():
        if count is not None:
            print(f"test photos of an object that is in train, {way} split: {count}")


def _add_review(commands: Subparsers) -> None:
    help = "keep, exclude or relabel photos; say which two show one object"
    parser = add_command(commands, "review", _review, _show_review, help, "--data")
    parser.add_argument("photo", nargs="?", metavar="FILE", help="the photo, as glass/glass1.jpg")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--keep", action="store_true", help="keep it although it is flagged")
    decision.add_argument("--exclude", action="store_true", help="leave it out of every split")
    decision.add_argument("--relabel", metavar="CLASS", help="give it another class")
    decision.add_argument("--same-as", metavar="FILE", help="they show one object")
    decision.add_argument("--different-from", metavar="FILE", help="they show two objects")
    decision.add_argument("--undo", action="store_true", help="take the last decision back")
    parser.add_argument("--note", default="", help="why")


def _review(options: argparse.Namespace, env: Environment) -> list[dict[str, Any]]:
    given: dict[Action, Any] = {
        "keep": options.keep,
        "exclude": options.exclude,
        "relabel": options.relabel,
        "same": options.same_as,
        "different": options.different_from,
    }
    action = next((name for name, value in given.items() if value), None)
    if (options.photo is None) != (action is None):
        raise ConfigError("Name a photo and a decision, such as --keep.")
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
            options.same_as or options.different_from,
            files=photos.files,
            classes=photos.classes,
        )
    return [dataclasses.asdict(decision) for decision in review.history()]


def _show_review(result: list[dict[str, Any]]) -> None:
    """Prints one line a decision."""
    for d in result:
        which = d["label"] or d["other"] or ""
        print(f"{d['file']}: {d['action']} {which} {d['note']}".rstrip())
    if not result:
        print("no decisions")


def _add_preview(commands: Subparsers) -> None:
    help = "augment photos as training does: questions and answers are lines of JSON"
    parser = add_command(commands, "preview", _preview, show_lines, help)
    help = "end after so many seconds without a question (default: 600)"
    parser.add_argument("--idle", type=float, default=600.0, metavar="SECONDS", help=help)


def _preview(options: argparse.Namespace, env: Environment) -> Iterator[dict[str, Any]]:
    from trashnet.training.augmentation_worker import serve

    if not 0 < options.idle <= 86_400:
        raise ConfigError(f"--idle is {options.idle}; it must be from above 0 to 86400.")
    return serve(sys.stdin.buffer, options.idle)
