"""How tests visit the pages through AppTest, and what a person reads there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "Home": "home.py",
    "Dataset": "pages/1_Dataset.py",
    "Training": "pages/2_Training.py",
    "Evaluation": "pages/3_Evaluation.py",
    "Classify": "pages/4_Classify.py",
}
WAYS = ("from home", "alone")
NEED_PHOTOS = ("Dataset", "Training")

both_ways = pytest.mark.parametrize("way", WAYS)


def open_page(name: str, way: str = "from home") -> AppTest:
    """Opens a page, through the app or as a script of its own; it must not fail."""
    start = PAGES[name] if way == "alone" else "home.py"
    page = run(AppTest.from_file(ROOT / start, default_timeout=60))
    if way == "from home" and name != "Home":
        run(page.switch_page(PAGES[name]))
    return page


def every_page() -> Iterator[tuple[str, AppTest]]:
    """Opens the pages one after the other in one visit."""
    visit = run(AppTest.from_file(ROOT / "home.py", default_timeout=60))
    yield "Home", visit
    for name, path in PAGES.items():
        if name != "Home":
            yield name, run(visit.switch_page(path))


def run(page: AppTest) -> AppTest:
    """Runs the page; an exception on it fails the test with its text."""
    page.run()
    assert [e.value for e in page.exception] == []
    return page


def words(page: AppTest) -> str:
    """Returns what a person reads on a page and in its sidebar."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "metric", "button")
    kinds += ("info", "warning", "error", "success")
    found = []
    for kind in kinds:
        for element in getattr(page, kind):
            found += [str(getattr(element, part, "")) for part in ("label", "value", "delta")]
    return re.sub(r"\\(.)", r"\1", "\n".join(found))  # Markdown's escapes are not shown


def metrics(page: AppTest) -> dict[str, Any]:
    """Returns the page's big numbers."""
    return {metric.label: metric for metric in page.metric}


def pictures(page: AppTest) -> list[str]:
    """Returns the alternative texts of the pictures on a page."""
    return [image.proto.imgs[0].alt for image in page.get("image")]


def select(page: AppTest, widget: str, selection: dict[str, Any]) -> None:
    """Sends the selection in a chart or table as a browser does, so that its callback runs."""
    states = page._tree.get_widget_states()
    states.widgets.add(id=widget, string_value=json.dumps({"selection": selection}))
    page._run(states)
    assert [e.value for e in page.exception] == []


def is_sentence(text: str) -> bool:
    """Whether a text is one line a person can act on, and no traceback."""
    return "\n" not in text.strip() and "Traceback" not in text and text.rstrip("`").endswith(".")
