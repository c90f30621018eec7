"""A convolution that trains well without batch statistics, and its plain form for afterwards.

Normalising the kernel instead of the feature map costs the same whatever the photo's size, so it is
cheap on a CPU, and the network computes the same function in training and after it.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

_RELU_GAIN = float(np.sqrt(2 / (1 - 1 / np.pi)))
"""Makes up for what ReLU takes from a unit normal's variance."""


@keras.saving.register_keras_serializable("trashnet")
class StandardizedConv2D(layers.Layer):
    """A padded convolution and ReLU whose kernel has mean 0 and a learned scale per filter.

    `(n, h, w, c)` → `(n, ceil(h / strides), ceil(w / strides), filters)`.

    Source: Brock, De & Smith, "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets" (2021), scaled weight standardization.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weights: kernel, a gain per filter, a bias per filter."""
        self._shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        # A matrix with a column per filter, because Keras' Muon makes steps of matrices only.
        size = (math.prod(self._shape[:3]), self.filters)
        # Not cast: a mean over hundreds of bfloat16 weights would be a coarse one.
        self.kernel = self.add_weight(
            shape=size, initializer="he_normal", autocast=False, name="kernel"
        )
        self.gain = self.add_weight(
            shape=(self.filters,), initializer="ones", autocast=False, name="gain"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def effective_kernel(self) -> Any:
        """Returns the kernel the convolution uses, `(size, size, c, filters) float32`."""
        mean, variance = ops.moments(self.kernel, axes=0)
        fan_in = self.kernel.shape[0]
        scale = _RELU_GAIN * self.gain * ops.rsqrt(ops.maximum(variance * fan_in, 1e-4))
        return ops.reshape((self.kernel - mean) * scale, self._shape)

    def call(self, inputs: Any) -> Any:
        """Convolves."""
        kernel = ops.cast(self.effective_kernel(), self.compute_dtype)
        convolved = ops.conv(inputs, kernel, strides=self.strides, padding="same")
        return ops.relu(convolved + self.bias)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the layer anew."""
        own = {n: getattr(self, n) for n in ("filters", "kernel_size", "strides")}
        return super().get_config() | own

    def plain(self) -> layers.Conv2D:
        """Returns Keras' own layer that will compute the same once given `plain_weights`."""
        return layers.Conv2D(
            self.filters,
            self.kernel_size,
            self.strides,
            padding="same",
            activation="relu",
            name=self.name,
            dtype="float32",
        )

    def plain_weights(self) -> list[NDArray[np.float32]]:
        """Returns the weights of `plain`: kernel and bias."""
        return [ops.convert_to_numpy(w) for w in (self.effective_kernel(), self.bias)]


def deployed(model: keras.Model) -> keras.Model:
    """Returns the same network in float32 and of Keras' own layers alone, as it is saved and asked.

    Args:
        model: A network as it is trained, in whatever precision; returned itself if it is so.
    """
    if all(_is_plain(layer) for layer in model.layers):
        return model

    def plain(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, StandardizedConv2D):
            return layer.plain()
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    clone = keras.models.clone_model(model, clone_function=plain)
    for before, after in zip(model.layers, clone.layers, strict=True):
        is_ours = isinstance(before, StandardizedConv2D)
        after.set_weights(before.plain_weights() if is_ours else before.get_weights())
    return clone


def _is_plain(layer: keras.Layer) -> bool:
    return layer.compute_dtype == "float32" and not isinstance(layer, StandardizedConv2D)
