"""The splits as a `datasets.DatasetDict`."""

from typing import TYPE_CHECKING

import pandas as pd

from trashnet.data.dataset import Photos

if TYPE_CHECKING:
    from datasets import DatasetDict
from trashnet.data.splits import SPLITS


def as_dataset_dict(photos: Photos, index: pd.DataFrame) -> "DatasetDict":
    """Returns the splits as a `datasets.DatasetDict`, to map, save or push.

    Its columns are image, label, file and group: photos that share a group show one object.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    features = Features(
        image=ImageFeature(),
        label=ClassLabel(names=list(photos.classes)),
        file=Value("string"),
        group=Value("int64"),
    )
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {
                    "image": [str(photos.root / file) for file in rows.file],
                    "label": rows.label.tolist(),
                    "file": rows.file.tolist(),
                    "group": rows.group.tolist(),
                },
                features=features,
            )
            for split in SPLITS
            if len(rows := index[index.split == split])
        }
    )
