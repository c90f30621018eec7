"""Photos whose object is known: counted as a plain loop over the pairs counts them."""

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


def counted(part: dict[str, object], asked: object, learned: tuple[object, ...]) -> int:
    pairs = trashnet_pairs()
    found = set()
    for row in pairs[is_one_object(pairs)].itertuples():
        for one, two in ((row.one, row.two), (row.two, row.one)):
            if part.get(one) == asked and part.get(two) in learned:
                found.add(one)
    return len(found)


def test_photos_of_known_objects_are_counted_in_each_split() -> None:
    index = SHIPPED.index()
    assert index is not None
    part = dict(zip(index.file, index.split, strict=True))
    learned = ("train", "validation")
    assert of_known_objects(SHIPPED, "test") == counted(part, "test", learned) > 0
    assert of_known_objects(SHIPPED, "validation") == counted(part, "validation", ("train",)) > 0
    assert of_known_objects(SHIPPED, "train") is None


def test_out_of_fold_every_fold_asks_the_others() -> None:
    table = SHIPPED.out_of_fold()
    assert table is not None
    fold = dict(zip(table.file, table.fold, strict=True))
    others = {n: tuple(set(range(5)) - {n}) for n in range(5)}
    total = sum(counted(fold, n, others[n]) for n in range(5))
    assert of_known_objects(SHIPPED, "out_of_fold") == total > 0


def test_of_other_photos_it_is_not_known(training: Training) -> None:
    assert of_known_objects(training.run, "test") is None


@pytest.mark.parametrize("split", ["test", "out_of_fold"])
def test_the_pages_say_it(env: Environment, split: str) -> None:
    known = of_known_objects(SHIPPED, split)
    page = open_page("Evaluation")
    page.segmented_control(key="evaluation_split").set_value(split)
    assert f"{known:,} of these" in words(run(page))
    if split == "out_of_fold":
        assert f"{known:,} of them show an object" in words(open_page("Home"))
