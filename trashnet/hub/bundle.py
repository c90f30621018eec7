"""The files of a finished run that are for everyone."""

import json
import shutil
from pathlib import Path

from trashnet.errors import RunError
from trashnet.files import write_json
from trashnet.runs.damage import damage_of
from trashnet.runs.run import Run

SHIPPED = (
    "index.parquet",
    "model.tflite",
    "head.npz",
    "projection.npz",
    "predictions.parquet",
    "out_of_fold.parquet",
    "evaluation.json",
    "robustness.json",
)
"""What of a run is for everybody as it is; not every run has all of them."""


def ship(run: Run, folder: Path, more: tuple[str, ...] = ()) -> None:
    """Copies what of a finished run is for everybody: no paths, no notes, nothing to resume with.

    Args:
        run: A finished run.
        folder: An empty folder.
        more: Names of further files of the run, copied where it has them.

    Raises:
        RunError: The run is not finished, or damaged.
    """
    if not run.is_finished:
        raise RunError(f"The run {run.id} is not finished; only a finished run can be published.")
    if damage := damage_of(run):
        raise RunError(f"The run {run.id} is damaged: {damage}; train it again to publish it.")
    for name in (*SHIPPED, *more):
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, folder / name)
    data = run.config["data"] | {"root": ""}
    write_json(folder / "config.json", run.config | {"data": data, "review": []})
    status = run.status()
    shown = {"state": "finished", "epoch": status.epoch, "seconds": status.seconds}
    write_json(folder / "status.json", shown)
    epochs = (json.dumps(row) + "\n" for row in run.metrics() if row["kind"] == "epoch")
    (folder / "metrics.jsonl").write_text("".join(epochs))
