"""Cached ways from files to what pages show. A cache is keyed by the files it was read from."""

import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages.shared.owner import locked, owner_only
from trashnet.config import TrainConfig
from trashnet.data.audit_findings import known_pairs
from trashnet.data.dataset import Photos, find_photos, has_photos, trashnet_facts, use_samples
from trashnet.data.download import fetch_trashnet
from trashnet.data.image_io import as_png, inside, load_photo
from trashnet.data.index import deal, known_groups, review_of, reviewed
from trashnet.data.leakage import Way, ways_to_split
from trashnet.data.scan import scan
from trashnet.data.synthetic import SAMPLE_CLASSES, draw_sample
from trashnet.data.thumbnails import make_thumbnails, stored_thumbnail
from trashnet.environment import Environment, environment
from trashnet.errors import PhotoError, TrashnetError
from trashnet.evaluation.comparison import Comparison, compare
from trashnet.evaluation.slices import slices
from trashnet.inference.classifier import Classifier, Prediction
from trashnet.inference.explain import explain
from trashnet.progress import Progress
from trashnet.runs.augmentation_preview import AUGMENTATION, Preview
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED, list_runs

Result = TypeVar("Result")


def env() -> Environment:
    """Returns where things live on this machine."""
    return environment()


# ---------------------------------------------------------------- photos


def photos_if_any() -> Photos | None:
    """Returns the data set, or None where there is none yet.

    Raises:
        TrashnetError: What is there is damaged.
    """
    if not has_photos(env()):
        return None
    kept = _opened()
    key = (env().home, env().data)
    photos = kept.get(key)
    if photos is None or photos[1] != _stamps(photos[0]):
        found = find_photos(env(), progress_bar())
        photos = kept[key] = (found, _stamps(found))
    return photos[0]


@st.cache_resource(show_spinner=False)
def _opened() -> dict[Any, tuple[Photos, tuple[int | None, ...]]]:
    """Data sets that were opened: every part of a page asks for them, and 40,000 take a while."""
    return {}


def _stamps(photos: Photos) -> tuple[int | None, ...]:
    """What changes when a photo or class comes or goes, or the zip they are from does."""
    folders = [photos.root.parent, photos.root, *(photos.root / name for name in photos.classes)]
    return tuple(_mtime(path) for path in (*folders, env().data) if path is not None)


def _mtime(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def require_photos(otherwise: Callable[[], None] | None = None) -> Photos:
    """Returns the data set; where there is none, offers to get one and ends the page there.

    Args:
        otherwise: Draws what the page has to offer without photos, before it ends.
    """
    photos = None
    try:
        photos = photos_if_any()
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
    else:
        if photos is None:
            _offer_photos()
    if photos is None:
        if otherwise is not None:
            otherwise()
        st.stop()
    if photos.is_sample:
        st.info(
            "These are drawn sample pictures, not photos: every page works with them, but no "
            "figure says anything about waste.",
            icon=":material/draw:",
        )
        if env().data is None and st.button(
            "Fetch TrashNet (43 MB) instead",
            icon=":material/download:",
            key="photos_instead",
            **locked(),
        ):
            _get(fetch_trashnet)
    return photos


def _offer_photos() -> None:
    st.subheader("No photos on this machine yet")
    st.write(
        f"TrashNet is a 43 MB download from the Hugging Face Hub; it is kept in "
        f"`{env().photos}`. Sample pictures are drawn here in a few seconds and need no network."
    )
    with st.container(horizontal=True):
        fetch = st.button(
            "Fetch TrashNet (43 MB)",
            type="primary",
            icon=":material/download:",
            key="photos_fetch",
            **locked(),
        )
        draw = st.button(
            "Draw sample pictures", icon=":material/draw:", key="photos_draw", **locked()
        )
    st.caption(
        "Photos of your own: set `TRASHNET_DATA` to a folder of class folders, or a zip of one, "
        "and start the app again."
    )
    if fetch or draw:
        _get(fetch_trashnet if fetch else use_samples)


@owner_only
def _get(photos_from: Callable[[Environment, Progress], Photos]) -> None:
    """Gets photos under a progress bar and starts the page again; or says why it cannot."""
    try:
        photos_from(env(), progress_bar())
    except TrashnetError as error:
        st.error(str(error), icon=":material/error:")
        st.stop()
    st.rerun()


def progress_bar() -> Progress:
    """Returns a progress callback that draws a bar where it is first called, until it is full."""
    bar = None

    def on_progress(done: int, total: int, what: str) -> None:
        nonlocal bar
        if bar is None:
            bar = st.progress(0.0)
        bar.progress(min(1.0, done / max(1, total)), f"{what}: {done:,} of {total:,}")
        if done >= total:
            bar.empty()
            bar = None

    return on_progress


def scanned(photos: Photos) -> pd.DataFrame:
    """Returns the scan of the photos; the first time it reads them all, under a bar."""
    if len(photos.files) < _MANY:
        return scan(photos, env().cache, progress_bar())
    kept, key = _scans(), (photos.root, env().cache)
    table, stamps, at = kept.get(key, (None, None, 0.0))
    now = time.monotonic()
    if table is None or stamps != _stamps(photos) or now - at > _SCAN_SECONDS:
        table = scan(photos, env().cache, progress_bar())
        kept[key] = (table, _stamps(photos), now)
    return table


_MANY, _SCAN_SECONDS = 5_000, 30.0
"""From so many photos on, one that was overwritten in place is noticed only after so long: to ask
the disk about 40,000 at every click takes half a second."""


@st.cache_resource(show_spinner=False)
def _scans() -> dict[Any, tuple[pd.DataFrame, tuple[int | None, ...], float]]:
    return {}


def index(photos: Photos, scanned: pd.DataFrame, split: str, seed: int) -> pd.DataFrame:
    """Returns the index of the photos under a way of splitting."""
    groups = known_groups(photos, scanned, env().cache)
    dealt = _dealt(photos, scanned, split, seed, groups)
    return reviewed(dealt, decisions=review_of(photos, env()).latest())


@st.cache_data(max_entries=8, show_spinner="Dividing the photos")
def _dealt(
    _photos: Photos,  # the scan tells two data sets apart
    scanned: pd.DataFrame,
    split: str,
    seed: int,
    groups: pd.Series | None,
) -> pd.DataFrame:
    return deal(_photos, scanned, split, seed, groups)


def splits_of(photos: Photos, scanned: pd.DataFrame) -> list[str]:
    """Returns the ways these photos can be split, the best first."""
    known = known_groups(photos, scanned, env().cache) is not None
    return ["object"] * known + ["random"] + ["authors"] * photos.is_trashnet


def thumb(root: Path, file: str, size: int = 160) -> bytes:
    """Returns a photo's thumbnail as JPEG bytes.

    Raises:
        OSError: There is no such file.
        PhotoError: It is no picture, or its name leads out of the folder.
    """
    path = inside(root, file)
    return _thumb(str(path), path.stat().st_mtime_ns, size, str(env().cache / "thumbnails"))


@st.cache_data(max_entries=2_000, show_spinner=False)
def _thumb(path: str, mtime: int, size: int, folder: str) -> bytes:
    return stored_thumbnail(Path(path), size, Path(folder))


def make_thumbs(root: Path, files: Sequence[str], size: int = 160) -> None:
    """Makes the thumbnails that are not on disk yet, at once."""
    paths = []
    for file in files:
        with contextlib.suppress(PhotoError):  # where its place is drawn, it is said
            paths.append(inside(root, file))
    make_thumbnails(paths, size, env().cache / "thumbnails")


def leaks(photos: Photos, scanned: pd.DataFrame) -> dict[str, Way] | None:
    """Returns the ways to split these photos, carried out; None before an audit.

    Raises:
        TrashnetError: There are too few photos to split.
    """
    groups, pairs = (known(photos, scanned, env().cache) for known in (known_groups, known_pairs))
    if groups is None or pairs is None:
        return None
    facts = scanned.loc[scanned.error.isna(), ["file", "label"]].reset_index(drop=True)
    facts["group"] = facts.file.map(groups).astype(int)
    return _leaks(facts, pairs, trashnet_facts().authors_split if photos.is_trashnet else None)


@st.cache_data(max_entries=4, show_spinner="Splitting the photos in every way")
def _leaks(facts: pd.DataFrame, pairs: pd.DataFrame, authors: pd.Series | None) -> dict[str, Way]:
    return ways_to_split(facts, pairs, authors)


# ---------------------------------------------------------------- augmentation


def preview() -> Preview:
    """Returns the process that augments photos, one for all visitors; it starts when asked."""
    return _preview(str(env().home))


@st.cache_resource(max_entries=1, show_spinner=False, on_release=lambda worker: worker.close())
def _preview(home: str) -> Preview:
    return Preview(env())


def squared(root: Path, file: str, size: int) -> bytes:
    """Returns a photo as a network is given it, square, as a PNG; raises as `thumb`."""
    path = inside(root, file)
    return _squared(str(path), path.stat().st_mtime_ns, size)


@st.cache_data(max_entries=200, show_spinner=False)
def _squared(path: str, mtime: int, size: int) -> bytes:
    return as_png(load_photo(path, size))


def variants(
    root: Path, files: tuple[str, ...], config: TrainConfig, count: int
) -> list[list[bytes]]:
    """Returns for each photo what training would be fed of it in so many epochs, as PNGs.

    Raises:
        TrashnetError: A photo cannot be read, or the process that augments gives no answer.
    """
    paths = tuple(str(inside(root, file)) for file in files)
    try:
        stamps = tuple(Path(path).stat().st_mtime_ns for path in paths)
    except OSError as error:
        raise TrashnetError(f"The photo {error.filename} is gone; choose another.") from error
    matters = {name: getattr(config, name) for name in (*AUGMENTATION, "image_size", "seed")}
    return _variants(paths, stamps, tuple(matters.items()), count)


@st.cache_data(max_entries=300, show_spinner=False)
def _variants(
    paths: tuple[str, ...],
    stamps: tuple[int, ...],
    settings: tuple[tuple[str, Any], ...],
    count: int,
) -> list[list[bytes]]:
    return preview().variants(list(map(Path, paths)), TrainConfig(**dict(settings)), count)


# ---------------------------------------------------------------- runs


def runs() -> list[Run]:
    """Returns all runs, newest first."""
    return list_runs(env().runs)


def finished_runs() -> list[Run]:
    """Returns the runs with a model and an evaluation: own ones, newest first, then the shipped."""
    return [run for run in [*runs(), Run(RELEASED)] if run.is_finished]


def answering_runs() -> list[Run]:
    """Returns the finished runs, the one to answer with first.

    Those that know photos come before those that know drawings, those of the photos in use before
    others, and then those that did best on validation; a quick try does not become the app's model.
    """
    try:
        photos = photos_if_any()
    except TrashnetError:
        photos = None

    def rank(run: Run) -> tuple[bool, bool, float]:
        of_others = photos is not None and run.config["data"]["name"] != photos.name
        return run.is_sample, of_others, -validation_accuracy(run)

    return sorted(finished_runs(), key=rank)


def validation_accuracy(run: Run) -> float:
    """Returns the share of its validation photos that a finished run gets right."""
    return run.evaluation()["splits"].get("validation", {}).get("accuracy", 0.0)


def photo_root(run: Run) -> Path:
    """Returns where a run's photos are: where it was trained, else where they are found now."""
    root = run.config["data"]["root"]
    if root and Path(root).is_dir():
        return Path(root)
    try:
        photos = photos_if_any()
    except TrashnetError:
        photos = None
    return photos.root if photos else Path(root)


def photo_file(run: Run, file: str) -> Path | None:
    """Returns where a photo of a run is, or None where it is not on this machine."""
    try:
        path = inside(photo_root(run), file)
    except PhotoError:  # a run's tables may be from somebody else
        return None
    return path if path.is_file() else None


def active_run() -> Run | None:
    """Returns the run that trains, else one that waits to, else None."""
    active = [(run.status().state != "waiting", run) for run in runs() if run.status().is_active]
    return max(active, key=lambda pair: pair[0])[1] if active else None


def predictions(run: Run) -> pd.DataFrame:
    """Returns a finished run's predictions table."""
    path = run.path / "predictions.parquet"
    return _predictions(str(run.path), path.stat().st_mtime_ns if path.exists() else 0)


def out_of_fold(run: Run) -> pd.DataFrame | None:
    """Returns a run's out-of-fold table, or None where there are no folds."""
    path = run.path / "out_of_fold.parquet"
    return _out_of_fold(str(run.path), path.stat().st_mtime_ns) if path.exists() else None


def run_index(run: Run) -> pd.DataFrame | None:
    """Returns a run's index, every photo as it saw them, or None without one."""
    path = run.path / "index.parquet"
    return _run_index(str(path), path.stat().st_mtime_ns) if path.exists() else None


@st.cache_data(max_entries=8, show_spinner=False)
def _run_index(path: str, mtime: int) -> pd.DataFrame:
    return pd.read_parquet(path)


@st.cache_data(max_entries=16, show_spinner="Comparing slices")
def slices_of(path: str, stamp: int, said: pd.DataFrame) -> pd.DataFrame:
    """Returns how answers differ between slices of a run's photos."""
    run = Run(Path(path))
    return slices(said, run_index(run), run.classes)


@st.cache_data(max_entries=8, show_spinner=False)
def _out_of_fold(path: str, mtime: int) -> pd.DataFrame | None:
    return Run(Path(path)).out_of_fold()


@st.cache_data(max_entries=8, show_spinner=False)
def _predictions(path: str, mtime: int) -> pd.DataFrame:
    return Run(Path(path)).predictions()


def comparison(one: Run, two: Run) -> Comparison:
    """Returns two finished runs' comparison on the test photos they share."""
    stamps = [(run.path / "predictions.parquet").stat().st_mtime_ns for run in (one, two)]
    return _comparison(str(one.path), str(two.path), *stamps)


@st.cache_data(max_entries=8, show_spinner=False)
def _comparison(one: str, two: str, *stamps: int) -> Comparison:
    return compare(Run(Path(one)), Run(Path(two)))


def classifier(run: Run) -> Classifier:
    """Returns a finished run's model, loaded once for all visitors."""
    path = run.path / "model.tflite"
    return _classifier(str(run.path), path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _classifier(path: str, mtime: int) -> Classifier:
    return Classifier(Run(Path(path)))


_REMEMBERED = 12
"""Answers and maps that a visit keeps: those of three photos and two models, of a quarter of a
megabyte each at 224 pixels."""


def answer(run: Run, content: bytes) -> Prediction:
    """Returns a model's answer for an upload.

    Raises:
        TrashnetError: It is no picture, or the run has no model.
    """
    return _remembered("answer", run, content, lambda: classifier(run).classify(content))


def evidence(run: Run, content: bytes, label: str) -> NDArray[np.float32]:
    """Returns the map of what spoke for a class in an upload, `(h, w)`."""
    said = answer(run, content)
    return _remembered(
        f"evidence for {label}",
        run,
        content,
        lambda: explain(classifier(run), content, label, said),
    )


def stamp(run: Run) -> int:
    """Returns what changes when a run is evaluated anew; 0 where it is not, or no longer there."""
    path = run.path / "evaluation.json"
    return path.stat().st_mtime_ns if path.exists() else 0


def _remembered(what: str, run: Run, content: bytes, work: Callable[[], Result]) -> Result:
    """Works something out once a visit; what visitors send leaves no trace in a shared cache."""
    key = (what, str(run.path), stamp(run), hashlib.sha256(content).digest())
    kept: dict[Any, Result] = st.session_state.setdefault("answers", {})
    if key not in kept:
        kept[key] = work()
        while len(kept) > _REMEMBERED:
            del kept[next(iter(kept))]
    return kept[key]


_BATCH_TURN = threading.Lock()  # of the module: any visitor can have Streamlit's caches cleared


def batch_turn() -> threading.Lock:
    """Returns what a batch holds while it is answered: one at a time, single photos go between."""
    return _BATCH_TURN


def examples(run: Run) -> dict[str, bytes]:
    """Returns a picture of each class that a run was not trained on, by what to call it."""
    found: dict[str, bytes] = {}
    table = predictions(run)
    for label in run.classes:
        files = table.file[(table.split == "test") & (table.label == label)]
        path = photo_file(run, files.iloc[0]) if len(files) else None
        if path is not None:
            found[label] = path.read_bytes()
    return found or _drawn_examples()


@st.cache_data(show_spinner=False)
def _drawn_examples() -> dict[str, bytes]:
    found = {}
    for label in SAMPLE_CLASSES:
        file = io.BytesIO()
        draw_sample(label, seed=7).save(file, "JPEG", quality=90)
        found[label] = file.getvalue()
    return found
