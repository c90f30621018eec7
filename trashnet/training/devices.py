"""What a network is trained on: one device, or several GPUs of a machine together."""

import tensorflow as tf


def strategy(batch: int) -> tf.distribute.Strategy:
    """Returns the way a network has to be built to be trained on what this machine has.

    Of several GPUs each takes an equal part of every batch, so that a batch is as large as
    configured and a run learns the same on one GPU and on eight. Networks that are built, or
    loaded, within `scope()` of what is returned are trained that way; one device needs nothing,
    and gets TensorFlow's default.

    Args:
        batch: Photos in a full batch; as many GPUs are used as divide it.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    used = max((n for n in range(1, gpus + 1) if batch % n == 0), default=0)
    if used < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(used)])
