"""The dataset page: filters, a photo in full, review, findings, map, statistics, own folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.visiting import is_sentence, metrics, open_page, pictures, run, select, words
from trashnet.data.audit_findings import LISTED, store_table
from trashnet.data.dataset import Photos, find_photos
from trashnet.data.index import load_index, review_of
from trashnet.data.scan import scan
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.runs.jobs import Job
from trashnet.runs.run import Run


@pytest.fixture
def own(env: Environment, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Photos:
    """The three-class folder, in use by the pages, never audited."""
    monkeypatch.setenv("TRASHNET_DATA", str(own_folder))
    return find_photos(Environment(env.home, data=own_folder))


def open_tab(name: str, **state: object) -> AppTest:
    page = open_page("Dataset")
    for key, value in {"dataset_tab": name, **state}.items():
        page.session_state[key] = value
    return run(page)


def shown(page: AppTest) -> list[str]:
    """The files of the pictures in the grid."""
    return [alt.split(":")[0] for alt in pictures(page) if ":" in alt]


def audited(photos: Photos, env: Environment) -> pd.DataFrame:
    """Leaves what an audit would: two similar pairs, and a place for each photo."""
    scanned = scan(photos, env.cache)
    files = scanned.file[scanned.error.isna()].tolist()
    pairs = [("bolts/bolts01.png", "bolts/bolts02.webp", 0.95)]
    pairs += [("bolts/bolts01.png", "rags/rags01.png", 0.78)]
    table = pd.DataFrame(pairs, columns=["one", "two", "similarity"])
    matches = {"matches": [0, LISTED], "points": [None, [0.1, 0.2, 0.3, 0.4] * LISTED]}
    store_table("pairs", table.assign(**matches), scanned, env.cache)
    rng = np.random.default_rng(0)
    places = pd.DataFrame(
        {
            "file": files,
            "map_x": rng.normal(size=len(files)),
            "map_y": rng.normal(size=len(files)),
            "strangeness": [9.0 if f == "rags/rags05.webp" else 0.1 for f in files],
        }
    )
    store_table("places", places, scanned, env.cache)
    return places


# ---------------------------------------------------------------- photos


def test_filters_and_sorting_choose_what_the_index_says(own: Photos, env: Environment) -> None:
    index = load_index(own, env, "random")
    page = open_tab("Photos", dataset_sort="sharpness", dataset_descending=True)
    page.pills(key="dataset_class").set_value(["bolts", "rags"])
    slider = page.slider(key="dataset_brightness")
    middle = round(float(index.brightness.median()), 3)
    slider.set_value((slider.min, middle))
    run(page)
    fits = index[index.label.isin(["bolts", "rags"]) & (index.brightness <= middle)]
    fits = fits.sort_values("sharpness", ascending=False, kind="stable")
    assert shown(page) == fits.file.tolist() and 3 < len(fits) < 30
    assert f"{len(fits)} photos" in words(page)
    assert f"brightness {slider.min:.3f} to {middle:.3f}" in words(page)


def test_photos_are_filtered_by_flag(own: Photos) -> None:
    page = open_tab("Photos")
    page.pills(key="dataset_flag").set_value(["duplicate"])
    assert shown(run(page)) == ["bolts/bolts00.jpg", "bolts/bolts90.jpg"]
    page.pills(key="dataset_flag").set_value(["conflict"])
    assert shown(run(page)) == ["planks/planks90.jpg", "rags/rags00.jpg"]
    page.pills(key="dataset_flag").set_value(["reviewed"])
    run(page)
    assert shown(page) == [] and "No photo fits" in page.info[-1].value


def test_a_photo_opens_with_its_facts_and_an_excluded_one_leaves_the_index(
    own: Photos, env: Environment
) -> None:
    file = "planks/planks01.png"
    page = open_tab("Photos", dataset_search="planks01")
    page.button(key=f"open_{file}").click()
    run(page)
    assert f"{file}, full size" in pictures(page)
    text = words(page)
    assert "90 × 250" in text and "PNG, RGB" in text and "brightness" in text
    assert "No finished run knows these classes" in text

    page.button(key=f"dialog_exclude_{file}").click()
    run(page)
    assert "excluded" in words(page)
    assert load_index(own, env).set_index("file").split[file] == "excluded"
    page.query_params.clear()  # closes the photo
    page.text_input(key="dataset_search").set_value("")
    page.pills(key="dataset_part").set_value(["excluded"])
    assert file in shown(run(page))

    page.button(key="dataset_undo").click()
    assert file not in shown(run(page))
    assert load_index(own, env).set_index("file").split[file] != "excluded"


def test_an_open_photo_can_be_relabelled_to_any_class(own: Photos, env: Environment) -> None:
    file = "rags/rags02.webp"
    page = open_page("Dataset")
    page.query_params["photo"] = file
    run(page)
    (menu,) = page.get("menu_button")
    menu.click("planks")
    run(page)
    assert "relabelled planks" in words(page)
    assert load_index(own, env).set_index("file").label[file] == "planks"


def test_an_address_of_a_photo_that_is_not_there_opens_the_page(own: Photos) -> None:
    page = open_page("Dataset")
    page.query_params["photo"] = "../../etc/passwd"
    run(page)
    assert metrics(page)["Photos"].value == "44" and len(page.error) == 0


def test_a_trained_model_answers_an_open_photo(trained: Run) -> None:
    said = trained.predictions().file[0]
    page = open_page("Dataset")
    page.query_params["photo"] = said
    run(page)
    assert any(alt.startswith(f"{said}, and where it looks like") for alt in pictures(page))
    assert "In this run the photo was in" in words(page)


def test_a_damaged_review_is_one_sentence(own: Photos, env: Environment) -> None:
    review = review_of(own, env)
    review.decide(own.files[0], "keep", files=own.files, classes=own.classes)
    (path,) = (env.home / "reviews").glob("*.json")
    path.write_text("{")
    page = open_tab("Photos")
    assert page.error and all(is_sentence(e.value) for e in page.error)


@pytest.mark.parametrize("kept", [["bolts"], ["bolts", "planks", "bolts copy"]])
def test_photos_that_cannot_be_trained_on_are_shown_and_make_no_run(
    env: Environment,
    own_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: list[str],
) -> None:
    for name in kept:
        shutil.copytree(own_folder / name.split()[0], tmp_path / "mine" / name)
    monkeypatch.setenv("TRASHNET_DATA", str(tmp_path / "mine"))
    page = open_page("Dataset")
    (error,) = page.error
    assert is_sentence(error.value) and "class 'bolts'" in error.value
    assert metrics(page)["Classes"].value == str(len(kept))
    page = open_page("Training")
    page.selectbox(key="training_split").set_value("random")
    (start,) = [b for b in page.button if b.label == "Start"]
    start.click()
    assert [e.value for e in run(page).error] == [error.value]
    assert not list(env.runs.glob("*"))


# ---------------------------------------------------------------- findings


def test_findings_of_a_folder_that_was_never_audited(own: Photos) -> None:
    page = open_tab("Audit")
    text = words(page)
    assert "exact duplicate 1" in text and "conflict 1" in text and "unreadable 1" in text
    page.segmented_control(key="audit_kind").set_value("unreadable")
    run(page)
    assert page.dataframe[0].value.file.tolist() == ["rags/torn.jpg"]
    for kind in ("near-duplicate", "outlier"):
        page.segmented_control(key="audit_kind").set_value(kind)
        assert "not known yet" in words(run(page))
        assert page.button(key="audit_go")
    page.segmented_control(key="audit_kind").set_value("suspected label")
    assert "five folds" in words(run(page))


def test_a_conflict_is_decided_and_taken_back(own: Photos, env: Environment) -> None:
    page = open_tab("Audit", audit_kind="conflict")
    key = "audit_0_planks/planks90.jpg_rags/rags00.jpg"
    assert "planks/planks90.jpg: planks" in pictures(page)
    page.button(key=f"{key}_relabel_planks/planks90.jpg").click()
    run(page)
    index = load_index(own, env).set_index("file")
    assert index.label["planks/planks90.jpg"] == "rags"
    assert index.split["planks/planks90.jpg"] != "excluded"
    page.button(key=f"{key}_undo_planks/planks90.jpg").click()
    run(page)
    assert review_of(own, env).history() == []


def test_the_similarity_only_changes_the_view(own: Photos, env: Environment) -> None:
    audited(own, env)
    page = open_tab("Audit", audit_kind="near-duplicate")
    assert "1 pairs from 0.80 to 1.00" in words(page)
    assert "bolts/bolts01.png: bolts" in pictures(page)
    assert any(alt.startswith("Where bolts/bolts01.png") for alt in pictures(page))
    before = load_index(own, env, "random").split
    page.slider(key="audit_similarity").set_value((0.75, 0.9))
    run(page)
    assert "1 pairs from 0.75 to 0.90**, 1 of them across two classes" in words(page)
    assert "rags/rags01.png: rags" in pictures(page)
    pd.testing.assert_series_equal(load_index(own, env, "random").split, before)
    page.segmented_control(key="audit_evidence").set_value("same print")
    assert "1 pairs with matched features**, 1 of them across" in words(run(page))
    assert "Matches of bolts/bolts01.png and rags/rags01.png" in pictures(page)
    key = "audit_pair_bolts/bolts01.png_rags/rags01.png"
    page.button(key=f"{key}_same").click()
    assert ":material/check: one object" in words(run(page))
    (said,) = review_of(own, env).latest().values()
    assert (said.action, said.file, said.other) == ("same", "bolts/bolts01.png", "rags/rags01.png")
    page.button(key=f"{key}_undo").click()
    assert run(page).button(key=f"{key}_different") and not review_of(own, env).latest()
    page.segmented_control(key="audit_evidence").set_value("suspected")
    assert "1 pairs that do not count as one object**, 1 of them across" in words(run(page))
    page.segmented_control(key="audit_kind").set_value("outlier")
    assert shown(run(page)) == ["rags/rags05.webp"]


def test_an_audit_is_started_followed_and_stopped(
    own: Photos, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(Job, "start", lambda job, words, env: started.append(list(words)))
    page = open_tab("Audit", audit_kind="near-duplicate")
    page.button(key="audit_go").click()
    run(page)
    assert started == [["audit"]]
    monkeypatch.setattr(Job, "is_running", property(lambda job: not stopped))
    monkeypatch.setattr(Job, "progress", lambda job: (11, 44, "Comparing photos"))
    monkeypatch.setattr(Job, "seconds_left", lambda job: 75.4)
    stopped: list[bool] = []
    monkeypatch.setattr(Job, "stop", lambda job: stopped.append(True))
    run(page)
    shown = "Comparing photos: 11 of 44, about 1 min 15 s left"
    assert page.get("progress")[0].proto.text == shown
    page.button(key="audit_stop").click()
    run(page)
    assert stopped and page.button(key="audit_go")


def test_an_audit_that_cannot_start_says_why(own: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(job: Job, words: list[str], env: Environment) -> None:
        raise RunError("The disk is full, so nothing was started.")

    monkeypatch.setattr(Job, "start", refuse)
    page = open_tab("Audit", audit_kind="near-duplicate")
    page.button(key="audit_go").click()
    assert "The disk is full" in run(page).error[0].value


# ---------------------------------------------------------------- map, statistics, balance


def test_what_is_drawn_around_on_the_map_becomes_a_grid(own: Photos, env: Environment) -> None:
    page = open_tab("Map")
    assert "not known yet" in words(page) and page.button(key="map_go")
    places = audited(own, env)
    run(page)
    (chart,) = page.get("plotly_chart")
    spec = json.loads(chart.proto.spec)
    assert sum(len(trace["customdata"]) for trace in spec["data"]) == len(places)
    assert "Nothing is selected" in page.info[-1].value
    files = ["bolts/bolts01.png", "rags/rags05.webp"]
    points = [{"customdata": file} for file in files]
    select(page, chart.proto.id, {"points": points, "box": [], "lasso": []})
    assert sorted(shown(page)) == files
    assert "2 selected**: 1 bolts, 1 rags" in words(page)
    page.segmented_control(key="map_colour").set_value("split")
    assert "Nothing is selected" in run(page).info[-1].value


def test_statistics_are_of_all_readable_photos(own: Photos) -> None:
    text = words(open_tab("Statistics"))
    assert "**bolts** · n = 15" in text and "**rags** · n = 14" in text
    assert "Classes differ most in" in text


def test_balance_says_what_the_numbers_mean(own: Photos, env: Environment) -> None:
    page = open_tab("Balance")
    text = words(page)
    assert "always answers" in text and "1 file could not be read and is left out" in text
    table = page.dataframe[0].value
    index = load_index(own, env, "random")
    kept = index[index.split != "excluded"]
    assert table["all"].to_dict() == kept.label.value_counts().to_dict()
    page.segmented_control(key="dataset_balance_cells").set_value("share of the split")
    shares = run(page).dataframe[0].value
    assert shares["train"].sum() == pytest.approx(100)


# ---------------------------------------------------------------- many photos


def test_forty_thousand_photos_are_filtered_and_sorted_in_a_moment(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grid's own work, with an index of 40,000 rows; the files need not be there."""
    import time

    from pages.sections.dataset import photo_browser

    n, rng = 40_000, np.random.default_rng(0)
    label = rng.choice(["a", "b", "c"], n)
    index = pd.DataFrame(
        {
            "file": [f"{name}/{i:05d}.jpg" for i, name in enumerate(label)],
            "label": label,
            "split": rng.choice(["train", "validation", "test"], n),
            "flag": rng.choice(["", "dark", "blurred;dark"], n),
            "width": 640,
            "height": 480,
            "bytes": rng.integers(1000, 9000, n),
        }
        | {q: rng.random(n) for q in ("brightness", "contrast", "sharpness", "saturation")}
    )
    photos = Photos(tmp_path, "many", "folder", ("a", "b", "c"), tuple(index.file))
    page = AppTest.from_function(_grid_alone, default_timeout=60)
    monkeypatch.setattr(photo_browser, "MANY_FOR_A_TEST", (photos, index), raising=False)
    run(page)
    start = time.monotonic()
    page.pills(key="dataset_class").set_value(["b"])
    page.pills(key="dataset_flag").set_value(["blurred"])
    page.selectbox(key="dataset_sort").set_value("sharpness")
    run(page)
    assert time.monotonic() - start < 2.5
    fits = index[(index.label == "b") & index.flag.str.contains("blurred")]
    assert f"1–60 of {len(fits):,}" in words(page)


def _grid_alone() -> None:
    from pages.sections.dataset import photo_browser

    photo_browser.render(*photo_browser.MANY_FOR_A_TEST)
