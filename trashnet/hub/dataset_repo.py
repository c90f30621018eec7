"""The audited, split photos for others: a `DatasetDict` with a card, on disk or on the Hub."""

import fnmatch
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trashnet.data.audit_findings import SAME_OBJECT
from trashnet.data.dataset import Photos
from trashnet.data.editions import FULL, SMALL
from trashnet.data.splits import EXCLUDED, SPLITS
from trashnet.environment import Environment
from trashnet.errors import DataError, HubError
from trashnet.files import temporary_folder, write_atomically
from trashnet.hub.markdown import code, text
from trashnet.hub.repository import Repository
from trashnet.progress import Progress, silent

if TYPE_CHECKING:
    from datasets import DatasetDict

_SAVED = "dataset_dict.json"
"""The file by which `datasets` knows a saved `DatasetDict`."""

_TAG = "trashnet-explorer"

_OURS = (f"- {_TAG}\n", "in splits that say how they were made")
"""What a card on the Hub is known to be ours by; the latter in versions before 0.2."""

_LISTED = 100

_SHARD = 500_000_000
"""Bytes of photos in one Parquet file."""

_METHODS = {
    "object": "by object: all photos of one object are on one side (column `group`), stratified "
    "by class. Objects are photos that a chain of similar pairs links, of a cosine similarity of "
    f"at least {SAME_OBJECT:.2f} between frozen ImageNet embeddings.",
    "random": "photo by photo, stratified by class. **Photos of one object can be in train and in "
    "test**, so a test flatters a model that has learned objects by heart.",
    "authors": "as TrashNet's authors published it. **Photos of one object are in train and in "
    "test**, so a test flatters a model that has learned objects by heart.",
}


def as_dataset_dict(photos: Photos, index: pd.DataFrame) -> "DatasetDict":
    """Returns the splits as a `datasets.DatasetDict`, to map, save or push.

    Its columns are image, label, file and group: photos that share a group show one object.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    features = Features(
        image=ImageFeature(),
        label=ClassLabel(names=list(photos.classes)),
        file=Value("string"),
        group=Value("int64"),
    )

    def dataset(rows: pd.DataFrame) -> Dataset:
        images = [str(photos.root / file) for file in rows.file]
        columns = rows[["label", "file", "group"]].to_dict("list")
        return Dataset.from_dict({"image": images, **columns}, features=features)

    parts = {split: index[index.split == split] for split in SPLITS}
    return DatasetDict({split: dataset(rows) for split, rows in parts.items() if len(rows)})


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
    if folder.exists() and not (folder / _SAVED).is_file() and any(_listing(folder)):
        raise DataError(f"{folder} holds other files; name a new folder.")
    splits = as_dataset_dict(photos, index)
    total = sum(map(len, splits.values()))
    on_progress(0, total, "Saving the splits")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as partial:
            splits.save_to_disk(partial)
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
    return (folder / _SAVED).is_file()


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
    """Pushes the splits and their card to a data set repository on the Hub, in one commit.

    Args:
        photos: The data set.
        index: Its index.
        seed: What the index was made with.
        repository: `OWNER/NAME`; made if it does not exist.
        env: Whether the Hub may be asked.
        is_private: Whether only its owner may see a repository that is new.
        on_progress: Told of the steps.

    Returns:
        `repository`, `url` and `photos`.

    Raises:
        ConfigError: The name is none.
        DataError: The photos cannot be packed.
        HubError: No token, refused, not reached, or the repository holds something else.
    """
    there = Repository(repository, "dataset")
    if reason := obstacle(env):
        raise HubError(reason)
    splits = as_dataset_dict(photos, index)
    total = sum(map(len, splits.values()))
    with tempfile.TemporaryDirectory() as temporary:
        on_progress(0, total, "Connecting to the Hugging Face Hub")
        exists = there.look()
        if exists:
            _require_ours(there, Path(temporary))
        on_progress(0, total, "Packing the photos")
        files = _pack(splits, photos.root, Path(temporary))
        if not exists:
            there.create(is_private)
        on_progress(0, total, "Uploading the photos")
        obsolete = set(fnmatch.filter(there.files, "data/*.parquet")) - set(files)
        readme = card(photos, index, seed, repository).encode()
        there.publish({**files, "README.md": readme}, obsolete, "Publish the splits")
    on_progress(total, total, "Uploading the photos")
    return {"repository": repository, "url": there.url, "photos": total}


def _require_ours(there: Repository, folder: Path) -> None:
    """Raises `HubError` for a repository that holds anything but splits that were pushed."""
    if "README.md" in there.files:
        there.fetch(["README.md"], folder)
        readme = (folder / "README.md").read_text("utf-8", errors="replace")
        if any(mark in readme for mark in _OURS):
            return
    if set(there.files) - {".gitattributes"}:
        raise HubError(
            f"Nothing was published: {there.url} holds something else; choose another name."
        )


def _pack(splits: "DatasetDict", root: Path, folder: Path) -> dict[str, Path]:
    """Writes the splits with their photos into Parquet files, named as the Hub knows splits."""
    from datasets.table import embed_table_storage

    files = {}
    try:
        for split, rows in splits.items():
            count = 1 + sum((root / file).stat().st_size for file in rows["file"]) // _SHARD
            for i in range(count):
                name = f"data/{split}-{i:05}-of-{count:05}.parquet"
                files[name] = folder / name
                files[name].parent.mkdir(exist_ok=True)
                shard = rows.shard(count, i).with_format("arrow")
                embed = {"batched": True, "batch_size": 100, "keep_in_memory": True}
                shard.map(embed_table_storage, **embed).to_parquet(files[name])
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The photos could not be packed ({reason}).") from error
    return files


def check_repository(name: str) -> None:
    """Raises `ConfigError` for what is no name of a repository."""
    Repository(name, "dataset")


# ---------------------------------------------------------------- card


_EDITIONS = {
    FULL: "its `dataset-resized.zip`, 512 × 384 pixels",
    SMALL: "its `dataset-resized.zip`, scaled to 384 × 288 pixels",
}


def card(photos: Photos, index: pd.DataFrame, seed: int, repository: str = "") -> str:
    """Returns the data set card: source, licence, split, groups, and what was left out and why."""
    is_trashnet = photos.is_trashnet
    name = "TrashNet" if is_trashnet else photos.name
    metadata = ["license: mit"] * is_trashnet + [
        f"pretty_name: {json.dumps(f'{name}, audited and split', ensure_ascii=False)}",
        f"tags:\n- {_TAG}",
        "task_categories:\n- image-classification",
    ]
    split = index.attrs["split"]
    kept = index[index.split != EXCLUDED]
    sizes = kept.group.value_counts()
    relabelled = kept[kept.label != kept.original_label]
    load = f'load_dataset("{repository}")' if repository else 'load_from_disk("FOLDER")'
    sections = [
        f"---\n{chr(10).join(metadata)}\n---",
        f"# {text(name)}, audited and split",
        f"{len(kept):,} photos of {len(photos.classes)} classes.",
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
        + "".join(
            f"\n- {code(r.file)}: {text(r.label)}" for r in relabelled.head(_LISTED).itertuples()
        ),
        "## Source and licence",
        "[TrashNet](https://github.com/garythung/trashnet) by Gary Thung and Mindy Yang, MIT "
        f"licence; {_EDITIONS[photos.edition]}. Please cite them."
        if photos.edition
        else f"Photos of the publisher's own, from the folder {code(photos.name)}. Say here where "
        "they are from and under which licence they may be used, before you share them.",
    ]
    return "\n\n".join(sections) + "\n"


def _counts(photos: Photos, kept: pd.DataFrame) -> str:
    present = [split for split in SPLITS if (kept.split == split).any()]
    table = pd.crosstab(kept.label, kept.split).reindex(
        index=list(photos.classes), columns=present, fill_value=0
    )
    lines = [f"| class | {' | '.join(present)} |", "|---" + "|---:" * len(present) + "|"]
    lines += [
        f"| {text(row.Index)} | {' | '.join(map(str, row[1:]))} |" for row in table.itertuples()
    ]
    return "\n".join(lines)


def _left_out(index: pd.DataFrame) -> str:
    rows = index[index.split == EXCLUDED]
    if rows.empty:
        return "Every photo that can be read is in a split."
    lines = [
        f"- {code(row.file)}: "
        + ("filed under two classes" if "conflict" in row.flag else "left out by a review")
        for row in rows.head(_LISTED).itertuples()
    ]
    more = [f"- and {len(rows) - _LISTED:,} more"] if len(rows) > _LISTED else []
    return "\n".join([f"{len(rows):,} photos are in no split.", "", *lines, *more])
