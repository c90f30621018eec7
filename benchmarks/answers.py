"""Answers: one photo, many photos, and what a process that answers costs."""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import Row, by_turns, fresh_process, row
from benchmarks.photos import paths_of
from trashnet.data.image_io import load_photo
from trashnet.inference.batch import classify_each
from trashnet.inference.classifier import Classifier
from trashnet.inference.litert import LiteModel
from trashnet.progress import cores
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED
from trashnet.training.export_formats import export_run

_OURS = """
import sys
from pathlib import Path
from trashnet.inference.classifier import Classifier
from trashnet.runs.store import RELEASED
from trashnet.runs.run import Run
Classifier(Run(RELEASED)).classify(Path(sys.argv[1]))
"""

_KERAS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[2])
photo = Image.open(sys.argv[1]).convert("RGB").resize(model.input_shape[1:3])
model.predict(np.asarray(photo, np.float32)[None], verbose=0)
"""


def measure(quick: bool) -> list[Row]:
    """Returns the rows about answering."""
    import onnxruntime
    import tensorflow as tf

    from trashnet.training.networks import build_model

    run, repeats = Run(RELEASED), 15 if quick else 60
    config = run.train_config
    model = build_model(config.model, config.image_size, len(run.classes))
    lite, rows = LiteModel(run.path / "model.tflite"), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = paths_of(48 if quick else 192)

        pixels = load_photo(paths[0], config.image_size)
        batch = pixels[None].astype(np.float32)
        tensor = tf.constant(batch)
        export_run(run, "onnx", folder / "onnx")
        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = cores()  # as many as ours
        onnx = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", threads)
        title = "One photo through the network"
        ours, predict, call = by_turns(
            repeats,
            lambda: lite(pixels),
            lambda: model.predict(batch, verbose=0),
            lambda: np.asarray(model(tensor, training=False)),
        )
        rows.append(row(title, 1000 * ours, 1000 * predict, "ms", "keras.Model.predict", 5))
        rows.append(row(title, 1000 * ours, 1000 * call, "ms", "model(x)"))
        # Not by turns: after each call its threads look for work on our cores for a while.
        (level,) = by_turns(repeats, lambda: onnx.run(["logits", "features"], {"photos": batch}))
        rows.append(row(title, 1000 * ours, 1000 * level, "ms", "ONNX Runtime", 1))

        classifier, content = Classifier(run), paths[0].read_bytes()

        def as_usual() -> None:
            with Image.open(io.BytesIO(content)) as image:
                small = image.convert("RGB").resize((config.image_size, config.image_size))
            model.predict(np.asarray(small, np.float32)[None], verbose=0)

        ours, usual = by_turns(repeats, lambda: classifier.classify(content), as_usual)
        title = "File to ranked answer"
        rows.append(
            row(title, 1000 * ours, 1000 * usual, "ms", "Pillow and keras.Model.predict", 5)
        )

        big = _phone_photo()

        def decode_whole() -> None:
            with Image.open(io.BytesIO(big)) as image:
                image.convert("RGB").resize((config.image_size, config.image_size))

        ours, whole = by_turns(
            max(5, repeats // 4), lambda: load_photo(big, config.image_size), decode_whole
        )
        title = "Reading a photo of 12 megapixels"
        rows.append(row(title, 1000 * ours, 1000 * whole, "ms", "decoding it at full size"))

        def many() -> None:
            for _ in classify_each(run, ((p.name, p) for p in paths)):
                pass

        def one_by_one() -> None:
            for path in paths:
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((config.image_size, config.image_size))
                model.predict(np.asarray(small, np.float32)[None], verbose=0)

        def in_batches() -> None:
            for start in range(0, len(paths), 32):
                photos = [load_photo(p, config.image_size) for p in paths[start : start + 32]]
                model.predict_on_batch(np.stack(photos).astype(np.float32))

        ours, alone, batches = by_turns(1 if quick else 3, many, one_by_one, in_batches)
        title = f"A batch of {len(paths)} files"
        count = len(paths)
        rows.append(
            row(title, count / ours, count / alone, "photos/s", "keras.Model.predict, one by one")
        )
        rows.append(
            row(title, count / ours, count / batches, "photos/s", "predict_on_batch, 32 at once")
        )

        model.save(folder / "model.keras")
        takes, needs = zip(
            *(
                (
                    fresh_process(_OURS, str(paths[0])),
                    fresh_process(_KERAS, str(paths[0]), str(folder / "model.keras")),
                )
                for _ in range(1 if quick else 3)
            ),
            strict=True,
        )
        best = [min(times) for times in (takes, needs)]
        title = "First answer of a new process"
        rows.append(row(title, best[0][0], best[1][0], "s", "loading Keras and the model"))
        title = "Memory of a process that answers"
        rows.append(row(title, best[0][1], best[1][1], "MB", "Keras and the model"))
    return rows


def _phone_photo() -> bytes:
    """A JPEG of 4000 × 3000 pixels with grain, as a phone takes it."""
    photo = np.asarray(Image.open(paths_of(1)[0]).resize((4000, 3000)), np.int16)
    grain = np.random.default_rng(0).normal(0, 6, photo.shape).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray(np.clip(photo + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
