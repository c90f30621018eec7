"""Publishing runs and bringing them back: the real client, and a stand-in for the Hub."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, Training, run_command
from tests.hub.conftest import REPO, processes, sentence
from tests.hub.hub_server import Fault, Hub, Repo
from tests.pages.visiting import is_sentence, open_page
from tests.pages.visiting import run as run_page
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import ConfigError, HubError, RunError
from trashnet.hub.push_pull import MANIFEST, pull, pull_aside, push
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, list_runs
from trashnet.training.export_formats import export_run

# ---------------------------------------------------------------- there and back


def test_a_run_comes_back_as_it_was(
    published: Repo, training: Training, sample_photos: Photos, env: Environment
) -> None:
    run = pull(REPO, env.runs)
    assert [listed.id for listed in list_runs(env.runs)] == [run.id]
    assert run.is_finished and run.config["published"]["repo"] == REPO
    theirs = training.run
    for name in ("model.tflite", "evaluation.json", "head.npz", "projection.npz"):
        if (theirs.path / name).exists():
            assert (run.path / name).read_bytes() == (theirs.path / name).read_bytes(), name
    assert run.train_config == theirs.train_config and run.classes == theirs.classes
    for file in sample_photos.files[::40]:
        ours = Classifier(run).classify(sample_photos.root / file)
        before = Classifier(theirs).classify(sample_photos.root / file)
        np.testing.assert_array_equal(ours.logits, before.logits)
        assert ours.to_dict() == before.to_dict()
    stored = theirs.predictions(["file", "split", "label", "logits"])
    again = run.predictions(["file", "split", "label", "logits"])
    assert stored.drop(columns="logits").equals(again.drop(columns="logits"))
    np.testing.assert_array_equal(np.stack(stored.logits), np.stack(again.logits))


def test_the_keras_file_is_published_and_not_fetched(
    published: Repo, training: Training, hub: Hub, env: Environment, tmp_path: Path
) -> None:
    assert published.files["model.keras"] == (training.run.path / "model.keras").read_bytes()
    published.files["model.keras"] = b"made to do harm"
    run = pull(REPO, env.runs)
    assert not (run.path / "model.keras").exists()
    assert not [line for line in hub.asked if line.endswith("model.keras") and "resolve" in line]
    with pytest.raises(RunError) as raised:
        export_run(run, "keras", tmp_path / "mine")
    assert "export it as litert or onnx" in sentence(raised) and REPO in sentence(raised)


def test_a_run_published_with_a_picture_comes_back_and_loses_it_when_pushed_again(
    published: Repo, training: Training, env: Environment
) -> None:
    published.files["confusion_matrix.png"] = b"of an earlier version"
    assert pull(REPO, env.runs).is_finished
    push(training.run, REPO)
    assert "confusion_matrix.png" not in published.files


def test_the_released_model_comes_back_with_its_folds(hub: Hub, env: Environment) -> None:
    released = Run(RELEASED)
    push(released, REPO)
    run = pull(REPO, env.runs)
    assert run.evaluation() == released.evaluation()
    ours, theirs = run.out_of_fold(), released.out_of_fold()
    assert ours is not None and theirs is not None
    np.testing.assert_array_equal(np.stack(ours.logits), np.stack(theirs.logits))
    assert (run.path / "robustness.json").exists()
    assert len(run.epochs()) == len(released.epochs())


def test_nothing_of_this_machine_is_published(published: Repo, training: Training) -> None:
    root = training.run.config["data"]["root"]
    assert root
    for name, content in published.files.items():
        assert root.encode() not in content and str(ROOT).encode() not in content, name
    assert not {"train.log", "checkpoint", "about.json"} & set(published.files)


def test_a_push_is_one_commit_and_repeating_it_none(
    hub: Hub, published: Repo, training: Training
) -> None:
    assert len(published.commits) == 2  # the Hub makes the first
    push(training.run, REPO)
    assert len(published.commits) == 2
    del hub.asked[:]
    push(training.run, REPO)
    assert not [line for line in hub.asked if line.startswith("PUT")]


def test_files_that_a_later_run_has_not_are_taken_away(
    hub: Hub, published: Repo, training: Training
) -> None:
    published.files["robustness.json"] = b"{}"
    published.files["notes.txt"] = b"by hand"
    push(training.run, REPO)
    assert "robustness.json" not in published.files
    assert published.files["notes.txt"] == b"by hand"
    pulled = json.loads(published.files[MANIFEST])
    assert "robustness.json" not in pulled["files"]


def test_the_same_commit_is_fetched_once(published: Repo, hub: Hub, env: Environment) -> None:
    run = pull(REPO, env.runs)
    del hub.asked[:]
    assert pull(REPO, env.runs) == run
    assert not [line for line in hub.asked if "resolve" in line]
    assert not list(env.runs.glob(".partial-*"))


def test_a_new_repository_is_private_unless_asked_otherwise(hub: Hub, training: Training) -> None:
    push(training.run, REPO)
    push(training.run, "someone/open", is_private=False)
    assert hub.repo(REPO).request["visibility"] == "private"
    assert hub.repo("someone/open").request.get("visibility") != "private"


# ---------------------------------------------------------------- what goes wrong


FAULTS = [
    (Fault("POST .*/repos/create", 401), "does not accept the token"),
    (Fault("POST .*/repos/create", 403, message="You can't create repos here"), "repos here"),
    (Fault("GET /api/models", 429, {"Retry-After": "3600"}), "repeat the command in 3600 seconds"),
    (Fault("POST .*/preupload", 429, {"Retry-After": "3600"}), "in 3600 seconds"),
    (
        Fault("POST .*/preupload", 429, {"ratelimit": '"api";r=0;t=3600', "Retry-After": "1"}),
        "in 3600 seconds",
    ),
    (Fault("POST .*/preupload", 503), "trouble of its own"),
    (Fault("POST .*/preupload", 503, {"Retry-After": "3600"}), "trouble of its own"),
    (Fault("POST .*/batch", 403, message="Private storage quota exceeded"), "quota exceeded"),
    (Fault("PUT /lfs", 507), "not enough room"),
    (Fault("PUT /lfs", 0), "could not be reached"),
    (Fault("POST .*/commit/", 500), "trouble of its own"),
    (Fault("POST .*/commit/", 412), "changed by somebody else"),
    (Fault("POST .*/commit/", 0), "could not be reached"),
    (Fault("POST .*/commit/", 404, {"X-Error-Code": "RepoNotFound"}), "has no someone/waste"),
    (Fault("POST .*/validate-yaml", 502), "Hub"),
]


@pytest.mark.parametrize(
    ("fault", "reason"), FAULTS, ids=[f"{f.match} {f.status}" for f, _ in FAULTS]
)
def test_a_failure_publishes_nothing_and_can_be_repeated(
    hub: Hub, training: Training, fault: Fault, reason: str
) -> None:
    hub.faults = [fault]
    with pytest.raises(HubError) as raised:
        push(training.run, REPO)
    assert sentence(raised).startswith("Nothing was published") and reason in sentence(raised)
    kept = hub.repos.get(("models", REPO))
    assert kept is None or set(kept.files) == {".gitattributes"}
    hub.faults = []
    push(training.run, REPO)
    assert MANIFEST in hub.repo(REPO).files


def test_a_hub_that_stumbles_once_is_asked_again(hub: Hub, training: Training) -> None:
    hub.faults = [
        Fault("POST .*/preupload", 503, times=1),
        Fault("PUT /lfs", 0, times=2),
        Fault("POST .*/batch", 429, {"Retry-After": "1"}, times=1),
    ]
    push(training.run, REPO)
    assert MANIFEST in hub.repo(REPO).files


def test_without_a_token_nothing_is_asked(
    hub: Hub, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(HubError) as raised:
        push(training.run, REPO)
    assert "HF_TOKEN" in sentence(raised) and hub.asked == []


def test_a_wrong_token_is_said(
    hub: Hub, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError) as raised:
        push(training.run, REPO)
    assert "does not accept the token" in sentence(raised)
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["waste", "a/b/c", "../x", "someone/w aste", "", "a/-b.git", "x/"])
def test_a_bad_name_is_said_before_anything(hub: Hub, training: Training, name: str) -> None:
    for work in (lambda: push(training.run, name), lambda: pull(name, Path("nowhere"))):
        with pytest.raises(ConfigError) as raised:
            work()
        assert "OWNER/NAME" in sentence(raised)
    assert hub.asked == []


def test_other_peoples_repositories_are_left_alone(hub: Hub, training: Training) -> None:
    hub.repo(REPO).files["pytorch_model.bin"] = b"x"
    with pytest.raises(HubError) as raised:
        push(training.run, REPO)
    assert "something else" in sentence(raised)
    assert "README.md" not in hub.repo(REPO).files


def test_an_unfinished_run_is_not_published(hub: Hub, training: Training, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(training.run.path, tmp_path / "half")))
    (run.path / "model.tflite").unlink()
    with pytest.raises(RunError) as raised:
        push(run, REPO)
    assert "not finished" in sentence(raised) and hub.asked == []


PULL_FAULTS = [
    (Fault("GET /api/models", 500), "trouble of its own"),
    (Fault("GET /api/models", 429, {"Retry-After": "900"}), "900 seconds"),
    (Fault("HEAD .*/model.tflite", 503), "trouble of its own"),
    (Fault("GET .*/resolve/.*/model.tflite", 403, message="Access refused"), "Access refused"),
    (Fault("GET .*/resolve/.*/evaluation.json", 0), "could not be reached"),
]


@pytest.mark.parametrize(
    ("fault", "reason"), PULL_FAULTS, ids=[f"{f.match} {f.status}" for f, _ in PULL_FAULTS]
)
def test_a_failed_fetch_leaves_nothing_and_can_be_repeated(
    published: Repo, hub: Hub, env: Environment, fault: Fault, reason: str
) -> None:
    hub.faults = [fault]
    with pytest.raises(HubError) as raised:
        pull(REPO, env.runs)
    assert sentence(raised).startswith("Nothing was fetched") and reason in sentence(raised)
    assert list_runs(env.runs) == [] and not list(env.runs.glob("*/*"))
    hub.faults = []
    assert pull(REPO, env.runs).is_finished


@pytest.mark.parametrize("content", [{}, {"config.json": b"{}", "pytorch_model.bin": b"x"}])
def test_what_is_not_ours_is_not_fetched(
    hub: Hub, env: Environment, content: dict[str, bytes]
) -> None:
    hub.repo(REPO).files.update(content)
    with pytest.raises(HubError) as raised:
        pull(REPO, env.runs)
    assert "no model of TrashNet Explorer" in sentence(raised)
    assert not [line for line in hub.asked if "resolve" in line]


def test_a_model_that_is_not_there_is_said(hub: Hub, env: Environment) -> None:
    with pytest.raises(HubError) as raised:
        pull("someone/else", env.runs)
    assert "the Hub has no model someone/else" in sentence(raised)


# ---------------------------------------------------------------- the page


def elsewhere(hub: Hub, patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Lets processes that a page starts ask the stand-in."""
    for name, value in processes(hub, folder).items():
        patch.setenv(name, value)


@pytest.mark.slow
def test_a_model_is_opened_by_its_name(
    published: Repo, hub: Hub, env: Environment, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(hub, monkeypatch, env.home)
    page = open_page("Training")
    page.text_input(key="training_hub_repo").set_value(f" {REPO} ")
    (button,) = [b for b in page.button if b.label == "Open"]
    button.click()
    run_page(page)
    (run,) = list_runs(env.runs)
    assert run.is_finished and run.config["published"]["repo"] == REPO
    assert page.session_state["training_run"] == run.id
    assert run.id in page.dataframe[0].value.run.tolist()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("someone/else", "the Hub has no model someone/else"),
        ("--help", "OWNER/NAME"),
        ("", "Name a model"),
    ],
)
def test_a_model_that_cannot_be_opened_is_said_on_the_page(
    hub: Hub,
    env: Environment,
    samples: Photos,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    reason: str,
) -> None:
    elsewhere(hub, monkeypatch, env.home)
    page = open_page("Training")
    page.text_input(key="training_hub_repo").set_value(name)
    (button,) = [b for b in page.button if b.label == "Open"]
    button.click()
    (error,) = run_page(page).error
    assert reason in error.value and is_sentence(error.value)
    assert list_runs(env.runs) == []


def test_a_visitor_opens_nothing(
    hub: Hub, env: Environment, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_PUBLIC", "1")
    (button,) = [b for b in open_page("Training").button if b.label == "Open"]
    assert button.disabled
    # The look of a button holds nobody back who writes to the socket; the guard must.
    monkeypatch.setattr("pages.sections.training.hub_model.locked", lambda **button: button)
    page = open_page("Training")
    page.text_input(key="training_hub_repo").set_value(REPO)
    (button,) = [b for b in page.button if b.label == "Open"]
    button.click()
    assert "TRASHNET_OWNER_PASSWORD" in "".join(i.value for i in run_page(page).info)
    assert hub.asked == [] and list_runs(env.runs) == []


def test_a_reader_that_dies_takes_nothing_with_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = subprocess.CompletedProcess([], -11, "", "Fatal Python error: Segmentation fault\n")
    monkeypatch.setattr("trashnet.hub.push_pull.subprocess.run", lambda *_, **__: died)
    with pytest.raises(HubError) as raised:
        pull_aside(REPO, env)
    assert "made its reader fail" in sentence(raised)


# ---------------------------------------------------------------- the command line


@pytest.mark.slow
def test_push_and_pull_from_the_command_line(hub: Hub, training: Training, tmp_path: Path) -> None:
    variables = processes(hub, tmp_path)
    arguments = ("push", training.run.path, "--repo", REPO, "--json")
    code, output, errors = run_command(tmp_path / "home", *arguments, **variables)
    assert code == 0, errors
    assert errors == ""
    result = json.loads(output)
    assert result["url"] == f"{hub.url}/{REPO}"
    assert {file["file"] for file in result["files"]} <= set(hub.repo(REPO).files)
    code, output, errors = run_command(tmp_path / "home", "pull", REPO, "--json", **variables)
    assert code == 0, errors
    pulled = json.loads(output)
    assert pulled["state"] == "finished" and pulled["run"].startswith("someone-waste-")
    code, output, errors = run_command(
        tmp_path / "home", "pull", "someone/else", "--json", **variables
    )
    assert (code, output) == (2, "") and errors.startswith("Nothing was fetched")
    assert errors.count("\n") == 1
