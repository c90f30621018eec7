"""The classify page in a real browser, on a desktop and a phone."""

import io
import re
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

from pages.shared.upload_bound import MOST
from tests.browser.browsing import (
    PHONE,
    TRAINING_SECONDS,
    Looking,
    Visit,
    answers_of,
    browser,
    fits_the_width,
    home,
    looking,
    photos,
    upload,
    visiting,
)
from tests.pictures import squares
from trashnet.data.dataset import Photos
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser", "home", "looking", "photos"]  # the fixtures these journeys ask for

SIZES = {
    "desktop": {"viewport": {"width": 1400, "height": 900}},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}


def drop(visit: Visit, paths: list[Path]) -> None:
    visit.main.locator("[data-testid=stFileUploader] input[type=file]").set_input_files(paths)


def source_of(picture: Locator) -> str:
    return picture.evaluate("image => image.src")


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_its_reasons_and_a_batch(
    size: str, looking: Looking, shipped_photos: Photos, tmp_path: Path
) -> None:
    """With the released model, as a visitor of a first minute meets it."""
    run, photos = Run(RELEASED), shipped_photos
    files = run.predictions().query("split == 'test'").file.head(6).tolist()
    with looking(accept_downloads=True, **SIZES[size]) as visit:
        visit.open("Classify")
        expect(visit.main.get_by_text("Drop photos of waste")).to_be_visible()
        said = upload(visit, photos.root / files[0])
        row = answers_of(run).set_index("file").loc[files[0]]
        assert row.predicted in said.lower() and f"{row.confidence:.0%}" in said
        assert fits_the_width(visit.page)

        mapped = visit.main.get_by_role("img", name=re.compile("where it looks like"))
        over = source_of(mapped)
        slider = visit.main.get_by_role("slider")
        slider.focus()
        slider.press("Home")
        plain = visit.main.get_by_role("img", name="the photo you uploaded", exact=True)
        expect(plain).to_be_visible()
        assert source_of(plain) != over

        visit.open("Classify")
        Image.fromarray(squares(320)).save(tmp_path / "squares.png")
        assert upload(visit, tmp_path / "squares.png").startswith("Not sure")
        expect(visit.main.get_by_text("unlike anything in training")).to_be_visible()

        visit.open("Classify")
        (tmp_path / "bad.jpg").write_text("no picture")
        drop(visit, [*(photos.root / file for file in files), tmp_path / "bad.jpg"])
        expect(visit.main.get_by_text("6 photos answered")).to_be_visible()
        expect(visit.main.get_by_text("1 could not be read")).to_be_visible()
        visit.settle()
        assert fits_the_width(visit.page)
        with visit.page.expect_download() as download:
            # The table has a button of that name, too.
            visit.main.get_by_test_id("stDownloadButton").filter(has_text="CSV").click()
        table = pd.read_csv(download.value.path())
        assert table.file.tolist() == [*(Path(f).name for f in files), "bad.jpg"]
        assert table.label[:6].isin(run.classes).all() and "not a picture" in table.error[6]
        stored = answers_of(run).set_index("file").loc[files]
        assert table.label[:6].tolist() == stored.predicted.tolist()
        np.testing.assert_allclose(table.confidence[:6], stored.confidence, rtol=1e-9)
        visit.check()


def test_a_long_batch_can_be_stopped_and_goes_on(
    browser: Browser, home: Path, sample_photos: Photos
) -> None:
    # Pictures that take long to decode, so that the batch outlasts a slow browser's first drawing.
    picture, count = io.BytesIO(), 60
    Image.new("RGB", (6000, 4000), "#86a86b").save(picture, "PNG")
    archive = home / "many.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for number in range(count):
            bundle.writestr(f"{number}.png", picture.getvalue())
    with visiting(browser, home, sample_photos.root) as visit:
        visit.open("Classify")
        expect(visit.main.get_by_text("Drop photos of waste")).to_be_visible()
        drop(visit, [archive])
        visit.main.get_by_role("button", name="Stop").click()
        stopped = visit.main.get_by_text(re.compile(rf"Stopped after \d+ of {count} photos"))
        expect(stopped).to_be_visible()
        done = int(re.search(r"after (\d+)", stopped.inner_text())[1])
        assert 0 <= done < count
        visit.main.get_by_role("button", name="Go on").click()
        answered = visit.main.get_by_text(f"{count} photos answered")
        expect(answered).to_be_visible(timeout=1000 * TRAINING_SECONDS)
        visit.check()


def test_a_visit_holds_no_more_uploads_than_the_bound(looking: Looking, tmp_path: Path) -> None:
    """Streamlit keeps what is sent to a visit's address; what its pages remove counts no longer."""
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48), "#86a86b").save(photo)
    with looking() as visit:
        visit.open("Classify")
        with visit.page.expect_request(lambda request: "upload_file" in request.url) as sent:
            upload(visit, photo)
        address, sent_with = sent.value.url.rsplit("/", 1)[0], sent.value.all_headers()
        names = [name for name in sent_with if name.startswith("x-") or name == "cookie"]
        with httpx.Client(headers={name: sent_with[name] for name in names}) as program:

            def put(name: str) -> int:
                files = {"file": ("x.jpg", bytes(25_000_000), "image/jpeg")}
                return program.put(f"{address}/{name}", files=files, timeout=60).status_code

            taken = next(n for n in range(40) if put(str(n)) == 413)
            assert 700_000_000 < taken * 25_000_000 <= MOST
            for name in ("0", "1"):
                program.delete(f"{address}/{name}")
            assert put("another") == 204
