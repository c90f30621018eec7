"""What a training will take, from a few steps of it; TensorFlow runs in a process of its own."""

import contextlib
import json
import math
import subprocess
from dataclasses import dataclass

from trashnet.config import TRAIN_SHARE, TrainConfig, option
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.files import digest, read_json, write_json
from trashnet.runs.processes import run_child

_START_SECONDS = 15
"""Importing TensorFlow, building the network, exporting it."""

_PATIENCE_SECONDS = 300

_MATTERS = ("model", "image_size", "batch_size", "precision", "optimizer", "mirrored_views")
"""The settings a step or an answer costs by; augmentation is made while the network computes."""


@dataclass(frozen=True)
class Cost:
    """What was measured on this machine.

    Attributes:
        step: Seconds of a training step; 0 where nothing is trained by steps.
        photo: Seconds to answer one photo.
        memory: Bytes the process had.
    """

    step: float
    photo: float
    memory: int

    def seconds(self, config: TrainConfig, photos: int) -> float:
        """Returns the seconds a training on so many photos takes, all folds together."""
        steps = config.epochs * math.ceil(TRAIN_SHARE * photos / config.batch_size)
        # Every photo is predicted at the end; about as many passes serve head and validation.
        return _START_SECONDS + config.folds * (steps * self.step + 2 * photos * self.photo)

    def sentence(self, config: TrainConfig, photos: int) -> str:
        """Says it to a person."""
        seconds = self.seconds(config, photos)
        long = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"About {long} and {self.memory / 1e9:.1f} GB of memory on this machine."


def measured(config: TrainConfig, env: Environment) -> Cost:
    """Returns what a run of this configuration costs here, measured once per network and size.

    Raises:
        RunError: The measurement failed; the sentence says why.
    """
    store = env.cache / "costs.json"
    known = read_json(store)
    known = known if isinstance(known, dict) else {}
    key = digest(json.dumps([getattr(config, name) for name in _MATTERS]))
    with contextlib.suppress(KeyError, TypeError):  # not known, or the file is damaged
        return Cost(**known[key])
    known[key] = _measure_in_a_process(config, env)
    env.cache.mkdir(parents=True, exist_ok=True)
    write_json(store, known)
    return Cost(**known[key])


def _measure_in_a_process(config: TrainConfig, env: Environment) -> dict[str, float]:
    settings = " ".join(option(name, getattr(config, name)) for name in _MATTERS).split()
    try:
        done = run_child(["estimate", "--json", *settings], env, _PATIENCE_SECONDS)
        if done.returncode == 0:
            return json.loads(done.stdout)
        reason = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        reason = [type(error).__name__]
    raise RunError(f"The cost could not be measured: {reason[0]}")
