"""Two runs are compared on the photos they share, by a test that chance passes."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos
from trashnet.errors import RunError
from trashnet.evaluation.comparison import compare, comparison_json, differing_settings
from trashnet.runs.run import Run
from trashnet.runs.store import new_run

CLASSES = ("glass", "metal")


def make(folder: Path, photos: Photos, answers: dict[str, bool], **settings: object) -> Run:
    """Makes a run whose test answers are right or wrong as told, by file."""
    run = new_run(folder, TrainConfig(**settings), photos)
    logits = [[1.0, 0, 0, 0, 0, 0] if right else [0, 1.0, 0, 0, 0, 0] for right in answers.values()]
    table = pd.DataFrame({"file": list(answers), "split": "test", "label": run.classes[0]})
    other = pd.DataFrame(
        {
            "file": ["train.jpg"],
            "split": ["train"],
            "label": [run.classes[0]],
            "logits": [[0.0] * 6],
        }
    )
    table = pd.concat([table.assign(logits=logits), other])
    table.to_parquet(run.path / "predictions.parquet")
    return run


def by_hand(first: int, second: int) -> float:
    """The two-sided exact p-value of McNemar's test: both tails of a fair coin."""
    n, k = first + second, min(first, second)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 5), (9, 1), (1, 9), (12, 0), (3, 1)])
def test_the_p_value_is_that_of_a_fair_coin(
    first: int, second: int, tmp_path: Path, sample_photos: Photos
) -> None:
    both = itertools.chain(
        ((f"a{i}.jpg", True, False) for i in range(first)),
        ((f"b{i}.jpg", False, True) for i in range(second)),
        ((f"c{i}.jpg", True, True) for i in range(7)),
        ((f"d{i}.jpg", False, False) for i in range(2)),
    )
    rows = list(both)
    one = make(tmp_path, sample_photos, {file: a for file, a, _ in rows})
    two = make(tmp_path, sample_photos, {file: b for file, _, b in reversed(rows)})
    result = compare(one, two)
    assert result.p_value == pytest.approx(by_hand(first, second) if first + second else 1.0)
    assert sorted(result.only_one.file) == sorted(f"a{i}.jpg" for i in range(first))
    assert sorted(result.only_two.file) == sorted(f"b{i}.jpg" for i in range(second))
    assert len(result.table) == len(rows)
    different = result.p_value < 0.05
    better = one.id if first > second else two.id
    expected = f"{better} is better: " if different else "No difference beyond chance"
    assert result.finding.startswith(expected)
    assert comparison_json(result)["p_value"] == result.p_value


def test_only_shared_test_photos_count(tmp_path: Path, sample_photos: Photos) -> None:
    one = make(tmp_path, sample_photos, {"a.jpg": True, "b.jpg": False})
    two = make(tmp_path, sample_photos, {"b.jpg": True, "c.jpg": False})
    result = compare(one, two)
    assert result.table.file.tolist() == ["b.jpg"]
    assert np.array_equal(result.table[["one_right", "two_right"]].to_numpy(), [[False, True]])


def test_runs_without_a_shared_photo_cannot_be_compared(
    tmp_path: Path, sample_photos: Photos
) -> None:
    one = make(tmp_path, sample_photos, {"a.jpg": True})
    two = make(tmp_path, sample_photos, {"b.jpg": True})
    with pytest.raises(RunError, match="share no test photo"):
        compare(one, two)


def test_only_differing_settings_are_listed(tmp_path: Path, sample_photos: Photos) -> None:
    one = make(tmp_path, sample_photos, {"a.jpg": True}, epochs=3, seed=1)
    two = make(tmp_path, sample_photos, {"a.jpg": True}, epochs=9, seed=1)
    table = differing_settings([one, two])
    assert table.index.tolist() == ["epochs"]
    assert table.loc["epochs"].tolist() == [3, 9]
    assert differing_settings([one, one]).empty
