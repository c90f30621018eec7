"""A run from somebody else: verified file by file and written anew before anything shows it.

Whoever wrote it chose every byte, so nothing is unpickled or executed, names may not lead out of a
photo folder, and its figures must be those of its predictions. The sizes that files state of
themselves are bounded before they are read; they may lie, so `python -m trashnet pull` also bounds
its memory. What cannot be checked is left behind.
"""

import hashlib
import io
import json
import math
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    OnErrorOmit,
    TypeAdapter,
    ValidationError,
)

from trashnet.config import TrainConfig
from trashnet.data.image_io import QUALITIES
from trashnet.errors import HubError, TrashnetError
from trashnet.evaluation.report import evaluate, report_out_of_fold
from trashnet.files import mistake, read_json, write_json
from trashnet.inference.litert import LiteModel
from trashnet.runs.contents import Content, RunConfig
from trashnet.runs.metrics_file import EpochRow
from trashnet.runs.run import SCHEMA, read_status

_MOST_ROWS = 200_000

_MOST_BYTES = 1_000_000_000
"""Of one file, unpacked."""

_MOST_CLASSES = 200

_NAME = re.compile(r"\w[\w .,+&()'%°±-]{0,79}")

Name = Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]

Model = TypeVar("Model", bound=BaseModel)

Count = Annotated[int, Field(ge=0, le=_MOST_ROWS)]

_SHA256 = re.compile("[0-9a-f]{64}")
_ODD = re.compile(r"[^\w .,+&()'%°±-]")

_SPLITS = {"train", "validation", "test", "excluded"}

_TOLERANCE = 1e-3
"""By how much a figure may differ from ours; other processors round otherwise."""

KERAS = "model.keras"
"""Published for people who use Keras, and never fetched: only that file could hold code."""


class _Refused(Exception):
    """What is wrong with a received run, in a few words."""


class _Change(Content):
    """A row of `robustness.json`."""

    transformation: Name
    unit: Name
    strength: float | None = None
    n: float | None = None
    accuracy: float | None = None
    sure: float | None = None
    change: float | None = None


class _Plain(Content):
    accuracy: float


class _Robustness(Content):
    """What pages show of `robustness.json`."""

    split: Literal["train", "validation", "test", "excluded"]
    n: float
    mean_transformed: float
    plain: _Plain
    rows: list[_Change] = Field(min_length=1, max_length=999)


def admit(folder: Path, manifest: str, target: Path, source: dict[str, Any]) -> None:
    """Verifies fetched files and writes the run they are to `target`.

    Args:
        folder: What was fetched.
        manifest: Name of the file there with every file's SHA-256.
        target: An empty folder.
        source: Where it is from; kept in `config.json`.

    Raises:
        HubError: It is no run, damaged or hostile; the sentence says what was found.
    """
    try:
        _check_hashes(folder, manifest)
        config = _config(folder, source)
        tables = _tables(folder, config)
        _check_model(folder, config, tables["predictions"])
        _check_figures(folder, config["classes"], tables)
        rows, status = list(_epochs(folder, config)), _status(folder, config)
    except (_Refused, TrashnetError) as error:
        raise _refusal(source, str(error).split(";")[0].rstrip(".")) from error
    except MemoryError as error:
        raise _refusal(source, "its files unpack to more than a run's do") from error
    except Exception as error:  # readers raise almost anything when they are fed hostile bytes
        raise _refusal(source, f"its files cannot be read, {type(error).__name__}") from error
    write_json(target / "config.json", config)
    for name, table in tables.items():
        table.to_parquet(target / f"{name}.parquet", index=False)
    copied = ("model.tflite", "head.npz", "projection.npz", "evaluation.json", "robustness.json")
    for name in copied:
        if (folder / name).exists():
            (folder / name).rename(target / name)
    (target / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(target / "status.json", status)


def _refusal(source: dict[str, Any], why: str) -> HubError:
    return HubError(f"Nothing was fetched: {source['repo']} holds no run that can be used ({why}).")


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise _Refused(why)


def _parsed(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise _Refused(mistake(error, path.name)) from None


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # JSON's integers know no end


def _check_hashes(folder: Path, manifest: str) -> None:
    stated = read_json(folder / manifest)
    hashes: Any = stated.get("files") if isinstance(stated, dict) else None
    _need(isinstance(hashes, dict) and stated.get("schema") == 1, f"{manifest} is not ours")
    found = {path.name for path in folder.iterdir() if path.is_file()} - {manifest}
    _need(found == set(hashes) - {KERAS}, f"{manifest} lists other files")
    for name in found:
        actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        _need(actual == hashes[name], f"{name} is not the file that was published")


# ---------------------------------------------------------------- settings


def _config(folder: Path, source: dict[str, Any]) -> dict[str, Any]:
    """Our own `config.json` of what is known and allowed in theirs."""
    theirs = _parsed(RunConfig, folder / "config.json")
    _need(1 <= theirs.version <= SCHEMA, "a newer version wrote it")
    train_config = TrainConfig.from_dict(theirs.train_config)
    classes, data = theirs.classes, theirs.data
    _need(2 <= len(classes) <= _MOST_CLASSES, "no list of classes")
    _need(all(map(_is_name, classes)) and len(set(classes)) == len(classes), "odd class names")
    _need(data.photos <= _MOST_ROWS, "odd data")
    created = datetime.fromisoformat(theirs.created)
    _need(created.tzinfo is not None, "a start without a time zone")
    return {
        "schema": theirs.version,
        "created": min(created, datetime.now(UTC)).isoformat(timespec="seconds"),
        "train_config": train_config.to_dict(),
        "classes": classes,
        "seed": train_config.seed,
        "split": train_config.split,
        "precision": "float32",
        "data": {
            "name": _ODD.sub("_", data.name)[:80] or "photos",  # a folder's, so it may be odd
            "source": "hub",
            "root": "",  # never theirs: pages open files there
            "photos": data.photos,
        },
        "review": [],
        "versions": {k: v for k, v in theirs.versions.items() if _is_name(k) and _is_name(v)},
        "git_commit": None,
        "published": source,
    }


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _status(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """A finished run's `status.json`."""
    theirs = read_status(folder)
    epochs = TrainConfig.from_dict(config["train_config"]).total_epochs
    return {"state": "finished", "epoch": epochs, "seconds": theirs.seconds if theirs else 0.0}


class _Epoch(EpochRow):
    """What every epoch must hold that pages are to draw."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    val_loss: float
    val_accuracy: float
    val_recall: list[float]
    val_confusion_matrix: list[list[Count]] = []


_NUMBERS = TypeAdapter(
    dict[OnErrorOmit[Name], OnErrorOmit[FiniteFloat]], config=ConfigDict(strict=True)
)


def _epochs(folder: Path, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The epochs' lines that hold what curves are drawn of, and only numbers of each."""
    n, last = len(config["classes"]), TrainConfig.from_dict(config["train_config"]).total_epochs
    path = folder / "metrics.jsonl"
    lines = path.read_text(errors="replace").splitlines()[:5000] if path.exists() else []
    for line in lines:
        try:
            numbers, epoch = _NUMBERS.validate_json(line), _Epoch.model_validate_json(line)
        except ValidationError:
            continue
        # Before the first one of a pretrained network nothing has been trained: no loss.
        is_whole = epoch.epoch == 0 or None not in (epoch.loss, epoch.accuracy)
        matrix = epoch.val_confusion_matrix
        sides: list[Any] = [epoch.val_recall, *([matrix, *matrix] if matrix else [])]
        if is_whole and epoch.epoch <= last and all(len(side) == n for side in sides):
            yield numbers | epoch.model_dump(exclude_unset=True)


# ---------------------------------------------------------------- tables


def _tables(folder: Path, config: dict[str, Any]) -> dict[str, pd.DataFrame]:
    classes = config["classes"]
    labels = _one_of(set(classes))
    logits = _vectors(len(classes))
    texts = {"split": _one_of(_SPLITS), "unreviewed_split": _one_of(_SPLITS)}
    found = {
        "predictions": _table(
            folder / "predictions.parquet",
            {"file": _is_file, "label": labels, "logits": logits, "embedding": _vectors(None)}
            | {"distance": _finite, "original_label": labels}
            | texts,
        ),
        "index": _table(
            folder / "index.parquet",
            {"file": _is_file, "label": labels, "group": _finite, "flag": _flags}
            | {"sha256": _hashes}
            | {"original_label": labels}
            | texts
            | dict.fromkeys(QUALITIES, _numbers),
        ),
    }
    if (folder / "out_of_fold.parquet").exists():
        found["out_of_fold"] = _table(
            folder / "out_of_fold.parquet",
            {"file": _is_file, "label": labels, "logits": logits, "maps": _maps}
            | dict.fromkeys(
                ("distance", "fold", "temperature", "threshold", "distance_limit"), _finite
            ),
        )
    return found


Check = Callable[[pd.Series], bool]


def _table(path: Path, checks: dict[str, Check]) -> pd.DataFrame:
    """A table with exactly the columns that were checked."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        about = file.metadata
        groups = (about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        _need(0 < about.num_rows <= _MOST_ROWS and sum(groups) <= _MOST_BYTES, f"{path.name}: size")
        columns = [name for name in checks if name in file.schema_arrow.names]
        table = file.read(columns=columns).to_pandas()
    for name, check in checks.items():
        known = name in table or check is _maps  # an older version's run has none
        _need(known and (name not in table or check(table[name])), f"{path.name}: column {name}")
    return table


def _is_file(column: pd.Series) -> bool:
    """Whether all are keys of photos, as `glass/glass1.jpg`: pages open what they name."""

    def is_key(name: Any) -> bool:
        path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath("/")
        safe = not path.is_absolute() and len(path.parts) == 2 and ".." not in path.parts
        return safe and name.isprintable() and not set(name) & set("\\:") and len(name) < 300

    return bool(column.map(is_key).all() and column.is_unique)


def _one_of(allowed: set[str]) -> Check:
    return lambda column: set(column) <= allowed


def _flags(column: pd.Series) -> bool:
    return bool(column.map(lambda flag: isinstance(flag, str) and len(flag) < 100).all())


def _hashes(column: pd.Series) -> bool:
    """Whether all are SHA-256, by which photos are found; unreadable ones have none."""
    return bool(column.dropna().map(lambda text: bool(_SHA256.fullmatch(str(text)))).all())


def _numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _finite(column: pd.Series) -> bool:
    return _numbers(column) and bool(np.isfinite(column.to_numpy(np.float64)).all())


def _vectors(length: int | None) -> Check:
    """Vectors of numbers, all of one length."""

    def check(column: pd.Series) -> bool:
        values = np.stack(column.to_numpy())
        right = values.ndim == 2 and length in (None, values.shape[1])
        return right and np.isdtype(values.dtype, "real floating") and np.isfinite(values).all()

    return lambda column: bool(check(column))


def _maps(column: pd.Series) -> bool:
    """Whether all that are there are pairs of square maps; not every fold needs to have some."""
    if (known := column.dropna()).empty:
        return True
    is_vectors, side = _vectors(None)(known), (len(known.iloc[0]) / 2) ** 0.5
    return is_vectors and side == int(side) and 1 <= side <= 64


# ---------------------------------------------------------------- model and figures


def _check_model(folder: Path, config: dict[str, Any], predictions: pd.DataFrame) -> None:
    classes, size = len(config["classes"]), config["train_config"]["image_size"]
    model = LiteModel(folder / "model.tflite", threads=1)
    _need(model.image_size == size, f"its model takes {model.image_size} pixels, not {size}")
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    logits, features = model(noise)
    shapes = f"its model answers for {logits.size} classes, not {classes}"
    _need(logits.shape == (classes,), shapes)
    _need(bool(np.isfinite(logits).all()), "its model answers nothing")
    depth, length = features.shape[-1], len(predictions.embedding.iloc[0])
    projection = _arrays(folder / "projection.npz", {"mean", "components"})
    wrong = "projection.npz has other shapes than its model"
    _need(projection["mean"].shape == (depth,), wrong)
    _need(projection["components"].shape == (length, depth), wrong)
    if (folder / "head.npz").exists():
        head = _arrays(folder / "head.npz", {"kernel", "bias"})
        wrong = "head.npz has other shapes than its model"
        _need(head["kernel"].shape == (depth, classes) and head["bias"].shape == (classes,), wrong)


def _arrays(path: Path, names: set[str]) -> dict[str, NDArray[np.float32]]:
    """Reads float arrays; headers that claim more than is there, or objects, are refused."""
    found = {}
    with zipfile.ZipFile(path) as bundle:
        members = sorted(bundle.namelist())
        _need(members == sorted(f"{name}.npy" for name in names), f"{path.name} holds other arrays")
        for member in bundle.infolist():
            _need(member.file_size <= _MOST_BYTES // 10, f"{path.name} is too large")
            content = bundle.read(member)
            stream = io.BytesIO(content)
            version = np.lib.format.read_magic(stream)
            _need(version == (1, 0), f"{path.name} is of another version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            wrong = f"{path.name} holds something other than numbers"
            _need(dtype == np.float32 and math.prod(shape) * 4 <= len(content), wrong)
            array = np.load(io.BytesIO(content), allow_pickle=False)
            _need(bool(np.isfinite(array).all()), wrong)
            found[member.filename.removesuffix(".npy")] = array
    return found


def _check_figures(folder: Path, classes: list[str], tables: dict[str, pd.DataFrame]) -> None:
    """The figures it states must be those of its predictions."""
    theirs = read_json(folder / "evaluation.json")
    _need(isinstance(theirs, dict), "evaluation.json cannot be read")
    as_before = "familiar_share" not in theirs
    ours = evaluate(tables["predictions"], tuple(classes), as_before)
    if "out_of_fold" in tables:
        ours["out_of_fold"] = report_out_of_fold(tables["out_of_fold"], tuple(classes))
    if "macro_f1_classes" not in json.dumps(theirs):
        for report in (*ours["splits"].values(), ours.get("out_of_fold", {})):
            _as_before_classes_were_counted(report)
    _need(_alike(ours, theirs), "its figures are not those of its predictions")
    if (folder / "robustness.json").exists():
        _parsed(_Robustness, folder / "robustness.json")


def _as_before_classes_were_counted(report: dict[str, Any]) -> None:
    """Makes a report an older one: its macro F1 took every class in, absent ones as 0."""
    if report.pop("macro_f1_classes", None):
        report["macro_f1"] = float(np.mean([c["f1"] for c in report["per_class"].values()]))


def _alike(one: Any, two: Any) -> bool:
    """Whether two JSON values are of the same make and their numbers nearly the same."""
    if isinstance(one, dict):
        same = isinstance(two, dict) and one.keys() == two.keys()
        return same and all(_alike(one[key], two[key]) for key in one)
    if isinstance(one, list):
        same = isinstance(two, list) and len(one) == len(two)
        return same and all(map(_alike, one, two))
    if _is_number(one):
        return _is_number(two) and math.isclose(one, two, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return one == two
