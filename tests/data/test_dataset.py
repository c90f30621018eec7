"""The photos: found, fetched, extracted and read; and what is said when that cannot be."""

import hashlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from tests.pictures import shipped_photos
from trashnet.data import download as download_module
from trashnet.data import scan as scan_module
from trashnet.data.dataset import (
    Photos,
    choose_photos,
    chosen_photos,
    find_photos,
    keep_photos,
    open_folder,
    trashnet_facts,
)
from trashnet.data.download import fetch_trashnet
from trashnet.data.editions import contents
from trashnet.data.scan import is_scanned, scan
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.files import DAY, write_json

ROOT = Path(__file__).resolve().parents[2]
TRASHNET = {
    "cardboard": 403,
    "glass": 501,
    "metal": 410,
    "paper": 594,
    "plastic": 482,
    "trash": 137,
}


def write_photo(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade % 256, shade // 256, 9)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, can and jar, of 12 small photos each."""
    root = tmp_path / "photos"
    for shade, (label, number) in enumerate(itertools.product(("can", "jar"), range(12))):
        write_photo(root / label / f"{label}{number}.png", shade)
    return root


def zip_of(source: Path, target: Path, wrap: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as bundle:
        for path in sorted(source.rglob("*")):
            bundle.write(path, Path(wrap) / path.relative_to(source))
    return target


def trashnet_zip(path: Path, files: Iterable[str]) -> Path:
    """A zip of some of TrashNet's photos, as the package ships them; others are no pictures."""
    with zipfile.ZipFile(path, "w") as bundle:
        for file in files:
            bundle.writestr(f"dataset-resized/{file}", shipped_photos().get(file, b"photo"))
    return path


def with_data(env: Environment, path: Path) -> Environment:
    return Environment(env.home, data=path, hub_offline=True)


# ---------------------------------------------------------------- find


def test_without_any_photos_trashnet_comes_with_the_package(env: Environment) -> None:
    told: list[tuple[int, int, str]] = []
    photos = find_photos(env, lambda *done: told.append(done))
    assert told[-1][:2] == (2527, 2527)
    assert (photos.name, photos.source, photos.edition) == ("trashnet", "package", "small")
    assert photos.is_trashnet and set(photos.files) == set(trashnet_facts().index)
    read = {file: (photos.root / file).read_bytes() for file in photos.files}
    assert {f: hashlib.sha256(c).hexdigest() for f, c in read.items()} == contents().small.to_dict()
    with Image.open(photos.root / "glass/glass115.jpg") as image:
        assert (image.format, image.size) == ("WEBP", (384, 288))
    told.clear()
    assert find_photos(env) == photos and told == []


def test_what_is_named_goes_before_what_was_chosen_and_fetched(
    env: Environment, folder: Path, sample_photos: Photos
) -> None:
    shutil.copytree(folder, env.photos / "trashnet")
    assert (find_photos(env).source, find_photos(env).classes) == ("cache", ("can", "jar"))
    choose_photos(env, sample_photos.root)
    assert find_photos(env) == sample_photos
    given_folder = find_photos(with_data(env, folder))
    assert (given_folder.root, given_folder.source) == (folder, "folder")
    assert not given_folder.is_trashnet
    assert choose_photos(env, None).source == "cache"


def test_what_cannot_be_opened_is_not_chosen(env: Environment, folder: Path) -> None:
    choose_photos(env, folder)
    with pytest.raises(DataError, match="no photos at .*nowhere"):
        choose_photos(env, env.home / "nowhere")
    assert chosen_photos(env) == folder


def test_photos_that_were_sent_are_kept_and_chosen(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    sent = {f"mine/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*.png")}
    for _ in range(2):
        photos = choose_photos(env, keep_photos(env, sent))
        assert len(photos.files) == 24 and photos.classes == ("can", "jar")
        assert photos.name == "mine"
    bundle = zip_of(folder, tmp_path / "photos.zip")
    zipped = choose_photos(env, keep_photos(env, {"photos.zip": bundle.read_bytes()}))
    assert zipped.files == photos.files and zipped.source == "zip"
    with pytest.raises(DataError, match=r"'\.\./x\.png' leads outside of its folder"):
        keep_photos(env, {"../x.png": b""})


@pytest.mark.photos
def test_a_corrected_copy_of_trashnet_is_ones_own_and_said(
    env: Environment, real_photos: Photos, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(real_photos.root, tmp_path / "copy"))
    assert open_folder(copy, "copy", "folder").edition == real_photos.edition
    (copy / "glass/glass1.jpg").unlink()
    (copy / "metal/metal2.jpg").rename(copy / "glass/metal2.jpg")
    (copy / "trash/trash3.jpg").write_bytes((copy / "trash/trash4.jpg").read_bytes())
    shutil.copy(folder_photo(sample := copy / "paper"), sample / "new.jpg")
    photos = open_folder(copy, "copy", "folder")
    assert not photos.is_trashnet and photos.name == "copy"
    for said in (
        "1 missing (glass/glass1.jpg)",
        "1 moved (metal/metal2.jpg is now glass/metal2.jpg)",
        "1 changed (trash/trash3.jpg)",
        "1 added (paper/new.jpg)",
    ):
        assert said in photos.warning


def folder_photo(folder: Path) -> Path:
    """The first photo of a folder."""
    return min(folder.glob("*.jpg"))


@pytest.mark.photos
def test_other_pictures_of_the_same_names_are_others(real_photos: Photos, tmp_path: Path) -> None:
    for file in real_photos.files:
        path = tmp_path / "other" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff\xe0" + file.encode())
    photos = open_folder(tmp_path / "other", "other", "folder")
    assert photos.files == real_photos.files and not photos.is_trashnet and photos.warning == ""


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "nowhere.zip"])
def test_a_path_to_nothing_is_named(env: Environment, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"no photos at .*{name}; correct the path"):
        find_photos(with_data(env, tmp_path / name))


def test_classes_and_files_come_sorted_and_without_litter(folder: Path) -> None:
    for litter in (".DS_Store", "can/.DS_Store", "can/._can1.png", "can/notes.txt", "readme.md"):
        (folder / litter).write_bytes(b"litter")
    write_photo(folder / "__MACOSX" / "can" / "can1.png")
    write_photo(folder / ".hidden" / "can1.png")
    (folder / "can" / "deeper.png").mkdir()
    photos = open_folder(folder, "mine", "folder")
    assert photos.classes == ("can", "jar")
    assert len(photos.files) == 24 and list(photos.files) == sorted(photos.files)
    assert photos.files[:2] == ("can/can0.png", "can/can1.png")


def test_a_folder_that_wraps_the_class_folders_is_stepped_into(folder: Path) -> None:
    (folder / "can").rename(folder.parent / "can")
    deeper = folder.parent / "outer" / "inner"
    deeper.parent.mkdir()
    shutil.copytree(folder, deeper)
    (folder.parent / "can").rename(deeper / "can")
    assert open_folder(deeper.parent, "mine", "folder").root == deeper


def test_a_single_class_folder_is_not_taken_for_a_wrapper(folder: Path) -> None:
    shutil.rmtree(folder / "can")
    photos = open_folder(folder, "mine", "folder")
    assert (photos.root, photos.classes) == (folder, ("jar",))


def leave_a_class_empty(folder: Path) -> None:
    (folder / "tin").mkdir()


def leave_only_litter_in_a_class(folder: Path) -> None:
    (folder / "tin").mkdir()
    (folder / "tin" / "._tin1.png").touch()


def remove_all_classes(folder: Path) -> None:
    for label in ("can", "jar"):
        shutil.rmtree(folder / label)


def lay_photos_flat(folder: Path) -> None:
    remove_all_classes(folder)
    write_photo(folder / "can1.png")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (leave_a_class_empty, "class folder 'tin' in .* holds no photos; fill it or remove it"),
        (leave_only_litter_in_a_class, "class folder 'tin' .* holds no photos"),
        (remove_all_classes, "holds no class folders with photos"),
        (lay_photos_flat, "holds no class folders with photos"),
        (shutil.rmtree, "is gone"),
    ],
)
def test_a_folder_that_is_no_data_set_is_said(
    folder: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder)
    with pytest.raises(DataError, match=said):
        open_folder(folder, "mine", "folder")


# ---------------------------------------------------------------- zip


def nothing_half_made(env: Environment) -> bool:
    """Whether only locks lie in the folder of photos."""
    return all(p.name.endswith(".lock") for p in env.photos.glob("*"))


@pytest.mark.parametrize("wrap", ["", "outer/inner"])
def test_a_zip_is_extracted_once_and_again_when_it_changed(
    env: Environment, folder: Path, tmp_path: Path, wrap: str
) -> None:
    bundle = zip_of(folder, tmp_path / "my photos [1].zip", wrap)
    progress: list[str] = []
    first = find_photos(with_data(env, bundle), lambda done, total, what: progress.append(what))
    assert (first.name, first.source, len(first.files)) == ("my photos [1]", "zip", 24)
    assert progress == ["Extracting the photos"]
    again = find_photos(with_data(env, bundle), lambda *_: pytest.fail("extracted again"))
    assert again == first
    write_photo(folder / "can" / "another.png")
    zip_of(folder, bundle, wrap)
    assert len(find_photos(with_data(env, bundle)).files) == 25
    assert len(first.files) == len(list(first.root.rglob("*.png")))  # of use to whoever has it


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_zip_is_said_and_its_whole_copy_works(
    env: Environment, folder: Path, tmp_path: Path, share: float
) -> None:
    bundle = zip_of(folder, tmp_path / "photos.zip")
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="photos.zip is not a complete zip file"):
        find_photos(with_data(env, bundle))
    assert nothing_half_made(env)
    bundle.write_bytes(whole)
    assert len(find_photos(with_data(env, bundle)).files) == 24


@pytest.mark.parametrize("content", ["report/data.csv", "loose.jpg"])
def test_a_zip_without_class_folders_is_said_by_its_own_name(
    env: Environment, tmp_path: Path, content: str
) -> None:
    bundle = tmp_path / "photos.zip"
    with zipfile.ZipFile(bundle, "w") as writer:
        writer.writestr(content, b"x")
    with pytest.raises(DataError, match="photos.zip holds no class folders") as caught:
        find_photos(with_data(env, bundle))
    assert ".partial" not in str(caught.value)
    assert nothing_half_made(env)


def test_all_of_trashnet_in_a_zip_is_known_as_trashnet(env: Environment, tmp_path: Path) -> None:
    files = trashnet_facts().index
    photos = find_photos(with_data(env, trashnet_zip(tmp_path / "any name.zip", files)))
    assert photos.is_trashnet and photos.name == "trashnet"


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("trash/", "137 missing (trash/trash1.jpg, "),
        ("glass/glass1", "111 missing (glass/glass1.jpg, "),
        ("metal/metal7.jpg", "1 missing (metal/metal7.jpg)"),
    ],
)
def test_an_incomplete_trashnet_zip_is_opened_and_says_what_it_lacks(
    env: Environment, tmp_path: Path, lacking: str, said: str
) -> None:
    files = [f for f in trashnet_facts().index if not f.startswith(lacking)]
    photos = find_photos(with_data(env, trashnet_zip(tmp_path / "dataset-resized.zip", files)))
    assert len(photos.files) == len(files) and not photos.is_trashnet
    assert said in photos.warning and photos.name == "dataset-resized"


def test_other_photos_may_share_some_of_trashnets_names(env: Environment, tmp_path: Path) -> None:
    files = [f for f in trashnet_facts().index if f.startswith(("glass/", "metal/"))]
    photos = find_photos(with_data(env, trashnet_zip(tmp_path / "mine.zip", files)))
    assert photos.classes == ("glass", "metal") and not photos.is_trashnet


def test_an_interrupted_extraction_leaves_nothing_and_can_be_repeated(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    bundle = zip_of(folder, tmp_path / "photos.zip")
    with pytest.raises(KeyboardInterrupt):
        find_photos(with_data(env, bundle), interrupt)
    assert nothing_half_made(env)
    assert len(find_photos(with_data(env, bundle)).files) == 24


# What the children below run; PHOTOS is the zip.
PRELUDE = """
import os, signal, sys, zipfile
from pathlib import Path
from trashnet.environment import Environment
from trashnet.data.dataset import find_photos
env = Environment(Path(sys.argv[1]), data=Path(sys.argv[2]))
"""
KILLED = """
extract, seen = zipfile.ZipFile.extract, []
def dying(self, *arguments):
    seen.append(arguments)
    if len(seen) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(self, *arguments)
zipfile.ZipFile.extract = dying
find_photos(env)
"""
COUNTED = "print(len(find_photos(env).files))"


def child(program: str, home: Path, bundle: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, str(home), str(bundle)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_extraction_leaves_is_not_used_and_swept_up(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    bundle = zip_of(folder, tmp_path / "photos.zip")
    killed = child(KILLED, env.home, bundle)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left_over,) = [p for p in env.photos.iterdir() if p.name.startswith(".partial")]
    assert len(list(left_over.rglob("*.png"))) == 9
    assert len(find_photos(with_data(env, bundle)).files) == 24
    assert left_over.exists()  # another machine may be at work in it
    shutil.rmtree(next(p for p in env.photos.iterdir() if re.fullmatch(r"photos-\w+", p.name)))
    two_days_ago = time.time() - 2 * DAY
    os.utime(left_over, (two_days_ago, two_days_ago))
    assert len(find_photos(with_data(env, bundle)).files) == 24
    assert not left_over.exists()


def test_two_processes_may_extract_at_once(env: Environment, folder: Path, tmp_path: Path) -> None:
    for number in range(300):
        write_photo(folder / "jar" / f"more{number}.png", number)
    bundle = zip_of(folder, tmp_path / "photos.zip")
    both = [child(COUNTED, env.home, bundle) for _ in range(2)]
    assert [process.communicate(timeout=60) for process in both] == [("324\n", "")] * 2
    assert len([p for p in env.photos.iterdir() if p.is_dir()]) == 1


# ---------------------------------------------------------------- extracted before


def extracted(env: Environment, bundle: Path) -> Path:
    """Touches the zip and returns the folder that it is extracted to now."""
    stamp = bundle.stat().st_mtime + 10
    os.utime(bundle, (stamp, stamp))
    return find_photos(with_data(env, bundle)).root


def last_used(path: Path, days_ago: float) -> Path:
    at = time.time() - days_ago * 86_400
    os.utime(path, (at, at))
    return path


def folders(env: Environment) -> set[Path]:
    return {path for path in env.photos.iterdir() if path.is_dir()}


def run_on(env: Environment, root: Path, state: str) -> Path:
    """Leaves a run's directory, as far as the photos are concerned."""
    run = env.runs / f"cnn-{state}"
    run.mkdir(parents=True)
    write_json(run / "config.json", {"data": {"root": str(root)}})
    write_json(run / "status.json", {"state": state})
    return run


def test_of_a_zip_that_changes_the_last_two_extractions_are_kept(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    bundle, other = (zip_of(folder, tmp_path / name) for name in ("photos.zip", "photos-2.zip"))
    beside = last_used(extracted(env, other), days_ago=29)
    first = last_used(extracted(env, bundle), days_ago=3)
    second = last_used(extracted(env, bundle), days_ago=2)
    assert folders(env) == {beside, first, second}
    third = extracted(env, bundle)
    assert folders(env) == {beside, second, third}
    assert len(list(second.rglob("*.png"))) == len(list(third.rglob("*.png"))) == 24


def test_an_extraction_that_is_opened_counts_as_used(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    bundle = zip_of(folder, tmp_path / "photos.zip")
    opened_again = last_used(extracted(env, bundle), days_ago=40)
    find_photos(with_data(env, bundle))
    assert time.time() - opened_again.stat().st_mtime < 60


def test_only_extractions_are_removed_for_being_unused(
    env: Environment, folder: Path, tmp_path: Path
) -> None:
    bundle, other = (zip_of(folder, tmp_path / name) for name in ("mine.zip", "photos.zip"))
    old = last_used(extracted(env, bundle), days_ago=31)
    elsewhere = Path(shutil.copytree(old, tmp_path / "elsewhere"))
    kept = {env.photos / name for name in ("trashnet", "small", "mine", "mine-0123456789abc")}
    for path in kept:
        last_used(Path(shutil.copytree(old, path)), days_ago=400)
    (link := env.photos / "link-0123456789ab").symlink_to(last_used(elsewhere, days_ago=400))
    new = extracted(env, other)
    assert folders(env) == kept | {link, new}
    assert len(list(elsewhere.rglob("*.png"))) == 24


@pytest.mark.parametrize("state", ["waiting", "running", "stopped", "failed", "lost", "torn"])
def test_what_an_unfinished_run_was_made_from_is_kept(
    env: Environment, folder: Path, tmp_path: Path, state: str
) -> None:
    bundle = zip_of(folder, tmp_path / "photos.zip")
    needed = last_used(extracted(env, bundle), days_ago=50)
    run = run_on(env, needed, state)
    if state == "torn":
        (run / "status.json").write_text('{"state"')
    (env.runs / "torn").mkdir()
    (env.runs / "torn" / "config.json").write_text("[]")
    second = last_used(extracted(env, bundle), days_ago=2)
    assert {needed, second} <= folders(env)
    write_json(run / "status.json", {"state": "finished"})
    third = extracted(env, bundle)
    assert folders(env) == {second, third}


def test_an_extraction_that_cannot_be_removed_costs_only_space(
    env: Environment, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = zip_of(folder, tmp_path / "photos.zip")
    old = last_used(extracted(env, bundle), days_ago=31)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("trashnet.data.dataset.remove_extraction", refuse)
    new = extracted(env, bundle)
    assert folders(env) == {old, new}


# ---------------------------------------------------------------- fetch


def serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: Iterable[str], content: bytes = b""
) -> list[Path]:
    """Lets the Hub serve a zip of these files; returns the downloads so far."""
    downloads: list[Path] = []

    def download(env: Environment, on_progress: Any) -> Path:
        path = tmp_path / f"download{len(downloads)}.zip"
        downloads.append(path)
        trashnet_zip(path, files)
        if content:
            path.write_bytes(content)
        return path

    monkeypatch.setattr(download_module, "_download", download)
    return downloads


def test_trashnet_is_fetched_once(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = serve(monkeypatch, tmp_path, trashnet_facts().index)
    photos = fetch_trashnet(env)
    assert photos.is_trashnet and (photos.name, photos.source) == ("trashnet", "hub")
    assert fetch_trashnet(env).root == find_photos(env).root == env.photos / "trashnet"
    assert len(downloads) == 1
    assert not downloads[0].exists()  # 43 MB nobody needs any more


@pytest.mark.parametrize(
    ("files", "content", "said"),
    [
        ([], b"<html>busy</html>", "not a complete zip file"),
        (["can/can1.jpg"], b"", "not TrashNet's 2,527 photos"),
    ],
)
def test_a_damaged_download_is_not_kept(
    env: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    content: bytes,
    said: str,
) -> None:
    downloads = serve(monkeypatch, tmp_path, files, content)
    with pytest.raises(DataError, match=said):
        fetch_trashnet(env)
    assert nothing_half_made(env)
    assert not downloads[0].exists()  # or the next try would find it and fail the same way


def test_two_may_fetch_at_once(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = trashnet_zip(tmp_path / "download.zip", trashnet_facts().index)
    both_have_it = threading.Barrier(2)

    def download(env: Environment, on_progress: Any) -> Path:
        both_have_it.wait(timeout=30)
        return shared

    monkeypatch.setattr(download_module, "_download", download)
    found: list[Photos] = []
    threads = [threading.Thread(target=lambda: found.append(fetch_trashnet(env))) for _ in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(photos.files) for photos in found] == [2527, 2527]


def test_offline_the_hub_is_not_tried(env: Environment) -> None:
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set.*small photos of the package"):
        fetch_trashnet(env)


# ---------------------------------------------------------------- scan


def opened(folder: Path) -> Photos:
    return open_folder(folder, "mine", "folder")


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names of the photos that are read from here on."""
    readings: list[str] = []
    read = scan_module._read_facts

    def counted(path: Path) -> Any:
        readings.append(path.name)
        return read(path)

    monkeypatch.setattr(scan_module, "_read_facts", counted)
    return readings


def test_a_scan_says_what_each_photo_is(env: Environment, folder: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(folder / "jar" / "wide.png")
    (folder / "jar" / "copy.png").write_bytes((folder / "can" / "can3.png").read_bytes())
    table = scan(opened(folder), env.cache).set_index("file")
    assert list(table.index) == list(opened(folder).files)
    assert table.label["jar/wide.png"] == "jar"
    assert (table.width["jar/wide.png"], table.height["jar/wide.png"]) == (20, 10)
    assert table.bytes["jar/wide.png"] == (folder / "jar" / "wide.png").stat().st_size
    assert table.sha256["jar/copy.png"] == table.sha256["can/can3.png"]
    assert table.sha256.nunique() == 25
    assert table.error.isna().all()


def test_only_changed_photos_are_read_again(
    env: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count_readings(monkeypatch)
    first = scan(opened(folder), env.cache)
    assert len(readings) == 24
    readings.clear()
    pd.testing.assert_frame_equal(scan(opened(folder), env.cache), first)
    assert readings == []

    Image.new("RGB", (30, 6)).save(folder / "can" / "can3.png")  # changed
    write_photo(folder / "jar" / "new.png")  # added
    (folder / "jar" / "jar5.png").unlink()  # gone
    (folder / "jar" / "jar6.png").write_bytes(b"no picture")  # damaged since
    table = scan(opened(folder), env.cache).set_index("file")
    assert sorted(readings) == ["can3.png", "jar6.png", "new.png"]
    assert table.width["can/can3.png"] == 30 and "jar/jar5.png" not in table.index
    assert list(table.index[table.error.notna()]) == ["jar/jar6.png"]
    assert table.sha256.notna().all()


@pytest.mark.parametrize("keep", [0, 10, -10])
def test_a_torn_scan_is_made_again(
    env: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    first = scan(opened(folder), env.cache)
    (cached,) = env.cache.glob("scan-*.parquet")
    cached.write_bytes(cached.read_bytes()[:keep])
    readings = count_readings(monkeypatch)
    pd.testing.assert_frame_equal(scan(opened(folder), env.cache), first)
    assert len(readings) == 24


def test_a_photo_put_in_anothers_place_is_read_again(env: Environment, folder: Path) -> None:
    """Even where neither its size nor its time tells it from the other."""
    path = folder / "can" / "can3.png"
    before, about = scan(opened(folder), env.cache).set_index("file"), path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    after = scan(opened(folder), env.cache).set_index("file")
    assert after.index[after.sha256 != before.sha256].tolist() == ["can/can3.png"]


def test_an_interrupted_scan_goes_on_from_where_it_was(
    env: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, told = count_readings(monkeypatch), []
    monkeypatch.setattr(scan_module, "_STEP", 5)

    def click(done: int, total: int, what: str) -> None:
        told.append((done, total))
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(opened(folder), env.cache, click)
    assert told == [(5, 24), (10, 24)] and len(readings) == 10
    assert not is_scanned(opened(folder), env.cache)
    table = scan(opened(folder), env.cache, lambda *done: told.append(done[:2]))
    assert len(readings) == 24 and told[2:] == [(5, 14), (10, 14), (14, 14)]
    assert table.sha256.notna().all() and is_scanned(opened(folder), env.cache)


def test_photos_that_cannot_be_read_are_named_and_left_out(env: Environment, folder: Path) -> None:
    (folder / "can" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    (folder / "can" / "empty.png").touch()
    (folder / "jar" / "page.jpg").write_text("<html>")
    photos = opened(folder)
    for _ in range(2):  # the second time from the cache
        scanned = scan(photos, env.cache)
        assert scanned.file[scanned.error.notna()].tolist() == [
            "can/empty.png",
            "can/torn.jpg",
            "jar/page.jpg",
        ]
        assert scanned[scanned.error.isna()].label.value_counts().to_dict() == {
            "can": 12,
            "jar": 12,
        }
    errors = scanned.set_index("file").error
    assert "empty" in errors["can/empty.png"] and "not a picture" in errors["jar/page.jpg"]


def test_a_photo_that_may_not_be_opened_is_left_out_until_it_may(
    env: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "can3.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", forbidden)
        scanned = scan(opened(folder), env.cache)
    assert list(scanned.file[scanned.error.notna()]) == ["can/can3.png"]
    assert "can3.png cannot be opened (Permission denied)" in scanned.error.dropna().item()
    assert scan(opened(folder), env.cache).error.isna().all()


def test_a_photo_deleted_since_the_folder_was_opened_is_named(
    env: Environment, folder: Path
) -> None:
    photos = opened(folder)
    (folder / "can" / "can3.png").unlink()
    with pytest.raises(DataError, match="can3.png is gone; open the folder again"):
        scan(photos, env.cache)


# ---------------------------------------------------------------- TrashNet itself


@pytest.mark.photos
def test_trashnet_is_counted(real_photos: Photos, real_env: Environment) -> None:
    assert real_photos.is_trashnet and real_photos.name == "trashnet"
    scanned = scan(real_photos, real_env.cache)
    assert scanned.label.value_counts().to_dict() == TRASHNET and scanned.error.isna().all()
    assert set(zip(scanned.width, scanned.height, strict=True)) == {
        {"full": (512, 384), "small": (384, 288)}[str(real_photos.edition)]
    }
    # Three photos are filed under two labels each, byte for byte.
    assert scanned.sha256.duplicated().sum() == 3


@pytest.mark.photos
def test_a_real_zip_cut_short_is_said(
    real_photos: Photos, env: Environment, tmp_path: Path
) -> None:
    bundle = tmp_path / "dataset-resized.zip"
    with zipfile.ZipFile(bundle, "w") as writer:
        for file in real_photos.files:
            writer.write(real_photos.root / file, f"dataset-resized/{file}")
    with open(bundle, "r+b") as file:
        file.truncate(12_000_000)
    with pytest.raises(DataError, match="not a complete zip file"):
        find_photos(with_data(env, bundle))
    assert nothing_half_made(env)
