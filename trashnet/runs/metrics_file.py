"""The run's own metrics file, one JSON line per epoch and per progress tick."""

import json
import time
from pathlib import Path
from typing import Any


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
