"""What a person decided about single photos: keep, exclude or relabel, each with a reason.

The decisions lie in one JSON file per data set, in the order they were made, so the last one
can be taken back. The photos themselves are never touched.
"""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock

from trashnet.errors import DataError
from trashnet.files import read_json, write_json

Action = Literal["keep", "exclude", "relabel"]


@dataclass(frozen=True)
class Decision:
    """One decision about one photo.

    Attributes:
        file: The photo's key.
        action: `keep` it although it is flagged, `exclude` it from every split, or `relabel` it.
        label: The new class, for `relabel`.
        note: Why.
        time: When (UTC).
    """

    file: str
    action: Action
    label: str | None = None
    note: str = ""
    time: str = ""

    @property
    def words(self) -> str:
        """Says it in a word or two."""
        past = {"keep": "kept", "exclude": "excluded", "relabel": f"relabelled {self.label}"}
        return past[self.action]


class Review:
    """The decisions about one data set, in a file.

    Args:
        path: The JSON file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def history(self) -> list[Decision]:
        """Returns every decision in the order it was made.

        Raises:
            DataError: The file is there but cannot be read.
        """
        stored = read_json(self._path)
        if stored is None and not self._path.exists():
            return []
        try:
            return [Decision(**entry) for entry in stored["decisions"]]
        except (TypeError, KeyError) as error:
            raise DataError(
                f"The review file {self._path} is damaged; mend it or move it away."
            ) from error

    def latest(self) -> dict[str, Decision]:
        """Returns the decision that holds for each reviewed photo."""
        return {decision.file: decision for decision in self.history()}

    def decide(
        self,
        file: str,
        action: Action,
        label: str | None = None,
        note: str = "",
        *,
        files: tuple[str, ...],
        classes: tuple[str, ...],
    ) -> Decision:
        """Adds a decision.

        Args:
            file: The photo's key.
            action: What to do with it.
            label: The new class, for `relabel` only.
            note: Why.
            files: Keys of the data set's photos.
            classes: Its classes.

        Raises:
            DataError: There is no such photo, class or action.
        """
        if file not in files:
            raise DataError(f"There is no photo {file!r}; a key looks like {files[0]!r}.")
        if action not in get_args(Action):
            raise DataError(f"{action!r} is no decision; choose {', '.join(get_args(Action))}.")
        if (action == "relabel") != (label is not None) or label not in {None, *classes}:
            raise DataError(
                f"To relabel, name one of {', '.join(classes)}; other decisions take no class."
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        decision = Decision(file, action, label, note, now)
        with self._lock():
            self._write([*self.history(), decision])
        return decision

    def undo(self, file: str | None = None) -> Decision | None:
        """Takes the last decision back and returns it; None when there is none.

        Args:
            file: Takes back the last one about this photo, whatever was decided since.
        """
        with self._lock():
            history = self.history()
            for i in reversed(range(len(history))):
                if file in (None, history[i].file):
                    self._write(history[:i] + history[i + 1 :])
                    return history[i]
        return None

    def _lock(self) -> FileLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._path.with_suffix(".lock"))

    def _write(self, history: list[Decision]) -> None:
        entries: list[dict[str, Any]] = [dataclasses.asdict(decision) for decision in history]
        write_json(self._path, {"schema": 1, "decisions": entries})
