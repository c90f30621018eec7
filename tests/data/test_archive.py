"""Zip files: what comes out, and that nothing lands where it should not."""

import io
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trashnet.data import archive
from trashnet.data.archive import extract_pictures
from trashnet.data.walk import is_picture_name
from trashnet.errors import DataError


def jpeg(colour: str = "green") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def zip_bytes(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Where tests write their zip."""
    return tmp_path / "photos.zip"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it is extracted to."""
    (folder := tmp_path / "deep" / "target").mkdir(parents=True)
    return folder


def test_only_visible_pictures_come_out(bundle: Path, target: Path) -> None:
    members = dict.fromkeys(
        [
            "wrap/glass/glass1.jpg",
            "wrap/glass/GLASS2.JPEG",
            "wrap/paper/paper1.png",
            "wrap/glass/._glass1.jpg",
            "wrap/.DS_Store",
            "wrap/.git/logo.png",
            "__MACOSX/wrap/glass/._glass1.jpg",
            "__MACOSX/wrap/glass/glass1.jpg",
            "wrap/readme.txt",
            "wrap/run.py",
            "wrap/glass/",
        ],
        b"",
    )
    bundle.write_bytes(zip_bytes({name: jpeg() if "." in name else b"" for name in members}))
    progress: list[tuple[int, int]] = []
    extract_pictures(bundle, target, lambda done, total, what: progress.append((done, total)))
    assert files_below(target) == [
        "wrap/glass/GLASS2.JPEG",
        "wrap/glass/glass1.jpg",
        "wrap/paper/paper1.png",
    ]
    assert (target / "wrap/glass/glass1.jpg").read_bytes() == jpeg()
    assert progress == [(3, 3)]


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "glass/../../x.jpg",
        "/etc/x.jpg",
        "//server/x.jpg",
        "..\\x.jpg",
        "glass\\..\\..\\x.jpg",
        "\\x.jpg",
        "C:\\x.jpg",
        "C:/x.jpg",
        "c:x.jpg",
        "../readme.txt",
        "__MACOSX/../../x.jpg",
    ],
)
def test_a_path_that_leads_outside_is_refused_whole(bundle: Path, target: Path, name: str) -> None:
    bundle.write_bytes(zip_bytes({"glass/glass1.jpg": jpeg(), name: jpeg()}))
    with pytest.raises(DataError, match="leads outside its folder; nothing was extracted"):
        extract_pictures(bundle, target)
    assert files_below(target.parent.parent) == ["photos.zip"]


def test_a_link_in_a_zip_is_no_link_on_disk(tmp_path: Path, bundle: Path, target: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    link = zipfile.ZipInfo("glass/link.jpg")
    link.create_system = 3  # Unix
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(bundle, "w") as writer:
        writer.writestr(link, str(tmp_path / "secret.jpg"))
    extract_pictures(bundle, target)
    extracted = target / "glass" / "link.jpg"
    assert not extracted.is_symlink() and extracted.read_bytes() != b"secret"


@given(st.text(st.sampled_from("ab./\\:~ é"), min_size=1, max_size=12))
def test_no_name_leads_outside(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle, target = Path(folder, "photos.zip"), Path(folder, "a", "b", "target")
        bundle.write_bytes(zip_bytes({f"{name}.jpg": b"x"}))
        target.mkdir(parents=True)
        try:
            extract_pictures(bundle, target)
        except DataError as error:
            assert str(bundle) in str(error)
        outside = [f for f in files_below(Path(folder)) if not f.startswith("a/b/target/")]
        assert outside == ["photos.zip"]


# ---- what is no zip, or no longer ----

WHOLE = zip_bytes({f"glass/glass{n}.jpg": jpeg() for n in range(5)})


@pytest.mark.parametrize("keep", [0, 1, 30, len(WHOLE) // 2, len(WHOLE) - 30, len(WHOLE) - 1])
def test_a_truncated_zip_is_said(bundle: Path, target: Path, keep: int) -> None:
    bundle.write_bytes(WHOLE[:keep])
    with pytest.raises(DataError, match="photos.zip is not a complete zip file .*download it aga"):
        extract_pictures(bundle, target)


def test_something_else_is_no_zip(bundle: Path, target: Path) -> None:
    bundle.write_bytes(b"<html>404 Not Found</html>" * 100)
    with pytest.raises(DataError, match="not a complete zip file"):
        extract_pictures(bundle, target)


def test_a_zip_that_is_not_there_is_said(bundle: Path, target: Path) -> None:
    with pytest.raises(DataError, match="photos.zip could not be extracted .No such file"):
        extract_pictures(bundle, target)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
VICTIMS = [
    zip_bytes({"glass/glass1.jpg": jpeg(), "papér/1.jpg": jpeg() * 20}, method)
    for method in METHODS
]


@settings(max_examples=300)
@given(st.sampled_from(VICTIMS), st.data())
def test_a_damaged_zip_is_an_error_or_harmless(victim: bytes, data: st.DataObject) -> None:
    damaged = bytearray(victim)
    place = st.integers(0, len(victim) - 1)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)):
        damaged[at] = value
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "photos.zip").write_bytes(damaged)
        try:
            extract_pictures(Path(folder, "photos.zip"), Path(folder, "target"))
        except DataError as error:
            assert "photos.zip" in str(error) and str(error).endswith(".")


def test_an_encrypted_zip_is_said(bundle: Path, target: Path) -> None:
    content = bytearray(zip_bytes({"glass/glass1.jpg": jpeg()}))
    content[6] |= 1  # the flag in the local header, and in the central directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    bundle.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        extract_pictures(bundle, target)


def test_a_zip_that_unpacks_to_too_much_is_refused(
    bundle: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_MAX_EXTRACTED", 10_000)
    bundle.write_bytes(zip_bytes({"glass/glass1.jpg": bytes(10_001)}))
    with pytest.raises(DataError, match="would unpack to more than"):
        extract_pictures(bundle, target)
    assert files_below(target) == []


def test_a_full_disk_is_said(bundle: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    bundle.write_bytes(WHOLE)
    monkeypatch.setattr(zipfile.ZipFile, "extract", no_space)
    with pytest.raises(DataError, match="No space left on device.; check the free space"):
        extract_pictures(bundle, target)


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("glass1.jpg", True),
        ("GLASS.JPEG", True),
        ("a.b.webp", True),
        ("._glass1.jpg", False),
        (".jpg", False),
        ("glass.txt", False),
        ("jpg", False),
        ("__init__.png", False),
    ],
)
def test_names_of_pictures(name: str, picture: bool) -> None:
    assert is_picture_name(name) is picture
