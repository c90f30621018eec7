"""Photos whose label may be wrong: a model that never saw them is sure of another class."""

import numpy as np
import pandas as pd

from trashnet.inference.calibration import probabilities


def suspects(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Ranks photos by how surely out-of-fold answers give them another class than their label.

    A photo is suspected when its probability of another class is at least what photos *of* that
    class get on average, so a class that is always answered with little confidence is no excuse.
    Source: confident learning, Northcutt et al., "Confident learning: estimating uncertainty in
    dataset labels" (2021).

    Args:
        table: An out-of-fold table (`trashnet.evaluation.report.out_of_fold`).
        classes: Class names, in the order of the logits.

    Returns:
        The suspected photos, the surest first: file, label, suspected (the other class),
        confidence (its probability) and own (the label's probability).
    """
    p = probabilities(np.stack(table.logits.to_numpy()), table.temperature.to_numpy()[:, None])
    numbers = table.label.map({name: i for i, name in enumerate(classes)}).to_numpy()
    rows = np.arange(len(p))
    usual = np.array(
        [p[numbers == c, c].mean() if (numbers == c).any() else 2.0 for c in range(p.shape[1])]
    )
    others = np.where(p >= usual, p, -1.0)
    others[rows, numbers] = -1.0
    best = others.argmax(axis=1)
    found = pd.DataFrame(
        {
            "file": table.file,
            "label": table.label,
            "suspected": np.array(classes)[best],
            "confidence": p[rows, best],
            "own": p[rows, numbers],
        }
    )
    found = found[others[rows, best] > p[rows, numbers]]
    return found.sort_values("confidence", ascending=False, ignore_index=True)
