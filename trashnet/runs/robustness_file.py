"""A run's robustness figures on disk: a file for each split that was measured."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from trashnet.errors import RunError
from trashnet.files import mistake, read_json, write_json
from trashnet.runs.contents import Content
from trashnet.runs.run import Run


class Plain(Content):
    """The figures of the unchanged photos, as far as pages show them."""

    accuracy: float
    accuracy_interval: list[float] = Field(min_length=2, max_length=2)


class Row(Content):
    """The figures of one transformation and strength; None where no photo was left."""

    transformation: str
    strength: float
    unit: str
    n: int
    accuracy: float | None
    accuracy_interval: list[float] | None = Field(min_length=2, max_length=2)
    sure: float | None
    change: float | None


class Robustness(Content):
    """The content of a file, as `trashnet.evaluation.robustness.measure` makes it."""

    split: Literal["train", "validation", "test", "excluded"]
    n: int
    mean_transformed: float | None
    plain: Plain
    rows: list[Row]


def slot(split: str) -> str:
    """Returns the name of a split's file; validation's is the one that earlier versions wrote."""
    return "robustness.json" if split == "validation" else f"robustness-{split}.json"


def stored(run: Run, split: str, folder: Path) -> dict[str, Any] | None:
    """Returns what was measured of a split, or None where nothing was.

    Args:
        run: The run, whose own folder is looked in, too.
        split: Whose photos were changed.
        folder: Where measurements are kept (`trashnet.runs.store.results_folder`).

    Raises:
        RunError: The only file there is damaged.
    """
    damage = None
    for name in dict.fromkeys((slot(split), slot("validation"))):  # once, that held any split
        for path in dict.fromkeys((folder / name, run.path / name)):
            if not path.exists():
                continue
            found = read_json(path)
            try:
                if Robustness.model_validate(found).split == split:
                    return found
            except ValidationError as error:
                damage = damage or (mistake(error, name) if name == slot(split) else None)
    if damage:
        raise RunError(f"The robustness figures of {run.id} are damaged: {damage}. Measure again.")
    return None


def keep(folder: Path, result: dict[str, Any]) -> None:
    """Writes a measurement to its split's file; one of another split that was there moves."""
    path = folder / slot(result["split"])
    try:
        before = Robustness.model_validate(read_json(path)).split
    except ValidationError:
        before = result["split"]
    if before != result["split"] and not (folder / slot(before)).exists():
        path.rename(folder / slot(before))
    write_json(path, result)
