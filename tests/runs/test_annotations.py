"""What people do with their runs: names, tags and notes last, deleting is safe, zips are whole."""

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.errors import RunError
from trashnet.runs.annotations import About, about, delete, describe_as, zip_run
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, list_runs, new_run


@pytest.fixture
def run(tmp_path: Path, sample_photos: Photos) -> Run:
    made = new_run(tmp_path / "runs", TrainConfig(), sample_photos)
    made.write_status(state="stopped")
    return made


def test_a_new_run_has_nothing_written_about_it(run: Run) -> None:
    assert about(run) == About()


def test_what_was_written_is_read_back_and_the_id_stays(run: Run) -> None:
    written = describe_as(run, "  My   best ", ("night", " night", "", "two words "), " Why.\n")
    assert about(run) == written == About(title="My best", tags=("night", "two words"), note="Why.")
    assert [r.id for r in list_runs(run.path.parent)] == [run.id]


@settings(max_examples=40)
@given(title=st.text(max_size=80), tags=st.lists(st.text(max_size=40), max_size=10))
def test_any_text_survives(title: str, tags: list[str], tmp_path_factory: object) -> None:
    folder = Path(tmp_path_factory.mktemp("run"))  # type: ignore[attr-defined]
    written = describe_as(Run(folder), title, tuple(tags))
    assert about(Run(folder)) == written
    assert len(written.tags) == len(set(written.tags))


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"title": "x" * 81}, "The title has 81 characters; 80 are allowed."),
        ({"note": "x" * 2001}, "The note has 2001 characters; 2000 are allowed."),
        ({"tags": tuple(map(str, range(11)))}, "A run can have 10 tags, and these are 11."),
    ],
)
def test_too_much_is_refused_and_nothing_is_lost(run: Run, what: dict, sentence: str) -> None:
    before = describe_as(run, "kept", ("a",))
    with pytest.raises(RunError, match=f"^{sentence}$"):
        describe_as(run, **what)
    assert about(run) == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tags": 3}', "null"])
def test_a_torn_file_reads_as_nothing_written(run: Run, content: str) -> None:
    (run.path / "about.json").write_text(content)
    assert about(run) == About()


def test_a_deleted_run_is_gone_from_the_disk(run: Run) -> None:
    folder = run.path.parent
    delete(run)
    assert list_runs(folder) == []
    assert list(folder.iterdir()) == []


def test_a_run_that_trains_cannot_be_deleted(run: Run) -> None:
    run.write_status(state="running", **identity())
    with pytest.raises(RunError, match="is being trained; stop it first"):
        delete(run)
    assert (run.path / "config.json").exists()


def test_a_run_on_its_way_out_is_no_run(run: Run) -> None:
    run.path.rename(run.path.with_name(f".deleted-{run.id}"))
    assert list_runs(run.path.parent) == []


def test_the_zip_holds_the_run_less_what_only_serves_here(run: Run, tmp_path: Path) -> None:
    (run.path / "checkpoint").mkdir()
    (run.path / "checkpoint" / "epoch-0001.keras").write_bytes(b"x")
    (run.path / "folds" / "1").mkdir(parents=True)
    (run.path / "folds" / "1" / "evaluation.json").write_text("{}")
    shutil.copy(RELEASED / "evaluation.json", run.path)
    zip_run(run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert archive.testzip() is None
        names = {Path(name).relative_to(run.id).as_posix() for name in archive.namelist()}
        assert names == {
            "config.json",
            "status.json",
            "evaluation.json",
            "folds/1/evaluation.json",
        }
        archive.extractall(tmp_path / "elsewhere")
    (copy,) = list_runs(tmp_path / "elsewhere")
    assert copy.config == run.config and copy.evaluation() == Run(RELEASED).evaluation()
