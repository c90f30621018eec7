"""Prints what keeping objects together costs a linear classifier, for several thresholds.

Five folds, three seeds, on the frozen embeddings: no network is trained, and no test photo of the
stored split is treated differently from any other. Run: python -m tools.group_cost
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from trashnet.data.audit import near_duplicates
from trashnet.data.dataset import find_photos
from trashnet.data.quality import flags
from trashnet.data.scan import scan
from trashnet.environment import environment, quiet_tensorflow
from trashnet.training.embedding import embed

SEEDS = (0, 1, 2)


def accuracy(
    embeddings: np.ndarray, labels: pd.Series, groups: np.ndarray | None, seed: int
) -> float:
    """Returns the out-of-fold accuracy of a logistic regression."""
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    predicted = cross_val_predict(
        # Embeddings have length 1; 30 brings them to the scale the default penalty is made for.
        LogisticRegression(C=0.3, max_iter=300),
        30 * embeddings,
        labels,
        groups=groups,
        cv=kind(5, shuffle=True, random_state=seed),
    )
    return float((predicted == labels).mean())


def main() -> None:
    """Embeds the photos, or reads the cache, and prints a row per threshold."""
    quiet_tensorflow()
    env = environment()
    photos = find_photos(env)
    rows = scan(photos, env.cache)
    rows = rows[~pd.Series(flags(rows)).str.contains("conflict")].reset_index(drop=True)
    embeddings = embed(photos, rows, env.cache)
    print("threshold  groups  photos  largest  accuracy  (lowest–highest of the seeds)")
    for threshold in (None, 0.90, 0.86, 0.82, 0.80, 0.78):
        groups = None
        sizes = np.ones(len(rows), int)
        if threshold is not None:
            groups = near_duplicates(embeddings, same_object=threshold)[1]
            sizes = np.unique(groups, return_counts=True)[1]
        found = [accuracy(embeddings, rows.label, groups, seed) for seed in SEEDS]
        print(
            f"{threshold or 'none':>9}  {(sizes > 1).sum():6}  {sizes[sizes > 1].sum():6}  "
            f"{sizes.max():7}  {np.mean(found):8.3f}  ({min(found):.3f}–{max(found):.3f})"
        )


if __name__ == "__main__":
    main()
