"""The benchmarks measure what they say; how fast this machine is is not tested."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import growth, people, pipeline, tuning
from benchmarks.__main__ import GROUPS, main
from benchmarks.measuring import ROOT, Row, by_turns, fresh_process, row
from benchmarks.page import MARKER, as_markdown, by_hand
from benchmarks.photos import some_photos
from benchmarks.serving import serving
from tests.pictures import trashnet_photo
from trashnet.data.dataset import Photos
from trashnet.training.networks import build_model

ROWS = [
    row("an answer", 20, 100, "ms", "the usual way", 5),
    row("many answers", 90, 30, "photos/s", "one by one"),
]


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    assert [r["ratio"] for r in ROWS] == [5, 3]
    assert set(ROWS[0]) >= {"name", "ours", "other", "unit", "ratio", "target"}


def test_the_page_has_a_line_for_every_row() -> None:
    page = as_markdown(ROWS)
    assert "| an answer | 20 ms | 100 ms | 5 × (aim: 5) | the usual way |" in page
    assert "| many answers | 90 photos/s | 30 photos/s | 3 × | one by one |" in page


def test_works_take_turns_after_one_call_each() -> None:
    calls: list[str] = []
    took = by_turns(3, lambda: calls.append("a"), lambda: calls.append("b"))
    assert "".join(calls) == "ab" + "ababab" and len(took) == 2


@pytest.mark.slow
def test_a_fresh_process_is_measured_alone() -> None:
    _, small = fresh_process("")
    seconds, large = fresh_process("x = bytearray(200_000_000); import time; time.sleep(0.2)")
    assert seconds > 0.2 and 150 < large - small < 250


def test_figures_are_read_without_exponents() -> None:
    page = as_markdown([row("memory", 3210.4, 0.01234, "MB", "less")])
    assert "| memory | 3,210 MB | 0.0123 MB |" in page


def test_what_is_written_by_hand_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    assert by_hand(page) == ""
    page.write_text(as_markdown(ROWS))
    assert by_hand(page) == ""
    page.write_text(as_markdown(ROWS) + f"\n{MARKER}\n\n## Cut\n")
    assert by_hand(page) == f"\n{MARKER}\n\n## Cut\n"
    page.write_text(as_markdown([]) + by_hand(page))
    assert by_hand(page) == f"\n{MARKER}\n\n## Cut\n"


# ---------------------------------------------------------------- the command


def measured(group: str, quick: bool, alone: bool) -> list[Row]:
    if group == "epoch":
        raise RuntimeError("no more memory")
    return [row(f"{group}, quick" if quick else group, 1, 2, "s", "another")]


def test_json_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr("sys.argv", ["benchmarks", "app", "people", "--quick", "--json"])
    assert main() == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in told["rows"]] == ["app, quick", "people, quick"]
    assert set(told["rows"][0]) >= {"name", "ours", "other", "unit", "ratio", "target"}


def test_a_group_that_fails_leaves_the_others_their_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    assert main() == 1
    told = capsys.readouterr()
    assert "epoch failed: no more memory" in told.err
    assert "Failed and missing: epoch." in told.out
    assert [g for g in GROUPS if f"| {g} |" in told.out] == [g for g in GROUPS if g != "epoch"]


def test_a_group_is_measured_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "benchmarks"  # stands in for the real ones
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(
        "import json, os, sys\n"
        "print('for people', file=sys.stderr)\n"
        "print(json.dumps({'rows': [{'pid': os.getpid(), 'given': sys.argv[1:]}]}))\n"
        "sys.exit(3 * (sys.argv[1] == 'growth'))\n"
    )
    monkeypatch.setattr(command, "ROOT", tmp_path)
    (found,) = command.measure("people", quick=True, alone=False)
    assert found["pid"] != os.getpid() and found["given"] == ["people", "--json", "--quick"]
    with pytest.raises(RuntimeError, match="code 3"):
        command.measure("growth", quick=False, alone=False)


def test_what_libraries_print_is_not_in_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def talking(quick: bool) -> list[Row]:
        print("Found 320 images belonging to 6 classes.")
        return ROWS

    monkeypatch.setattr(pipeline, "measure", talking)
    monkeypatch.setattr("sys.argv", ["benchmarks", "pipeline", "--json"])
    assert main() == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"rows": ROWS} and "Found 320 images" in told.err


# ---------------------------------------------------------------- what is measured


def test_photos_are_of_all_classes_alike(tmp_path: Path) -> None:
    photos, what = some_photos(tmp_path / "photos", 20)
    assert what == "20 photos of trashnet" and len(photos.files) == 20
    assert {file.split("/")[0] for file in photos.files} == set(photos.classes)
    assert len(photos.classes) == 6


def test_real_photos_are_copied_and_said_so(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_DATA", str(own_folder))
    photos, what = some_photos(tmp_path / "photos", 9)
    assert what == "9 photos of workshop" and photos.classes == ("bolts", "planks", "rags")
    copied = {(photos.root / file).read_bytes() for file in photos.files}
    assert copied <= {path.read_bytes() for path in own_folder.rglob("*.*")} and len(copied) == 9
    photos, what = some_photos(tmp_path / "all", 1000)
    assert what == f"{len(photos.files)} photos of workshop"


@pytest.mark.slow
@pytest.mark.parametrize(
    "epochs",
    [
        lambda photos, folder: pipeline.our_epochs(photos, folder),
        lambda photos, folder: pipeline.generator_epochs(photos),
        lambda photos, folder: pipeline.datasets_epochs(photos),
    ],
    ids=["ours", "generator", "datasets"],
)
def test_every_way_feeds_all_photos_augmented(
    epochs: Callable[[Photos, Path], Callable[[int], Iterable[Any]]], tmp_path: Path
) -> None:
    photos, _ = some_photos(tmp_path / "photos", 40)
    epoch = epochs(photos, tmp_path / "cache")
    first, second = ([np.asarray(batch[0]) for batch in epoch(number)] for number in (0, 1))
    assert [batch.shape for batch in first] == [(32, 224, 224, 3), (8, 224, 224, 3)]
    shades = np.concatenate([np.concatenate(first), np.concatenate(second)]).mean((1, 2, 3))
    assert len(np.unique(shades.round(2))) > 70  # no photo is seen alike twice
    assert 0 <= first[0].min() and 200 < first[0].max() <= 255


@pytest.mark.slow
def test_the_published_network_differs_from_ours_in_its_normalization_alone() -> None:
    photos, labels = np.zeros((2, 64, 64, 3), np.float32), np.eye(6, dtype=np.float32)[:2]
    published = tuning.keras_model((64, 64, 3))
    ours = build_model("efficientnet_lite0", 64, 6, frozen_blocks=0)

    def kernels(model: Any) -> list[tuple[int, ...]]:
        return [tuple(w.shape) for w in model.weights if len(w.shape) > 1]

    assert kernels(published) == kernels(ours)
    assert published(photos).shape == ours(photos).shape == labels.shape


@pytest.mark.slow
def test_growth_fills_folders_with_files_that_all_differ(tmp_path: Path) -> None:
    growth._write(tmp_path / "photos", 240)
    files = list((tmp_path / "photos").rglob("*.jpg"))
    assert len(files) == len({path.read_bytes() for path in files}) == 240
    found = growth._child(tmp_path / "photos", tmp_path / "cache")
    assert set(found) == {"reading", "opening", "decoding"}
    assert 0 < found["opening"]["seconds"] < found["reading"]["seconds"]


def test_an_app_that_cannot_start_is_said_so(tmp_path: Path) -> None:
    refused = pytest.raises(RuntimeError, match="missing.py could not be served")
    with refused, serving(script=tmp_path / "missing.py"):
        pass


@pytest.mark.slow
def test_visitors_are_answered_over_the_web_socket(tmp_path: Path) -> None:
    trashnet_photo("metal", 3).save(tmp_path / "photo.jpg")
    photo = (tmp_path / "photo.jpg").read_bytes()
    with serving() as (port, _):
        visitors = [people.Visitor(port) for _ in range(3)]
        assert all(0 < visitor.send(photo) < 60 for visitor in visitors for _ in range(2))
        with pytest.raises(RuntimeError, match="no answer"):
            visitors[0].send(b"no picture")
        # Over the upload limit it is refused unread, so the answer may come before all is sent.
        with pytest.raises(URLError, match="413|reset|Broken pipe"):
            visitors[1].send(bytes(26 * 1024**2))
        assert visitors[1].send(photo) > 0
        for visitor in visitors:
            visitor.close()


def test_the_published_page_is_of_this_kind() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert page.startswith(as_markdown([]).split("\n\n")[0])
    assert len(re.findall(r"^\| .* × ", page, re.MULTILINE)) >= 10
