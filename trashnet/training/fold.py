"""The photos of one fold of a training: divided, decoded and labelled."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, reopen_photos
from trashnet.data.index import another_fold, class_weights, known_groups, load_index
from trashnet.data.scan import scan
from trashnet.data.splits import check_left
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import write_atomically
from trashnet.progress import Progress
from trashnet.runs.run import Run
from trashnet.training.embedding import embed_and_audit
from trashnet.training.input_pipeline import decode_photos


@dataclass(frozen=True)
class Fold:
    """What one fold is trained on; without folds, that is the run.

    Attributes:
        run: Its directory.
        config: Its settings.
        index: One row a photo: its file, label and split.
        pixels: `(n, size, size, 3) uint8`, in the index's order.
        labels: `(n,) int64` class numbers.
    """

    run: Run
    config: TrainConfig
    index: pd.DataFrame
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Returns the index rows of one split."""
        return np.flatnonzero(self.index.split == split)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weight of each class in the loss, `(classes,)`."""
        weights = class_weights(self.index.label.iloc[self.rows("train")], self.run.classes)
        return weights if self.config.class_weights else np.ones_like(weights)


def prepare(run: Run, env: Environment, on_progress: Progress) -> Fold:
    """Returns the fold's photos, divided as when the run was made, and decoded.

    Raises:
        TrashnetError: They are not the photos the run was made for, or cannot be read.
    """
    config, data = run.train_config, run.config["data"]
    photos = reopen_photos(Path(data["root"]), data["name"], data["source"], env)
    if photos.classes != run.classes:
        raise RunError("The photos' classes changed since the run was made; start a new run.")
    if len(photos.files) != data["photos"]:  # they would be divided differently
        raise RunError(
            f"There were {data['photos']} photos when the run was made and are "
            f"{len(photos.files)} now; bring them back or start a new run."
        )
    index = _index(run, photos, env, on_progress)
    pixels = decode_photos(photos, index, config.image_size, env.cache, on_progress)
    numbers = {name: i for i, name in enumerate(photos.classes)}
    return Fold(run, config, index, pixels, index.label.map(numbers).to_numpy(np.int64))


def _index(run: Run, photos: Photos, env: Environment, on_progress: Progress) -> pd.DataFrame:
    """Divides the photos under the decisions of the time the run was made, once for good."""
    stored, config = run.path / "index.parquet", run.train_config
    if (known := run.index()) is not None:
        return known
    # A further fold is of the first one's division, whatever has been found out since.
    first = run.first_fold.index()
    if first is not None:
        index = another_fold(
            first,
            config.split,
            config.seed,
            config.fold,
            config.exclude_conflicts,
            run.decisions,
        )
    else:
        scanned = scan(photos, env.cache, on_progress)
        if config.split == "object" and known_groups(photos, scanned, env.cache) is None:
            embed_and_audit(photos, scanned, env.cache, on_progress)
        index = load_index(
            photos,
            env,
            config.split,
            config.seed,
            config.exclude_conflicts,
            run.decisions,
            test_fold=config.fold,
        )
    check_left(index, photos.classes)  # objects, where they were not known, divide otherwise
    write_atomically(stored, lambda path: index.to_parquet(path, index=False))
    return index
