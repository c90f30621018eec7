"""An exported model, run by LiteRT."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trashnet.errors import RunError
from trashnet.progress import cores

EXPORT_TOLERANCE = 0.02
"""Largest difference in a probability that a model's other form may make on a real photo."""


class LiteModel:
    """A `model.tflite`: pixels in, logits and feature map out.

    Raises:
        RunError: The file is missing or no such model.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        # Imported here: it loads a native library that pages without answers need not.
        from ai_edge_litert.interpreter import Interpreter

        if not path.exists():
            raise RunError(f"The run {path.parent.name} has no model yet; let it finish first.")
        try:
            # Mapped from the file, not copied: several runs may be open at once.
            self._interpreter = Interpreter(str(path), num_threads=threads or cores())
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RunError(f"{path} is not a readable LiteRT model ({error}).") from error
        # An interpreter holds one photo's tensors, so one thread at a time.
        self._lock = threading.Lock()
        (entry,) = self._interpreter.get_input_details()
        self._input = entry["index"]
        self.image_size = int(entry["shape"][1])
        by_rank = {len(o["shape"]): o["index"] for o in self._interpreter.get_output_details()}
        if set(by_rank) != {2, 4}:
            raise RunError(f"{path} is not a readable LiteRT model of logits and feature map.")
        self._logits, self._feature_map = by_rank[2], by_rank[4]

    def __call__(
        self, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Maps `(size, size, 3) uint8` to logits `(classes,)` and feature map `(h, w, d)`."""
        with self._lock:
            self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32))
            self._interpreter.invoke()
            logits = self._interpreter.get_tensor(self._logits)[0]
            return logits, self._interpreter.get_tensor(self._feature_map)[0]
