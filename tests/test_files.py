"""Files on disk: whole or not there."""

import json
import math
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trashnet.files import digest, read_json, temporary_folder, write_atomically, write_json
from trashnet.progress import parallel, silent


def fail_midway(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"epoch": 1})
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail_midway)
    with pytest.raises(ValueError):
        write_json(path, {"accuracy": math.nan})  # no JSON, and other programs could not read it
    assert read_json(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_is_whole_readable_by_others_and_keeps_its_suffix(tmp_path: Path) -> None:
    suffixes = []
    write_atomically(
        tmp_path / "table.parquet", lambda p: (suffixes.append(p.suffix), p.write_text("table"))
    )
    assert suffixes == [".parquet"]
    assert (tmp_path / "table.parquet").read_text() == "table"
    assert stat.S_IMODE((tmp_path / "table.parquet").stat().st_mode) == 0o644


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, stop = tmp_path / "status.json", threading.Event()
    write_json(path, {"numbers": [0] * 5000})

    def rewrite() -> None:
        while not stop.is_set():
            write_json(path, {"numbers": [1] * 5000})

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = [read_json(path) for _ in range(300)]
    finally:
        stop.set()
        writer.join()
    assert all(value is not None and len(value["numbers"]) == 5000 for value in seen)


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"{'a': 1}"])
def test_torn_json_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "torn.json").write_bytes(content)
    assert read_json(tmp_path / "torn.json") is None


def test_absent_json_reads_as_nothing(tmp_path: Path) -> None:
    assert read_json(tmp_path / "absent.json") is None
    assert read_json(tmp_path) is None


@pytest.mark.parametrize("name", ["photos", "photos [1]", "ph*tos?"])
def test_a_temporary_folder_goes_and_takes_what_an_interruption_left(
    tmp_path: Path, name: str
) -> None:
    with temporary_folder(tmp_path / name) as folder:
        left_over = folder.rename(f"{folder}-left")  # as if the process had been killed
        (left_over / "photo.jpg").touch()
    other = tmp_path / ".partial-another-x"
    other.mkdir()
    with pytest.raises(KeyboardInterrupt):
        with temporary_folder(tmp_path / name) as folder:
            (folder / "photo.jpg").touch()
            assert not left_over.exists()
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [other]


def test_work_in_parallel_keeps_its_order_and_tells_its_progress() -> None:
    seen: list[tuple[int, int, str]] = []

    def on_progress(done: int, total: int, what: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((done, total, what))

    assert parallel(lambda n: n * n, range(60), on_progress, "Squaring") == [
        n * n for n in range(60)
    ]
    assert seen == [(25, 60, "Squaring"), (50, 60, "Squaring"), (60, 60, "Squaring")]


def refuse(n: int) -> int:
    raise ValueError(f"item {n}")


@pytest.mark.parametrize(("work", "items"), [(refuse, [7]), (lambda n: n, [])])
def test_parallel_work_passes_errors_on_and_takes_no_items(
    work: Callable[[int], int], items: list[int]
) -> None:
    if items:
        with pytest.raises(ValueError, match="item 7"):
            parallel(work, items, silent, "Failing")
    else:
        assert parallel(work, items, silent, "Nothing") == []


def test_a_digest_names_a_content() -> None:
    assert digest("a") == digest("a") != digest("b")
    assert len(digest("a")) == 12 and json.loads(f'"{digest("a")}"').isalnum()
