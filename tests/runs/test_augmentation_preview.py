"""The preview: training's own pixels, from a process that many share and that may die."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.conftest import ROOT
from trashnet.cli.main import main
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.errors import TrashnetError
from trashnet.runs.augmentation_preview import AUGMENTATION, MOST_PHOTOS, Preview, alone
from trashnet.training.input_pipeline import TrainingBatches, decode_photos

SIZE = 64


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    """A worker that these tests share, as visitors do."""
    worker = Preview(Environment(tmp_path_factory.mktemp("preview-home")))
    yield worker
    worker.close()


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn_baseline", "efficientnet_lite0"])
def test_the_pixels_are_those_that_training_is_fed(
    preview: Preview, sample_photos: Photos, env: Environment, model: str
) -> None:
    recipe = TrainConfig.recipe(model).to_dict()
    config = TrainConfig(**recipe | {"image_size": SIZE, "seed": 5, "batch_size": 3})
    index = scan(sample_photos, env.cache).iloc[[3, 90, 200]].reset_index(drop=True)
    pixels = decode_photos(sample_photos, index, SIZE, env.cache)
    weights = np.ones(6, np.float32)
    training = TrainingBatches(pixels, np.arange(3), np.array([0, 2, 5]), weights, config)
    shown = preview.variants([sample_photos.root / f for f in index.file], config, 4)
    for epoch in range(4):
        (fed, _, _) = next(iter(training.epoch(epoch)))
        for photo in range(3):
            picture = pixels_of(shown[photo][epoch]).astype(float)
            # Whole numbers of what is fed; a graph may add up in another order than a single call.
            assert np.abs(picture - fed[photo].numpy()).max() <= 0.51


def test_a_batch_by_itself_is_the_epochs_batch() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    config = TrainConfig.recipe("efficientnet_lite0")
    config = TrainConfig.from_dict(config.to_dict() | {"batch_size": 8, "seed": 3})
    made = TrainingBatches(pixels, np.arange(20), np.zeros(20, int), np.ones(2, np.float32), config)
    for epoch in (0, 2):
        whole = [tuple(part.numpy() for part in batch) for batch in made.epoch(epoch)]
        for number in (0, 2, 1):
            for single, among in zip(made.batch(epoch, number), whole[number], strict=True):
                np.testing.assert_allclose(single.numpy(), among, atol=1e-2)


@pytest.mark.slow
def test_nothing_switched_on_changes_nothing(preview: Preview, sample_photos: Photos) -> None:
    recipe = TrainConfig.recipe("frozen_features").to_dict()
    config = TrainConfig.from_dict(recipe | {"image_size": SIZE})
    assert alone(config) == {}
    (pictures,) = preview.variants([sample_photos.root / "glass/glass1.jpg"], config, 3)
    assert len({pixels_of(picture).tobytes() for picture in pictures}) == 1


def test_a_transformation_alone_is_what_it_is_among_others() -> None:
    both = TrainConfig(rotation=30, brightness=0.3, horizontal_flip=False, image_size=SIZE)
    split = alone(both)
    assert list(split) == ["rotation", "brightness"]
    assert split["rotation"] == both.replace(brightness=0)
    recipe = alone(TrainConfig.recipe("efficientnet_lite0"))
    assert list(recipe) == list(AUGMENTATION)
    for name, config in recipe.items():
        assert [n for n in AUGMENTATION if getattr(config, n)] == [name]


@pytest.mark.slow
def test_the_seed_decides(preview: Preview, sample_photos: Photos) -> None:
    photo = [sample_photos.root / "glass/glass1.jpg"]
    one, two = (TrainConfig(image_size=SIZE, seed=seed) for seed in (1, 2))
    assert preview.variants(photo, one, 2) == preview.variants(photo, one, 2)
    assert preview.variants(photo, one, 2) != preview.variants(photo, two, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "",
        "x" * 100_000,
        "[]",
        "null",
        "{}",
        '{"photos": [], "settings": {}, "variants": 1}',
        '{"photos": "glass1.jpg", "settings": {}, "variants": 1}',
        '{"photos": [1], "settings": {}, "variants": 1}',
        json.dumps({"photos": ["x"] * (MOST_PHOTOS + 1), "settings": {}, "variants": 1}),
        '{"photos": ["/no/such/photo.jpg"], "settings": {}, "variants": 1}',
        '{"photos": ["x"], "settings": 3, "variants": 1}',
        '{"photos": ["x"], "settings": {"rotation": 999}, "variants": 1}',
        '{"photos": ["x"], "settings": {"no_such_setting": 1}, "variants": 1}',
        '{"photos": ["x"], "settings": {"rotation": NaN}, "variants": 1}',
        '{"photos": ["x"], "settings": {}, "variants": 0}',
        '{"photos": ["x"], "settings": {}, "variants": 1e9}',
        '{"photos": ["x"], "settings": {}, "variants": true}',
    ],
)
def test_a_bad_question_gets_one_sentence_and_the_worker_lives(preview: Preview, line: str) -> None:
    preview.ask("{}")
    before = preview.pid
    answer = preview.ask(line)
    assert list(answer) == ["error"]
    assert answer["error"].endswith(".") and "\n" not in answer["error"]
    assert preview.pid == before and preview.is_ready


@pytest.mark.slow
def test_a_damaged_photo_is_one_sentence(preview: Preview, tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(TrashnetError, match="torn.jpg"):
        preview.variants([tmp_path / "torn.jpg"], TrainConfig(), 1)


@pytest.mark.slow
def test_a_worker_that_was_killed_is_replaced(preview: Preview, sample_photos: Photos) -> None:
    photo = [sample_photos.root / "glass/glass1.jpg"]
    config = TrainConfig(image_size=SIZE)
    before = preview.variants(photo, config, 1)
    first = preview.pid
    psutil.Process(first).kill()
    assert preview.variants(photo, config, 1) == before
    assert preview.pid != first


@pytest.mark.slow
def test_visitors_share_one_worker(preview: Preview, sample_photos: Photos) -> None:
    preview.ask("{}")
    pid, found = preview.pid, {}
    files = [sample_photos.root / f"glass/glass{i}.jpg" for i in range(1, 7)]

    def visit(i: int) -> None:
        found[i] = preview.variants([files[i]], TrainConfig(image_size=SIZE), 2)

    visits = [threading.Thread(target=visit, args=(i,)) for i in range(6)]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join(60)
    assert preview.pid == pid
    assert [found[i] for i in range(6)] == [
        preview.variants([file], TrainConfig(image_size=SIZE), 2) for file in files
    ]


def test_a_worker_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trashnet.runs.processes.sys.executable", "/bin/false")
    with pytest.raises(TrashnetError, match="gives no answer; try again") as said:
        Preview(Environment(tmp_path)).ask("{}")
    assert "\n" not in str(said.value)


@pytest.mark.slow
def test_an_idle_worker_ends_and_the_next_question_starts_another(tmp_path: Path) -> None:
    worker = Preview(Environment(tmp_path), idle=1)
    worker.ask("{}")
    first = worker.pid
    end = time.monotonic() + 30
    while worker.is_ready and time.monotonic() < end:
        time.sleep(0.1)
    assert not worker.is_ready
    assert "error" in worker.ask("{}") and worker.pid != first
    worker.close()


@pytest.mark.slow
def test_the_worker_ends_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from trashnet.environment import Environment; "
        "from trashnet.runs.augmentation_preview import Preview; "
        "worker = Preview(Environment(Path(sys.argv[1]))); "
        "worker.ask('{}'); print(worker.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -9
    end = time.monotonic() + 30
    while psutil.pid_exists(int(done.stdout)) and time.monotonic() < end:
        if psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        assert not psutil.pid_exists(int(done.stdout))


@pytest.mark.parametrize("idle", ["0", "-1", "nan", "inf"])
def test_no_time_to_be_idle_is_refused(idle: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "--idle", idle]) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.strip().endswith("must be from above 0 to 86400.")


def test_asking_for_a_preview_loads_no_tensorflow() -> None:
    code = "import sys, trashnet.runs.augmentation_preview; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ).returncode == 0
