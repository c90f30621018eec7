"""Whatever file of a home, a zip or a folder is damaged: no traceback, and nothing else is lost."""

import io
import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Training
from tests.pages.visiting import PAGES, open_page, words
from tests.runs.test_damage import DAMAGES
from trashnet.cli.main import main
from trashnet.data.dataset import Photos
from trashnet.evaluation import robustness
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

pytestmark = pytest.mark.slow

WAYS = ("cut", "zeroed", "half zeroed", "{}")


@pytest.fixture
def bundle(own_folder: Path, tmp_path: Path) -> Path:
    """A zip of someone's photos."""
    return Path(shutil.make_archive(str(tmp_path / "workshop"), "zip", own_folder))


@pytest.fixture
def used_home(
    bundle: Path, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home after some use: photos of a zip, two runs, a review, measurements, thumbnails."""
    home = tmp_path / "home"
    monkeypatch.setenv("TRASHNET_DATA", str(bundle))
    flip = {"horizontal_flip": robustness.TRANSFORMS["horizontal_flip"]}
    monkeypatch.setattr(robustness, "TRANSFORMS", flip)  # seconds, not minutes
    for name in ("whole", "used"):
        shutil.copytree(training.run.path, home / "runs" / name)
    shutil.copytree(training.env.cache, home / "cache")
    assert main(["review", "bolts/bolts03.jpg", "--exclude"]) == 0
    shutil.copy(RELEASED / "robustness.json", home / "runs" / "used")
    for name in PAGES:
        open_page(name, "alone")
    return home


def files_of(home: Path) -> list[Path]:
    """Every file of a home that is not like two others: photos and thumbnails are many.

    The cache's files are of one kind up to number and digest: `prints-0-<digest>.parquet`.
    """
    found = [p for p in sorted(home.rglob("*")) if p.is_file() and p.suffix != ".lock"]
    per_kind: dict[tuple[str, ...], list[Path]] = {}
    for path in found:
        if "whole" not in path.parts:
            many = path.suffix in (".jpg", ".png", ".webp")
            name = re.sub(r"(-[0-9a-f]+)+(?=\.)", "", path.name)
            kind = (path.relative_to(home).parts[0], path.suffix if many else name)
            per_kind.setdefault(kind, []).append(path)
    return [path for paths in per_kind.values() for path in paths[:2]]


def damages(home: Path) -> Iterator[tuple[str, bool]]:
    """Damages one file at a time and mends all: two ways a file, the two files of a kind all four.

    Yields which, and for one of a file's two whether pages are opened, too.
    """
    before = home.with_name("before")
    shutil.copytree(home, before)
    for number, path in enumerate(files_of(home)):
        for turn in (0, 1):
            way = WAYS[(2 * number + turn) % len(WAYS)]
            damaged = DAMAGES[way](path.read_bytes())
            path.unlink()  # it may be the very file that `before` has
            path.write_bytes(damaged)
            yield f"{path.relative_to(home)}, {way}", turn == number % 2
            shutil.rmtree(home)
            # With the times that caches go by.
            shutil.copytree(before, home, copy_function=_copy)


def _copy(source: str, target: str) -> None:
    """Links the 2,527 photos of the package, which nothing writes to, and copies the rest."""
    (os.link if "trashnet-small" in Path(source).parts else shutil.copy2)(source, target)


def test_no_file_of_a_home_ends_a_command_or_a_page(
    used_home: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = used_home / "photo.jpg"
    shutil.copy(next(used_home.rglob("bolts04.png")), photo)
    commands = (
        ["runs"],
        ["data"],
        ["data", "--index", str(used_home / "index.csv")],
        ["review"],
        ["review", "bolts/bolts05.webp", "--keep"],
        ["evaluate", "used"],
        ["robustness", "used"],
        ["classify", str(photo), "--run", "whole"],
        ["classify", str(photo), "--run", "used"],
        ["export", "used", "--output", str(used_home / "export")],
        ["stop", "used"],
        ["cache"],
    )
    checked = 0
    for damage, with_pages in damages(used_home):
        about_photo = damage.startswith("photo.jpg")
        for command in commands:
            code = main(command)
            shown = capfd.readouterr()
            assert code in (0, 2), (damage, command)
            assert "Traceback" not in shown.err, (damage, command, shown.err)
            if command[-2:] == ["--run", "whole"] and not about_photo:
                assert code == 0, (damage, shown.err)
            if command == ["runs"]:
                assert "whole" in shown.out, damage
            if command == ["review"]:
                found = "bolts03" in shown.out or "review file" in shown.err
                assert found, (damage, shown)
        if with_pages:
            for name in PAGES:
                assert "Traceback" not in words(open_page(name, "alone")), damage
        checked += 1
    assert checked > 60
    assert Run(used_home / "runs" / "whole").is_finished


def test_no_damaged_zip_ends_a_command(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes lost, changed, doubled and swapped, at places that a seed chooses."""
    whole, draw = bundle.read_bytes(), random.Random(0)
    told: set[int] = set()
    monkeypatch.setenv("TRASHNET_DATA", str(bundle))
    assert main(["data", "--json"]) == 0
    photos, refused = json.loads(capfd.readouterr().out)["photos"], 0
    for number in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 3, 30))):
            at, length = draw.randrange(len(content)), draw.choice((1, 4, 1000))
            content[at : at + length] = draw.choice(
                (b"", bytes(length), draw.randbytes(length), 2 * content[at : at + length])
            )
        damaged = bundle.with_name(f"damaged-{number}.zip")
        damaged.write_bytes(content)
        monkeypatch.setenv("TRASHNET_DATA", str(damaged))
        code = main(["data", "--json"])
        shown = capfd.readouterr()
        if code == 0:  # it hit what is no part of a photo
            assert json.loads(shown.out)["photos"] == photos, number
        else:  # rather than go on with fewer
            (said,) = shown.err.splitlines()
            assert code == 2 and str(damaged) in said, (number, said)
            refused += 1
        if number % 5 == 0:
            code = main(["classify", str(damaged), "--run", "released", "--json"])
            shown = capfd.readouterr()
            assert code in (0, 1, 2) and "Traceback" not in shown.err, (number, shown.err)
            told.add(code)
    assert refused > 140
    assert len(told) > 1  # some photos are answered, some zips are not even one


def test_no_odd_folder_ends_a_command(
    own_folder: Path,
    sample_photos: Photos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Files and folders of odd names and contents, at places that a seed chooses."""
    draw = random.Random(0)
    names = (
        "a", ".hidden", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "train", "test", "Bolts", "b:c",
        "back\\slash", "Me\u0301tal", "me\u0301tal", "=1+1", "<b>", "x" * 200, " ", "con", "bolts",
    )  # fmt: skip
    contents = (
        b"",
        b"text",
        (own_folder / "bolts" / "bolts00.jpg").read_bytes(),
        (own_folder / "bolts" / "bolts00.jpg").read_bytes()[:500],
        (own_folder / "bolts" / "bolts01.png").read_bytes(),
        _zip_of({"a/b.png": (own_folder / "bolts" / "bolts01.png").read_bytes()}),
    )
    for number in range(60):
        root = tmp_path / f"odd-{number}"
        shutil.copytree(own_folder, root)
        for _ in range(draw.choice((1, 5, 20))):
            folders = [p for p in root.rglob("*") if p.is_dir() and not p.is_symlink()]
            folder = draw.choice([root, *folders])
            path = folder / (draw.choice(names) + draw.choice(("", ".jpg", ".jfif", ".txt")))
            if path.exists() or path.is_symlink() or len(path.parts) > 40:
                continue
            what = draw.random()
            if what < 0.4:
                path.mkdir()
            elif what < 0.5:
                path.symlink_to(draw.choice([folder, root, tmp_path / "nowhere", own_folder]))
            else:
                path.write_bytes(draw.choice(contents))
        monkeypatch.setenv("TRASHNET_DATA", str(root))
        code = main(["data"])
        shown = capfd.readouterr()
        assert code in (0, 2) and "Traceback" not in shown.err, (number, shown.err)


def _zip_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()
