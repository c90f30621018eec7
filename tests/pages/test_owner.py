"""The owner's door on the pages: what strangers can do, which is nothing, and the owner can."""

import hashlib
import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.sections.training import run_notes
from pages.shared import owner
from pages.shared.password import PASS_SECONDS, Door, Pass
from tests.pages.visiting import PAGES, every_page, open_page, run, words
from trashnet.config import TrainConfig
from trashnet.data.dataset import Photos, choose_photos
from trashnet.data.index import review_of
from trashnet.environment import Environment
from trashnet.errors import RunError
from trashnet.runs import store
from trashnet.runs.annotations import describe_as
from trashnet.runs.cost_estimate import Cost
from trashnet.runs.processes import identity
from trashnet.runs.run import Run
from trashnet.runs.store import new_run

PASSWORD = "a long enough password"
SECRET = "a line of the log that nobody else should read"


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a door that nobody has knocked at yet."""
    clock = Clock()
    monkeypatch.setattr(owner, "DOOR", Door(clock))
    return clock


# ---------------------------------------------------------------- every action


@dataclass
class Place:
    """Where an action happens: a page opened on a home, and what was asked of the outside."""

    env: Environment
    run: Run
    samples: Photos
    monkeypatch: pytest.MonkeyPatch
    asked: list[str]
    children: list[subprocess.Popen[bytes]]

    def record(self, target: str, result: object = None) -> None:
        """Has a function note that it was called, and do nothing else."""

        def called(*args: object, **kwargs: object) -> object:
            self.asked.append(target)
            return result

        self.monkeypatch.setattr(target, called)

    def state(self) -> dict[str, str]:
        """What is in the home, less what only saves time, and what was asked of the outside."""
        files = {
            str(path.relative_to(self.env.home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.env.home.rglob("*"))
            if path.is_file() and not path.is_relative_to(self.env.cache)
        }
        return files | {"asked": str(self.asked)}


def label_errors(place: Place) -> None:
    """Gives the run's first photos answers that are surely something else, out of fold."""
    table = place.run.predictions()
    numbers = table.label.map(place.run.classes.index).to_numpy()
    logits = np.zeros((len(table), len(place.run.classes)), np.float32)
    logits[np.arange(len(table)), numbers] = 5
    logits[:3] = np.roll(logits[:3], 1, axis=1) * 2
    table = table[["file", "label"]].assign(
        logits=list(logits), fold=0, temperature=1.0, threshold=0.5
    )
    table.to_parquet(place.run.path / "out_of_fold.parquet")


def begun(place: Place, state: str) -> Run:
    """Makes the newest run one that this process works on, or one that stopped."""
    begun = new_run(place.env.runs, TrainConfig(epochs=4), place.samples)
    begun.write_status(state=state, **identity())
    return begun


def evaluation(place: Place, tab: str, **parameters: str) -> AppTest:
    page = open_page("Evaluation", "alone")
    page.session_state["evaluation_tab"] = tab
    page.session_state["evaluation_run"] = place.run.id
    for name, value in parameters.items():
        page.query_params[name] = value
    return run(page)


def press(page: AppTest, label: str) -> None:
    """Presses a button, disabled or not: whoever writes to the socket can."""
    button = next(b for b in page.button if label in (b.label, b.key))
    button._value = True
    run(page)


def start(place: Place) -> Callable[[], None]:
    page = open_page("Training", "alone")
    return lambda: press(page, "Start")


def estimate(place: Place) -> Callable[[], None]:
    place.record("pages.sections.training.form.measured", Cost(0.5, 0.01, 10**9))
    page = open_page("Training", "alone")
    return lambda: press(page, "How long will it take?")


def stop(place: Place) -> Callable[[], None]:
    begun(place, "running")
    page = open_page("Training", "alone")
    return lambda: press(page, "training_stop")


def resume(place: Place) -> Callable[[], None]:
    begun(place, "stopped")
    page = open_page("Training", "alone")
    return lambda: press(page, "training_resume")


def save_notes(place: Place) -> Callable[[], None]:
    page = open_page("Training", "alone")
    page.text_input(key=f"training_title_{place.run.id}").set_value("Mine")
    return lambda: press(page, "Save")


def delete(place: Place) -> Callable[[], None]:
    page = open_page("Training", "alone")
    return lambda: press(page, "training_delete")


def review(key: str) -> Callable[[Place], Callable[[], None]]:
    def prepare(place: Place) -> Callable[[], None]:
        label_errors(place)
        page = evaluation(place, "Label errors")
        name = next(b.key for b in page.button if str(b.key).startswith(f"label_errors_{key}_"))
        return lambda: press(page, name)

    return prepare


def measure(place: Place) -> Callable[[], None]:
    place.record("trashnet.runs.jobs.launch", identity())
    page = evaluation(place, "Robustness")
    return lambda: press(page, "robustness_go")


def stop_measuring(place: Place) -> Callable[[], None]:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    place.children.append(other)
    known = json.dumps(identity(other.pid) | {"began": time.time()})
    (place.run.path / "robustness.job.json").write_text(known)
    page = evaluation(place, "Robustness")
    return lambda: press(page, "robustness_stop")


def undo(place: Place) -> Callable[[], None]:
    label_errors(place)
    photos = place.samples
    review_of(photos, place.env).decide(
        photos.files[0], "exclude", files=photos.files, classes=photos.classes
    )
    page = evaluation(place, "Label errors")
    return lambda: press(page, "label_errors_undo")


def from_dialog(place: Place) -> Callable[[], None]:
    table = place.run.predictions(["file", "split"])
    file = table.file[table.split == "test"].iloc[0]
    page = evaluation(place, "Errors", photo=file)
    return lambda: press(page, f"dialog_exclude_{file}")


def fetch(place: Place) -> Callable[[], None]:
    place.monkeypatch.setenv("TRASHNET_DATA", "")
    place.record("pages.sections.dataset.photo_source.fetch_trashnet")
    page = open_page("Dataset", "alone")
    return lambda: press(page, "photos_fetch")


def choose(place: Place) -> Callable[[], None]:
    place.monkeypatch.setenv("TRASHNET_DATA", "")
    page = open_page("Dataset", "alone")
    page.text_input(key="photos_path").set_value(str(place.samples.root))
    run(page)
    return lambda: press(page, "photos_use")


def go_back(place: Place) -> Callable[[], None]:
    place.monkeypatch.setenv("TRASHNET_DATA", "")
    choose_photos(place.env, place.samples.root)
    page = open_page("Dataset", "alone")
    return lambda: press(page, "photos_back")


ACTIONS: dict[str, Callable[[Place], Callable[[], None]]] = {
    "start a training": start,
    "measure a training": estimate,
    "stop": stop,
    "resume": resume,
    "name, tag and annotate": save_notes,
    "delete": delete,
    "keep a label": review("keep"),
    "change a label": review("relabel"),
    "exclude a photo": review("exclude"),
    "undo a review": undo,
    "measure robustness": measure,
    "stop measuring": stop_measuring,
    "exclude an answered photo": from_dialog,
    "fetch photos": fetch,
    "choose other photos": choose,
    "go back to TrashNet": go_back,
}


@pytest.fixture
def place(
    trained: Run,
    samples: Photos,
    env: Environment,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> Iterator[Place]:
    """A home with a finished run, where no process is started."""
    place = Place(env, trained, samples, monkeypatch, [], [])
    place.record("trashnet.runs.control.launch", identity())
    yield place
    for child in place.children:
        child.kill()
        child.wait()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("who", ["on a Space", "without the password", "whose pass ran out"])
def test_a_stranger_changes_nothing(place: Place, action: str, who: str) -> None:
    held = Pass(1.0, lambda: 0.0)
    if who == "on a Space":
        place.monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    else:
        place.monkeypatch.setenv("TRASHNET_OWNER_PASSWORD", PASSWORD)
    if who == "whose pass ran out":
        place.monkeypatch.setattr(owner, "_held_pass", lambda: held)
    act = ACTIONS[action](place)
    held.give_back()
    before = place.state()
    act()
    assert place.state() == before


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("who", ["at home", "the owner"])
def test_the_same_press_does_it_for_those_who_may(place: Place, action: str, who: str) -> None:
    if who == "the owner":
        place.monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
        place.monkeypatch.setenv("TRASHNET_OWNER_PASSWORD", PASSWORD)
        place.monkeypatch.setattr(owner, "_held_pass", lambda: Pass(1.0, lambda: 0.0))
    act = ACTIONS[action](place)
    before = place.state()
    act()
    assert place.state() != before


# ---------------------------------------------------------------- what is read


def with_log(run: Run) -> Run:
    """Gives a run a log, of its own and of a job, to read."""
    for name in ("train.log", "robustness.log"):
        (run.path / name).write_text(f"{SECRET}\n")
    return run


def test_the_log_and_where_things_are_is_for_the_owner(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_log(trained)
    page = open_page("Training")
    assert SECRET in [c.value for c in page.code]
    assert str(trained.path) in words(page)
    monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    page = run(page)
    assert [c.value for c in page.code] == []
    assert str(trained.path) not in words(page)
    assert owner.HOW in [i.value for i in page.info]


def test_a_run_taken_along_by_a_visitor_is_what_is_published(trained: Run) -> None:
    config = json.loads((trained.path / "config.json").read_text())
    root = config["data"]["root"]
    config["review"] = [{"file": "a.jpg", "action": "exclude", "note": SECRET}]
    (trained.path / "config.json").write_text(json.dumps(config))
    describe_as(trained, note=SECRET)
    (trained.path / "folds").mkdir(exist_ok=True)
    (trained.path / "folds" / "note.txt").write_text(SECRET)
    run = Run(with_log(trained).path)
    for is_owner in (True, False):
        content = run_notes._zipped(run, is_owner)
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            inside = {name: bundle.read(name) for name in bundle.namelist()}
        everything = b"".join(inside.values())
        assert (SECRET.encode() in everything) is is_owner
        assert (root.encode() in everything) is is_owner
        assert b"train_config" in everything and f"{run.id}/model.tflite" in inside


def test_a_visitor_takes_no_unfinished_run_along(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.write_status(state="stopped")
    assert [b.disabled for b in downloads(open_page("Training", "alone"))] == [False]
    monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    assert [b.disabled for b in downloads(open_page("Training", "alone"))] == [True]
    with pytest.raises(RunError):
        run_notes._zipped(trained, is_owner=False)


def downloads(page: AppTest) -> list[Any]:
    return [b.proto for b in page.get("download_button") if b.proto.label == "Download"]


@pytest.mark.parametrize("name", PAGES)
def test_visitors_can_look_at_every_page(
    trained: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    page = open_page(name)
    assert len(page.error) == 0
    assert "visitor" in words(page)


def test_visitors_can_classify(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    page = open_page("Classify")
    photo = (samples.root / samples.files[0]).read_bytes()
    page.file_uploader[0].upload("photo.jpg", photo, "image/jpeg")
    assert "Answered by" in words(run(page))


# ---------------------------------------------------------------- signing in and out


@pytest.fixture
def guarded(env: Environment, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A server with an owner, and the door's clock."""
    monkeypatch.setenv("TRASHNET_OWNER_PASSWORD", PASSWORD)
    return clock


def sign_in(page: AppTest, password: str) -> AppTest:
    page.text_input(key="owner_given").set_value(password)
    page.button(key="owner_in").click()
    return run(page)


def test_the_owner_signs_in_and_out(guarded: Clock) -> None:
    page = sign_in(open_page("Home"), PASSWORD)
    assert "owner signed in, 120 min left" in words(page)
    for _, page in ((n, run(page.switch_page(path))) for n, path in PAGES.items()):
        assert "owner signed in" in words(page)  # on every page of the visit
    page.button(key="owner_out").click()
    assert "visitor" in words(run(page))
    assert "owner signed in" not in words(run(page))


def test_a_pass_runs_out_while_the_page_is_open(guarded: Clock) -> None:
    page = sign_in(open_page("Home"), PASSWORD)
    guarded.now += PASS_SECONDS
    assert "visitor" in words(run(page))


def test_another_tab_signs_in_for_itself(guarded: Clock) -> None:
    sign_in(open_page("Home"), PASSWORD)
    assert "visitor" in words(open_page("Home"))


def test_a_wrong_password_is_said_and_not_repeated(guarded: Clock) -> None:
    page = sign_in(open_page("Home"), "guess who")
    assert [e.value for e in page.error] == ["That is not the owner's password."]
    assert "visitor" in words(page)
    assert "guess who" not in repr(page) + repr(page.session_state)


def test_what_was_typed_is_kept_nowhere(guarded: Clock, capfd: pytest.CaptureFixture) -> None:
    page = sign_in(open_page("Home"), PASSWORD)
    assert PASSWORD not in repr(page) + repr(page.session_state)
    assert PASSWORD not in repr(page.query_params)
    assert PASSWORD not in "".join(capfd.readouterr())


def test_a_new_tab_does_not_reset_the_wait(guarded: Clock) -> None:
    sign_in(open_page("Home"), "guess")
    for _ in range(2):
        page = sign_in(open_page("Home"), PASSWORD)  # a visit of its own, and right
        assert [e.value for e in page.error] == [
            "After a wrong password nobody is let in; wait 2 s."
        ]
    guarded.now += 2
    assert "owner signed in" in words(sign_in(open_page("Home"), PASSWORD))


def test_clearing_the_caches_does_not_reset_the_wait(guarded: Clock) -> None:
    import streamlit as st

    sign_in(open_page("Home"), "guess")
    st.cache_data.clear()  # as any visitor's browser can ask for
    st.cache_resource.clear()
    page = sign_in(open_page("Home"), PASSWORD)
    assert "nobody is let in" in page.error[0].value


def test_a_password_in_the_address_opens_nothing(guarded: Clock) -> None:
    page = AppTest.from_file(str(Path(__file__).parents[2] / "home.py"), default_timeout=60)
    page.query_params["owner_given"] = PASSWORD
    page.query_params["owner_pass"] = "1"
    assert "visitor" in words(run(page))


# ---------------------------------------------------------------- who is a stranger


def test_at_home_nothing_speaks_of_an_owner(env: Environment) -> None:
    for _, page in every_page():
        assert "visitor" not in words(page) and "owner" not in words(page)


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({}, False),
        ({"TRASHNET_PUBLIC": "0"}, False),
        ({"TRASHNET_PUBLIC": "1"}, True),
        ({"SPACE_ID": "somebody/trashnet"}, True),
        ({"SPACE_ID": "somebody/trashnet", "TRASHNET_PUBLIC": "0"}, True),
        ({"TRASHNET_OWNER_PASSWORD": " \n"}, False),
        ({"SPACE_ID": "somebody/trashnet", "TRASHNET_OWNER_PASSWORD": " "}, True),
    ],
)
def test_without_a_password_the_place_decides(
    env: Environment,
    variables: dict[str, str],
    refused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    button = open_page("Dataset").button(key="photos_fetch")
    assert button.disabled == refused == (button.help == owner.HOW)


@dataclass
class Context:
    """Of a visit, as Streamlit tells it."""

    ip_address: str | None
    headers: dict[str, str]


@pytest.mark.parametrize(
    ("address", "headers", "here"),
    [
        (None, {"Host": "localhost:8501"}, True),
        (None, {"Host": "127.0.0.1:8501"}, True),
        (None, {"Host": "127.0.0.1"}, True),
        (None, {"Host": "[::1]:8501"}, True),
        (None, {}, False),  # a visitor who has left already
        (None, {"Host": ""}, False),
        ("::ffff:127.0.0.1", {"Host": "127.0.0.1:8501"}, True),  # a socket for both kinds
        ("127.0.0.2", {"Host": "127.0.0.2:8501"}, True),
        ("::ffff:192.168.1.7", {"Host": "127.0.0.1:8501"}, False),
        ("elsewhere", {"Host": "127.0.0.1:8501"}, False),
        ("192.168.1.7", {"Host": "192.168.1.2:8501"}, False),  # the same network
        ("192.168.1.7", {"Host": "localhost:8501"}, False),  # says so, and is not
        (None, {"Host": "trashnet.example"}, False),  # through a proxy, or a rebound name
        (None, {"Host": "localhost.example:8501"}, False),
        (None, {"Host": "localhost", "X-Forwarded-For": "203.0.113.9"}, False),
        (None, {"Host": "localhost", "Forwarded": "for=203.0.113.9"}, False),
        (None, {"Host": "localhost", "X-Forwarded-Proto": "https"}, False),
        (None, {"Host": "localhost", "x-forwarded-port": "443"}, False),
        (None, {"Host": "localhost", "X-Real-IP": "203.0.113.9"}, False),
        (None, {"Host": "localhost", "Via": "1.1 vegur"}, False),
        (None, {"Host": "localhost", "CF-Connecting-IP": "203.0.113.9"}, False),
        (None, {"Host": "localhost", "CF-Ray": "8f"}, False),
        (None, {"Host": "localhost", "True-Client-IP": "203.0.113.9"}, False),
    ],
)
def test_only_a_browser_on_this_machine_is_at_home(
    address: str | None,
    headers: dict[str, str],
    here: bool,
    env: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner.st, "context", Context(address, headers))
    assert owner._is_here() is here
    assert (owner.refusal() is None) is here


def test_a_download_asks_when_it_is_made(guarded: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    held = owner.DOOR.enter(PASSWORD, PASSWORD)
    monkeypatch.setattr(owner, "_held_pass", lambda: held)
    may = owner.allowed_later()
    assert may()
    held.give_back()
    assert not may()


def test_a_visitor_reads_what_others_wrote(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    describe_as(trained, "Night run", ("first",), "To see.")
    monkeypatch.setenv("SPACE_ID", "somebody/trashnet")
    assert "Night run" in words(open_page("Training"))
    assert store.list_runs(trained.path.parent)
