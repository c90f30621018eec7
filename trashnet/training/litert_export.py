"""From a trained Keras network to the LiteRT model the app answers with."""

import contextlib
import io
import logging

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trashnet.errors import RunError
from trashnet.inference.calibration import probabilities
from trashnet.inference.litert import EXPORT_TOLERANCE, LiteModel

log = logging.getLogger("trashnet")


def to_litert(model: keras.Model) -> bytes:
    """Converts a network to LiteRT with float16 weights."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    with contextlib.redirect_stdout(io.StringIO()):  # it lists every variable
        return converter.convert()


def check_export(model: keras.Model, lite: LiteModel, pixels: NDArray[np.uint8]) -> None:
    """Compares the exported model with Keras on real photos.

    Raises:
        RunError: A probability differs by more than `EXPORT_TOLERANCE`.
    """
    ours = probabilities(np.stack([lite(photo)[0] for photo in pixels]))
    # In small batches: four views of each photo may be looked at.
    theirs = probabilities(model.predict(np.asarray(pixels, np.float32), 16, verbose=0))
    difference = float(np.abs(ours - theirs).max())
    log.info("exported model: largest difference in a probability %.2g", difference)
    if not difference <= EXPORT_TOLERANCE:  # so that a difference of nan is refused too
        raise RunError(
            f"The exported model differs from the trained one by {difference:.3f} in a "
            "probability; the run is not usable."
        )
