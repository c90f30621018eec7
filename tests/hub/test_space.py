"""Deploying the app as a Space: what is sent, in which order, and what goes wrong."""

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, run_command
from tests.hub.conftest import processes, sentence
from tests.hub.hub_server import Fault, Hub
from tests.pages.visiting import open_page, words
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import ConfigError, HubError
from trashnet.hub import space
from trashnet.hub.space import LARGEST, LARGEST_TOTAL, VARIABLES, deploy, space_files

SPACE = "someone/explorer"


def test_a_dry_run_lists_small_files_and_asks_nobody(tmp_path: Path) -> None:
    arguments = ("deploy", "--space", "x/y", "--dry-run", "--json")
    code, output, errors = run_command(tmp_path, *arguments, HF_TOKEN="")
    assert code == 0, errors
    sizes = {entry["file"]: entry["size"] for entry in json.loads(output)["files"]}
    assert sum(sizes.values()) < LARGEST_TOTAL and max(sizes.values()) < LARGEST
    for name, size in sizes.items():
        if name != "README.md":
            assert (ROOT / name).stat().st_size == size
    needed = {
        "app.py",
        "home.py",
        "Dockerfile",
        "requirements.lock",
        "trashnet/released/model.tflite",
    }
    needed |= {"trashnet/hub/templates/model_card.md.j2"}
    assert needed | {"pages/4_Classify.py", ".streamlit/config.toml"} <= set(sizes)
    assert not [n for n in sizes if n.startswith(("tests", "docs", ".git/")) or "pycache" in n]


def test_a_first_deployment(hub: Hub) -> None:
    result = deploy(SPACE, {"TRASHNET_OWNER_PASSWORD": "geheim"}, {"TRASHNET_HOME": "/data"})
    made = hub.repo(SPACE, "spaces")
    assert made.request["sdk"] == "docker"
    assert set(made.files) == {*space_files(), ".gitattributes"}
    assert made.secrets == {"TRASHNET_OWNER_PASSWORD": "geheim"}
    assert made.variables == {**VARIABLES, "TRASHNET_HOME": "/data"}
    assert len(made.commits) == 2
    assert result["address"] == "https://someone-explorer.hf.space"
    first = [line for line in hub.asked if "/secrets" in line or "/commit/" in line]
    assert "/secrets" in first[0] and "/commit/" in first[-1]
    assert "geheim" not in json.dumps(result)


def test_the_card_is_what_a_docker_space_needs(hub: Hub) -> None:
    deploy(SPACE, {}, {}, models=("someone/waste",))
    text = hub.repo(SPACE, "spaces").files["README.md"].decode()
    about = yaml.safe_load(text.split("---\n")[1])
    assert (about["sdk"], about["app_port"], about["license"]) == ("docker", space.PORT, "mit")
    assert about["models"] == ["someone/waste"] and about["datasets"] == ["garythung/trashnet"]
    assert {"title", "emoji", "colorFrom", "colorTo"} <= set(about)
    assert len(about["short_description"]) <= 60  # the Hub takes no more
    assert not (ROOT / "README.md").read_text().startswith("---")


def test_an_update_takes_away_what_is_no_more(hub: Hub) -> None:
    deploy(SPACE, {}, {})
    made = hub.repo(SPACE, "spaces")
    made.files["pages/9_Old.py"] = b"import streamlit"
    made.files["notes.md"] = b"by hand"
    deploy(SPACE, {}, {})
    assert "pages/9_Old.py" not in made.files and "notes.md" in made.files
    commits = len(made.commits)
    deploy(SPACE, {}, {})
    assert len(made.commits) == commits


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("POST .*/create", 402, message="Docker Spaces need a PRO plan"), "a free way"),
        (Fault("POST .*/secrets", 403, message="Read-only token"), "Read-only token"),
        (Fault("POST .*/variables", 500), "trouble of its own"),
        (Fault("POST .*/commit/", 0), "could not be reached"),
        (Fault("PUT /lfs", 403, message="Storage quota exceeded"), "quota exceeded"),
    ],
    ids=lambda value: getattr(value, "match", None),
)
def test_a_failure_deploys_nothing_and_can_be_repeated(
    hub: Hub,
    fault: Fault,
    reason: str,
) -> None:
    hub.faults = [fault]
    with pytest.raises(HubError) as raised:
        deploy(SPACE, {"A": "b"}, {})
    assert sentence(raised).startswith("Nothing was deployed") and reason in sentence(raised)
    made = hub.repos.get(("spaces", SPACE))
    assert made is None or set(made.files) == {".gitattributes"}
    hub.faults = []
    deploy(SPACE, {"A": "b"}, {})
    assert "app.py" in hub.repo(SPACE, "spaces").files


def test_another_space_is_left_alone(hub: Hub) -> None:
    hub.repo(SPACE, "spaces").files["app.py"] = b"import gradio"
    with pytest.raises(HubError) as raised:
        deploy(SPACE, {"A": "b"}, {})
    assert "something else" in sentence(raised)
    assert hub.repo(SPACE, "spaces").secrets == {}


def test_a_file_too_large_for_a_space_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in space.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="no checkout"):
        space_files(tmp_path / "pages")
    (tmp_path / "trashnet").mkdir()
    with open(tmp_path / "trashnet" / "large.npz", "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ConfigError, match="trashnet/large.npz is too large"):
        space_files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--space", "explorer"], "OWNER/NAME"),
        (["--space", "x/y", "--secret", "NO_SUCH_SECRET"], "NO_SUCH_SECRET is not set"),
        (["--space", "x/y", "--variable", "A"], "NAME=VALUE"),
        (["--space", "x/y"], "HF_TOKEN"),
        ([], "--space"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: list[str], reason: str) -> None:
    variables = {"HF_TOKEN": "", "HF_HOME": str(tmp_path / "hf")}
    code, output, errors = run_command(tmp_path / "home", "deploy", *arguments, **variables)
    assert (code, output) == (2, "") and reason in errors and errors.count("\n") == 1


def test_a_secret_is_handed_on_from_the_environment(hub: Hub, tmp_path: Path) -> None:
    arguments = ["deploy", "--space", SPACE, "--secret", "TRASHNET_OWNER_PASSWORD", "--json"]
    variables = {**processes(hub, tmp_path), "TRASHNET_OWNER_PASSWORD": "geheim"}
    code, output, errors = run_command(tmp_path / "home", *arguments, **variables)
    assert code == 0, errors
    assert "geheim" not in output + errors
    assert hub.repo(SPACE, "spaces").secrets == {"TRASHNET_OWNER_PASSWORD": "geheim"}


# ---------------------------------------------------------------- what visitors read


@pytest.mark.parametrize("name", ["Home", "Training", "Classify"])
def test_pages_say_when_a_restart_loses_runs(
    samples: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(env.home.parent))
    assert "lost on restart" in words(open_page(name))
    monkeypatch.setattr("tempfile.tempdir", str(env.home / "elsewhere"))
    assert "lost" not in words(open_page(name))
