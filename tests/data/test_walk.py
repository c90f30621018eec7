"""Which files are photos: the same of a folder and of a zip, and a reason for every other."""

import io
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.data.test_archive import jpeg, zip_bytes
from trashnet.data.archive import extract_pictures, read_pictures
from trashnet.data.dataset import Photos, find_photos, open_folder
from trashnet.data.scan import scan
from trashnet.data.walk import reasons, walk_folder, walk_zip
from trashnet.environment import Environment
from trashnet.errors import DataError, PhotoError
from trashnet.inference.inputs import named_photos

COMPOSED, DECOMPOSED = "M\u00e9tal", "Me\u0301tal"

TAKEN = [
    "glass/GLASS2.JPE",
    "glass/Screenshot 10:23:11.png",
    "glass/a.jfif",
    "glass/no ending",
    "glass/phone/b.hif",
    "glass/phone/deep/c.jpg",
    "metal/1.jpg",
]

LEFT = {
    ".thumbnails/glass/1.jpg": (".thumbnails", "hidden"),
    "@eaDir/1.jpg": ("@eaDir", "hidden"),
    "$RECYCLE.BIN/glass/1.jpg": ("$RECYCLE.BIN", "hidden"),
    "glass/.secret.jpg": ("glass/.secret.jpg", "hidden"),
    "glass/README": ("glass/README", "not a picture"),
    "notes 10:30.txt": ("notes 10:30.txt", "not a picture"),
}

LITTER = ["__MACOSX/glass/._1.jpg", "glass/._1.jpg", ".DS_Store", "glass/Thumbs.db"]


@pytest.fixture
def members() -> dict[str, bytes]:
    """What lies in a folder that somebody had for years."""
    text = dict.fromkeys(LEFT, b"text")
    return {**dict.fromkeys(LITTER, b"x"), **text, **dict.fromkeys(TAKEN, jpeg())}


@pytest.fixture
def folder(tmp_path: Path, members: dict[str, bytes]) -> Path:
    """The same, on the disk."""
    for name, content in members.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    return tmp_path / "mine"


def opened(home: Path, path: Path) -> Photos:
    return find_photos(Environment(home, data=path))


def flagless_zip(path: Path, names: list[str], encoding: str = "utf-8") -> Path:
    """A zip as macOS makes it: names without the flag that says they are UTF-8."""

    class Plain(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode(encoding), self.flag_bits & ~0x800

    with zipfile.ZipFile(path, "w") as bundle:
        for name in names:
            bundle.writestr(Plain(name), jpeg())
    return path


# ---------------------------------------------------------------- folder and zip


def test_a_folder_and_a_zip_of_it_hold_the_same(folder: Path, members: dict[str, bytes]) -> None:
    found, left_out = walk_folder(folder), {}
    in_zip = walk_zip(zipfile.ZipFile(io.BytesIO(zip_bytes(members))), left_out)
    assert found.files == sorted(in_zip) == TAKEN
    assert found.left_out == left_out == dict(LEFT.values())


def test_every_command_takes_the_same(
    tmp_path: Path, folder: Path, members: dict[str, bytes]
) -> None:
    (bundle := tmp_path / "mine.zip").write_bytes(zip_bytes(members))
    for path in (folder, bundle):
        photos, others = opened(tmp_path / "home", path), {}
        named = [name for name, _ in named_photos([str(path)], io.BytesIO(), others)]
        assert sorted(named) == [f"{path}/{name}" for name in TAKEN]
        assert list(photos.files) == TAKEN and photos.classes == ("glass", "metal")
        assert photos.left_out == dict(LEFT.values())
        assert others == {f"{path}/{name}": why for name, why in LEFT.values()}
    assert opened(tmp_path / "home", bundle).left_out == dict(LEFT.values())  # extracted before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF", "AVIF"])
def test_a_picture_without_an_ending_is_read(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "picture", kind)
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "empty").touch()
    found = walk_folder(tmp_path)
    assert found.files == ["picture"] and set(found.left_out) == {"text", "empty"}


def test_links_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.jpg").write_bytes(jpeg())
    (root := tmp_path / "mine").mkdir()
    (root / "z").mkdir()
    (root / "z" / "2.jpg").write_bytes(jpeg())
    links = {"glass": "../elsewhere", "again": "z", "z/up": "..", "z/nowhere.jpg": "gone.jpg"}
    for name, target in {**links, "z/itself": "itself"}.items():
        (root / name).symlink_to(target)
    found = walk_folder(root)
    assert found.files == ["glass/1.jpg", "z/2.jpg"]
    read, nowhere = "a link to a folder read already", "a link that leads nowhere"
    assert found.left_out == {
        **{"again": read, "z/up": read},
        **{"z/nowhere.jpg": nowhere, "z/itself": nowhere},
    }


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    for name in (b"glass/bo\xeete.jpg", b"glass/1.jpg", b"bo\xeete/2.jpg"):
        path = os.path.join(os.fsencode(tmp_path / "mine"), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(jpeg())
    photos = open_folder(tmp_path / "mine", "mine", "folder")
    assert photos.files == ("glass/1.jpg",)
    why = "with a name that is not UTF-8; rename it"
    assert photos.left_out == {"glass/bo?te.jpg": why, "bo?te": why}
    with pytest.raises(DataError, match="bo.te, is not UTF-8; rename it"):
        opened(
            tmp_path, Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "mine"), b"bo\xeete")))
        )


# ---------------------------------------------------------------- names in zips


def test_a_zip_of_windows_has_folders(tmp_path: Path) -> None:
    content = {r"mine\glass\1.jpg": jpeg(), r"mine\metal\2.jpg": jpeg(), "mine\\": b""}
    (bundle := tmp_path / "mine.zip").write_bytes(zip_bytes(content))
    photos = opened(tmp_path / "home", bundle)
    assert photos.files == ("glass/1.jpg", "metal/2.jpg") and not photos.left_out
    assert [name for name, _ in read_pictures(bundle)] == ["mine/glass/1.jpg", "mine/metal/2.jpg"]


def test_utf8_without_its_flag_is_read_as_typed(tmp_path: Path) -> None:
    names = [f"{DECOMPOSED}/1.jpg", "ガラス/2.jpg", "plain/3.jpg"]
    photos = opened(tmp_path / "home", flagless_zip(tmp_path / "mac.zip", names))
    assert set(photos.classes) == {COMPOSED, unicodedata.normalize("NFC", "ガラス"), "plain"}
    assert f"{COMPOSED}/1.jpg" in photos.files


def test_cp437_stays_cp437(tmp_path: Path) -> None:
    path = flagless_zip(tmp_path / "dos.zip", [f"{COMPOSED}/1.jpg", "glass/2.jpg"], "cp437")
    assert opened(tmp_path / "home", path).classes == (COMPOSED, "glass")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_with_one_name_the_second_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as bundle:
        for name in (f"{COMPOSED}/1.jpg", f"{DECOMPOSED}/1.jpg"):
            bundle.writestr(name, jpeg())
    photos = opened(tmp_path / "home", tmp_path / "twice.zip")
    assert photos.files == (f"{COMPOSED}/1.jpg",)
    assert photos.left_out == {f"{COMPOSED}/1.jpg (again)": "a second file of that name"}


def encrypted_zip(names: list[str], encrypted: int) -> bytes:
    content = bytearray(zip_bytes(dict.fromkeys(names, jpeg())))
    at = 0
    for _ in range(encrypted):  # the flag in the central directory, and in the local header
        at = content.index(b"PK\x01\x02", at) + 8
        content[at] |= 1
        content[int.from_bytes(content[at + 34 : at + 38], "little") + 6] |= 1
    return bytes(content)


def test_an_encrypted_photo_is_left_out_and_an_encrypted_zip_is_said(tmp_path: Path) -> None:
    (bundle := tmp_path / "mine.zip").write_bytes(encrypted_zip(["a/1.jpg", "a/2.jpg"], 1))
    assert extract_pictures(bundle, tmp_path / "out") == {"a/1.jpg": "encrypted"}
    first, second = [content for _, content in read_pictures(bundle)]
    assert isinstance(first, PhotoError) and "password" in str(first) and second == jpeg()
    bundle.write_bytes(encrypted_zip(["a/1.jpg", "a/2.jpg"], 2))
    with pytest.raises(DataError, match=r"The 2 photos in .*mine.zip are encrypted"):
        opened(tmp_path / "home", bundle)


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize(
    "twins", [(COMPOSED, DECOMPOSED), ("Glass", "glass"), ("STRASSE", "straße")]
)
def test_two_spellings_of_a_class_are_one(tmp_path: Path, twins: tuple[str, str]) -> None:
    for number, name in enumerate((*twins, "other")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / f"{number}.jpg").write_bytes(jpeg())
    photos = open_folder(tmp_path / "mine", "mine", "folder")
    assert photos.classes == (twins[0], "other") and len(photos.files) == 3
    table = scan(photos, tmp_path / "cache")
    assert table.error.isna().all()  # keys are paths on this disk
    assert sorted(table.label) == sorted([twins[0], twins[0], "other"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["train/a/1.jpg", "val/a/1.jpg", "Test/a/1.jpg"],
            "split already; name its folder 'train'",
        ),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"],
            "split already; name its folder 'train'",
        ),
        (
            ["data/a/1.jpg", "data/b/1.jpg", "docs/x.txt"],
            "name its folder 'data', or remove 'docs'",
        ),
        (["a/1.jpg", "b/x.txt"], "'b' in .* holds no photos .left out: not a picture .b/x.txt"),
        (["1.jpg", "a/x.txt"], r"no class folders with photos \(left out: not.*outside the cl"),
        (["a/.hidden/1.jpg"], r"no class folders with photos \(left out: hidden \(.hidden"),
    ],
)
def test_a_layout_that_holds_no_classes_is_said(
    tmp_path: Path, names: list[str], said: str
) -> None:
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(jpeg())
    with pytest.raises(DataError, match=said):
        open_folder(tmp_path / "mine", "mine", "folder")


def test_a_split_zip_must_be_unpacked(tmp_path: Path) -> None:
    content = dict.fromkeys(["x/train/a/1.jpg", "x/test/a/2.jpg"], jpeg())
    (bundle := tmp_path / "mine.zip").write_bytes(zip_bytes(content))
    with pytest.raises(DataError, match="mine.zip/x holds .*; unpack it and name its folder 'tr"):
        opened(tmp_path / "home", bundle)


def test_train_and_test_may_be_classes(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "test/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(jpeg())
    assert open_folder(tmp_path, "mine", "folder").classes == ("test", "train")


def test_reasons_are_counted() -> None:
    left_out = {"a/x.jpg": "x.jpg is empty: copy it.", "b/y.jpg": "y.jpg is empty: copy it."}
    assert reasons(left_out) == "it is empty: copy it (2, such as a/x.jpg)"
    many = {str(n): f"reason {n}" for n in range(9)}
    assert reasons(many).endswith("reason 2 (2), 6 others")
    assert reasons({}) == ""
