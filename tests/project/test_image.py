"""The Dockerfile, rehearsed: as user 1000, in a folder it cannot write, in another site."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import browser  # noqa: F401
from tools.rehearse_image import USER, Running, build, is_ignored, rehearsed, steps
from trashnet.data.dataset import Photos
from trashnet.environment import CHECKOUT
from trashnet.hub.space import PORT, VARIABLES, space_files

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """The app as the image runs it, with this environment; `.ci/run` makes a new one."""
    with rehearsed(new_environment=False) as app:
        yield app


@contextlib.contextmanager
def framed(running: Running) -> Iterator[str]:
    """Serves a page of another site that shows the app in a frame, as a Space's page does."""
    html = f"<!doctype html><title>Space</title><iframe src='{running.url}' width=1200 height=900>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # To a browser, localhost and 127.0.0.1 are two sites: cookies of one stay out of the other.
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def upload_in_frame(browser: Browser, frame: str, photo: Path) -> tuple[int, str]:  # noqa: F811
    """Uploads a photo to the framed app: the upload's status, and what the page says then."""
    page = browser.new_page()
    page.set_default_timeout(45_000)
    page.goto(frame)
    app = page.frame_locator("iframe")
    expect(app.get_by_text("Or try one of these")).to_be_visible(timeout=60_000)
    with page.expect_response(
        lambda r: "upload_file" in r.url and r.request.method == "PUT"
    ) as put:
        app.locator("input[type=file]").first.set_input_files(photo)
    status = put.value.status
    if status < 400:
        answer = app.get_by_test_id("stMain").get_by_role("heading", level=3)
        expect(answer.filter(has_text="%").first).to_be_visible()
    said = app.get_by_test_id("stMain").inner_text()
    page.close()
    return status, said


@pytest.mark.slow
def test_a_photo_is_answered_in_another_sites_frame(
    running: Running,
    browser: Browser,  # noqa: F811
    sample_photos: Photos,
) -> None:
    photo = sample_photos.root / "glass" / "glass1.jpg"
    with framed(running) as frame:
        status, said = upload_in_frame(browser, frame, photo)
    assert status == 204 and "%" in said


@pytest.mark.slow
def test_the_setting_for_spaces_is_what_makes_that_work(
    browser: Browser,  # noqa: F811
    sample_photos: Photos,
) -> None:
    (name,) = VARIABLES
    photo = sample_photos.root / "glass" / "glass1.jpg"
    with rehearsed(False, **{name: "true"}) as running, framed(running) as frame:
        status, _ = upload_in_frame(browser, frame, photo)
    assert status == 403


@pytest.mark.slow
def test_it_runs_as_another_user_and_leaves_its_folder_alone(running: Running) -> None:
    app, home = running.image.workdir, Path(running.image.variables["TRASHNET_HOME"])
    if os.getuid() == 0:
        assert psutil.Process(running.process.pid).uids().real == USER
        assert home.stat().st_uid == USER
        assert {path.stat().st_uid for path in app.rglob("*")} == {0}
    assert not [path for path in app.rglob("*") if path.stat().st_mode & 0o022]
    assert list((running.image.disk / "home/user").iterdir()) == []
    source = {name for name in space_files() if name.endswith((".py", ".parquet", ".tflite"))}
    made = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    assert source <= made
    assert all("__pycache__" in name for name in made - set(space_files()))
    assert "Traceback" not in (running.image.disk / "app.log").read_text()


@pytest.mark.slow
def test_the_image_holds_what_the_app_needs_and_no_more(running: Running) -> None:
    top = {path.name for path in running.image.workdir.iterdir()} - {"__pycache__"}
    assert top == {
        ".streamlit",
        "LICENSE",
        "app.py",
        "home.py",
        "pages",
        "requirements.lock",
        "trashnet",
    }


@pytest.mark.slow
def test_what_was_not_run_is_known(running: Running) -> None:
    said = "\n".join(running.image.not_run)
    assert "FROM python" in said and "useradd" in said


# ---------------------------------------------------------------- the files


def test_the_dockerfile_caches_the_packages_and_gives_root_away() -> None:
    order = [(name, argument) for name, argument in steps(DOCKERFILE)]
    names = [name for name, _ in order]
    copies = [i for i, (name, _) in enumerate(order) if name == "COPY"]
    install = next(i for i, (_, argument) in enumerate(order) if argument.startswith("pip "))
    assert order[copies[0]][1].startswith("requirements.lock") and copies[0] < install < copies[1]
    assert dict(order)["USER"] == str(USER) and names.index("USER") < names.index("CMD")
    assert dict(order)["EXPOSE"] == str(PORT) and f"--server.port={PORT}" in dict(order)["CMD"]
    assert "HEALTHCHECK" in names


def test_another_python_is_refused_only_where_everything_is_installed(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.1-slim\n")
    said = build(tmp_path / "disk", False, tmp_path).not_run
    assert any("this is Python 3." in step for step in said)
    with pytest.raises(SystemExit, match="of Python 3.1, and this is"):
        build(tmp_path / "disk", True, tmp_path)


def test_a_new_volume_is_the_users() -> None:
    (made,) = [a for name, a in steps(DOCKERFILE) if name == "RUN" and "useradd" in a]
    assert "install -d -o user -g user /data" in made
    assert "-v trashnet:/data -e TRASHNET_HOME=/data" in (CHECKOUT / "docs/deploy.md").read_text()


def test_only_a_space_goes_without_the_upload_cookie() -> None:
    name = "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION"
    assert VARIABLES == {name: "false"}
    for file in ("Dockerfile", ".streamlit/config.toml", "README.md"):
        assert "xsrf" not in (CHECKOUT / file).read_text().lower(), file


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("trashnet/hub/repository.py", False),
        ("trashnet/__pycache__/hub.pyc", True),
        (".streamlit/config.toml", False),
        (".streamlit/secrets.toml", True),
        (".env", True),
        ("tests/test_hub.py", True),
        ("pages/shared/page.py", False),
    ],
)
def test_dockerignore(name: str, ignored: bool) -> None:
    patterns = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert is_ignored(name, [p for p in patterns if p and p[0] != "#"]) == ignored
