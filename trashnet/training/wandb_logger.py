"""Sends a run's figures to Weights & Biases, where that was asked for.

A failure is logged once and training goes on.
"""

import io
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from trashnet.data.image_io import thumbnail
from trashnet.environment import Environment, wandb_login
from trashnet.runs.run import Run

log = logging.getLogger("trashnet")

_INIT_SECONDS = 15
"""How long a start may wait for the W&B service before the run is kept offline."""

_FINISH_SECONDS = 60
"""How long the last upload may take; what is not sent stays in the run's `wandb` folder."""

_MISTAKES = 100
"""How many misclassified photos are logged at most."""

_MODEL_FILES = ("model.tflite", "head.npz", "projection.npz", "evaluation.json")


class WandbRun:
    """A Weights & Biases run that never asks, never waits long and never stops a training.

    Args:
        run: The run to log; its id is the W&B run's id, so a resumed run continues its curves.
        env: Tells whether there is a key.
    """

    def __init__(self, run: Run, env: Environment) -> None:
        self._wandb: Any = None
        self._run: Any = None
        mode = _mode(run.train_config.tracking, env)
        if mode == "off":
            return
        if mode == "online" and not (env.wandb_key or wandb_login()):
            log.warning("No Weights & Biases key was found, so this run is kept offline.")
            mode = "offline"
        try:
            self._start(run, mode)
        except Exception as error:  # whatever the service does, the training goes on
            self._give_up(error)

    def _start(self, run: Run, mode: str) -> None:
        import wandb

        def init(mode: Any) -> Any:
            return wandb.init(
                project="trashnet",
                id=run.id,
                name=run.id,
                resume="allow",
                dir=run.path,
                mode=mode,
                # No more than the figures need: paths and review notes stay on this machine.
                config={key: run.config[key] for key in ("train_config", "classes", "versions")},
                settings=wandb.Settings(
                    init_timeout=_INIT_SECONDS,
                    finish_timeout=_FINISH_SECONDS,
                    finish_timeout_raises=True,
                    silent=True,
                    console="off",  # the log names folders of this machine
                    disable_git=True,
                    x_disable_machine_info=True,
                ),
            )

        self._wandb = wandb
        try:
            self._run = init(mode)
        except (wandb.errors.Error, OSError) as error:
            if mode == "offline":
                raise
            log.warning(
                "Weights & Biases did not answer (%s); the run is kept offline.",
                type(error).__name__,
            )
            wandb.teardown()  # else its service says that the run's id is in use
            self._run = init("offline")

    def _give_up(self, error: Exception) -> None:
        log.warning(
            "Weights & Biases failed (%s: %s); metrics.jsonl still gets every number.",
            type(error).__name__,
            str(error).splitlines()[0] if str(error) else "no reason given",
        )
        self._run = None

    def log_epoch(self, values: dict[str, Any]) -> None:
        """Logs an epoch's scalars."""
        if self._run is not None:
            try:
                self._run.log(values, step=values["epoch"])
            except Exception as error:
                self._give_up(error)

    def log_evaluation(self, evaluation: dict[str, Any], classes: tuple[str, ...]) -> None:
        """Logs every split's figures to the summary, and the test confusion matrix as a chart."""
        if self._run is None:
            return
        try:
            for split, report in evaluation["splits"].items():
                for name in ("accuracy", "macro_f1", "nll", "ece"):
                    self._run.summary[f"{split}/{name}"] = report[name]
                for label, scores in report["per_class"].items():
                    for name in ("precision", "recall", "f1"):
                        self._run.summary[f"{split}/{name}/{label}"] = scores[name]
            matrix = evaluation["splits"]["test"]["confusion_matrix"]
            true, predicted = _matrix_as_pairs(matrix)
            chart = self._wandb.plot.confusion_matrix(
                y_true=true, preds=predicted, class_names=list(classes), title="Test photos"
            )
            self._run.log({"test/confusion_matrix": chart})
        except Exception as error:
            self._give_up(error)

    def log_mistakes(self, mistakes: pd.DataFrame, root: Path) -> None:
        """Logs the test photos that were answered wrongly, the surest first, as a table.

        Args:
            mistakes: Rows of file, label, predicted and confidence.
            root: Folder the files are relative to.
        """
        if self._run is None:
            return
        try:
            table = self._wandb.Table(columns=["photo", "file", "true", "predicted", "confidence"])
            for row in mistakes.head(_MISTAKES).itertuples():
                picture = Image.open(io.BytesIO(thumbnail(root / row.file)))
                table.add_data(
                    self._wandb.Image(picture), row.file, row.label, row.predicted, row.confidence
                )
            self._run.log({"test/mistakes": table})
        except Exception as error:
            self._give_up(error)

    def log_model(self, run: Run) -> None:
        """Logs the exported model with what is needed to read its answers, as an artifact."""
        if self._run is None:
            return
        try:
            artifact = self._wandb.Artifact(f"model-{run.id}", type="model")
            for name in _MODEL_FILES:
                if (run.path / name).exists():
                    artifact.add_file(str(run.path / name))
            self._run.log_artifact(artifact)
        except Exception as error:
            self._give_up(error)

    def finish(self) -> None:
        """Ends the W&B run; when it returns, what was logged is sent or in the run's folder."""
        if self._run is not None:
            try:
                self._run.finish()
                # An offline run's file is written by W&B's service, shortly after `finish`.
                self._wandb.teardown()
            except Exception as error:
                self._give_up(error)


def _mode(tracking: str, env: Environment) -> str:
    """The more private of what the run and `WANDB_MODE` name; a key asks for a run that is auto."""
    asked = ("online" if env.wandb_key else "off") if tracking == "auto" else tracking
    return min(asked, env.wandb_mode or "online", key=["off", "offline", "online"].index)


def _matrix_as_pairs(matrix: list[list[int]]) -> tuple[list[int], list[int]]:
    """W&B draws a confusion matrix from one true and one predicted class per photo."""
    pairs = [
        (true, predicted)
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        for _ in range(count)
    ]
    return [t for t, _ in pairs], [p for _, p in pairs]
