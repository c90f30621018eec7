"""What a person decided: keep, exclude or relabel a photo; that two show one object or two.

The decisions lie in one JSON file per data set, in the order they were made, so the last one
can be taken back. Each is about a content, so it is found again where a photo or its folder was
renamed. The photos themselves are never touched.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from filelock import FileLock

from trashnet.errors import DataError
from trashnet.files import read_json, write_json

Action = Literal["keep", "exclude", "relabel", "same", "different"]

OF_PAIRS: tuple[Action, ...] = ("same", "different")


@dataclass(frozen=True)
class Decision:
    """One decision about one photo, or about two.

    Attributes:
        file: The photo's key.
        action: `keep` it although it is flagged, `exclude` it from every split, or `relabel` it;
            of two photos, that they show the `same` object or `different` ones.
        label: The new class, for `relabel`.
        note: Why.
        time: When (UTC).
        sha256: The photo's content; None in files of older versions, which know only its name.
        moved: Whether it was found again, by content, in other photos than it was made on.
        other: The second photo's key, where it is about two.
        other_sha256: Its content.
    """

    file: str
    action: Action
    label: str | None = None
    note: str = ""
    time: str = ""
    sha256: str | None = None
    moved: bool = False
    other: str | None = None
    other_sha256: str | None = None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What it is known by in every review file that it was carried on to."""
        return self.time, self.sha256, self.other_sha256, self.action, self.label, self.note

    @property
    def about(self) -> str:
        """The photo's key, or `pair_key` of two."""
        return self.file if self.other is None else pair_key(self.file, self.other)

    @property
    def words(self) -> str:
        """Says it in a word or two."""
        past = {
            "keep": "kept",
            "exclude": "excluded",
            "relabel": f"relabelled {self.label}",
            "same": "one object",
            "different": "two objects",
        }
        return past[self.action]


def pair_key(one: str, two: str) -> str:
    """Returns what decisions about two photos go by, whichever is named first."""
    return " and ".join(sorted((one, two)))


def found_again(decisions: Iterable[Decision], photos: pd.DataFrame) -> list[Decision | None]:
    """Returns each decision with the names its photos have now, or None where one is not there.

    Of several copies it is the one of the same name; where none or many are, it is unknown which.

    Args:
        decisions: In the order of what is returned.
        photos: Rows of file and sha256.
    """
    decisions = list(decisions)
    content = dict(zip(photos.file, photos.sha256, strict=True))
    wanted = {sha256 for d in decisions for sha256 in (d.sha256, d.other_sha256) if sha256}
    copies = photos[photos.sha256.isin(wanted)].groupby("sha256").file.agg(list)

    def find(file: str, sha256: str | None) -> str | None:
        if file in content and sha256 in (None, content[file]):
            return file
        same = copies.get(sha256, [])
        named = [other for other in same if Path(other).name == Path(file).name]
        found = named or same
        return found[0] if len(found) == 1 else None

    def renamed(decision: Decision) -> Decision | None:
        file = find(decision.file, decision.sha256)
        other = decision.other and find(decision.other, decision.other_sha256)
        if file is None or (decision.other and not other):
            return None
        moved = decision.moved or (file, other) != (decision.file, decision.other)
        return dataclasses.replace(decision, file=file, other=other, moved=moved)

    return [renamed(decision) for decision in decisions]


class Review:
    """The decisions about one data set, in a file.

    Args:
        path: The JSON file; it need not exist yet.
        root: Folder of the photos; without it, decisions know only their names.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self._path, self._root = path, root

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
        """Returns the decision that holds for each reviewed photo or pair, by `Decision.about`."""
        return {decision.about: decision for decision in self.history()}

    def decide(
        self,
        file: str,
        action: Action,
        label: str | None = None,
        note: str = "",
        other: str | None = None,
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
            other: The second photo's key, for `same` and `different` only.
            files: Keys of the data set's photos.
            classes: Its classes.

        Raises:
            DataError: There is no such photo, class or action.
        """
        for named in (file, other):
            if named is not None and named not in files:
                raise DataError(f"There is no photo {named!r}; a key looks like {files[0]!r}.")
        if action not in get_args(Action):
            raise DataError(f"{action!r} is no decision; choose {', '.join(get_args(Action))}.")
        if (action == "relabel") != (label is not None) or label not in {None, *classes}:
            raise DataError(
                f"To relabel, name one of {', '.join(classes)}; other decisions take no class."
            )
        if (action in OF_PAIRS) != (other is not None) or other == file:
            raise DataError("Name two photos to say whether they show one object, else one.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        decision = self._with_content(Decision(file, action, label, note, now, other=other))
        with self._lock():
            self._write([*self.history(), decision])
        return decision

    def add_contents(self) -> None:
        """Adds the photos' contents to decisions of older versions, which know only names."""
        if all(decision.sha256 for decision in self.history()):
            return
        with self._lock():
            history = self.history()
            known = [d if d.sha256 else self._with_content(d) for d in history]
            if known != history:
                self._write(known)

    def begin(self, decisions: Iterable[Decision]) -> None:
        """Starts the file with decisions that were found elsewhere, unless there is one by now."""
        with self._lock():
            if not self._path.exists():
                self._write(list(decisions))

    def _with_content(self, decision: Decision) -> Decision:
        return dataclasses.replace(
            decision,
            sha256=self._content(decision.file),
            other_sha256=self._content(decision.other),
        )

    def _content(self, file: str | None) -> str | None:
        if self._root is None or file is None:
            return None
        try:
            return hashlib.sha256((self._root / file).read_bytes()).hexdigest()
        except OSError:  # gone, or not to be read
            return None

    def undo(self, about: str | None = None) -> Decision | None:
        """Takes the last decision back and returns it; None when there is none.

        Args:
            about: Takes back the last one about this photo or pair, whatever was decided since.
        """
        with self._lock():
            history = self.history()
            for i in reversed(range(len(history))):
                if about in (None, history[i].about):
                    self._write(history[:i] + history[i + 1 :], history[i])
                    return history[i]
        return None

    def _lock(self) -> FileLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._path.with_suffix(".lock"))

    def taken_back(self) -> list[Decision]:
        """Returns what was undone, so that it is not found again in the file of an older copy."""
        return [Decision(**entry) for entry in (read_json(self._path) or {}).get("taken_back", [])]

    def _write(self, history: list[Decision], *undone: Decision) -> None:
        lists = {"decisions": history, "taken_back": [*self.taken_back(), *undone]}
        entries = {name: [dataclasses.asdict(d) for d in made] for name, made in lists.items()}
        write_json(self._path, {"schema": 1, **entries})
