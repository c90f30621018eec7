"""Augmented photos for the app: asks a small warm process, which holds TensorFlow, for them."""

import base64
import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trashnet.config import TrainConfig
from trashnet.environment import Environment
from trashnet.errors import TrashnetError
from trashnet.runs.processes import child, tail

MOST_PHOTOS = 4

MOST_VARIANTS = 12

AUGMENTATION = (
    "horizontal_flip",
    "vertical_flip",
    "rotation",
    "zoom",
    "stretch",
    "shift",
    "brightness",
    "contrast",
    "saturation",
    "tint",
    "mixup",
)
"""The settings that change what a network sees of a photo, in the order they act."""

_START_SECONDS = 120

_ANSWER_SECONDS = 60


def alone(config: TrainConfig) -> dict[str, TrainConfig]:
    """Returns, for each transformation that is switched on, the settings with it alone.

    Training draws each one's numbers from a stream of its own, so alone it does what it does
    among the others.
    """
    off = dict.fromkeys(AUGMENTATION, 0.0) | {"horizontal_flip": False, "vertical_flip": False}
    given = config.to_dict()
    return {
        name: config.replace(**off | {name: given[name]}) for name in AUGMENTATION if given[name]
    }


class Preview:
    """One worker process for all who ask, started by the first question.

    It ends when nobody has asked for a while, and with the process that made it, because that
    closes its input; the next question starts another.

    Args:
        env: Of the worker.
        idle: Seconds without a question after which it ends.
    """

    def __init__(self, env: Environment, idle: float = 600) -> None:
        self._env, self._idle = env, idle
        self._turn = threading.Lock()
        self._worker: _Worker | None = None

    @property
    def is_ready(self) -> bool:
        """Whether an answer takes a moment, and TensorFlow need not be started for it."""
        return self._worker is not None and self._worker.process.poll() is None

    @property
    def pid(self) -> int | None:
        """The worker's process, or None where none was started yet."""
        return self._worker.process.pid if self._worker else None

    def variants(
        self, photos: Sequence[Path], config: TrainConfig, count: int
    ) -> list[list[bytes]]:
        """Returns what a training on these photos would be fed of them in so many epochs.

        Returns:
            For each photo its variants, PNG files of `config.image_size` pixels.

        Raises:
            TrashnetError: A photo cannot be read, or the worker does not answer.
        """
        question = {
            "photos": [str(path) for path in photos],
            "settings": config.to_dict(),
            "variants": count,
        }
        answer = self.ask(json.dumps(question))
        if "error" in answer:
            raise TrashnetError(answer["error"])
        epochs = [[base64.b64decode(picture) for picture in epoch] for epoch in answer["pictures"]]
        return [list(of_photo) for of_photo in zip(*epochs, strict=True)]

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line and returns the answer to it; a worker that died is replaced, once.

        Raises:
            TrashnetError: It does not start, or ended twice, or takes too long.
        """
        with self._turn:
            for _ in range(2):
                try:
                    if self._worker is None or not self.is_ready:
                        self._worker = _Worker(self._env, self._idle)
                    return self._worker.ask(line)
                except (OSError, ValueError, EOFError) as error:
                    why = str(error)
                    self.close()
        raise TrashnetError(f"The preview's process gives no answer; try again ({why}).")

    def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.wait()
            self._worker = None


class _Worker:
    """A started worker and the lines it writes."""

    def __init__(self, env: Environment, idle: float) -> None:
        env.cache.mkdir(parents=True, exist_ok=True)
        self._log = env.cache / "preview.log"
        with open(self._log, "wb") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.process = child(["preview", "--idle", str(idle)], env, stderr=log, **pipes)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._answer(_START_SECONDS)  # that it is ready

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)
        self._lines.put(b"")

    def ask(self, line: str) -> dict[str, Any]:
        stdin: Any = self.process.stdin  # a pipe, so never None
        stdin.write(line.encode() + b"\n")
        stdin.flush()
        return self._answer(_ANSWER_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty as error:
            self.process.kill()
            raise EOFError(f"nothing in {seconds:.0f} seconds") from error
        if not line:
            raise EOFError(tail(self._log, 1) or "it ended without a word")
        return json.loads(line)
