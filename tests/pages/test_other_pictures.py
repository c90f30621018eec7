"""Other pictures under TrashNet's file names are in use: no page takes them for the released run's.

They are all magenta, which no photo of TrashNet is.
"""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.testing.v1 import AppTest

from tests.pages.visiting import PAGES, ROOT, pictures, run, words
from tests.pictures import shipped_photos
from trashnet.data.dataset import choose_photos
from trashnet.data.editions import contents
from trashnet.environment import Environment
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture for every photo of TrashNet, each of its own content."""
    root = tmp_path_factory.mktemp("others") / "photos"
    for file in contents().index:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 36), "magenta").save(root / file, comment=file)
    return root


@pytest.fixture(params=["TRASHNET_DATA", "chosen"])
def in_use(
    request: pytest.FixtureRequest, others: Path, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> Path:
    if request.param == "chosen":
        choose_photos(env, others)
    else:
        monkeypatch.setenv("TRASHNET_DATA", str(others))
    return others


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Image.Image]:
    """Every picture that a page sends to the browser."""
    found: list[Image.Image] = []
    send = MemoryMediaFileStorage.load_and_get_id

    def noted(self: MemoryMediaFileStorage, content: bytes, mimetype: str, *rest: object) -> str:
        if mimetype.startswith("image/"):
            found.append(Image.open(io.BytesIO(content)))
        return send(self, content, mimetype, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMediaFileStorage, "load_and_get_id", noted)
    return found


def is_other(picture: Image.Image) -> bool:
    red, green, blue = np.asarray(picture.convert("RGB")).mean(axis=(0, 1))
    return bool(min(red, blue) > 200 and green < 60)


def visit(name: str, **address: str) -> AppTest:
    page = AppTest.from_file(ROOT / PAGES[name], default_timeout=120)
    for key, value in address.items():
        page.query_params[key] = value
    return run(page)


def test_what_is_looked_for_is_found_if_it_is_there(in_use: Path, shown: list[Image.Image]) -> None:
    visit("Dataset", dataset_tab="Photos")
    assert len(shown) == 60 and all(map(is_other, shown))


@pytest.mark.parametrize("tab", ["Errors", "Label errors"])
def test_the_evaluation_shows_the_photos_of_the_package(
    in_use: Path, shown: list[Image.Image], tab: str
) -> None:
    page = visit("Evaluation", evaluation_tab=tab, evaluation_split="out of fold")
    assert len(shown) >= 12 and not any(map(is_other, shown))
    assert len(pictures(page)) == len(shown) and not page.info
    assert not [b for b in page.button if "relabel" in (b.key or "")]


@pytest.mark.parametrize("name", ["Evaluation", "Dataset"])
def test_the_dialog_takes_none_for_the_other(
    in_use: Path, shown: list[Image.Image], name: str
) -> None:
    table = Run(RELEASED).out_of_fold()
    assert table is not None
    file = str(table.file.iloc[0])
    page = visit(name, photo=file, evaluation_split="out of fold")
    assert f"{file}, full size" in pictures(page)
    ours = [not is_other(picture) for picture in shown]
    assert ("A model that never saw this photo" in words(page)) == (name == "Evaluation")
    if name == "Evaluation":
        assert all(ours)
    else:  # the picture in use, of which the run has said nothing, beside the run's nearest
        assert not all(ours) and sum(ours) >= 5


def test_the_map_colours_none_by_the_runs_answers(
    in_use: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = contents().index
    places = pd.DataFrame({"file": files, "map_x": range(len(files)), "map_y": 0.0})
    monkeypatch.setattr("trashnet.data.audit_findings.known_places", lambda *_: places)
    page = visit("Dataset", dataset_tab="Map", map_colour="model's answer")
    (chart,) = [c for c in page.get("plotly_chart") if "map_chart" in c.proto.id]
    spec = json.loads(chart.proto.spec)
    assert [trace["name"] for trace in spec["data"]] == [f"not answered ({len(files):,})"]
    assert "None of these photos was classified" in chart.proto.spec


def test_no_label_is_suggested_for_them(in_use: Path) -> None:
    page = visit("Dataset", dataset_tab="Audit", audit_kind="suspected label")
    assert "Suspected labels need a run with five folds on these photos" in words(page)


@pytest.mark.parametrize(("name", "place"), [("Home", "home_photo"), ("Classify", None)])
def test_the_nearest_training_photos_are_the_runs_own(
    in_use: Path, shown: list[Image.Image], name: str, place: str | None
) -> None:
    page = visit(name)
    del shown[:]
    content = shipped_photos()["glass/glass1.jpg"]
    page.file_uploader[0].upload("mine.webp", content, "image/webp")
    run(page)
    assert len([alt for alt in pictures(page) if ".jpg: " in alt]) == 5
    assert len(shown) >= 6 and not any(map(is_other, shown))
