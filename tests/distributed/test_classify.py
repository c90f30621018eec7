"""Answers and searches on Ray: a machine is lost halfway, and nothing else is."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.test_main import is_one_sentence
from tests.conftest import ROOT, Training, run_command
from trashnet.cli.main import main
from trashnet.data.dataset import Photos
from trashnet.distributed.answer_store import (
    ANSWERS,
    FAILED,
    remove_answers,
    write_answers,
    written,
)
from trashnet.distributed.object_store import Place
from trashnet.distributed.shards import Files, Placed, Skip, find_parts
from trashnet.environment import Environment, quiet_ray
from trashnet.errors import DataError, PhotoError
from trashnet.files import write_json
from trashnet.inference.batch import as_row, classify_each
from trashnet.inference.inputs import named_photos
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs

TORN = ("empty.jpg", "torn.jpg")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one machine with one core; tests may add machines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        quiet_ray()
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": 200 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def folder(sample_photos: Photos, tmp_path: Path) -> Path:
    """96 sample pictures in folders, one torn photo and one empty."""
    root = tmp_path / "photos"
    for file in sample_photos.files[::2][:94]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        os.link(sample_photos.root / file, root / file)
    for name in TORN:
        (root / name).write_bytes(b"\xff\xd8\xff" if name == "torn.jpg" else b"")
    return root


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """The rows of all Parquet files of a folder, by file; without a source where it has none."""
    tables = [pq.read_table(path).to_pylist() for path in folder.glob("*.parquet")]
    rows = sorted((row for table in tables for row in table), key=lambda row: row["file"])
    return [{k: v for k, v in row.items() if (k, v) != ("source", None)} for row in rows]


def expected(run: Run, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the ordinary command answers, and what it cannot."""
    named = named_photos([str(folder)], io.BytesIO())
    rows = sorted((as_row(*row) for row in classify_each(run, named)), key=lambda row: row["file"])
    return [r for r in rows if "error" not in r], [r for r in rows if "error" in r]


class Slow(Files):
    """A part that takes a while, and tells on which machine it is worked on."""

    def photos(self, skip: Skip) -> Iterator[Placed]:
        import ray

        machine = ray.get_runtime_context().get_node_id()
        (Path(self.place.address).parent / machine).touch()
        for placed in super().photos(skip):
            time.sleep(0.1)
            yield placed


@pytest.mark.slow
def test_a_machine_is_lost_halfway_and_nothing_else(
    cluster: Any,
    training: Training,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray import cloudpickle

    from trashnet.distributed import classify

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    output, lost, repeated = tmp_path / "answers of ours", [], []
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def pull_the_plug(done: int, total: int, what: str) -> None:
        if not lost and (tmp_path / node.node_id).exists():
            lost.append(done)
            cluster.remove_node(node, allow_graceful=False)

    given = (training.run, str(folder), str(output))
    with monkeypatch.context() as slowly:
        found, again = classify.find_parts, classify._again
        slowly.setattr(
            classify, "find_parts", lambda *a: [Slow(p.place, p.paths) for p in found(*a)]
        )
        slowly.setattr(classify, "_again", lambda part: repeated.append(part) or again(part))
        result = classify.classify(*given, address=cluster.address, on_progress=pull_the_plug)
    assert lost and lost[0] < 96 and repeated, "the machine was lost with a part at work"
    answers, failed = expected(training.run, folder)
    # Every photo once, with the very answer of the ordinary command.
    assert rows_in(output / ANSWERS) == answers and rows_in(output / FAILED) == failed
    assert [Path(row["file"]).name for row in failed] == list(TORN)
    assert {k: result[k] for k in ("photos", "answered", "failed", "before")} == {
        "photos": 96,
        "answered": 94,
        "failed": 2,
        "before": 0,
    }

    # A second run answers what is missing, and nothing else.
    files = sorted((output / ANSWERS).glob("*.parquet"))
    missing = len(pq.read_table(files[0]))
    files[0].unlink()
    half, others = output / ANSWERS / f".{'0' * 32}", output / ANSWERS / ".keep"
    half.write_bytes(b"PAR1")
    os.utime(half, (0, 0))
    others.touch()
    shutil.copy(folder / "glass" / "glass1.jpg", folder / "new.jpg")
    before = {path: path.stat().st_mtime_ns for path in files[1:]}
    result = classify.classify(*given, address=cluster.address)
    assert (result["answered"], result["failed"]) == (missing + 1, 0)
    assert result["before"] == 97 - missing - 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert rows_in(output / ANSWERS) == expected(training.run, folder)[0]
    assert not half.exists() and others.exists()


@pytest.mark.slow
def test_a_killed_command_goes_on_from_parquet(
    cluster: Any, training: Training, folder: Path, tmp_path: Path
) -> None:
    photos = sorted(folder.rglob("*.jpg"))
    names = [path.relative_to(folder).as_posix() for path in photos]
    images = [
        {"bytes": path.read_bytes(), "path": name} for path, name in zip(photos, names, strict=True)
    ]
    source, output = tmp_path / "photos.parquet", tmp_path / "out"
    pq.write_table(pa.table({"image": images, "label": [0] * 96}), source, row_group_size=40)
    command = ["classify", str(source), "--engine", "ray", "--output", str(output), "--json"]
    command += ["--run", str(training.run.path), "--address", cluster.address]
    process = subprocess.Popen(
        [sys.executable, "-m", "trashnet", *command],
        cwd=ROOT,
        env={**os.environ, "TRASHNET_HOME": str(training.env.home)},
        stderr=subprocess.PIPE,
    )
    while not rows_in(output / ANSWERS) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    first = len(rows_in(output / ANSWERS) + rows_in(output / FAILED))
    assert 0 < first
    code, said, errors = run_command(training.env.home, *command)
    assert code == 0, errors
    result = json.loads(said)
    assert result["photos"] == 96 == result["answered"] + result["failed"] + result["before"]
    assert result["before"] >= min(first, 80) - 16
    answers, _ = expected(training.run, folder)
    strip = f"{folder}/"
    assert [
        {k: v for k, v in row.items() if k != "source"} for row in rows_in(output / ANSWERS)
    ] == [row | {"file": row["file"].removeprefix(strip)} for row in answers]
    sources = {row["source"] for row in rows_in(output / ANSWERS) + rows_in(output / FAILED)}
    assert len(sources) == 96 and f"{source}#2.15" in sources
    assert [row["file"] for row in rows_in(output / FAILED)] == list(TORN)
    assert "torn.jpg" in rows_in(output / FAILED)[1]["error"]


class Deadly(Files):
    """A part whose second photo ends the process that reads it, as one short of memory does."""

    def photos(self, skip: Skip) -> Iterator[Placed]:
        for placed in super().photos(skip):
            if placed[1].endswith("glass3.jpg"):
                os._exit(1)
            yield placed


@pytest.mark.slow
def test_a_photo_that_ends_its_worker_is_listed(
    cluster: Any, training: Training, folder: Path, tmp_path: Path
) -> None:
    from ray import cloudpickle

    from trashnet.distributed import classify

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    paths = tuple(str(folder / "glass" / name) for name in ("glass1.jpg", "glass3.jpg"))
    assert all(Path(path).exists() for path in paths)
    place = Place(str(tmp_path / "out"))
    classify.connect(cluster.address)
    known = written(place)
    made = ("run", classify._model_files(training.run), False, place, known)
    part = Deadly(Place(str(folder)), paths)
    try:
        done = list(classify._answered([part], made, known, 1, place, training.run.classes))
    finally:
        import ray

        ray.shutdown()
    assert sorted(done) == [(0, 1, 0), (1, 0, 0)]
    (row,) = rows_in(tmp_path / "out" / FAILED)
    assert row["file"] == paths[1] and "memory" in row["error"]


def test_an_address_of_photos_is_read_ahead_and_in_order(folder: Path, tmp_path: Path) -> None:
    parts = find_parts(Place(f"file://{folder}"))
    named = [photo[1:] for part in parts for photo in part.photos(lambda name: "glass" in name)]
    names = [path for path in sorted(map(str, folder.rglob("*.jpg"))) if "glass" not in path]
    assert [name for name, _ in named] == [f"file://{name}" for name in names]
    assert all(photo.read() == Path(name[7:]).read_bytes() for name, photo in named)
    (folder / "glass" / "glass1.jpg").unlink()  # between the list and its turn
    gone = dict(photo[1:] for part in parts for photo in part.photos(lambda name: False))
    error = gone[f"file://{folder}/glass/glass1.jpg"]
    assert isinstance(error, PhotoError) and "glass1.jpg" in str(error)


def test_no_more_is_read_ahead_than_agreed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(Files, "_read", lambda self, name, path: read.append(name))
    place = Place(f"file://{folder}")
    part = Files(place, tuple(place.files()))
    for number, _ in enumerate(part.photos(lambda name: False)):
        assert len(read) <= number + 16
    assert len(read) == 96


def table_of(images: list[bytes], path: Path, group: int = 32, **columns: list[Any]) -> Path:
    """A Parquet file of photos."""
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=group)
    return path


def test_rows_of_one_name_are_told_apart(tmp_path: Path) -> None:
    table_of([b"a"] * 40, tmp_path / "1.parquet", file=["0.jpg"] * 40)
    table_of([b"b"] * 40, tmp_path / "2.parquet", label=["glass"] * 40)
    parts = find_parts(Place(str(tmp_path)))
    placed = [photo for part in parts for photo in part.photos(lambda place: False)]
    places = [place for place, _, _ in placed]
    assert places == [place for part in parts for place in part.places()]
    assert len(set(places)) == 80
    # A label is no name.
    assert [name for _, name, _ in placed] == ["0.jpg"] * 40 + places[40:]


def test_a_table_that_breaks_off_fails_by_photo(tmp_path: Path) -> None:
    draws = os.urandom(200 * 2000)
    images = [draws[2000 * i : 2000 * (i + 1)] for i in range(200)]
    whole = table_of(images, tmp_path / "photos.parquet", 100)
    parts = find_parts(Place(str(whole)))
    content = bytearray(whole.read_bytes())
    content[250_000:300_000] = bytes(50_000)  # of the second group, between list and turn
    whole.write_bytes(content)
    placed = [photo for part in parts for photo in part.photos(lambda place: False)]
    assert [place for place, _, _ in placed] == [p for part in parts for p in part.places()]
    failed = [place for place, _, photo in placed if isinstance(photo, PhotoError)]
    assert len(failed) == 100 and all("#1." in place for place in failed)
    again = [photo for part in parts for photo in part.photos(lambda place: place in failed)]
    assert not any(isinstance(photo, PhotoError) for _, _, photo in again)


def test_a_table_that_is_none_fails_alone(tmp_path: Path) -> None:
    table_of([b"a"], tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_bytes(b"PAR1")
    parts = find_parts(Place(str(tmp_path)))
    assert [place for part in parts for place in part.places()] == [
        f"{tmp_path}/1.parquet#0.0",
        f"{tmp_path}/2.parquet",
    ]


def test_an_address_is_shown_without_its_keys() -> None:
    place = Place("s3://KEY:SECRET@bucket/photos/?region=eu-north-1&endpoint_override=minio:9000")
    assert place.shown == "s3://bucket/photos"
    assert place.name("bucket/photos/a.jpg") == "s3://bucket/photos/a.jpg"
    with pytest.raises(DataError) as raised:
        Place("s4://KEY:SECRET@bucket/photos?x=1").store  # noqa: B018
    assert "SECRET" not in str(raised.value) and "s4://bucket/photos" in str(raised.value)


def test_what_is_no_answer_is_said(tmp_path: Path) -> None:
    (tmp_path / ANSWERS).mkdir()
    (tmp_path / ANSWERS / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="mine.parquet") as raised:
        written(Place(str(tmp_path)))
    assert is_one_sentence(f"{raised.value}\n")


def test_what_is_repeated_replaces_what_was_written(tmp_path: Path) -> None:
    place, failed = Place(str(tmp_path)), [as_row("a.jpg", "It cannot be read.")]
    write_answers(place, failed, ("glass",))
    answered = [
        {
            "file": "a.jpg",
            "label": "glass",
            "confidence": 1.0,
            "probabilities": {"glass": 1.0},
            "sure": True,
            "familiar": True,
        }
    ]
    write_answers(place, answered, ("glass",))
    assert rows_in(tmp_path / ANSWERS) == answered and rows_in(tmp_path / FAILED) == []
    remove_answers(place, ["a.jpg"])
    assert len(written(place)) == 0


def test_names_no_other_machine_can_read_are_written(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb") as file:
        file.write(b"no photo")
    ((place, name, photo),) = find_parts(Place(str(tmp_path)))[0].photos(lambda name: False)
    assert place == name == f"{tmp_path}/\\udcff.jpg" and Path(photo).exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["{folder}", "--engine", "ray"], "--output"),
        (["{folder}", "--output", "{out}"], "--engine ray"),
        (["{folder}", "--engine", "spark"], "local or ray"),
        (["{folder}", "--engine", "ray", "--output", "{folder}/out"], "outside"),
        (["{nothing}", "--engine", "ray", "--output", "{out}"], "no photos"),
        (["nope://a/b", "--engine", "ray", "--output", "{out}"], "nope://a/b"),
        (["{table}", "--engine", "ray", "--output", "{out}"], "bytes"),
        (["{folder}", "--engine", "ray", "--output", "{out}", "--workers", "0"], "--workers"),
        (["{folder}", "--engine", "ray", "--output", "{used}"], "another output"),
    ],
)
def test_a_mistake_is_one_sentence(
    options: list[str],
    said: str,
    trained: Run,
    folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    places = {name: str(tmp_path / name) for name in ("out", "nothing", "used")}
    places |= {"folder": str(folder), "table": str(tmp_path / "no.parquet")}
    pq.write_table(pa.table({"x": [1]}), places["table"])
    (tmp_path / "used").mkdir()
    write_json(tmp_path / "used" / "job.json", {"run": "another", "model": "0"})
    words = [option.format(**places) for option in options]
    assert main(["classify", "--run", trained.id, *words]) == 2
    output, errors = capfd.readouterr()
    sentence = errors.splitlines()[-1] + "\n"  # after the line that names the run
    assert output == "" and is_one_sentence(sentence) and said in sentence


@pytest.mark.parametrize("command", ["classify", "sweep"])
def test_without_ray_one_sentence_says_how_to_install_it(
    command: str,
    trained: Run,
    folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in sys.modules if n == "ray" or n.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("trashnet.distributed.classify", "trashnet.distributed.sweep"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    options = ["--run", trained.id, "--output", str(tmp_path / "out")]
    words = [str(folder), *options] if command == "classify" else [str(folder / "plan.json")]
    assert main([command, *words, "--engine", "ray"]) == 2
    sentence = capfd.readouterr().err.splitlines()[-1] + "\n"
    assert is_one_sentence(sentence) and "pip install -e '.[ray]'" in sentence


# ---------------------------------------------------------------- sweep

PLAN: dict[str, Any] = {
    "model": "cnn_baseline",
    "epochs": 20,  # so many that one which is behind is stopped before its last
    "image_size": 32,
    "split": "random",
    "tracking": "off",
    "samples": 2,
    "grace": 1,
    "seed": 1,  # draws 0.001 first, then 1e-7
    "search": {"learning_rate": {"choice": [0.001, 1e-7]}, "rotation": {"uniform": [0, 20]}},
}


@pytest.mark.slow
def test_trials_are_ordinary_runs(
    cluster: Any, samples: Photos, env: Environment, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    given = {"TRASHNET_DATA": str(samples.root)}
    words = ["sweep", plan, "--engine", "ray", "--address", cluster.address, "--json"]
    code, output, errors = run_command(env.home, *words, **given)
    assert code == 0, errors
    result = json.loads(output)
    runs = {run.id: run for run in list_runs(env.runs)}
    assert len(runs) == 2 == len(result["trials"])
    rates = [trial["settings"]["learning_rate"] for trial in result["trials"]]
    assert rates == [0.001, 1e-7]  # the better one first
    for trial in result["trials"]:
        run = runs[trial["run"]]
        assert run.train_config.learning_rate == trial["settings"]["learning_rate"]
        assert run.train_config.image_size == 32 and 0 <= run.train_config.rotation <= 20
        assert trial["state"] == run.status().state
        assert trial["val_accuracy"] == pytest.approx(run.epochs().val_accuracy.max())
    best, worse = (runs[trial["run"]] for trial in result["trials"])
    assert result["best"] == best.id and best.is_finished
    # It was behind: stopped before its end, and resumable as any stopped run.
    assert worse.status().state == "stopped" and 0 < worse.status().epoch < 20
    assert (worse.path / "checkpoint").is_dir() and not worse.stop_requested


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"search": {}}, "empty"),
        ({"search": []}, '"search"'),
        ({"search": {"learning_rates": {"uniform": [0.1, 0.2]}}}, "learning_rates"),
        ({"search": {"learning_rate": {"normal": [0, 1]}}}, "loguniform"),
        ({"search": {"learning_rate": {"loguniform": [0, 1]}}}, "loguniform"),
        ({"search": {"learning_rate": {"uniform": [0.1]}}}, "two numbers"),
        ({"search": {"learning_rate": {"uniform": [0.1, 7]}}}, "between"),
        ({"search": {"epochs": {"randint": [1.5, 7]}}}, "whole"),
        ({"search": {"class_weights": {"choice": [True, "no"]}}}, "class_weights"),
        ({"search": {"class_weights": {"choice": True}}}, "list"),
        ({"samples": 0}, "samples"),
        ({"metric": "test_accuracy"}, "val_accuracy or val_loss"),
        ({"grace": 21}, "grace"),
        ({"epochs": "many"}, "epochs"),
        ({"colour": 1}, "colour"),
        ({"model": ["cnn_baseline"]}, "cnn_baseline"),
    ],
)
def test_a_wrong_plan_is_one_sentence(
    change: dict[str, Any], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN | change))
    assert main(["sweep", str(plan)]) == 2
    output, errors = capfd.readouterr()
    assert output == "" and is_one_sentence(errors) and said in errors


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_plan_that_is_none_is_one_sentence(
    content: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    if content is not None:
        plan.write_text(content)
    assert main(["sweep", str(plan), "--engine", "ray"]) == 2
    assert is_one_sentence(capfd.readouterr().err)
