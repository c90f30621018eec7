"""How many photos that a run was measured on show an object it learned from, as known today.

A run keeps the split it was trained on. Which photos show one object may be found out later, and a
random split never asked.
"""

from trashnet.data.audit_findings import SAME_OBJECT, is_one_object
from trashnet.data.dataset import trashnet_pairs
from trashnet.data.editions import is_trashnet
from trashnet.data.leakage import Way
from trashnet.runs.run import Run


def of_known_objects(run: Run, split: str) -> int | None:
    """Counts the photos of a split that show an object or print the model also learned from.

    Args:
        run: A finished run.
        split: `validation` or `test`; or `out_of_fold`, whose photos each have a fold.

    Returns:
        The count, or None where it is not known: the photos are not TrashNet's.
    """
    index = run.index()
    if index is None or split == "train" or not is_trashnet(index):
        return None
    parts = index.set_index("file").split
    if split == "validation":
        divided = [parts.map({"train": "train", "validation": "test"})]
    elif split == "test":
        divided = [parts]
    elif (answered := run.out_of_fold()) is not None:
        fold = answered.set_index("file").fold
        divided = [(fold == n).map({True: "test", False: "train"}) for n in sorted(fold.unique())]
    else:
        return None
    pairs = trashnet_pairs()
    pairs = pairs[is_one_object(pairs)]  # once: there are five folds
    return sum(len(Way(split, pairs).leaking(SAME_OBJECT)) for split in divided)
