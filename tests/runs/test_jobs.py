"""Jobs: commands that a page starts, follows by their files, and stops."""

import os
import time
from pathlib import Path

import pytest

from trashnet.data.dataset import Photos
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import read_json
from trashnet.runs.jobs import Job, progress_file
from trashnet.runs.run import Run


def wait(job: Job, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while job.is_running and time.monotonic() < end:
        time.sleep(0.1)
    assert not job.is_running


def test_a_job_is_followed_by_its_files(env: Environment, trained: Run) -> None:
    job = Job(trained.path, "robustness")
    job.start(["robustness", str(trained.path)], env)
    same = Job(trained.path, "robustness")  # what another tab, or a restarted app, has
    assert same.is_running and same.failure == ""
    with pytest.raises(RunError, match="already"):
        same.start(["robustness", str(trained.path)], env)
    wait(same)
    done, total, what = job.progress()
    assert done == total > 0 and what.startswith("Changing photos")
    assert read_json(trained.path / "robustness.json")["split"] == "validation"


def test_a_job_that_fails_says_why(env: Environment, tmp_path: Path) -> None:
    job = Job(tmp_path, "robustness")
    job.start(["robustness", "no-such-run"], env)
    wait(job)
    assert job.failure.startswith("There is no run 'no-such-run'")


def test_what_a_finished_job_said_is_no_failure(
    env: Environment, samples: Photos, tmp_path: Path
) -> None:
    job = Job(tmp_path, "index")
    job.start(["data", "--split", "random"], env)
    wait(job)
    assert job.said and job.failure == ""


def test_a_job_that_is_killed_without_a_word_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "audit.job.json").write_text('{"pid": 1, "process_started": 1.0}')
    (tmp_path / "audit.log").write_text("")
    assert "without a word" in Job(tmp_path, "audit").failure


def test_a_stopped_job_is_no_failure(env: Environment, samples: Photos, tmp_path: Path) -> None:
    job = Job(tmp_path, "audit")
    job.start(["audit"], env)
    job.stop()
    assert not job.is_running and job.failure == ""


def test_a_folder_that_cannot_be_written_starts_nothing(env: Environment, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    with pytest.raises(RunError, match="nothing was started"):
        Job(tmp_path / "taken", "audit").start(["audit"], env)


def test_another_process_with_the_pid_is_not_the_job(tmp_path: Path) -> None:
    job = Job(tmp_path, "audit")
    (tmp_path / "audit.job.json").write_text(f'{{"pid": {os.getpid()}, "process_started": 1.0}}')
    assert not job.is_running


@pytest.mark.parametrize("content", ["", "[", "[1]", "null", "{}"])
def test_torn_files_are_no_job(tmp_path: Path, content: str) -> None:
    for suffix in ("job.json", "progress.json"):
        (tmp_path / f"audit.{suffix}").write_text(content)
    job = Job(tmp_path, "audit")
    assert not job.is_running and job.failure == "" and job.progress() == (0, 0, "")


def test_progress_is_written_seldom_but_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    tell = progress_file(path, every=3600)
    seen = set()
    for done in range(101):
        tell(done, 100, "reading")
        seen.add(read_json(path)["done"])
    assert seen == {0, 100}
    tell(5, 10, "drawing")
    drawing = {"done": 5, "total": 10, "what": "drawing", "seconds_left": None}
    assert read_json(path) == drawing


def test_the_time_left_goes_by_what_was_done_since_the_step_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 110.0, 120.0, 121.0])
    monkeypatch.setattr("trashnet.runs.jobs.time.monotonic", lambda: next(clock))
    tell, job = progress_file(tmp_path / "audit.progress.json"), Job(tmp_path, "audit")
    tell(40, 100, "reading")  # these were kept from before
    assert job.seconds_left() is None
    tell(60, 100, "reading")
    assert job.seconds_left() == pytest.approx(20)
    tell(0, 10, "drawing")
    assert job.seconds_left() is None
    tell(1, 10, "drawing")
    assert job.seconds_left() == pytest.approx(9)
