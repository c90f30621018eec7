"""The dataset page's tabs Augmentation, Splits and Publish, through AppTest."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_from_disk
from streamlit.testing.v1 import AppTest

from tests.pages.visiting import is_sentence, open_page, pictures, run, words
from trashnet.config import TrainConfig
from trashnet.data.audit_findings import store_table
from trashnet.data.dataset import Photos
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.errors import TrashnetError
from trashnet.runs.augmentation_preview import Preview
from trashnet.runs.jobs import Job


def open_tab(name: str, way: str = "from home") -> AppTest:
    page = open_page("Dataset", way)
    page.session_state["dataset_tab"] = name
    return run(page)


# ---------------------------------------------------------------- augmentation


def shown(page: AppTest) -> list[str]:
    """The addresses of the pictures, which say what they show: equal pictures, equal address."""
    return [image.proto.imgs[0].url for image in page.get("image")]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    """A worker that has loaded TensorFlow."""
    worker = Preview(Environment(tmp_path_factory.mktemp("preview-home")))
    yield worker
    worker.close()


@pytest.fixture
def warm(started: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker runs already: one server has one, and these tests are one server's visits."""
    monkeypatch.setattr("pages.sections.dataset.augmentation.preview", lambda: started)


def test_a_strength_changes_the_variants_and_not_the_original(samples: Photos) -> None:
    page = open_tab("Augmentation")
    assert len(page.error) == 0
    assert len(pictures(page)) == 2 * 8  # two photos: the original and seven variants
    before = shown(page)
    page.slider(key="augment_rotation").set_value(90.0)
    after = shown(run(page))
    assert after[0] == before[0] and after[8] == before[8]
    assert all(one != two for one, two in zip(after[1:8], before[1:8], strict=True))
    page.slider(key="augment_rotation").set_value(15.0)
    assert shown(run(page)) == before
    page.number_input(key="augment_seed").set_value(1)
    assert shown(run(page))[1:8] != before[1:8]


def test_each_transformation_is_shown_alone(samples: Photos, warm: None) -> None:
    page = open_tab("Augmentation")
    page.segmented_control(key="augment_view").set_value("Each alone")
    run(page)
    said = words(page)
    assert "Rotation" in said and "± 15°" in said and "± 0.2" in said and "Mirror" in said
    assert len(pictures(page)) == 3 * 8


def test_without_any_strength_the_page_says_so(samples: Photos, warm: None) -> None:
    page = open_tab("Augmentation")
    page.pills(key="augment_recipe").set_value("None")
    run(page)
    assert any("Every strength is zero" in info.value for info in page.info)
    assert page.slider(key="augment_rotation").value == 0
    page.segmented_control(key="augment_view").set_value("Each alone")
    assert len(run(page).error) == 0


def test_a_name_that_is_no_photo_is_said_and_the_rest_shown(samples: Photos, warm: None) -> None:
    page = open_tab("Augmentation")
    page.session_state["augment_photos"] = ["glass/glass2.jpg", "../../etc/passwd"]
    run(page)
    (warning,) = [w.value for w in page.warning]
    assert "There is no photo '../../etc/passwd'" in warning and is_sentence(warning)
    assert {alt.split(":")[0] for alt in pictures(page)} == {"glass/glass2.jpg"}
    page.session_state["augment_photos"] = []
    run(page)
    assert pictures(page) == [] and any("Choose up to 4" in i.value for i in page.info)


def test_the_strengths_go_to_the_training_form(samples: Photos, warm: None) -> None:
    page = open_tab("Augmentation")
    page.pills(key="augment_recipe").set_value("Best accuracy")
    run(page)
    page.slider(key="augment_rotation").set_value(40.0)
    page.slider(key="augment_mixup").set_value(0.5)
    run(page)
    page.button(key="augment_use").click()
    page.run()
    page.switch_page("pages/2_Training.py")
    run(page)
    recipe = TrainConfig.recipe("efficientnet_lite2")
    assert page.selectbox(key="training_model").value == "cnn_baseline"
    assert page.slider(key="training_rotation").value == 40.0
    assert page.slider(key="training_mixup").value == 0.5
    assert page.slider(key="training_zoom").value == recipe.zoom
    assert page.checkbox(key="training_vertical_flip").value
    assert "As in the preview" in words(page)
    page.selectbox(key="training_model").set_value("efficientnetv2_b0")
    run(page)  # another network is another recipe
    assert page.slider(key="training_rotation").value == recipe.rotation
    assert "As in the preview" not in words(page)


def test_a_worker_that_fails_leaves_one_sentence_and_a_button(
    samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TrashnetError("The preview's process gives no answer; try again (it ended).")

    monkeypatch.setattr(Preview, "variants", fail)
    page = open_tab("Augmentation")
    page.number_input(key="augment_seed").set_value(987)  # nothing that a cache remembers
    (error,) = run(page).error
    assert is_sentence(error.value)
    assert page.button(key="augment_again")


# ---------------------------------------------------------------- splits


def test_before_an_audit_the_tab_says_what_is_missing(samples: Photos, env: Environment) -> None:
    for table in env.cache.glob("pairs-*"):
        table.unlink()
    page = open_tab("Splits")
    assert "python -m trashnet audit" in words(page)
    assert len(page.error) == 0 and pictures(page) == []


def test_leaks_of_photos_that_are_not_trashnet(samples: Photos, env: Environment) -> None:
    scanned = scan(samples, env.cache)
    pairs = [
        (f"glass/glass{i}.jpg", f"glass/glass{i + 1}.jpg", 0.99 - i / 100) for i in range(1, 9)
    ]
    table = pd.DataFrame(pairs, columns=["one", "two", "similarity"])
    table = table.assign(matches=0, points=None)
    store_table("pairs", table, scanned, env.cache)
    page = open_tab("Splits")
    ways = page.segmented_control(key="splits_way").options
    assert ways == ["Random", "By object"]  # neither authors nor the Hub's rows
    seen = pictures(page)
    assert seen and len(seen) % 2 == 0
    assert all(alt.split(":")[0].startswith("glass/") for alt in seen)
    assert len(page.dataframe) == 0  # accuracies were measured on TrashNet
    page.slider(key="splits_threshold").set_value(0.98)
    assert len(pictures(run(page))) <= 2


@pytest.mark.photos
def test_leaks_of_trashnet(
    real_photos: Photos, real_env: Environment, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRASHNET_DATA", str(real_photos.root))
    shutil.copytree(real_env.cache, env.cache)
    page = open_tab("Splits")
    assert "9 of 193 leaked test photos (506 tested)" in words(page)
    assert len(pictures(page)) == 18
    assert "83.4%" in page.dataframe[0].value.to_string()
    for way, said in (("hub_rows", "9 of 887"), ("authors", "9 of 171")):
        page.segmented_control(key="splits_way").set_value(way)
        assert said in words(run(page))
    page.segmented_control(key="splits_way").set_value("grouped")
    run(page)
    assert "None of its 506 test photos" in page.info[0].value and pictures(page) == []


# ---------------------------------------------------------------- publish


def wait(page: AppTest) -> AppTest:
    end = time.monotonic() + 90
    while page.get("progress") and time.monotonic() < end:
        time.sleep(0.5)
        run(page)
    return page


def test_saving_is_followed_and_its_place_shown(samples: Photos, env: Environment) -> None:
    page = open_tab("Publish")
    assert "240 photos" in " ".join(m.value for m in page.markdown)
    page.button(key="publish_save_go").click()
    wait(run(page))
    assert len(page.error) == 0, [e.value for e in page.error]
    # Named after where the photos are, too: two data sets may be folders of one name.
    (folder,) = (env.home / "published").glob(f"{samples.name}-*-object")
    assert str(folder) in [code.value for code in page.code]
    assert sum(map(len, load_from_disk(str(folder)).values())) == 240
    assert page.button(key="publish_save_go").label == "Save again"


def test_a_home_that_cannot_be_written_is_one_sentence(samples: Photos, env: Environment) -> None:
    (env.home / "published").write_text("in the way")
    page = open_tab("Publish")
    page.button(key="publish_save_go").click()
    (error,) = run(page).error
    assert is_sentence(error.value) and "published" in error.value


def test_without_a_network_pushing_says_so_and_shows_a_way_on(samples: Photos) -> None:
    page = open_tab("Publish")
    assert any("HF_HUB_OFFLINE" in info.value for info in page.info)
    assert any("push_to_hub" in code.value for code in page.code)
    assert "publish_push_go" not in [button.key for button in page.button]


def test_a_push_is_started_with_what_was_typed(
    samples: Photos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[list[str]] = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    monkeypatch.setattr(Job, "start", lambda job, arguments, env: started.append(arguments))
    page = open_tab("Publish")
    page.text_input(key="publish_repository").set_value("no name")
    page.button(key="publish_push_go").click()
    (error,) = run(page).error
    assert "OWNER/NAME" in error.value and started == []
    page.text_input(key="publish_repository").set_value(" me/mine ")
    page.button(key="publish_push_go").click()
    run(page)
    assert started == [["data", "--split", "object", "--push", "me/mine"]]
