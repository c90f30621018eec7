"""Files on disk: whole or not there."""

import contextlib
import errno
import json
import math
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trashnet.files import (
    DAY,
    HOUR,
    Cache,
    digest,
    mark_used,
    read_json,
    temporary_folder,
    unused,
    write_atomically,
    write_json,
)
from trashnet.progress import cores, parallel, silent


def fail_midway(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"epoch": 1})
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail_midway)
    with pytest.raises(ValueError, match="JSON compliant"):
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


@pytest.mark.parametrize("fails", [OSError("5 requested, 3 written"), OSError(28, "No space")])
def test_a_write_that_the_disk_refuses_names_the_file_it_was_for(
    tmp_path: Path, fails: OSError
) -> None:
    def write(path: Path) -> None:
        raise fails

    with pytest.raises(OSError) as raised:
        write_atomically(tmp_path / "table.parquet", write)
    assert raised.value.filename == str(tmp_path / "table.parquet")
    assert raised.value.errno == (fails.errno or errno.EIO) and raised.value.strerror
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="absent/table"):
        write_json(tmp_path / "absent" / "table.json", 1)


def test_a_written_file_is_on_the_disk_before_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    def replace(path: Path, target: Path) -> None:
        steps.append("replace")
        os.rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_json(tmp_path / "status.json", 1)
    assert steps == ["file", "replace", "folder"]


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
    two_days_ago = time.time() - 2 * DAY
    os.utime(left_over, (two_days_ago, two_days_ago))
    other = tmp_path / ".partial-another-x"
    other.mkdir()
    with pytest.raises(KeyboardInterrupt), temporary_folder(tmp_path / name) as folder:
        (folder / "photo.jpg").touch()
        assert not left_over.exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [other]


def test_temporary_folders_of_two_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    """Also where one's name begins like the other's, and on a disk that machines share."""
    with contextlib.ExitStack() as both:
        folders = [
            both.enter_context(temporary_folder(tmp_path / name))
            for name in ("my-model", "my-model", "my-model-2", "my-model")
        ]
        assert len(set(folders)) == 4 and all(folder.is_dir() for folder in folders)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_lost_some_of_its_bytes_reads_as_nothing(tmp_path: Path) -> None:
    cache, table = Cache(tmp_path), pd.DataFrame({"a": np.arange(10_000.0), "b": "text"})
    cache.store_table("numbers", "of these photos", table)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    pd.testing.assert_frame_equal(cache.table("numbers", "of these photos", ["a", "b"]), table)
    for start in range(0, len(whole) - 1000, len(whole) // 20):
        path.write_bytes(whole[:start] + bytes(1000) + whole[start + 1000 :])
        found = cache.table("numbers", "of these photos", ["a", "b"])
        assert found is None or found.equals(table)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a system without affinities")
def test_only_the_cores_this_process_may_use_are_counted() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= cores() <= len(allowed)


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


# ---------------------------------------------------------------- what can be computed again


TABLE = pd.DataFrame({"file": ["a/1.jpg", "b/2.jpg"], "group": [0, 1]})


def test_a_table_is_kept_by_what_it_is_about(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "home" / "cache")
    assert cache.table("groups", "photos", ["file", "group"]) is None
    cache.store_table("groups", "photos", TABLE)
    kept = cache.table("groups", "photos", ["group", "file"])
    pd.testing.assert_frame_equal(kept, TABLE[["group", "file"]])
    assert cache.table("groups", "other photos", ["file"]) is None
    assert cache.table("pairs", "photos", ["file"]) is None
    (file,) = cache.folder.iterdir()
    assert file.name == f"groups-{digest('photos')}.parquet"  # what earlier versions look for


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_torn_or_older_table_is_none(tmp_path: Path, share: float) -> None:
    cache = Cache(tmp_path)
    cache.store_table("groups", "photos", TABLE)
    assert cache.table("groups", "photos", ["file", "a later version's column"]) is None
    (file,) = tmp_path.iterdir()
    os.truncate(file, int(share * file.stat().st_size))
    assert cache.table("groups", "photos", ["file"]) is None
    cache.store_table("groups", "photos", TABLE)
    assert len(cache.table("groups", "photos", ["file"])) == 2


def test_of_makers_at_once_each_reader_gets_a_whole_file(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def make(cache: Cache, i: int) -> pd.DataFrame | None:
        barrier.wait(timeout=30)
        cache.store_table("groups", "photos", TABLE.assign(group=i))
        return cache.table("groups", "photos", ["group"])

    with ThreadPoolExecutor(8) as pool:
        for turn in range(30):  # a file that is replaced between two openings is rare
            cache = Cache(tmp_path / f"cache-{turn}")
            seen = list(pool.map(make, [cache] * 8, range(8)))
            assert all(table is not None and table.group.nunique() == 1 for table in seen)
            assert len(list(cache.folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written_raises_to_its_caller(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    assert cache.load("embeddings", Path.read_bytes) is None
    with pytest.raises(NotADirectoryError):
        cache.store_table("groups", "photos", TABLE)


def used(folder: Path, name: str, days_ago: float, size: int = 0) -> Path:
    """Writes a file that was used so many days ago."""
    (folder / name).write_bytes(bytes(size))
    at = time.time() - days_ago * DAY
    os.utime(folder / name, (at, at))
    return folder / name


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_what_is_long_unused_goes_and_then_the_oldest_beyond_the_bound(tmp_path: Path) -> None:
    for name, days_ago in {"a": 31, "b": 29, "c": 3, "d": 0.5, "e": 0.01}.items():
        used(tmp_path, name, days_ago, size=10)
    assert names(unused(tmp_path.iterdir(), most=9)) == ["a"]
    assert names(unused(tmp_path.iterdir(), most=3)) == ["b", "a"]
    assert names(unused(tmp_path.iterdir(), most=0)) == ["e", "d", "c", "b", "a"]

    def size(path: Path) -> int:
        return path.stat().st_size

    assert names(unused(tmp_path.iterdir(), 25, size)) == ["c", "b", "a"]
    assert names(unused(tmp_path.iterdir(), 0, size, spared=DAY)) == ["c", "b", "a"]
    assert names(unused(tmp_path.iterdir(), -1, size, spared=HOUR)) == ["d", "c", "b", "a"]
    assert unused([], most=0) == []


def test_what_is_used_again_is_kept(tmp_path: Path) -> None:
    old = used(tmp_path, "old", days_ago=40)
    mark_used(old)
    assert unused([old], most=1) == []
    recently = used(tmp_path, "recently", days_ago=0.01)
    before = recently.stat().st_mtime_ns
    mark_used(recently)  # the app would take it for a change of the folder
    assert recently.stat().st_mtime_ns == before
    mark_used(tmp_path / "gone")
