"""A run's model in the formats that other programs read."""

import contextlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashnet.data.image_io import load_photo
from trashnet.errors import ConfigError, PhotoError, RunError
from trashnet.files import temporary_folder
from trashnet.inference.calibration import probabilities
from trashnet.inference.litert import EXPORT_TOLERANCE, LiteModel
from trashnet.progress import cores
from trashnet.runs.run import Run
from trashnet.training.mediapipe_export import to_mediapipe

FORMATS = {
    "litert": "model.tflite",
    "keras": "model.keras",
    "onnx": "model.onnx",
    "mediapipe": "model.tflite",
}
"""What a model can be taken along as, and its file."""

_CHECKED = 64
"""Photos on which an export is compared."""

Answering = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def export_run(run: Run, kind: str, folder: Path) -> dict[str, Any]:
    """Writes a finished run's model with its labels and how to feed it, and checks its answers.

    Where the run's photos are on this machine, the answers are compared with the stored ones of
    photos the model was not trained on; elsewhere with the run's own LiteRT model on noise.

    Args:
        run: A finished run.
        kind: One of `FORMATS`.
        folder: Where to; must not exist yet.

    Returns:
        `run`, `format`, `folder`, `files`, and of the check `photos` (their number), `of` (what
        they were) and `difference`, the largest in a probability.

    Raises:
        ConfigError: Unknown format, the folder exists, or the ONNX converter is not installed.
        RunError: The run is not finished, keeps no such model, or the export answers otherwise.
    """
    if kind not in FORMATS:
        raise ConfigError(f"The format is {kind!r}; it must be {', '.join(FORMATS)}.")
    if folder.exists():
        raise ConfigError(f"{folder} exists already; name a new folder with --output.")
    try:
        return _export(run, kind, folder)
    except OSError as error:
        raise ConfigError(f"{folder} could not be written ({error.strerror or error}).") from error


def _export(run: Run, kind: str, folder: Path) -> dict[str, Any]:
    evaluation = run.evaluation()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder) as partial:
        answer = _EXPORTERS[kind](run, partial / FORMATS[kind])
        photos, expected, of = _known_answers(run, kind)
        difference = 0.0
        if photos:
            ours = probabilities(np.stack([answer(photo) for photo in photos]))
            difference = float(np.abs(ours - probabilities(expected)).max())
        if not difference <= EXPORT_TOLERANCE:  # nan is refused, too
            raise RunError(
                f"The exported model differs by {difference:.3f} in a probability from the run's "
                "answers; nothing was written."
            )
        _describe(run, kind, evaluation, partial)
        files = sorted(path.name for path in partial.iterdir())
        partial.rename(folder)
    return {
        "run": run.id,
        "format": kind,
        "folder": str(folder),
        "files": files,
        "photos": len(photos),
        "of": of,
        "difference": difference,
    }


def _export_litert(run: Run, path: Path) -> Answering:
    _copy(run, path)
    model = LiteModel(path)
    return lambda photo: model(photo)[0]


def _export_keras(run: Run, path: Path) -> Answering:
    _copy(run, path)
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(
            f"The run {run.id} is damaged: {path.name} cannot be read. Export it as litert or onnx."
        ) from error
    return lambda photo: model.predict_on_batch(photo[None].astype(np.float32))[0]


def _export_mediapipe(run: Run, path: Path) -> Answering:
    """Rewrites the LiteRT model with one output and metadata."""
    from ai_edge_litert.interpreter import Interpreter

    source = run.path / "model.tflite"
    LiteModel(source)  # says what is wrong where it is missing or damaged
    temperature = float(run.evaluation()["temperature"])
    path.write_bytes(to_mediapipe(source.read_bytes(), run.classes, temperature))
    interpreter = Interpreter(str(path), num_threads=cores())
    interpreter.allocate_tensors()
    (photos,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.set_tensor(photos["index"], photo[None].astype(np.float32))
        interpreter.invoke()
        p = interpreter.get_tensor(output["index"])[0]
        return np.float32(temperature) * np.log(np.maximum(p, np.finfo(np.float32).tiny))

    return answer


def _copy(run: Run, path: Path) -> None:
    if not (run.path / path.name).exists():
        repo = run.config.get("published", {}).get("repo")
        way_on = f"take that file from {repo} on the Hugging Face Hub" if repo else "train it again"
        raise RunError(
            f"The run {run.id} keeps no {path.name}; export it as litert or onnx, or {way_on}."
        )
    shutil.copyfile(run.path / path.name, path)


def _export_onnx(run: Run, path: Path) -> Answering:
    """Converts the LiteRT model, so that the three formats cannot drift apart."""
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ConfigError(
            "ONNX needs three more packages; install them in the checkout with "
            "pip install -e '.[onnx]'."
        ) from error
    LiteModel(run.path / "model.tflite")  # says what is wrong where it is damaged
    with contextlib.redirect_stdout(io.StringIO()):
        model, _ = tf2onnx.convert.from_tflite(str(run.path / "model.tflite"), opset=18)
    shapes = {o.name: len(o.type.tensor_type.shape.dim) for o in model.graph.output}
    names = {model.graph.input[0].name: "photos"}
    names |= {name: "logits" if rank == 2 else "features" for name, rank in shapes.items()}
    _rename(model, names)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda photo: session.run(["logits"], {"photos": photo[None].astype(np.float32)})[0][0]


def _rename(model: Any, names: dict[str, str]) -> None:
    """Gives an ONNX model's inputs and outputs the names people read."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]


_EXPORTERS: dict[str, Callable[[Run, Path], Answering]] = {
    "litert": _export_litert,
    "keras": _export_keras,
    "onnx": _export_onnx,
    "mediapipe": _export_mediapipe,
}


def _known_answers(run: Run, kind: str) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32], str]:
    """Photos, the logits they should get, and what they are."""
    lite = LiteModel(run.path / "model.tflite")
    table = run.predictions()
    table = table[table.split != "train"]
    table = table.iloc[:: max(1, len(table) // _CHECKED)].head(_CHECKED)  # of every class
    root = Path(run.config["data"]["root"] or "nowhere")
    try:
        photos = [load_photo(root / file, lite.image_size) for file in table.file]
        return photos, np.stack(table.logits.to_list()), "photos with stored answers"
    except PhotoError:  # a shipped run's photos are elsewhere
        if kind == "litert":
            return [], np.empty(0, np.float32), "photos, because it is a copy of the run's own file"
        draws = np.random.default_rng(0)
        shape = (lite.image_size, lite.image_size, 3)
        photos = [draws.integers(0, 256, shape, np.uint8) for _ in range(_CHECKED)]
        return photos, np.stack([lite(photo)[0] for photo in photos]), "pictures of noise"


def _describe(run: Run, kind: str, evaluation: dict[str, Any], folder: Path) -> None:
    """Writes `labels.txt`, `preprocessing.json` and a README beside the model."""
    size, n = run.train_config.image_size, len(run.classes)
    is_calibrated = kind == "mediapipe"
    (folder / "labels.txt").write_text("\n".join(run.classes) + "\n")
    preprocessing = {
        "image_size": size,
        "resize": "bilinear, both sides to image_size, the ratio is not kept",
        "channels": "RGB",
        "dtype": "float32",
        "range": [0, 255],
        "layout": "NHWC",
        "probabilities" if is_calibrated else "logits": f"the output of shape (1, {n})",
        "temperature": evaluation["temperature"],
        "threshold": evaluation["threshold"],
    }
    (folder / "preprocessing.json").write_text(json.dumps(preprocessing, indent=2) + "\n")
    outputs = (
        f"Its output, of shape (1, {n}), is the calibrated probabilities of the classes in "
        "`labels.txt`. The file carries these names and how photos go in as TFLite metadata: "
        "MediaPipe's image classifier task (Android, iOS, the web, Python) takes it as it is."
        if is_calibrated
        else f"Of its outputs, the one of shape (1, {n}) is the logits; the other, where "
        "there is one, is the last feature map.\n\n"
        f"Logits ÷ {evaluation['temperature']:.4f}, then softmax, are calibrated probabilities of "
        "the classes in `labels.txt`."
    )
    (folder / "README.md").write_text(
        f"# {run.id} as {kind}\n\n"
        f"`{FORMATS[kind]}` takes photos of {size} × {size} pixels, RGB, float32, values 0 to 255 "
        f"(it scales them itself), as an array of shape (1, {size}, {size}, 3).\n\n"
        "Turn a photo upright by its EXIF orientation, lay transparency on white, and squash it to "
        "the square with a bilinear resize that averages when it shrinks (Pillow's does).\n\n"
        f"{outputs}\n\n"
        f"Below {evaluation['threshold']:.3f} the app says "
        '"not sure"; it says so, too, of photos unlike all it was trained on, which takes the run '
        "itself.\n"
    )
