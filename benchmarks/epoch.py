"""An epoch of the promised recipe, `cnn_baseline`, from files to weights."""

import tempfile
from pathlib import Path

from benchmarks.measuring import Row, by_turns, row
from benchmarks.photos import some_photos
from benchmarks.pipeline import BATCH, SIZE, flow_from_directory, our_epochs
from trashnet.config import TrainConfig


def measure(quick: bool) -> list[Row]:
    """Returns the row about an epoch; both ways train the same layers on the same photos.

    Ours computes in what a run measures to be faster, which is a part of what it gains.
    """
    import keras

    from trashnet.training.networks import build_model, compiled_model
    from trashnet.training.profiling import chosen_precision

    with tempfile.TemporaryDirectory() as name:
        photos, what = some_photos(Path(name) / "photos", 192 if quick else 1920)
        classes, count = len(photos.classes), len(photos.files)
        epoch = our_epochs(photos, Path(name) / "cache")
        config = TrainConfig.recipe("cnn_baseline")
        precision, _ = chosen_precision(config, 2527)  # as a run on TrashNet chooses it
        model = compiled_model(config, classes, -(-count // BATCH), precision)
        numbers = iter(range(1000))

        def ours() -> None:
            model.fit(epoch(next(numbers)), verbose=0, shuffle=False)

        usual_model = build_model("cnn_baseline", SIZE, classes)
        usual_model.compile(
            "adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
        batches = flow_from_directory(photos)

        def usual() -> None:
            usual_model.fit(batches, verbose=0)

        taken = by_turns(1 if quick else 3, ours, usual)
    return [
        row(
            f"An epoch of cnn_baseline after the first, {what}; ours in {precision}",
            *(count / seconds for seconds in taken),
            "photos/s",
            "ImageDataGenerator and model.fit, in float32",
            2,
        )
    ]
