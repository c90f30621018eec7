"""Photos whose object is known: counted as a plain loop over the pairs counts them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Training
from tests.pages.visiting import open_page, run, words
from trashnet.data.audit_findings import is_one_object
from trashnet.data.dataset import trashnet_pairs
from trashnet.environment import Environment
from trashnet.evaluation.known_objects import of_known_objects
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

SHIPPED = Run(RELEASED)


@pytest.fixture
def leaky(env: Environment) -> Run:
    """The shipped run as if its photos had been divided at random."""
    run = Run(Path(shutil.copytree(RELEASED, env.runs / "leaky-1")))
    rng = np.random.default_rng(0)
    for table, column in (("index", "split"), ("out_of_fold", "fold")):
        path = run.path / f"{table}.parquet"
        photos = pd.read_parquet(path)
        photos.assign(**{column: rng.permutation(photos[column])}).to_parquet(path, index=False)
    return run


def counted(part: dict[str, object], asked: object, learned: tuple[object, ...]) -> int:
    pairs = trashnet_pairs()
    found = set()
    for row in pairs[is_one_object(pairs)].itertuples():
        for one, two in ((row.one, row.two), (row.two, row.one)):
            if part.get(one) == asked and part.get(two) in learned:
                found.add(one)
    return len(found)


def test_photos_of_known_objects_are_counted_in_each_split(leaky: Run) -> None:
    index = leaky.index()
    assert index is not None
    part = dict(zip(index.file, index.split, strict=True))
    learned = ("train", "validation")
    assert of_known_objects(leaky, "test") == counted(part, "test", learned) > 0
    assert of_known_objects(leaky, "validation") == counted(part, "validation", ("train",)) > 0
    assert of_known_objects(leaky, "train") is None
    assert of_known_objects(SHIPPED, "test") == of_known_objects(SHIPPED, "out_of_fold") == 0


def test_out_of_fold_every_fold_asks_the_others(leaky: Run) -> None:
    table = leaky.out_of_fold()
    assert table is not None
    fold = dict(zip(table.file, table.fold, strict=True))
    others = {n: tuple(set(range(5)) - {n}) for n in range(5)}
    total = sum(counted(fold, n, others[n]) for n in range(5))
    assert of_known_objects(leaky, "out_of_fold") == total > 0


def test_of_other_photos_it_is_not_known(training: Training) -> None:
    assert of_known_objects(training.run, "test") is None


@pytest.mark.parametrize("split", ["test", "out_of_fold"])
def test_the_pages_say_it(leaky: Run, split: str) -> None:
    known = of_known_objects(leaky, split)
    page = open_page("Evaluation")
    page.selectbox(key="evaluation_run").set_value(leaky.id)
    page.segmented_control(key="evaluation_split").set_value(split)
    assert f"{known:,} of these" in words(run(page))
    page.selectbox(key="evaluation_run").set_value("released")
    assert "show an object or a print" not in words(run(page))
    if split == "out_of_fold":
        assert f"{known:,} of them show an object" in words(open_page("Home"))
