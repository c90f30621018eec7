"""Prints what keeping objects together costs classifiers that learn no features.

Five folds, three seeds, on the frozen embeddings, of a logistic regression and of the nearest
neighbour, which feels a leak most: photos dealt one by one, by the objects that look alike from
several similarities on, and by those and the prints in common. No network is trained.
Run: python -m tools.group_cost
"""

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from trashnet.data.audit import near_duplicates
from trashnet.data.dataset import small_trashnet
from trashnet.data.scan import scan
from trashnet.environment import environment, quiet_tensorflow
from trashnet.training.embedding import embed_and_audit

SEEDS = (0, 1, 2)


def accuracies(
    model: ClassifierMixin, embeddings: np.ndarray, labels: pd.Series, groups: np.ndarray | None
) -> list[float]:
    """Returns the out-of-fold accuracy of each seed."""
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    found = []
    for seed in SEEDS:
        folds = kind(5, shuffle=True, random_state=seed)
        predicted = cross_val_predict(model, embeddings, labels, groups=groups, cv=folds)
        found.append(float((predicted == labels).mean()))
    return found


def main() -> None:
    """Audits the photos, or reads the cache, and prints a row per grouping."""
    quiet_tensorflow()
    env = environment()
    photos = small_trashnet(env)
    embeddings, found = embed_and_audit(photos, scan(photos, env.cache), env.cache)
    facts = found.facts
    embeddings = embeddings[pd.factorize(scan(photos, env.cache).sha256)[0]]
    kept = ~facts.flag.str.contains("conflict").to_numpy()
    embeddings, facts = embeddings[kept], facts[kept]
    ways: dict[str, np.ndarray | None] = {"photo by photo": None}
    for line in (0.90, 0.86, 0.82, 0.80, 0.78):
        ways[f"{line:.2f}"] = near_duplicates(embeddings, same_object=line)[1]
    ways["0.80 and prints"] = facts.group.to_numpy()
    print(f"{'dealt by':>16}  objects  photos  largest  logistic regression  nearest neighbour")
    for name, groups in ways.items():
        sizes = np.ones(1, int) if groups is None else np.unique(groups, return_counts=True)[1]
        row = f"{name:>16}  {(sizes > 1).sum():7}  {sizes[sizes > 1].sum():6}  {sizes.max():7}"
        # Embeddings have length 1; 30 brings them to the scale the default penalty is made for.
        for model in (LogisticRegression(C=0.3, max_iter=300), KNeighborsClassifier(1)):
            of_seeds = accuracies(model, 30 * embeddings, facts.label, groups)
            row += f"  {np.mean(of_seeds):.3f} ({min(of_seeds):.3f}–{max(of_seeds):.3f})"
        print(row, flush=True)


if __name__ == "__main__":
    main()
