"""Runs from somebody else: damaged, foreign and hostile ones are refused in a sentence."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.conftest import ROOT, Training
from tests.pages.visiting import open_page
from trashnet.errors import HubError
from trashnet.files import read_json
from trashnet.hub.bundle import ship
from trashnet.hub.push_pull import MANIFEST
from trashnet.hub.verification import admit
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

Spoil = Callable[[Path], Any]


@pytest.fixture
def fetched(training: Training, tmp_path: Path) -> Path:
    """A run's files as they come from the Hub, without their manifest."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    ship(training.run, folder)
    return folder


def seal(folder: Path) -> None:
    """Writes a manifest that fits the files, as whoever wrote them can."""
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    (folder / MANIFEST).write_text(json.dumps({"schema": 1, "files": files}))


def receive(folder: Path, target: Path) -> Run:
    """Admits what is in a folder."""
    target.mkdir(parents=True)
    admit(folder, MANIFEST, target, {"repo": "someone/waste", "commit": "a" * 40})
    return Run(target)


def edit(name: str, **changes: Any) -> Spoil:
    """Changes values of a JSON file; a dotted name reaches into it."""

    def spoil(folder: Path) -> None:
        values = read_json(folder / name)
        for dotted, value in changes.items():
            *path, last = dotted.split("__")
            inner = values
            for key in path:
                inner = inner[key]
            inner[last] = value
        (folder / name).write_text(json.dumps(values))

    return spoil


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Spoil:
    """Changes a Parquet table."""

    def spoil(folder: Path) -> None:
        changed = change(pd.read_parquet(folder / name))
        changed.to_parquet(folder / name, index=False)

    return spoil


def first_file(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Names the first photo otherwise."""
    return lambda t: t.assign(file=[name, *t.file[1:]])


def replace(name: str, content: bytes) -> Spoil:
    """Puts other bytes in a file's place."""
    return lambda folder: (folder / name).write_bytes(content)


def pickled(folder: Path) -> None:
    array = np.array([{"a": 1}], dtype=object)
    np.savez(folder / "projection.npz", mean=array, components=array)


def claims_more(folder: Path) -> None:
    """An array whose header promises far more numbers than follow."""
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(folder / "projection.npz", "w") as bundle:
        for name in ("mean", "components"):
            bundle.writestr(f"{name}.npy", header.getvalue())


def odd_maps(folder: Path) -> None:
    """Answers out of fold that are explained by no square."""
    table = pd.read_parquet(folder / "predictions.parquet").query("split == 'test'")
    table = table.assign(fold=0, temperature=1.0, threshold=0.5, distance_limit=2.0)
    table = table.assign(maps=[np.zeros(14, np.float16)] * len(table))
    table.to_parquet(folder / "out_of_fold.parquet", index=False)


def many_arrays(folder: Path) -> None:
    """Two arrays that are asked for, and any number that are not."""
    arrays = dict(np.load(folder / "projection.npz"))
    more = {f"more{i}": np.zeros(1000, np.float32) for i in range(100)}
    np.savez_compressed(folder / "projection.npz", **arrays, **more)


def unpacks_hugely(folder: Path) -> None:
    with zipfile.ZipFile(folder / "head.npz", "w", zipfile.ZIP_DEFLATED) as bundle:
        with bundle.open("kernel.npy", "w", force_zip64=True) as member:
            for _ in range(150):
                member.write(bytes(1_000_000))
        bundle.writestr("bias.npy", b"")


def without_classes(t: pd.DataFrame) -> pd.DataFrame:
    return t.assign(logits=[logits[:3] for logits in t.logits])


HOSTILE: dict[str, tuple[Spoil, str]] = {
    "no configuration": (replace("config.json", b"nonsense"), "config.json"),
    "a newer schema": (edit("config.json", schema=99), "newer version"),
    "an unknown setting": (edit("config.json", train_config__shell="rm"), "Unknown setting"),
    "no classes": (edit("config.json", classes=[]), "classes"),
    "other classes": (edit("config.json", classes=["a", "b"]), "column label"),
    "markup for a class": (edit("config.json", classes=["<script>", "b"]), "class names"),
    "another size": (edit("config.json", train_config__image_size=64), "32 pixels, not 64"),
    "a start that is no time": (edit("config.json", created="soon"), "cannot be read"),
    "a path out": (table("predictions.parquet", first_file("../../etc/x.jpg")), "column file"),
    "an absolute path": (table("index.parquet", first_file("/etc/x.jpg")), "column file"),
    "a hash that is none": (
        table("index.parquet", lambda t: t.assign(sha256="../x")),
        "column sha256",
    ),
    "a path on Windows": (table("index.parquet", first_file("a/..\\b.jpg")), "column file"),
    "logits of other classes": (table("predictions.parquet", without_classes), "column logits"),
    "no embeddings": (
        table("predictions.parquet", lambda t: t.drop(columns="embedding")),
        "column embedding",
    ),
    "endless distances": (
        table("predictions.parquet", lambda t: t.assign(distance=np.inf)),
        "column distance",
    ),
    "maps that are no squares": (odd_maps, "column maps"),
    "no table": (replace("predictions.parquet", b"PAR1 nonsense PAR1"), "cannot be read"),
    "better figures": (edit("evaluation.json", splits__test__accuracy=0.999), "its figures"),
    "another threshold": (edit("evaluation.json", threshold=0.01), "its figures"),
    "no figures": (replace("evaluation.json", b"[" * 100_000), "cannot be read"),
    "no model": (replace("model.tflite", b"TFL3 nonsense"), "no"),
    "the model of other classes": (
        lambda folder: shutil.copy(RELEASED / "model.tflite", folder),
        "260 pixels, not 32",
    ),
    "a pickle": (replace("projection.npz", pickle.dumps({"a": 1})), "cannot be read"),
    "more arrays": (many_arrays, "projection.npz holds other arrays"),
    "pickled objects": (pickled, "other than numbers"),
    "an array that is not there": (claims_more, "other than numbers"),
    "a zip bomb": (unpacks_hugely, "too large"),
    "more photos than there can be": (edit("config.json", data__photos=10**400), "odd data"),
    "photos in words": (edit("config.json", data__photos="many"), "data.photos is 'many'"),
    "no start": (edit("config.json", created=None), "created is None in config.json"),
    "robustness without rows": (
        replace("robustness.json", b'{"split": "test", "n": 1, "mean_transformed": 1, "rows": []}'),
        "plain is missing in robustness.json",
    ),
    "robustness of nothing": (replace("robustness.json", b"{}"), "robustness.json"),
}


@pytest.mark.parametrize(("spoil", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_trusted_is_refused(
    fetched: Path, tmp_path: Path, spoil: Spoil, reason: str
) -> None:
    spoil(fetched)
    seal(fetched)
    with pytest.raises(HubError) as raised:
        receive(fetched, tmp_path / "runs" / "theirs")
    said = str(raised.value)
    assert said.startswith("Nothing was fetched: someone/waste holds no run") and reason in said
    assert "\n" not in said and said.endswith(".") and len(said) < 400
    assert list((tmp_path / "runs" / "theirs").iterdir()) == []


def test_a_changed_file_is_noticed(fetched: Path, tmp_path: Path) -> None:
    seal(fetched)
    content = bytearray((fetched / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (fetched / "model.tflite").write_bytes(content)
    with pytest.raises(HubError, match=r"model\.tflite is not the file that was published"):
        receive(fetched, tmp_path / "theirs")


def test_a_report_of_before_absent_classes_were_left_out_is_still_right(
    fetched: Path, tmp_path: Path
) -> None:
    evaluation = read_json(fetched / "evaluation.json")
    for report in evaluation["splits"].values():
        del report["macro_f1_classes"]
        report["macro_f1"] = float(np.mean([c["f1"] for c in report["per_class"].values()]))
    (fetched / "evaluation.json").write_text(json.dumps(evaluation))
    seal(fetched)
    assert receive(fetched, tmp_path / "theirs").is_finished


def test_a_file_that_is_not_listed_is_refused(fetched: Path, tmp_path: Path) -> None:
    seal(fetched)
    (fetched / "head.pkl").write_bytes(b"x")
    with pytest.raises(HubError, match="lists other files"):
        receive(fetched, tmp_path / "theirs")


def test_what_pages_would_open_or_show_is_written_anew(fetched: Path, tmp_path: Path) -> None:
    secret = tmp_path / "private"
    secret.mkdir()
    edit(
        "config.json",
        data__root=str(secret),
        data__name="a [b](c)",
        git_commit="<b>x</b>",
        extra={"a": 1},
    )(fetched)
    edit("status.json", state="running", pid=1, error="x" * 9999)(fetched)
    epoch = read_epoch(fetched)
    lines = [epoch | {"note": "<script>", "weighted_loss": float("nan")}, {"kind": "tick"}]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "[" * 100_000 + "\n"
    (fetched / "metrics.jsonl").write_text(text)
    seal(fetched)
    run = receive(fetched, tmp_path / "theirs")
    assert run.config["data"]["root"] == "" and run.config["git_commit"] is None
    assert "extra" not in run.config and run.config["data"]["name"] == "a _b_(c)"
    assert run.status().state == "finished" and run.status().pid is None
    assert run.status().error is None
    (kept,) = run.metrics()
    assert kept == {k: v for k, v in epoch.items() if k != "weighted_loss"}


def read_epoch(folder: Path) -> dict[str, Any]:
    """The latest epoch of a run."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "epoch"][-1]


NO_EPOCHS: dict[str, dict[str, Any]] = {
    "no recall": {"val_recall": None},
    "recall of other classes": {"val_recall": [0.5]},
    "recall in words": {"val_recall": ["all"] * 6},
    "a matrix of other classes": {"val_confusion_matrix": [[1]]},
    "a ragged matrix": {"val_confusion_matrix": [[1] * 6] * 5 + [[1]]},
    "endless loss": {"loss": float("inf")},
    "a list for a loss": {"val_loss": [1, 2]},
    "accuracy of 400 digits": {"val_accuracy": 10**400},
    "an epoch that was never planned": {"epoch": 10**30},
    "half an epoch": {"epoch": 0.5},
    "a list for a learning rate": {"learning_rate": [1]},
}


def test_epochs_that_no_page_could_draw_are_left_behind(fetched: Path, tmp_path: Path) -> None:
    epoch = read_epoch(fetched)
    odd = [epoch | changes for changes in NO_EPOCHS.values()]
    odd += [{k: v for k, v in epoch.items() if k != "val_recall"}]
    first = {k: v for k, v in epoch.items() if k not in ("loss", "accuracy")} | {"epoch": 0}
    lines = [*odd, first, epoch | {"seconds": 10**100}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (fetched / "metrics.jsonl").write_text(text)
    edit("status.json", seconds=10**400)(fetched)
    edit("config.json", created="2999-01-01T00:00:00+00:00")(fetched)
    seal(fetched)
    run = receive(fetched, tmp_path / "theirs")
    assert [row["epoch"] for row in run.metrics()] == [0, 1]
    assert run.status().seconds == 0
    assert datetime.fromisoformat(run.config["created"]) <= datetime.now(UTC)


def test_what_unpacks_without_end_ends_with_a_sentence(fetched: Path, tmp_path: Path) -> None:
    """Parquet writes a repeated text once, and states no more than that of its size."""
    names = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), ["x" * 100_000])
    path = fetched / "predictions.parquet"
    pyarrow.parquet.write_table(pa.table({"file": names}), path, store_schema=False)
    assert path.stat().st_size < 1_000_000
    seal(fetched)
    (tmp_path / "theirs").mkdir()
    code = f"""
from pathlib import Path
from trashnet.runs.processes import limit_memory
from trashnet.hub.verification import admit
limit_memory(1 << 30)
admit(Path({str(fetched)!r}), {MANIFEST!r}, Path({str(tmp_path / "theirs")!r}), {{"repo": "a/b"}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "unpack to more than a run's do" in done.stderr.splitlines()[-1]


@pytest.fixture
def received(fetched: Path, env: Any, trained: Run) -> Run:
    """A run from elsewhere among this home's runs."""
    seal(fetched)
    return receive(fetched, env.runs / "someone-waste-aaaaaaa")


def test_every_page_shows_a_received_run(received: Run) -> None:
    for name, key in (("Evaluation", "evaluation_run"), ("Classify", "classify_run")):
        page = open_page(name)
        page.selectbox(key=key).set_value(received.id)
        page.run()
        assert len(page.exception) == 0 and len(page.error) == 0
    page = open_page("Training")
    assert received.id in page.dataframe[0].value.run.tolist()
    page.session_state["training_run"] = received.id
    page.run()
    assert len(page.exception) == 0
