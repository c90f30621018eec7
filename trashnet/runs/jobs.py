"""Commands that a page starts and follows: each a process of its own, seen by its files.

A job leaves three files in the folder it is given: `<name>.job.json`, its process;
`<name>.progress.json`, how far it is; and `<name>.log`, what it said. Whoever looks sees the same,
after a reload or a restart of the app as before.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import read_json, write_json
from trashnet.progress import Progress
from trashnet.runs.processes import launch, living, tail


@dataclass(frozen=True)
class Job:
    """A command at work on a folder, or one that was.

    Attributes:
        folder: Where its files are.
        name: Of its files.
    """

    folder: Path
    name: str

    def start(self, arguments: Sequence[str], env: Environment) -> None:
        """Starts `python -m trashnet` with these arguments, which must know `--progress`.

        Raises:
            RunError: It is at work already, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._file("lock")):  # two presses at once start one process
                if self.is_running:
                    raise RunError("This is being worked on already; wait for it, or stop it.")
                self._file("progress.json").unlink(missing_ok=True)
                self._file("log").write_text("")
                command = [*arguments, "--progress", str(self._file("progress.json"))]
                process = launch(command, env, self._file("log"))
                write_json(self._file("job.json"), process)
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be written ({error.strerror}), so nothing was started."
            ) from error

    @property
    def is_running(self) -> bool:
        """Whether its process is at work."""
        return self._process() is not None

    @property
    def failure(self) -> str:
        """What it said last, where it neither finished nor was stopped; else ''."""
        known, finished = self._known(), self._progress().get("finished")
        if not known or known.get("stopped") or finished or self.is_running:
            return ""
        return self.said or "it ended without a word, perhaps for want of memory."

    @property
    def said(self) -> str:
        """The last line it said."""
        return tail(self._file("log"), 1)

    def progress(self) -> tuple[int, int, str]:
        """Returns how much is done, of how much, and what is being done; (0, 0, '') at first."""
        found = self._progress()
        return int(found.get("done", 0)), int(found.get("total", 0)), str(found.get("what", ""))

    def seconds_left(self) -> float | None:
        """Returns how long what is being done will still take (s), or None before that is known."""
        left = self._progress().get("seconds_left")
        return None if left is None else float(left)

    def stop(self) -> None:
        """Ends the process; what it has finished so far is up to the command."""
        process = self._process()
        write_json(self._file("job.json"), self._known() | {"stopped": True})
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.terminate()
                process.wait(10)

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    def _known(self) -> dict[str, Any]:
        return _read(self._file("job.json"))

    def _progress(self) -> dict[str, Any]:
        return _read(self._file("progress.json"))

    def _process(self) -> psutil.Process | None:
        known = self._known()
        return living(known.get("pid"), known.get("process_started"))


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def finish(path: Path) -> None:
    """Notes in a progress file that the command has done all it was to do."""
    with contextlib.suppress(OSError):
        write_json(path, _read(path) | {"finished": True})


def progress_file(path: Path, every: float = 0.5) -> Progress:
    """Returns a progress callback that writes to a file, atomically.

    Args:
        path: JSON of done, total, what, and seconds_left of that.
        every: Seconds between two writings; a change of what is being done is written at once.
    """
    last, written = "", 0.0
    began, done_before = 0.0, 0

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal last, written, began, done_before
        now = time.monotonic()
        if what == last and done < total and now - written < every:
            return
        if what != last:
            began, done_before = now, done  # of an interrupted step much is done at once
        last, written = what, now
        done_since = done - done_before
        left = (now - began) * (total - done) / done_since if done_since > 0 else None
        with contextlib.suppress(OSError):  # a full disk must not end what is being done
            said = {"done": done, "total": total, "what": what, "seconds_left": left}
            write_json(path, said)

    return on_progress
