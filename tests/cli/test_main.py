"""The command line: what automation reads on stdout, and what a person reads after a mistake."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from tests.conftest import Training
from trashnet.cli.main import main
from trashnet.cli.models import _chosen_run
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.files import write_json
from trashnet.inference.calibration import probabilities
from trashnet.runs.run import Run
from trashnet.runs.store import new_run

ROOT = Path(__file__).resolve().parents[2]

CLASSES = ["cardboard", "glass", "metal", "paper", "plastic", "trash"]
REPORT = {
    "run",
    "split",
    "n",
    "accuracy",
    "accuracy_interval",
    "macro_f1",
    "nll",
    "ece",
    "temperature",
    "threshold",
    "coverage",
    "per_class",
    "confusion_matrix",
}


def is_one_sentence(text: str) -> bool:
    """Whether a text is one line that ends like a sentence and is no traceback."""
    return text.endswith(".\n") and text.count("\n") == 1 and "Traceback" not in text


# ---------------------------------------------------------------- what automation reads


def test_data_counts_photos_and_names_those_left_out(
    command: Callable[..., Any],
    sample_photos: Photos,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(sample_photos.root, folder)
    (folder / "glass" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    index = tmp_path / "index.csv"
    code, output, errors = command("data", "--data", folder, "--json", "--index", index)
    assert (code, errors) == (0, "")
    result = json.loads(output)  # exactly one document, or this fails
    assert {"photos", "classes", "splits", "excluded"} <= set(result)
    assert result["excluded"] == ["glass/torn.jpg"]
    assert result["photos"] == len(sample_photos.files) == sum(result["classes"].values())
    assert list(result["classes"]) == CLASSES and result["classes"]["trash"] == 13
    for label, count in result["classes"].items():
        assert sum(split[label] for split in result["splits"].values()) == count
    table = pd.read_csv(index, keep_default_na=False)
    assert set(table.file) == set(sample_photos.files)
    found = table.groupby(["split", "label"]).size()
    assert all(
        found[split, label] == count
        for split, counts in result["splits"].items()
        for label, count in counts.items()
    )

    assert main(["data", "--data", str(folder), "--index", str(tmp_path / "index.parquet")]) == 0
    assert "left out, cannot be read: glass/torn.jpg" in capfd.readouterr().out
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "index.parquet"), table, check_dtype=False
    )


def test_the_seed_decides_the_split(
    training: Any, sample_photos: Photos, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    splits = []
    for number, seed in enumerate((3, 3, 4)):
        index = tmp_path / f"{number}.parquet"
        options = ["--seed", str(seed), "--index", str(index)]
        assert main(["data", "--data", str(sample_photos.root), "--json", *options]) == 0
        json.loads(capfd.readouterr().out)
        splits.append(pd.read_parquet(index).split.tolist())
    assert splits[0] == splits[1] != splits[2]


def check_report(result: dict[str, Any], split: str, predictions: pd.DataFrame) -> None:
    """Checks a report against the stored answers, with scikit-learn's figures."""
    rows = predictions[predictions.split == split]
    true = rows.label.tolist()
    answered = [CLASSES[np.argmax(logits)] for logits in rows.logits]
    assert set(result) >= REPORT
    assert (result["split"], result["n"]) == (split, len(rows))
    assert result["accuracy"] == pytest.approx(accuracy_score(true, answered))
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert result["macro_f1"] == pytest.approx(
        f1_score(true, answered, labels=CLASSES, average="macro", zero_division=0)
    )
    assert result["confusion_matrix"] == confusion_matrix(true, answered, labels=CLASSES).tolist()
    assert list(result["per_class"]) == CLASSES
    for label, scores in result["per_class"].items():
        assert set(scores) == {"precision", "recall", "f1", "support"}
        assert scores["support"] == true.count(label)


def test_train_prints_one_document_with_both_reports(training: Any) -> None:
    result = json.loads(training.output)
    assert set(result) == {
        "run",
        "state",
        "epochs",
        "seconds",
        "images_per_second",
        "validation",
        "test",
    }
    assert (result["run"], result["state"], result["epochs"]) == (training.run.id, "finished", 1)
    assert result["seconds"] > 0 and result["images_per_second"] > 0
    predictions = training.run.predictions()
    for split in ("validation", "test"):
        check_report(result[split], split, predictions)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluate_reports_a_split(
    training: Any, capfd: pytest.CaptureFixture[str], split: str
) -> None:
    # By its directory; a run's id is looked up in the home.
    assert main(["evaluate", str(training.run.path), "--split", split, "--json"]) == 0
    check_report(json.loads(capfd.readouterr().out), split, training.run.predictions())
    assert main(["evaluate", str(training.run.path), "--split", split]) == 0
    n = len(training.run.predictions().query("split == @split"))
    assert f"{split}, n = {n}: accuracy" in capfd.readouterr().out


def test_runs_are_listed(
    training: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_HOME", str(training.env.home))
    assert main(["runs", "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)
    assert set(row) == {
        "run",
        "data",
        "model",
        "state",
        "test_photos",
        "epoch",
        "epochs",
        "validation_accuracy",
        "test_accuracy",
        "started",
        "seconds",
    }
    assert (row["run"], row["state"], row["epoch"]) == (training.run.id, "finished", 1)
    assert row["test_accuracy"] == training.run.evaluation()["splits"]["test"]["accuracy"]


def test_classify_gives_the_answers_that_are_stored(
    training: Any, sample_photos: Photos, command: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    stored = training.run.predictions().set_index("file").logits
    chosen = {"a.jpg": "glass/glass1.jpg", "c.jpg": "trash/trash2.jpg"}
    for name, file in chosen.items():
        shutil.copy(sample_photos.root / file, folder / name)
    (folder / "b.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("not looked at")

    code, output, errors = command("classify", folder, "--run", training.run.path, "--json")
    assert code == 0 and "Traceback" not in errors
    first, torn, last = json.loads(output)
    assert set(torn) == {"file", "error"} and "not a picture" in torn["error"]
    evaluation = training.run.evaluation()
    for answer, name in ((first, "a.jpg"), (last, "c.jpg")):
        assert set(answer) == {"file", "label", "confidence", "probabilities", "sure", "familiar"}
        assert Path(answer["file"]) == folder / name
        p = probabilities(stored[chosen[name]], evaluation["temperature"])
        assert answer["probabilities"] == pytest.approx(dict(zip(CLASSES, p, strict=True)))
        assert answer["label"] == CLASSES[int(p.argmax())]
        assert answer["confidence"] == max(answer["probabilities"].values())
        enough = answer["confidence"] >= evaluation["threshold"]
        assert answer["sure"] is bool(enough and answer["familiar"])


def test_classify_reads_names_from_standard_input_and_answers_as_they_come(
    training: Any, sample_photos: Photos
) -> None:
    arguments = [sys.executable, "-m", "trashnet", "classify", "-", "--run", training.run.path]
    with subprocess.Popen(
        list(map(str, arguments)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    ) as process:
        # More than are read ahead, so that the first answer can come before the last name.
        files = sample_photos.files[:200]
        process.stdin.writelines(f"{sample_photos.root / file}\n" for file in files)
        process.stdin.flush()
        assert process.stdout.readline().startswith(str(sample_photos.root / files[0]))
        assert process.poll() is None
        process.stdin.close()
        assert len(process.stdout.readlines()) == len(files) - 1
    assert process.returncode == 0


def test_whoever_reads_only_the_first_answers_ends_it_quietly(
    training: Any, sample_photos: Photos
) -> None:
    arguments = [sys.executable, "-m", "trashnet", "classify", sample_photos.root]
    with subprocess.Popen(
        [*map(str, arguments), "--run", str(training.run.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said and "Exception" not in said and process.returncode == 0


@pytest.mark.slow
def test_export_writes_a_folder_and_says_what_it_checked(
    training: Any, command: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    code, output, errors = command(
        "export", training.run.path, "--format", "keras", "--output", folder, "--json"
    )
    assert code == 0, errors
    said = json.loads(output)
    assert (said["run"], said["format"], said["photos"]) == (training.run.id, "keras", 64)
    assert set(said["files"]) == {path.name for path in folder.iterdir()}
    keras_model = folder / "model.keras"
    assert keras_model.read_bytes() == (training.run.path / "model.keras").read_bytes()
    code, output, errors = command("export", training.run.path, "--output", folder)
    assert (code, output) == (2, "") and is_one_sentence(errors)


def test_no_answer_at_all_is_a_mistake(
    training: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    options = ["--run", str(training.run.path), "--json"]
    for name, said in (("page.jpg", "not a picture"), ("gone.jpg", "no photo")):
        assert main(["classify", str(tmp_path / name), *options]) == 2
        shown = capfd.readouterr()
        assert shown.out == "" and said in shown.err


def test_help_is_no_mistake(command: Callable[..., Any]) -> None:
    code, output, errors = command("--help")
    assert (code, errors) == (0, "") and "classify" in output
    code, output, errors = command("train", "--help")
    assert (code, errors) == (0, "") and "--learning-rate" in output


def test_the_command_line_starts_without_tensorflow(tmp_path: Path) -> None:
    code = "import sys; from trashnet.cli.main import main; main(['runs']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TRASHNET_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.split())
    assert "trashnet.cli.training" in modules and not modules & {"tensorflow", "keras", "ray"}


def test_train_py_is_the_train_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--epochs", "-3"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(Path(__file__).resolve().parents[2] / "train.py"), run_name="__main__")
    assert leaving.value.code == 2
    assert capfd.readouterr().err == "epochs is -3; it must be between 0 and 1000.\n"


# ---------------------------------------------------------------- what a mistake says


@pytest.fixture
def bad(tmp_path: Path, env: Environment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with one of every kind of bad input in it and in the home."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.zip").write_text("<html>404</html>")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as bundle:
        bundle.writestr("photo.jpg", b"x")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as bundle:
        bundle.writestr("../../photo.jpg", b"x")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "flat.zip").read_bytes()[:40])
    for name in ("few/can/1.jpg", "few/jar/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / "gap" / "empty").mkdir(parents=True)
    (tmp_path / "gap" / "can").mkdir()
    (tmp_path / "gap" / "can" / "1.jpg").write_bytes(b"x")
    (tmp_path / "torn.json").write_text('{"epochs": 3')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "unknown.json").write_text('{"epocs": 3}')
    (tmp_path / "text.json").write_text('{"epochs": "3"}')

    photos = Photos(tmp_path, "mine", "folder", ("can",), ("can/1.jpg",))
    for name, state in (("new", "waiting"), ("done", "finished"), ("dead", "running")):
        run = new_run(env.runs, TrainConfig(), photos)
        run.write_status(state=state, pid=2**22 + 1 if state == "running" else None)
        run.path.rename(env.runs / name)
    write_json(env.runs / "new" / "config.json", {"schema": 99, "train_config": {}})
    (env.runs / "half").mkdir()
    return tmp_path


MISTAKES = {
    # the words themselves
    "": "The following arguments are required: COMMAND; see",
    "fly": "Argument COMMAND: invalid choice: 'fly'",
    "data --wings": "Unrecognized arguments: --wings",
    "train --epochs many": "Argument --epochs: invalid int value: 'many'",
    "train --epochs 2.5": "Argument --epochs: invalid int value: '2.5'",
    "train --learning-rate fast": "Argument --learning-rate: invalid float value: 'fast'",
    "evaluate": "The following arguments are required: RUN",
    # settings
    "train --model resnet9000": "model is 'resnet9000'; it must be one of",
    "train --epochs -3": "epochs is -3; it must be between 0 and 1000.",
    "train --image-size 0": "image_size is 0; it must be between 32 and 512.",
    "train --batch-size 0": "batch_size is 0",
    "train --learning-rate nan": "learning_rate is nan",
    "train --split by-hand": "split is 'by-hand'; it must be one of object, random, authors.",
    "train --tracking loudly": "tracking is 'loudly'",
    "data --split by-hand": "split is 'by-hand'; it must be one of object, random, authors.",
    "data --seed -1": "seed is -1; it must be between 0 and",
    "train --config gone.json": "There is no configuration file gone.json.",
    "train --config torn.json": "torn.json is not a readable JSON file",
    "train --config list.json": "list.json must hold a JSON object of settings.",
    "train --config unknown.json": "Unknown setting 'epocs'; the settings are model, epochs",
    "train --config text.json": "epochs is '3'; it must be of type int.",
    # photos
    "data --fetch": "HF_HUB_OFFLINE is set, so TrashNet cannot be fetched",
    "data --data gone": "There are no photos at",
    "data --data ~nobody/of/that/name": "There are no photos at",
    "train --data gone.zip": "There are no photos at",
    "data --data page.zip": "page.zip is not a complete zip file",
    "data --data cut.zip": "cut.zip is not a complete zip file",
    "data --data flat.zip": "flat.zip holds no class folders",
    "data --data evil.zip": "which leads outside its folder",
    "data --data few": "The class 'can' has 0 photos that can be read, too few to split",
    "data --data few --split authors": "The authors' split lists TrashNet's 2,527 photos",
    "data --data gap": "The class folder 'empty'",
    "data --data torn.json": "torn.json is not a complete zip file",
    "data --data SAMPLES --split authors": "The authors' split lists TrashNet's 2,527 photos",
    "data --data SAMPLES --index table.xlsx": "table.xlsx must end in .csv or .parquet.",
    "data --data SAMPLES --index no/table.csv": "no/table.csv could not be written (No such file",
    # runs
    "evaluate nothing": "There is no run 'nothing'; the latest are:",
    "evaluate half": "holds no complete run",
    "evaluate new": "was written by a newer version (schema 99)",
    "evaluate done": "The run done has no evaluation yet",
    "resume done": "The run done is finished; start a new one.",
    "resume nothing": "There is no run 'nothing'",
    "resume half": "holds no complete run",
    "stop done": "The run done is not being trained; its state is finished.",
    "stop dead": "The run dead is not being trained; its state is lost.",
    "stop nothing": "There is no run 'nothing'",
    "classify photo.jpg --run nothing": "There is no run 'nothing'",
    "classify photo.jpg --run done": "The run done has no evaluation yet",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    typed: str, bad: Path, sample_photos: Photos, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = typed.replace("SAMPLES", str(sample_photos.root)).split()
    try:
        code = main([*arguments, *(["--json"] if arguments else [])])
    except SystemExit as leaving:  # how argparse refuses
        code = leaving.code
    shown = capfd.readouterr()
    assert (code, shown.out) == (2, "")
    assert MISTAKES[typed] in shown.err
    assert is_one_sentence(shown.err)


@pytest.mark.parametrize(
    "typed", ["train --epochs many", "data --data page.zip --json", "resume done", "evaluate half"]
)
def test_a_mistake_looks_the_same_from_outside(
    typed: str, bad: Path, command: Callable[..., Any]
) -> None:
    # The command works in the home of this test, so the paths are seen from there.
    code, output, errors = command(*typed.replace("page.zip", str(bad / "page.zip")).split())
    assert (code, output) == (2, "")
    assert is_one_sentence(errors)


def test_a_home_that_is_a_file_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRASHNET_HOME", str(tmp_path / "file"))
    assert main(["runs"]) == 2
    assert "set TRASHNET_HOME to a folder you can write to" in capfd.readouterr().err


def test_a_finished_run_is_not_trained_again(
    training: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in training.run.path.iterdir()}
    assert main(["resume", str(training.run.path), "--json"]) == 2
    assert "is finished; start a new one" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in training.run.path.iterdir()} == before


@pytest.mark.photos
def test_data_knows_trashnet(
    real_photos: Photos, real_env: Environment, env: Environment, command: Callable[..., Any]
) -> None:
    shutil.copytree(real_env.cache, env.cache)
    code, output, errors = command(
        "data", "--json", "--split", "authors", TRASHNET_DATA=str(real_photos.root)
    )
    assert (code, errors) == (0, "")
    result = json.loads(output)
    assert (result["name"], result["photos"]) == ("trashnet", 2527)
    assert list(result["classes"].values()) == [403, 501, 410, 594, 482, 137]
    sizes = {split: sum(counts.values()) for split, counts in result["splits"].items()}
    # The published lists (1768, 328, 431) less the six files whose labels conflict.
    assert sizes == {"train": 1764, "validation": 327, "test": 430}
    assert len(result["excluded"]) == 6 and result["unreadable"] == []


def test_two_photos_are_said_to_show_one_object(
    sample_photos: Photos, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = sample_photos.files[:2]
    for words in ([one, "--same-as", two], [two, "--different-from", one]):
        assert main(["review", "--data", str(sample_photos.root), *words]) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[-2:] == [f"{one}: same {two}", f"{two}: different {one}"]


@pytest.mark.parametrize(
    "words", [["--exclude"], ["glass/glass1.jpg"], ["glass/glass1.jpg", "--undo"], ["--keep"]]
)
def test_half_a_review_decision_is_a_mistake(
    sample_photos: Photos, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", "--data", str(sample_photos.root), *words]) == 2
    said = capfd.readouterr()
    assert said.out == "" and "Name a photo and a decision" in said.err


def test_classify_uses_the_most_accurate_run_of_the_classes_in_use(
    env: Environment, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(training.env.runs, env.runs)
    assert _chosen_run(None, env).id == "released"  # one epoch of the recipe is newer, and worse
    run = Run(env.runs / training.run.id)
    evaluation = run.evaluation()
    evaluation["splits"]["validation"]["accuracy"] = 0.99
    (run.path / "evaluation.json").write_text(json.dumps(evaluation))
    assert _chosen_run(None, env).id == run.id
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | {"classes": ["a", "b"]}))
    assert _chosen_run(None, env).id == "released"
    assert _chosen_run(run.id, env).id == run.id
