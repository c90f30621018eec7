"""The index: every object on one side, conflicts left out, decisions honoured."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pages.visiting import is_sentence
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, find_photos, open_folder, trashnet_facts
from trashnet.data.editions import FULL
from trashnet.data.index import (
    another_fold,
    check_splittable,
    class_weights,
    decisions_found,
    load_index,
    make_index,
    review_of,
    summarise,
)
from trashnet.data.quality import flags
from trashnet.data.review import Decision
from trashnet.data.scan import is_scanned, scan
from trashnet.data.splits import EXCLUDED, SPLITS, divide
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.hub.dataset_repo import as_dataset_dict


def table(labels: Sequence[str], **columns: Sequence[object]) -> pd.DataFrame:
    """A scan of photos that look ordinary unless a column says otherwise."""
    n = len(labels)
    ordinary = {
        "width": [8] * n,
        "height": [8] * n,
        "bytes": [100] * n,
        "mtime": [0] * n,
        "ctime": [0] * n,
        "sha256": [f"{i:064x}" for i in range(n)],
        "error": [None] * n,
        "brightness": np.linspace(0.4, 0.6, n),
        "contrast": np.linspace(0.1, 0.2, n),
        "sharpness": np.linspace(0.01, 0.02, n),
        "saturation": [0.3] * n,
    }
    files = [f"{label}/{i}.jpg" for i, label in enumerate(labels)]
    return pd.DataFrame({"file": files, "label": list(labels), **ordinary, **columns})


def photos_of(scanned: pd.DataFrame) -> Photos:
    classes = tuple(sorted(scanned.label.unique()))
    photos = Photos(Path("nowhere"), "mine", "folder", classes, tuple(scanned.file))
    is_trashnet = set(photos.files) == set(trashnet_facts().index)
    return dataclasses.replace(photos, edition=FULL if is_trashnet else None)


LABELS = ["glass"] * 40 + ["paper"] * 60


# ---- splits ----


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=45, max_size=120),
    labels=st.data(),
    seed=st.integers(0, 1000),
    test_fold=st.integers(0, 4),
)
def test_no_object_is_on_two_sides(
    sizes: list[int], labels: st.DataObject, seed: int, test_fold: int
) -> None:
    # The first objects of each class are single photos, so a split always exists.
    names = ["a"] * 15 + ["b"] * 15 + ["c"] * 15
    sizes = [1] * 45 + sizes
    names += labels.draw(
        st.lists(st.sampled_from("abc"), min_size=len(sizes) - 45, max_size=len(sizes) - 45)
    )
    label = pd.Series(np.repeat(names, sizes))
    group = pd.Series(np.repeat(np.arange(len(sizes)), sizes))

    split, fold = divide(label, group, "abc", seed, test_fold)

    sides = pd.DataFrame({"group": group, "split": split, "fold": fold}).groupby("group")
    assert (sides.split.nunique() == 1).all() and (sides.fold.nunique() == 1).all()
    assert set(split) == set(SPLITS) and set(fold) == set(range(5))
    assert ((fold == test_fold) == (split == "test")).all()


@settings(max_examples=40)
@given(
    st.lists(st.integers(10, 120), min_size=2, max_size=7),
    st.integers(0, 2**31 - 1),
    st.integers(0, 4),
)
def test_single_photos_are_dealt_evenly(counts: list[int], seed: int, test_fold: int) -> None:
    classes = "abcdefg"[: len(counts)]
    labels = pd.Series([c for c, n in zip(classes, counts, strict=True) for _ in range(n)])
    split, fold = divide(labels, pd.Series(range(len(labels))), classes, seed, test_fold)
    for label, rows in pd.DataFrame({"split": split, "fold": fold}).groupby(labels):
        share = rows.split.value_counts() / len(rows)
        assert abs(share["test"] - 0.2) * len(rows) < 1, label
        assert abs(share["validation"] - 0.1) * len(rows) < 1.2, label
        in_fold = rows.fold.value_counts()
        assert len(in_fold) == 5 and in_fold.max() - in_fold.min() <= 1


def test_the_seed_decides() -> None:
    labels, groups = pd.Series(LABELS), pd.Series(np.arange(100) // 2)
    one, again, other = (divide(labels, groups, ["glass", "paper"], s)[0] for s in (1, 1, 2))
    assert (one == again).all() and (one != other).any()


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (["a"], [0], "too few"),
        (["a"] * 30, range(30), "'b' has 0 photos that can be read"),
        (["a"] * 30 + ["b"] * 9, range(39), "'b' has 9 photos .*at least 10"),
        (["a"] * 30 + ["b"] * 30, [*range(30), *[30] * 30], "'b' shows too few different objects"),
    ],
)
def test_what_cannot_be_divided_is_said(
    labels: list[str], groups: Sequence[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        divide(pd.Series(labels), pd.Series(list(groups)), ["a", "b"], 0)


def test_the_authors_split_is_their_lists_and_needs_their_photos() -> None:
    scanned = table(trashnet_facts().label.tolist()).assign(file=trashnet_facts().index)
    index = make_index(photos_of(scanned), scanned, "authors", exclude_conflicts=False)
    split = index.set_index("file").split
    assert split.value_counts().to_dict() == {"train": 1768, "test": 431, "validation": 328}
    # The first lines of the published lists.
    assert split["paper/paper70.jpg"] == "test" and split["cardboard/cardboard202.jpg"] == "train"
    assert split["cardboard/cardboard114.jpg"] == "validation"

    fewer = scanned.iloc[:-1]  # the samples, too, have names that TrashNet's photos have
    with pytest.raises(DataError, match="authors' split lists TrashNet's 2,527 photos"):
        make_index(photos_of(fewer), fewer, "authors")


LARGE = 8
"""Photos of room where a print was photographed up to 80 times."""


def trashnet_as_listed() -> pd.DataFrame:
    """A scan that has TrashNet's files, without the photos."""
    return table(trashnet_facts().label.tolist()).assign(file=trashnet_facts().index)


def assert_folds_are_fair(indices: Sequence[pd.DataFrame], room: int = 2) -> None:
    """Each fold is the test set once, and the others hold what they should.

    Args:
        indices: The index of each test fold.
        room: By how many photos a class may miss its fifth in test, or its eighth of the others in
            validation; an object of several photos goes to one side.
    """
    assert len(indices) == 5
    first = indices[0]
    for number, index in enumerate(indices):
        assert index.file.tolist() == first.file.tolist()
        assert index.fold.tolist() == first.fold.tolist()
        assert (index.group == first.group).all()
        kept = index[index.split != EXCLUDED]
        assert ((kept.fold == number) == (kept.split == "test")).all()
        assert (kept.groupby("group").split.nunique() == 1).all()
        assert (index.groupby("group").fold.nunique() == 1).all()
        for label, rows in kept.groupby("label"):
            counts = rows.split.value_counts()
            rest = len(rows) - counts["test"]
            assert abs(counts["test"] - len(rows) / 5) <= room, label
            assert abs(counts["validation"] - rest / 8) <= room, label
    tested = sum((index.split == "test").to_numpy(int) for index in indices)
    excluded = (first.split == EXCLUDED).to_numpy()
    assert (tested[~excluded] == 1).all() and (tested[excluded] == 0).all()


def test_trashnet_is_tested_once_in_five_folds_and_no_object_is_torn() -> None:
    scanned = trashnet_as_listed()
    indices = [
        make_index(photos_of(scanned), scanned, "object", 0, trashnet_facts().group, test_fold=fold)
        for fold in range(5)
    ]
    assert_folds_are_fair(indices, LARGE)
    for index in indices:
        assert index.fold.tolist() == trashnet_facts().fold.tolist()
    assert indices[0].split.tolist() == trashnet_facts().split.tolist()


def test_the_shipped_division_is_the_one_that_would_be_dealt() -> None:
    """Or the folds after the first, which are dealt anew, would not be its complement."""
    facts = trashnet_facts().reset_index()
    split, fold = divide(facts.label, facts.group, sorted(facts.label.unique()), 0)
    assert (split == facts.split).all() and (fold == facts.fold).all()


@pytest.mark.parametrize("way", ["random", "object"])
def test_other_seeds_have_five_folds_too(way: str) -> None:
    scanned = table(LABELS)
    groups = pd.Series(np.arange(100) // 2, index=scanned.file)
    indices = [
        make_index(photos_of(scanned), scanned, way, 7, groups, test_fold=fold) for fold in range(5)
    ]
    if way == "random":
        indices = [index.assign(group=np.arange(100)) for index in indices]
    assert_folds_are_fair(indices)


@pytest.mark.parametrize("test_fold", [1, 4])
def test_the_authors_split_has_no_folds(test_fold: int) -> None:
    scanned = trashnet_as_listed()
    with pytest.raises(DataError, match="authors' lists have one test set and no folds; use"):
        make_index(photos_of(scanned), scanned, "authors", test_fold=test_fold)
    index = make_index(photos_of(scanned), scanned, "authors")
    assert set(index.fold) == {-1}


def test_every_fold_that_will_be_trained_is_asked_for_before_there_is_a_run(
    sample_photos: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class of three objects can be tested in three folds of five."""
    few = [f for f in sample_photos.files if f.startswith("glass/")]
    groups = pd.Series(np.arange(len(sample_photos.files)), index=list(sample_photos.files))
    groups[few] = np.repeat([-1, -2, -3], len(few) // 3 + 1)[: len(few)]
    monkeypatch.setattr("trashnet.data.index.known_groups", lambda *_: groups)
    possible = set()
    for fold in range(5):
        try:
            check_splittable(sample_photos, env, TrainConfig(fold=fold))
            possible.add(fold)
        except DataError as error:
            assert "'glass' shows too few different objects" in str(error)
    assert len(possible) == 3
    with pytest.raises(DataError, match="'glass' shows too few different objects"):
        check_splittable(sample_photos, env, TrainConfig(folds=5))
    check_splittable(sample_photos, env, TrainConfig(folds=5, split="random"))


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Photos]:
    """Writes a folder of class folders; a class that copies another holds the same photos."""

    def write(classes: dict[str, int], copies: dict[str, str] | None = None) -> Photos:
        root, draw = tmp_path / "own", np.random.default_rng(0)
        for label, count in classes.items():
            (root / label).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(root / label / f"{label}{i:02}.png")
        for label, copied in (copies or {}).items():
            shutil.copytree(root / copied, root / label)
        return open_folder(root, "own", "folder")

    return write


RANDOM = TrainConfig(split="random")


def test_a_class_that_conflicts_leave_empty_is_refused(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12, "metal": 12}, {"glass copy": "glass"})
    with pytest.raises(DataError, match="class 'glass' has no photos left") as caught:
        check_splittable(photos, env, RANDOM)
    assert is_sentence(str(caught.value))
    check_splittable(photos, env, RANDOM.replace(exclude_conflicts=False))


def test_photos_that_are_all_conflicts_are_refused(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12}, {"all": "glass"})
    with pytest.raises(DataError, match="no photos left to train on") as caught:
        check_splittable(photos, env, RANDOM)
    assert is_sentence(str(caught.value))


@pytest.mark.parametrize("split", ["train", "validation", "test", None])
@pytest.mark.parametrize("action", ["exclude", "relabel"])
def test_a_class_that_review_empties_is_refused(
    own: Callable[..., Photos], env: Environment, split: str | None, action: str
) -> None:
    photos = own({"glass": 12, "metal": 12})
    check_splittable(photos, env, RANDOM)
    index, review = load_index(photos, env, "random"), review_of(photos, env)
    gone = index[(index.label == "metal") & ((index.split == split) | (split is None))]
    label = "glass" if action == "relabel" else None
    for file in gone.file:
        review.decide(file, action, label, files=photos.files, classes=photos.classes)
    which = f"{split} photos" if split else "photos"
    with pytest.raises(DataError, match=f"class 'metal' has no {which} left: "):
        check_splittable(photos, env, RANDOM)
    review.undo()
    if split:
        check_splittable(photos, env, RANDOM)


def test_one_class_is_refused_before_it_is_read(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12})
    with pytest.raises(DataError, match="only the class 'glass'; training needs at least two"):
        check_splittable(photos, env, RANDOM)
    assert not is_scanned(photos, env.cache)


def test_rare_classes_weigh_more() -> None:
    weights = class_weights(pd.Series(["a"] * 30 + ["b"] * 10), ("a", "b"))
    assert weights.dtype == np.float32
    assert weights.tolist() == pytest.approx([40 / (2 * 30), 40 / (2 * 10)])


def test_a_split_by_object_needs_an_audit() -> None:
    scanned = table(LABELS)
    with pytest.raises(DataError, match="audit"):
        make_index(photos_of(scanned), scanned, "object")
    with pytest.raises(DataError, match="others"):
        make_index(photos_of(scanned), scanned, "authors")


# ---- conflicts and decisions ----


def test_photos_filed_under_two_labels_are_left_out_and_listed() -> None:
    scanned = table(LABELS)
    scanned.loc[99, "sha256"] = scanned.sha256[0]
    scanned.loc[98, "sha256"] = scanned.sha256[97]
    photos = photos_of(scanned)

    index = make_index(photos, scanned, "random")

    assert index.flag[[0, 99]].tolist() == ["conflict"] * 2
    assert index.flag[[97, 98]].tolist() == ["duplicate"] * 2
    assert index.file[index.split == EXCLUDED].tolist() == ["glass/0.jpg", "paper/99.jpg"]
    assert summarise(photos, scanned, index)["excluded"] == ["glass/0.jpg", "paper/99.jpg"]
    kept = make_index(photos, scanned, "random", exclude_conflicts=False)
    assert set(kept.split) == set(SPLITS)


def test_decisions_are_honoured_and_leave_the_rest_where_it_was() -> None:
    scanned = table(LABELS)
    scanned.loc[99, "sha256"] = scanned.sha256[0]
    photos = photos_of(scanned)
    before = make_index(photos, scanned, "random")
    decisions = {
        "glass/0.jpg": Decision("glass/0.jpg", "relabel", "paper"),
        "glass/5.jpg": Decision("glass/5.jpg", "exclude"),
        "paper/50.jpg": Decision("paper/50.jpg", "keep"),
    }

    after = make_index(photos, scanned, "random", decisions=decisions)

    plain = make_index(photos, scanned, "random", exclude_conflicts=False)
    assert after.split[0] == plain.split[0] != EXCLUDED and after.label[0] == "paper"
    assert after.original_label[0] == "glass" and after.unreviewed_split[0] == EXCLUDED
    assert after.split[5] == EXCLUDED and after.unreviewed_split[5] == before.split[5]
    rest = ~after.file.isin(decisions)
    assert (after[rest].split == before[rest].split).all()
    assert after.split[50] == before.split[50]


@pytest.mark.parametrize("way", ["object", "authors"])
def test_a_conflict_that_is_vouched_for_returns_to_the_side_of_its_object(way: str) -> None:
    scanned = table(trashnet_facts().label.tolist()).assign(file=trashnet_facts().index)
    keys = dict(zip(trashnet_facts().index, scanned.sha256, strict=True))
    twins = {"plastic/plastic152.jpg": "glass/glass176.jpg"}
    scanned["sha256"] = [keys[twins.get(file, file)] for file in scanned.file]
    decisions = {file: Decision(file, "keep") for pair in twins.items() for file in pair}
    groups = trashnet_facts().group
    kept = make_index(photos_of(scanned), scanned, way, 1, groups, decisions=decisions)
    plain = make_index(photos_of(scanned), scanned, way, 1, groups, exclude_conflicts=False)
    assert (kept.split == plain.split).all()


def decided(photos: Photos, env: Environment, file: str, action: str = "exclude") -> None:
    review_of(photos, env).decide(file, action, files=photos.files, classes=photos.classes)


def test_an_object_that_somebody_saw_on_two_sides_is_learned_from_no_more() -> None:
    scanned = table(LABELS)
    photos, groups = photos_of(scanned), pd.Series(np.arange(100) // 2, index=scanned.file)
    before = make_index(photos, scanned, "object", groups=groups)
    files = {split: before.file[before.split == split].iloc[0] for split in SPLITS}
    said = {
        "1": Decision(files["train"], "same", other=files["test"]),
        "2": Decision(files["validation"], "different", other=files["test"]),
    }
    after = make_index(photos, scanned, "object", groups=groups, decisions=said)
    changed = after[after.split != before.split]
    objects = before.set_index("file").group
    assert set(changed.file) == set(objects.index[objects == objects[files["train"]]])
    assert set(changed.split) == {EXCLUDED} and len(changed) == 2
    chain = said | {"3": Decision(files["validation"], "same", other=files["train"])}
    after = make_index(photos, scanned, "object", groups=groups, decisions=chain)
    assert (after.split == "test").equals(before.split == "test")
    assert (after.split != before.split).sum() == 4  # of the validation set's object, too


def test_where_objects_are_not_kept_together_only_the_photo_that_was_named_is_left_out() -> None:
    scanned = table(LABELS)
    photos, groups = photos_of(scanned), pd.Series(np.arange(100) // 20, index=scanned.file)
    before = make_index(photos, scanned, "random", groups=groups)
    files = {split: before.file[before.split == split].iloc[0] for split in SPLITS}
    said = {"1": Decision(files["train"], "same", other=files["test"])}
    after = make_index(photos, scanned, "random", groups=groups, decisions=said)
    assert after.file[after.split != before.split].tolist() == [files["train"]]


@pytest.mark.parametrize("way", ["object", "random"])
def test_every_fold_of_a_run_is_of_the_division_of_its_first(way: str) -> None:
    """Also where an audit has found other objects in the meantime."""
    scanned = table(LABELS)
    photos, groups = photos_of(scanned), pd.Series(np.arange(100) // 2, index=scanned.file)
    said = {
        "1": Decision(scanned.file[0], "relabel", "paper"),
        "2": Decision("glass/1.jpg", "exclude"),
    }
    first = make_index(photos, scanned, way, 3, groups, decisions=said)
    for fold in range(1, 5):
        same = make_index(photos, scanned, way, 3, groups, decisions=said, test_fold=fold)
        again = another_fold(first, way, 3, fold, decisions=said)
        pd.testing.assert_frame_equal(again, same)


def test_a_decision_about_two_photos_is_found_again_where_both_are(
    own_folder: Path, env: Environment, tmp_path: Path
) -> None:
    root = shutil.copytree(own_folder, tmp_path / "own")
    photos = open_folder(root, "own", "folder")
    one, two, renamed = "bolts/bolts01.png", "rags/rags02.webp", "rags/renamed.webp"
    said = review_of(photos, env).decide(
        one, "same", other=two, files=photos.files, classes=photos.classes
    )
    (root / two).rename(root / renamed)
    index = load_index(open_folder(root, "own", "folder"), env, "random")
    assert said.other_sha256 and decisions_found(index).endswith("added): 1")
    (root / renamed).unlink()
    index = load_index(open_folder(root, "own", "folder"), env, "random")
    assert decisions_found(index) == "review decisions about photos that are no longer there: 1"


@pytest.mark.parametrize("old", ["own", "own/glass", "own/glass/glass03.png"])
def test_decisions_are_found_again_by_content_and_counted(
    own: Callable[..., Photos], env: Environment, old: str
) -> None:
    photos = own({"glass": 12, "metal": 12})
    decided(photos, env, "glass/glass03.png")
    assert decisions_found(load_index(photos, env, "random")) == ""
    before = photos.root.parent / old
    after = before.rename(before.with_name("zz renamed.png"))
    photos = open_folder(after if old == "own" else photos.root, "own", "folder")
    for _ in range(2):  # nor is it counted twice
        index = load_index(photos, env, "random")
        (excluded,) = index.sha256[index.split == EXCLUDED]
        assert excluded == review_of(photos, env).history()[0].sha256
        assert decisions_found(index).endswith("added): 1")


def test_decisions_hold_when_a_photo_is_added_to_the_zip(
    own: Callable[..., Photos], env: Environment, tmp_path: Path
) -> None:
    root = own({"glass": 12, "metal": 12}).root
    env = dataclasses.replace(env, data=tmp_path / "mine.zip")
    for total, file in enumerate(["metal/metal07.png", "glass/glass05.png", "glass/glass06.png"]):
        pixels = np.random.default_rng(100 + total).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"metal/new{total}.png")
        shutil.make_archive(str(tmp_path / "mine"), "zip", root)
        photos = find_photos(env)
        assert len(review_of(photos, env).history()) == total
        decided(photos, env, file)
    files = [decision.file for decision in review_of(photos, env).history()]
    assert files == ["metal/metal07.png", "glass/glass05.png", "glass/glass06.png"]
    index = load_index(photos, env, "random")
    assert sorted(index.file[index.split == EXCLUDED]) == sorted(files)
    assert decisions_found(index).endswith("added): 2")


def test_a_decision_is_about_a_content_not_about_a_name(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12, "metal": 12}, {"more": "glass"})
    decided(photos, env, "glass/glass03.png", "keep")
    index = load_index(photos, env, "random").set_index("file")  # its copy has not been decided on
    assert index.split["glass/glass03.png"] != EXCLUDED == index.split["more/glass03.png"]
    shutil.copy(photos.root / "metal/metal03.png", photos.root / "glass/glass03.png")
    (photos.root / "more/glass03.png").unlink()
    index = load_index(open_folder(photos.root, "own", "folder"), env, "random")
    assert decisions_found(index) == "review decisions about photos that are no longer there: 1"


def test_a_review_of_an_older_version_learns_its_contents(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12, "metal": 12})
    decided(photos, env, "glass/glass03.png")
    (path,) = (env.home / "reviews").glob("*.json")
    older = json.loads(path.read_text())
    for name in ("sha256", "moved"):
        del older["decisions"][0][name]
    path.write_text(json.dumps(older))
    index = load_index(photos, env, "random")
    assert index.file[index.split == EXCLUDED].tolist() == ["glass/glass03.png"]
    photos = open_folder(photos.root.rename(photos.root.with_name("renamed")), "own", "folder")
    assert [d.file for d in review_of(photos, env).history()] == ["glass/glass03.png"]


def test_what_was_taken_back_is_not_found_again(
    own: Callable[..., Photos], env: Environment
) -> None:
    photos = own({"glass": 12, "metal": 12})
    decided(photos, env, "glass/glass03.png")
    for name, found in (("second", 1), ("third", 0)):
        photos = open_folder(photos.root.rename(photos.root.with_name(name)), name, "folder")
        assert len(review_of(photos, env).history()) == found
        review_of(photos, env).undo()


def test_a_review_of_other_photos_is_not_taken(
    own: Callable[..., Photos], env: Environment, sample_photos: Photos
) -> None:
    decided(own({"glass": 12, "metal": 12}), env, "glass/glass03.png")
    (path,) = (env.home / "reviews").glob("*.json")
    (path.parent / "torn.json").write_text("{")
    assert review_of(sample_photos, env).history() == []
    assert decisions_found(load_index(sample_photos, env)) == ""


# ---- oddities ----


@pytest.mark.parametrize(
    ("column", "value", "flag"),
    [
        ("sharpness", 0.0, "blurred"),
        ("brightness", 0.0, "dark"),
        ("brightness", 1.0, "bright"),
        ("contrast", 0.0, "low contrast"),
    ],
)
def test_odd_photos_are_flagged_and_ordinary_ones_are_not(
    column: str, value: float, flag: str
) -> None:
    scanned = table(LABELS)
    scanned.loc[7, column] = value
    found = flags(scanned)
    assert flag in found[7] and all(f == "" for i, f in enumerate(found) if i != 7)


def test_photos_that_are_all_alike_are_not_odd() -> None:
    scanned = table(LABELS, brightness=[0.5] * 100, contrast=[0.1] * 100, sharpness=[0.1] * 100)
    assert set(flags(scanned)) == {""}


# ---- the real thing ----


@pytest.mark.photos
def test_trashnet_is_divided_as_shipped(real_photos: Photos, real_env: Environment) -> None:
    index = load_index(real_photos, real_env)
    summary = summarise(real_photos, scan(real_photos, real_env.cache), index)
    assert summary["photos"] == 2527 and len(summary["excluded"]) == 6
    assert list(summary["classes"].values()) == [403, 501, 410, 594, 482, 137]
    assert index.attrs["split"] == "object"
    counts = index.split.value_counts()
    assert counts[EXCLUDED] == 6 and counts.sum() == 2527
    assert abs(counts["test"] / 2521 - 0.2) < 0.01
    assert (index[index.split != EXCLUDED].groupby("group").split.nunique() == 1).all()
    assert (index.groupby("group").fold.nunique() == 1).all()
    trash = index[index.label == "trash"]
    assert 24 <= (trash.split == "test").sum() <= 31

    counts = load_index(
        real_photos, real_env, "authors", exclude_conflicts=False
    ).split.value_counts()
    assert counts.to_dict() == {"train": 1768, "validation": 328, "test": 431}
    again = load_index(real_photos, real_env, "object", seed=1)
    assert (again.split != index.split).any()
    assert (again[again.split != EXCLUDED].groupby("group").split.nunique() == 1).all()


@pytest.mark.photos
def test_each_real_photo_is_tested_in_one_fold(real_photos: Photos, real_env: Environment) -> None:
    indices = [load_index(real_photos, real_env, test_fold=fold) for fold in range(5)]
    assert_folds_are_fair(indices, LARGE)
    for index in indices:
        shipped = trashnet_facts().reindex(index.file)
        assert index.fold.tolist() == shipped.fold.tolist()
        assert index.group.tolist() == shipped.group.tolist()
        assert (index.split == EXCLUDED).sum() == 6
    with pytest.raises(DataError, match="no folds"):
        load_index(real_photos, real_env, "authors", test_fold=2)


def test_each_sample_picture_is_tested_in_one_fold(sample_photos: Photos, env: Environment) -> None:
    indices = [load_index(sample_photos, env, test_fold=fold) for fold in range(5)]
    assert_folds_are_fair(indices)


def test_an_index_becomes_a_data_set_of_its_photos(sample_photos: Photos, env: Environment) -> None:
    splits = as_dataset_dict(sample_photos, load_index(sample_photos, env))
    assert sum(map(len, splits.values())) == len(sample_photos.files)
    test = splits["test"]
    assert test.features["label"].names == list(sample_photos.classes)
    for row in test.select(range(3)):
        assert row["file"].split("/")[0] == test.features["label"].int2str(row["label"])
        with Image.open(sample_photos.root / row["file"]) as image:
            assert row["image"].tobytes() == image.tobytes()


def test_a_photo_that_cannot_be_opened_is_left_out(
    sample_photos: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "glass3.jpg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    mine = dataclasses.replace(sample_photos, source="folder", name="mine")
    index = load_index(mine, env)
    assert len(index) == len(mine.files) - 1 and index.attrs["split"] == "random"
