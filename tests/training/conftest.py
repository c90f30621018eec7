"""What the tests of a training share: a home, a run that nobody interrupted, ways to interrupt."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import TrashnetError
from trashnet.files import read_json, write_json
from trashnet.progress import Progress
from trashnet.runs import control, store
from trashnet.runs.run import Run
from trashnet.training.session import train_and_evaluate

STEPS = 6  # 168 training pictures in batches of 32
CONFIG = TrainConfig(epochs=3, image_size=32, split="random", tracking="off")
SEEN: list[tuple[int, int, str]] = []  # the progress of `trained`


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One home for all, so that pictures are decoded once."""
    return Environment(tmp_path_factory.mktemp("train-home"), hub_offline=True)


@pytest.fixture
def make_run(home: Environment, sample_photos: Photos) -> Callable[..., Run]:
    def make(**settings: object) -> Run:
        return store.new_run(home.runs, CONFIG.replace(**settings), sample_photos)

    return make


@pytest.fixture(scope="session")
def trained(home: Environment, sample_photos: Photos) -> Run:
    """A run of three epochs that nobody interrupted; tests must leave it as it is."""
    run = store.new_run(home.runs, CONFIG, sample_photos)
    train_and_evaluate(run, home, lambda *progress: SEEN.append(progress))
    return run


def at(what: str, done: int, act: Callable[[], None]) -> Progress:
    """A progress callback that acts once, when `done` of what starts with `what` are done."""
    acted = []

    def on_progress(now: int, total: int, doing: str) -> None:
        if doing.startswith(what) and now == done and not acted:
            acted.append(True)
            act()

    return on_progress


def last_weights(run: Run) -> list[np.ndarray]:
    """The last epoch's weights and what its optimizer remembers."""
    model = keras.saving.load_model(max((run.path / "checkpoint").glob("epoch-*.keras")))
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


def numbers(run: Run) -> pd.DataFrame:
    """The epochs' figures less those that are times."""
    return run.epochs().drop(columns=["time", "seconds", "images_per_second"])


def assert_same_epochs(ours: Run, theirs: Run) -> None:
    """Every figure and weight is the same, to the last digit, and all an optimizer remembers."""
    pd.testing.assert_frame_equal(numbers(ours), numbers(theirs), check_exact=True)
    for one, other in zip(last_weights(ours), last_weights(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_same_answers(ours: Run, theirs: Run) -> None:
    one, other = ours.predictions(), theirs.predictions()
    for column in one:
        a, b = one[column].dropna(), other[column].dropna()  # maps: of test photos, if of any
        assert a.index.equals(b.index)
        if len(a):
            np.testing.assert_array_equal(np.stack(a), np.stack(b), column)
    assert ours.evaluation() == theirs.evaluation()


def remade(run: Run, folder: Path, **settings: object) -> Run:
    """A copy of a run as it was when its last epoch was over, with other settings."""
    shutil.copytree(run.path, folder)
    for path in folder.iterdir():
        if path.name.startswith(("model.", "head.", "projection.", "predictions.", "evaluation.")):
            path.unlink()
    config = read_json(folder / "config.json")
    config["train_config"] |= settings
    write_json(folder / "config.json", config)
    copy = Run(folder)
    copy.write_status(state="stopped")
    return copy


def stop(run: Run) -> Callable[[], None]:
    return lambda: control.stop(run)


def failing(run: Run, env: Environment, on_progress: Progress = lambda *_: None) -> str:
    """Trains a run that must fail; returns the one sentence it fails with."""
    with pytest.raises(TrashnetError) as caught:
        train_and_evaluate(run, env, on_progress)
    status = run.status()
    assert status.state == "failed" and status.error == str(caught.value)
    assert "\n" not in status.error and status.error.endswith(".")
    return status.error
