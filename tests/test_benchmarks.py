"""The benchmarks measure what they say; how fast this machine is is not tested."""

import json
import re
from pathlib import Path
from urllib.error import URLError

import pytest

from benchmarks import people
from benchmarks.__main__ import as_markdown, main
from benchmarks.measuring import ROOT, by_turns, fresh_process, row
from trashnet.samples import draw_sample

ROWS = [
    row("an answer", 20, 100, "ms", "the usual way", 5),
    row("many answers", 90, 30, "photos/s", "one by one"),
]


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    assert [r["ratio"] for r in ROWS] == [5, 3]
    assert set(ROWS[0]) >= {"name", "ours", "other", "unit", "ratio", "target"}


def test_the_page_has_a_line_for_every_row() -> None:
    page = as_markdown(ROWS)
    assert "| an answer | 20 ms | 100 ms | 5 × (aim: 5) | the usual way |" in page
    assert "| many answers | 90 photos/s | 30 photos/s | 3 × | one by one |" in page


def test_works_take_turns_after_one_call_each() -> None:
    calls: list[str] = []
    took = by_turns(3, lambda: calls.append("a"), lambda: calls.append("b"))
    assert "".join(calls) == "ab" + "ababab" and len(took) == 2


def test_a_fresh_process_is_measured_alone() -> None:
    _, small = fresh_process("")
    seconds, large = fresh_process("x = bytearray(200_000_000); import time; time.sleep(0.2)")
    assert seconds > 0.2 and 150 < large - small < 250


def test_json_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.__main__.GROUPS", {"some": lambda quick: ROWS})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json"])
    assert main() == 0
    assert json.loads(capsys.readouterr().out) == {"rows": ROWS}


def test_visitors_are_answered_over_the_web_socket(tmp_path: Path) -> None:
    draw_sample("metal", 3).save(tmp_path / "photo.jpg")
    photo = (tmp_path / "photo.jpg").read_bytes()
    with people.serving() as (port, _):
        visitors = [people.Visitor(port) for _ in range(3)]
        assert all(0 < visitor.send(photo) < 60 for visitor in visitors for _ in range(2))
        with pytest.raises(RuntimeError, match="no answer"):
            visitors[0].send(b"no picture")
        # Over the upload limit it is refused unread, so the answer may come before all is sent.
        with pytest.raises(URLError, match="413|reset|Broken pipe"):
            visitors[1].send(bytes(26 * 1024**2))
        assert visitors[1].send(photo) > 0
        for visitor in visitors:
            visitor.close()


def test_the_published_page_is_of_this_kind() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert page.startswith(as_markdown([]).split("\n\n")[0])
    assert len(re.findall(r"^\| .* × ", page, re.MULTILINE)) >= 10
