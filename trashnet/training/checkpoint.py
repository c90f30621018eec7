"""Checkpoints: what a training needs to go on after its process ended."""

import zipfile
from pathlib import Path

import keras

from trashnet.errors import RunError
from trashnet.files import read_json, write_atomically, write_json


class Checkpoint:
    """The last epoch, with its optimizer, and the best epoch by validation.

    `state.json` is replaced last, so a process killed at any moment leaves a usable checkpoint.
    """

    def __init__(self, run_path: Path) -> None:
        self._folder = run_path / "checkpoint"
        self._folder.mkdir(exist_ok=True)
        state = read_json(self._folder / "state.json")
        if not (isinstance(state, dict) and {"epoch", "best"} <= state.keys()):
            state = None  # torn: the training begins anew
        self.exists = state is not None
        self.epoch: int = state["epoch"] if state else 0
        self._best = tuple(state["best"]) if state else None

    def load(self) -> keras.Model | None:
        """Returns the model as it was after epoch `self.epoch`, or None before the first."""
        return self._read(self._file(self.epoch), compile=True) if self.exists else None

    def best(self) -> keras.Model:
        """Returns the network of the best epoch."""
        return self._read(self._folder / "best.keras")

    def pretrained(self) -> keras.Model:
        """Returns the network as it was before its first epoch, with its fitted head."""
        return self._read(self._file(0))

    def _read(self, path: Path, compile: bool = False) -> keras.Model:
        try:
            return keras.saving.load_model(path, compile=compile, safe_mode=True)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The checkpoint {path.name} cannot be read; delete {self._folder} to train the "
                "run from its first epoch."
            ) from error

    def save(self, model: keras.Model, epoch: int, score: tuple[float, ...]) -> None:
        """Keeps the model after `epoch`; the highest score (compared in order) is the best."""
        write_atomically(self._file(epoch), model.save)
        if self._best is None or score > self._best:
            self._best = score
            # The same layers in a model that was never compiled: the optimizer is twice their size.
            bare = keras.Model(model.input, model.output, name=model.name)
            write_atomically(self._folder / "best.keras", bare.save)
        write_json(self._folder / "state.json", {"epoch": epoch, "best": self._best})
        self.epoch, self.exists = epoch, True
        for path in self._folder.glob("epoch-*.keras"):
            if path not in (self._file(epoch), self._file(0)):
                path.unlink()

    def _file(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:04d}.keras"
