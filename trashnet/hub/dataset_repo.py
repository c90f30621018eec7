"""The audited, split photos for others: a `DatasetDict` with a card, on disk or on the Hub."""

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from trashnet.data.audit_findings import SAME_OBJECT
from trashnet.data.dataset import Photos
from trashnet.data.splits import EXCLUDED, SPLITS
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.files import temporary_folder, write_atomically
from trashnet.hub.dataset_dict import as_dataset_dict
from trashnet.progress import Progress, silent

_MARK = "dataset_dict.json"
"""The file by which `datasets` knows a saved `DatasetDict`."""

_LISTED = 100

_METHODS = {
    "object": "by object: all photos of one object are on one side (column `group`), stratified "
    "by class. Objects are photos that a chain of similar pairs links, of a cosine similarity of "
    f"at least {SAME_OBJECT:.2f} between frozen ImageNet embeddings.",
    "random": "photo by photo, stratified by class. **Photos of one object can be in train and in "
    "test**, so a test flatters a model that has learned objects by heart.",
    "authors": "as TrashNet's authors published it. **Photos of one object are in train and in "
    "test**, so a test flatters a model that has learned objects by heart.",
}


def save(
    photos: Photos, index: pd.DataFrame, seed: int, folder: Path, on_progress: Progress = silent
) -> dict[str, Any]:
    """Saves the splits, photos included, and their card; all of it or nothing.

    Args:
        photos: The data set.
        index: Its index, which says what is in which split.
        seed: What the index was made with.
        folder: Where to; what was saved there before is replaced.
        on_progress: Told of the photos written.

    Returns:
        `folder`, `bytes` and `photos`.

    Raises:
        DataError: The folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / _MARK).is_file() and any(_listing(folder)):
        raise DataError(f"{folder} holds other files; name a new folder.")
    splits, done = as_dataset_dict(photos, index), 0
    total = sum(map(len, splits.values()))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as partial:
            for name, rows in splits.items():
                on_progress(done, total, f"Writing {name}")
                rows.save_to_disk(partial / name)
                done += len(rows)
            (partial / _MARK).write_text('{"splits": ["' + '", "'.join(splits) + '"]}')
            (partial / "README.md").write_text(card(photos, index, seed), encoding="utf-8")
            old = partial.with_name(f"{partial.name}-old")  # swept away as any partial folder is
            if folder.exists():
                os.replace(folder, old)
            os.replace(partial, folder)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The photos could not be saved in {folder} ({reason}).") from error
    on_progress(total, total, "Saving the splits")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"folder": str(folder), "bytes": size, "photos": total}


def _listing(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else [folder]


def is_saved(folder: Path) -> bool:
    """Whether the folder holds splits that were saved."""
    return (folder / _MARK).is_file()


def zip_saved(folder: Path, target: Path) -> None:
    """Writes saved splits as a zip; stored, because photos hardly shrink.

    Raises:
        DataError: There is no space for it.
    """

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, Path(folder.name) / path.relative_to(folder))

    try:
        write_atomically(target, write)
    except OSError as error:
        raise DataError(f"The splits could not be packed ({error.strerror}).") from error


# ---------------------------------------------------------------- on the Hub


def obstacle(env: Environment) -> str:
    """Returns what stands in the way of pushing to the Hub, in a sentence; '' if nothing does."""
    if env.hub_offline:
        return "HF_HUB_OFFLINE is set, so nothing can be pushed; unset it, or save to disk."
    from huggingface_hub import get_token

    if not get_token():
        return (
            "There is no Hugging Face token; set HF_TOKEN to one that may write, or log in with "
            "'hf auth login', or save to disk and push from another machine."
        )
    return ""


def push(
    photos: Photos,
    index: pd.DataFrame,
    seed: int,
    repository: str,
    env: Environment,
    is_private: bool = True,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Pushes the splits to a data set repository on the Hub, which is made if it is not there.

    Args:
        photos: The data set.
        index: Its index.
        seed: What the index was made with.
        repository: `OWNER/NAME`.
        env: Whether the Hub may be asked.
        is_private: Whether only its owner may see a repository that is new.
        on_progress: Told of the steps.

    Returns:
        `repository`, `url` and `photos`.

    Raises:
        DataError: There is no token, the name is none, or the Hub refuses or cannot be reached.
    """
    check_repository(repository)
    if reason := obstacle(env):
        raise DataError(reason)
    from huggingface_hub import HfApi

    splits = as_dataset_dict(photos, index)
    total = sum(map(len, splits.values()))
    try:
        on_progress(0, total, "Connecting to the Hugging Face Hub")
        api = HfApi(library_name="trashnet")
        where = {"repo_id": repository, "repo_type": "dataset"}
        api.create_repo(**where, private=is_private, exist_ok=True)
        text = card(photos, index, seed, repository).encode()
        # First, because what is pushed then adds what it knows of columns and files to this card.
        api.upload_file(path_or_fileobj=text, path_in_repo="README.md", **where)
        on_progress(0, total, "Uploading the photos")
        splits.push_to_hub(repository, private=is_private)
    except Exception as error:  # the client's error classes change with its HTTP library
        raise DataError(_hub_reason(error, repository)) from error
    on_progress(total, total, "Uploading the photos")
    url = f"https://huggingface.co/datasets/{repository}"
    return {"repository": repository, "url": url, "photos": total}


def check_repository(name: str) -> None:
    """Raises `DataError` for what is no name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise DataError("A repository's name is OWNER/NAME, of letters, digits, '-', '_' and '.'.")


def _hub_reason(error: Exception, repository: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "The Hugging Face Hub does not accept the token; make a new one and set HF_TOKEN."
    if status == 403:
        return f"The token may not write to {repository}; use one that may, or another name."
    if status is not None:
        return f"The Hugging Face Hub refuses (status {status}); try again later, or save to disk."
    return (
        f"The Hugging Face Hub could not be reached ({type(error).__name__}); check the "
        "connection and try again, or save to disk."
    )


# ---------------------------------------------------------------- card


def card(photos: Photos, index: pd.DataFrame, seed: int, repository: str = "") -> str:
    """Returns the data set card: source, licence, split, groups, and what was left out and why."""
    is_trashnet = photos.is_trashnet
    name = "TrashNet" if is_trashnet else photos.name
    metadata = ["license: mit"] * is_trashnet + [
        f"pretty_name: {json.dumps(f'{name}, audited and split', ensure_ascii=False)}",
        "task_categories:\n- image-classification",
    ]
    split = index.attrs["split"]
    kept = index[index.split != EXCLUDED]
    sizes = kept.group.value_counts()
    relabelled = kept[kept.label != kept.original_label]
    load = f'load_dataset("{repository}")' if repository else 'load_from_disk("FOLDER")'
    sections = [
        f"---\n{chr(10).join(metadata)}\n---",
        f"# {name}, audited and split",
        f"{len(kept):,} photos of {len(photos.classes)} classes, in splits that say how they were "
        "made.",
        f"```python\nimport datasets\n\nsplits = datasets.{load}\n```",
        "## Splits",
        _counts(photos, kept),
        f"Split {_METHODS[split]} Seed {seed}; about 80 % train and validation, 20 % test."
        if split != "authors"
        else f"Split {_METHODS[split]}",
        "## Columns",
        "- `image`: the photo, as it was filed\n- `label`: its class\n- `file`: its key, "
        "`class/name`\n- `group`: photos that share a number show one object",
        f"{int((sizes > 1).sum()):,} objects were photographed more than once; they are "
        f"{int(sizes[sizes > 1].sum()):,} of the photos."
        if index.attrs["groups_known"]
        else "Which photos show the same object is not known: nobody has compared them.",
        "## Left out",
        _left_out(index),
        "## Labels",
        f"Changed by a review: {len(relabelled):,}."
        + "".join(f"\n- `{r.file}`: {r.label}" for r in relabelled.head(_LISTED).itertuples()),
        "## Source and licence",
        "[TrashNet](https://github.com/garythung/trashnet) by Gary Thung and Mindy Yang, MIT "
        "licence; its `dataset-resized.zip`, 512 × 384 pixels. Please cite them."
        if is_trashnet
        else "Drawn sample pictures of TrashNet Explorer; they show nothing real."
        if photos.is_sample
        else f"Photos of the publisher's own, from the folder `{photos.name}`. Say here where they "
        "are from and under which licence they may be used, before you share them.",
    ]
    return "\n\n".join(sections) + "\n"


def _counts(photos: Photos, kept: pd.DataFrame) -> str:
    present = [split for split in SPLITS if (kept.split == split).any()]
    table = pd.crosstab(kept.label, kept.split).reindex(
        index=list(photos.classes), columns=present, fill_value=0
    )
    lines = [f"| class | {' | '.join(present)} |", "|---" + "|---:" * len(present) + "|"]
    lines += [f"| {row.Index} | {' | '.join(map(str, row[1:]))} |" for row in table.itertuples()]
    return "\n".join(lines)


def _left_out(index: pd.DataFrame) -> str:
    rows = index[index.split == EXCLUDED]
    if rows.empty:
        return "No photo that can be read was left out."
    lines = [
        f"- `{row.file}`: "
        + ("filed under two classes" if "conflict" in row.flag else "left out by a review")
        for row in rows.head(_LISTED).itertuples()
    ]
    more = [f"- and {len(rows) - _LISTED:,} more"] if len(rows) > _LISTED else []
    return "\n".join([f"{len(rows):,} photos are in no split.", "", *lines, *more])
