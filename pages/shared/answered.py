"""What a run answered to the photos of a split, for the tabs of the evaluation page."""

import pandas as pd

from pages.shared import loaders
from pages.shared.widgets import OUT_OF_FOLD
from trashnet.evaluate import answers
from trashnet.runs import Run


def answers_to(run: Run, split: str, temperature: float) -> pd.DataFrame:
    """Returns file, label, predicted and confidence of each photo, the surest first.

    Args:
        run: A finished run.
        split: A split, or `OUT_OF_FOLD`, whose folds each have a temperature of their own.
        temperature: Of the run.
    """
    if split == OUT_OF_FOLD:
        table = loaders.out_of_fold(run)
        return answers(table, run.classes, table.temperature.to_numpy()[:, None])
    table = loaders.predictions(run)
    return answers(table[table.split == split], run.classes, temperature)
