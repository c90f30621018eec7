"""Publishing the splits: on disk and read back, and on a Hub that is not really there."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import DatasetDict, load_dataset, load_from_disk

from tests.conftest import Command, Training
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.data.index import load_index, review_of
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.hub import dataset_repo
from trashnet.hub.dataset_repo import card, push, save, zip_saved


@pytest.fixture
def index(sample_photos: Photos, training: Training, env: Environment) -> pd.DataFrame:
    """The samples' index after a review: one left out, one relabelled."""
    shutil.copytree(training.env.cache, env.cache)  # there they were read
    review = review_of(sample_photos, env)
    known = {"files": sample_photos.files, "classes": sample_photos.classes}
    review.decide("glass/glass3.jpg", "exclude", **known)
    review.decide("metal/metal4.jpg", "relabel", "plastic", **known)
    return load_index(sample_photos, env)


def assert_same(splits: DatasetDict, photos: Photos, index: pd.DataFrame) -> None:
    """The splits hold the index's photos, labels and groups, and every pixel."""
    for name, rows in index[index.split != "excluded"].groupby("split"):
        found = splits[name]
        assert found["file"][:] == rows.file.tolist()
        assert found["group"][:] == rows.group.tolist()
        names = found.features["label"].names
        assert [names[label] for label in found["label"]] == rows.label.tolist()
        for row in found.select([0, len(found) - 1]):
            pixels = load_photo(photos.root / row["file"])
            np.testing.assert_array_equal(np.asarray(row["image"]), pixels)
    assert sum(map(len, splits.values())) == (index.split != "excluded").sum()


def test_what_is_saved_is_read_back(
    sample_photos: Photos, index: pd.DataFrame, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "splits"
    done = save(sample_photos, index, 0, folder, lambda a, b, _: told.append((a, b)))
    splits = load_from_disk(str(folder))
    assert_same(splits, sample_photos, index)
    assert "glass/glass3.jpg" not in sum((splits[name]["file"][:] for name in splits), [])
    assert done["photos"] == 239 and done["folder"] == str(folder)
    assert told == sorted(told) and told[-1] == (239, 239)
    assert [path.name for path in folder.parent.iterdir()] == ["splits"]

    zip_saved(folder, tmp_path / "splits.zip")
    with zipfile.ZipFile(tmp_path / "splits.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    assert_same(load_from_disk(str(tmp_path / "elsewhere" / "splits")), sample_photos, index)


def test_saving_again_replaces_and_a_failure_keeps_what_was_there(
    sample_photos: Photos, index: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "splits"
    save(sample_photos, index, 0, folder)
    fewer = index[index.label != "trash"].copy()
    fewer.attrs = index.attrs
    save(sample_photos, fewer, 0, folder)
    assert_same(load_from_disk(str(folder)), sample_photos, fewer)

    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_repo, "card", fail)
    with pytest.raises(DataError, match="No space left"):
        save(sample_photos, index, 0, folder)
    assert_same(load_from_disk(str(folder)), sample_photos, fewer)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_something_else_is_left_alone(
    sample_photos: Photos, index: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="other files; name a new folder"):
        save(sample_photos, index, 0, tmp_path)
    with pytest.raises(DataError, match="other files; name a new folder"):
        save(sample_photos, index, 0, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    save(sample_photos, index, 0, tmp_path / "empty")


def test_the_card_says_what_matters(sample_photos: Photos, index: pd.DataFrame) -> None:
    text = card(sample_photos, index, 7)
    assert "Split by object" in text and "Seed 7" in text
    assert "`glass/glass3.jpg`: left out by a review" in text
    assert "Changed by a review: 1." in text and "`metal/metal4.jpg`: plastic" in text
    assert "Drawn sample pictures" in text and "license:" not in text
    counts = index[index.split == "test"].label.value_counts()
    assert f"| {counts['glass']} |" in text


@pytest.mark.photos
@pytest.mark.parametrize("split", ["object", "random", "authors"])
def test_trashnets_card_says_source_licence_split_and_conflicts(
    real_photos: Photos, real_env: Environment, split: str
) -> None:
    text = card(real_photos, load_index(real_photos, real_env, split), 0, "me/mine")
    assert "license: mit" in text and "Gary Thung and Mindy Yang" in text
    assert "`glass/glass115.jpg`: filed under two classes" in text
    assert 'load_dataset("me/mine")' in text
    assert ("in train and in" in text) == (split != "object")
    assert ("Seed" in text) == (split != "authors")


# ---------------------------------------------------------------- the Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for the Hub: what is sent to it lies in a folder."""
    folder = tmp_path / "hub"
    folder.mkdir()

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **options: Any) -> None:
            (folder / "options.json").write_text(json.dumps({"repo_id": repo_id} | options))

        def upload_file(self, path_or_fileobj: bytes, path_in_repo: str, **_: Any) -> None:
            (folder / path_in_repo).write_bytes(path_or_fileobj)

    def push_to_hub(splits: DatasetDict, *_: Any, **__: Any) -> None:
        for name, rows in splits.items():
            rows.to_parquet(folder / f"{name}-00000-of-00001.parquet")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    monkeypatch.setattr(DatasetDict, "push_to_hub", push_to_hub)
    return folder


def test_what_is_pushed_is_read_back(
    sample_photos: Photos, index: pd.DataFrame, hub: Path, tmp_path: Path
) -> None:
    done = push(sample_photos, index, 0, "me/mine", Environment(tmp_path))
    assert done["url"].endswith("/datasets/me/mine") and done["photos"] == 239
    sent = json.loads((hub / "options.json").read_text())
    assert sent["repo_id"] == "me/mine" and sent["private"] and sent["repo_type"] == "dataset"
    assert "Split by object" in (hub / "README.md").read_text()
    files = {name: str(hub / f"{name}-*.parquet") for name in ("train", "validation", "test")}
    splits = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert splits["test"]["file"][:] == index.file[index.split == "test"].tolist()
    picture = np.asarray(splits["test"][0]["image"])
    np.testing.assert_array_equal(
        picture, load_photo(sample_photos.root / splits["test"][0]["file"])
    )


@pytest.mark.parametrize("name", ["", "mine", "a/b/c", "me/my set", "../..", "me/" + "x" * 200])
def test_a_name_that_is_none_is_refused_first(
    sample_photos: Photos, index: pd.DataFrame, env: Environment, name: str
) -> None:
    with pytest.raises(DataError, match="OWNER/NAME"):
        push(sample_photos, index, 0, name, env)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "does not accept the token"),
        (403, "may not write"),
        (500, "status 500"),
        (None, "not be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    sample_photos: Photos,
    index: pd.DataFrame,
    hub: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    said: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        error = ConnectionError("many\nlines")
        if status:
            error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(DatasetDict, "push_to_hub", fail)
    with pytest.raises(DataError, match=said) as error:
        push(sample_photos, index, 0, "me/mine", Environment(tmp_path))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_without_a_token_or_a_network_there_is_one_sentence_and_a_way_on(
    sample_photos: Photos, index: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(DataError, match="HF_TOKEN.*save to disk"):
        push(sample_photos, index, 0, "me/mine", Environment(tmp_path))
    with pytest.raises(DataError, match="HF_HUB_OFFLINE.*save to disk"):
        push(sample_photos, index, 0, "me/mine", Environment(tmp_path, hub_offline=True))


# ---------------------------------------------------------------- on the command line


def test_the_command_saves_and_says_where(
    command: Command, sample_photos: Photos, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    data = ("data", "--json", "--data", sample_photos.root)
    code, output, errors = command(*data, "--save", folder, "--split", "random")
    assert code == 0, errors
    assert json.loads(output)["saved"]["folder"] == str(folder)
    assert "Split photo by photo" in (folder / "README.md").read_text()
    assert sum(map(len, load_from_disk(str(folder)).values())) == 240
    code, output, errors = command(*data, "--push", "me/mine")
    assert (code, output) == (2, "") and "HF_HUB_OFFLINE" in errors.strip().splitlines()[-1]
