"""Publishing the splits: on disk and read back, and on a stand-in for the Hub."""

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from datasets import DatasetDict, load_dataset, load_from_disk

from tests.conftest import Command, Training
from tests.hub.conftest import sentence
from tests.hub.hub_server import Fault, Hub, Repo
from trashnet.data.dataset import Photos
from trashnet.data.image_io import load_photo
from trashnet.data.index import load_index, review_of
from trashnet.environment import Environment
from trashnet.errors import ConfigError, DataError, HubError
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
    assert not any("glass/glass3.jpg" in splits[name]["file"][:] for name in splits)
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
    assert "from the folder `samples`" in text and "license:" not in text
    counts = index[index.split == "test"].label.value_counts()
    assert f"| {counts['glass']} |" in text


def test_names_that_are_markup_stay_text_in_the_card(
    sample_photos: Photos, index: pd.DataFrame
) -> None:
    odd = dataclasses.replace(sample_photos, name="<b>|x`y")
    renamed = index.replace({"glass/glass3.jpg": "glass/`<i>`.jpg"})
    text = card(odd, renamed, 0)
    assert r"# \<b\>\|x\`y, audited and split" in text
    assert "`` glass/`<i>`.jpg ``: left out by a review" in text
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"].startswith(odd.name)


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


MINE = "me/mine"


@pytest.fixture
def publish(
    hub: Hub, sample_photos: Photos, index: pd.DataFrame, tmp_path: Path
) -> Callable[[], Any]:
    """Pushes the index's splits to the stand-in."""
    return lambda: push(sample_photos, index, 0, MINE, Environment(tmp_path))


def assert_read_back(repo: Repo, photos: Photos, index: pd.DataFrame, folder: Path) -> None:
    """`datasets` opens what was pushed, by its files' names alone."""
    for name, content in repo.files.items():
        assert str(photos.root).encode() not in content, name
        (folder / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "repo" / name).write_bytes(content)
    splits = load_dataset(str(folder / "repo"), cache_dir=str(folder / "cache"))
    assert_same(splits, photos, index)


def test_what_is_pushed_is_read_back(
    publish: Callable[[], Any], hub: Hub, sample_photos: Photos, index: pd.DataFrame, tmp_path: Path
) -> None:
    done = publish()
    assert done["url"] == f"{hub.url}/datasets/{MINE}" and done["photos"] == 239
    repo = hub.repo(MINE, "datasets")
    assert repo.request["visibility"] == "private"
    assert "Split by object" in repo.files["README.md"].decode()
    assert_read_back(repo, sample_photos, index, tmp_path)


def test_a_large_split_is_several_files(
    publish: Callable[[], Any],
    hub: Hub,
    sample_photos: Photos,
    index: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_repo, "_SHARD", 100_000)
    publish()
    repo = hub.repo(MINE, "datasets")
    assert len([name for name in repo.files if name.startswith("data/train-")]) > 1
    assert_read_back(repo, sample_photos, index, tmp_path)


def test_a_push_is_one_commit_and_repeating_it_none(publish: Callable[[], Any], hub: Hub) -> None:
    publish()
    repo = hub.repo(MINE, "datasets")
    publish()
    assert len(repo.commits) == 2  # the Hub makes the first
    repo.files["data/train-00000-of-00009.parquet"] = b"of more photos"
    repo.files["notes.txt"] = b"by hand"
    publish()
    assert "data/train-00000-of-00009.parquet" not in repo.files and "notes.txt" in repo.files


@pytest.mark.parametrize("name", ["README.md", "data/train-00000-of-00001.parquet"])
def test_another_data_set_is_left_alone(publish: Callable[[], Any], hub: Hub, name: str) -> None:
    repo = hub.repo(MINE, "datasets")
    repo.files[name] = b"# Theirs"
    with pytest.raises(HubError) as raised:
        publish()
    assert "something else" in sentence(raised)
    assert len(repo.commits) == 1 and repo.files[name] == b"# Theirs"


def test_splits_of_an_earlier_version_are_replaced(publish: Callable[[], Any], hub: Hub) -> None:
    card_then = b"# TrashNet\n\n2 photos of 2 classes, in splits that say how they were made.\n"
    hub.repo(MINE, "datasets").files["README.md"] = card_then
    publish()
    assert "Split by object" in hub.repo(MINE, "datasets").files["README.md"].decode()


@pytest.mark.parametrize("name", ["", "mine", "a/b/c", "me/my set", "../..", "me/" + "x" * 200])
def test_a_name_that_is_none_is_refused_first(
    sample_photos: Photos, index: pd.DataFrame, env: Environment, name: str
) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push(sample_photos, index, 0, name, env)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("POST .*/repos/create", 401), "does not accept the token"),
        (Fault("POST .*/batch", 403, message="Storage quota exceeded"), "quota exceeded"),
        (Fault("POST .*/commit/", 500), "trouble of its own"),
        (Fault("PUT /lfs", 0), "could not be reached"),
        (Fault("GET .*/resolve/", 500), "trouble of its own"),
    ],
    ids=lambda value: getattr(value, "match", None),
)
def test_a_failure_publishes_nothing_and_can_be_repeated(
    publish: Callable[[], Any], hub: Hub, fault: Fault, reason: str
) -> None:
    if "resolve" in fault.match:
        publish()
    before = dict(hub.repo(MINE, "datasets").files) if "create" not in fault.match else None
    hub.faults = [fault]
    with pytest.raises(HubError) as raised:
        publish()
    assert sentence(raised).startswith("Nothing was published") and reason in sentence(raised)
    found = hub.repos.get(("datasets", MINE))
    assert (found.files if found else None) == before
    hub.faults = []
    publish()
    assert "README.md" in hub.repo(MINE, "datasets").files


def test_photos_that_are_gone_are_said(
    hub: Hub, sample_photos: Photos, index: pd.DataFrame, tmp_path: Path
) -> None:
    gone = dataclasses.replace(sample_photos, root=tmp_path / "gone")
    with pytest.raises(DataError, match="could not be packed .No such file"):
        push(gone, index, 0, MINE, Environment(tmp_path))
    assert hub.repos == {}


def test_without_a_token_or_a_network_there_is_one_sentence_and_a_way_on(
    sample_photos: Photos, index: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="HF_TOKEN.*save to disk"):
        push(sample_photos, index, 0, "me/mine", Environment(tmp_path))
    with pytest.raises(HubError, match="HF_HUB_OFFLINE.*save to disk"):
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
