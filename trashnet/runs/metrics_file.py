"""The run's own metrics file, one JSON line per epoch and per progress tick."""

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class EpochRow(_Row):
    """What is known after an epoch; before the first, of a pretrained network, no training."""

    kind: Literal["epoch"]
    epoch: int = Field(ge=0)
    loss: float | None = None
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_recall: list[float] | None = None
    val_confusion_matrix: list[list[int]] | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    learning_rate: float | None = None


class TickRow(_Row):
    """How far a long step is."""

    kind: Literal["tick"]
    what: str = ""
    done: int | None = None
    total: int | None = None
    epoch: int | None = None
    images_per_second: float | None = None


_LINE: TypeAdapter[EpochRow | TickRow] = TypeAdapter(
    Annotated[EpochRow | TickRow, Field(discriminator="kind")]
)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a metrics file; lines that are torn or no rows are passed over."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(_LINE.validate_json(line).model_dump(exclude_unset=True))
        except ValidationError:
            continue
    return rows


class MetricsFile:
    """Appends one JSON line at a time to `metrics.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+b", buffering=0)
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """A killed process may have left half a line; the next one must start on its own."""
        if self._file.seek(0, 2):
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, kind: str, **values: Any) -> None:
        """Adds a line of the given kind (`epoch`, `tick`), with the time (s since 1970)."""
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **values})
        self._file.write(line.encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
