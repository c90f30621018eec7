"""`train --run` trains a run that waits to be trained, as the app and a sweep start it."""

import json

import pytest

from tests.conftest import Command
from trashnet.cli.main import main
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import list_runs, new_run

CONFIG = TrainConfig(epochs=1, image_size=32, split="random", tracking="off")


@pytest.fixture
def waiting(env: Environment, sample_photos: Photos) -> Run:
    return new_run(env.runs, CONFIG, sample_photos)


def test_a_waiting_run_is_trained_and_no_other_is_made(
    env: Environment, waiting: Run, command: Command
) -> None:
    waiting.write_status(state="stopped")  # while it waited for its turn
    waiting.stop_file.touch()
    code, output, errors = command("train", "--run", waiting.id, "--json")
    assert code == 0, errors
    result = json.loads(output)
    assert (result["run"], result["state"], result["epochs"]) == (waiting.id, "finished", 1)
    assert [run.id for run in list_runs(env.runs)] == [waiting.id]
    assert waiting.is_finished and waiting.train_config == CONFIG

    code, output, errors = command("train", "--run", waiting.id)
    assert (code, output) == (2, "") and "is finished; start a new one" in errors


@pytest.mark.parametrize(
    "option",
    ["--epochs 0", "--no-horizontal-flip", "--data photos", "--config its.json"],
)
def test_the_settings_of_a_waiting_run_are_its_own(
    option: str, waiting: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    before = waiting.status()
    assert main(["train", "--run", str(waiting.path), *option.split()]) == 2
    named = option.split()[0].replace("--no-", "--")
    said = f"--run trains a run with its own settings; leave out {named}.\n"
    assert capfd.readouterr().err == said
    assert waiting.status() == before


def test_a_run_that_has_begun_is_to_be_resumed(
    waiting: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    waiting.write_status(state="stopped")
    (waiting.path / "metrics.jsonl").touch()
    assert main(["train", "--run", waiting.id]) == 2
    assert f"'python -m trashnet resume {waiting.id}'" in capfd.readouterr().err
    assert waiting.status().state == "stopped"
