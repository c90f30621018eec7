"""What pages keep: of files until these change, of what visitors send until the visit ends."""

from pathlib import Path

import pytest
from streamlit.runtime.caching import cache_data_api

from pages.shared.caching import cached, fingerprint
from tests.pages.visiting import open_page, run, words
from trashnet.data.dataset import Photos
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run


def test_a_run_is_read_again_when_one_of_its_results_was_written_anew(tmp_path: Path) -> None:
    of_run, read = Run(tmp_path), []

    @cached(max_entries=4)
    def evaluation(run: Run) -> str:
        read.append(run)
        return (run.path / "evaluation.json").read_text()

    (tmp_path / "evaluation.json").write_text("first")
    assert evaluation(of_run) == evaluation(Run(tmp_path)) == "first" and len(read) == 1
    before = fingerprint(of_run)
    (tmp_path / "evaluation.json").write_text("second")
    (tmp_path / "predictions.parquet").touch()
    assert fingerprint(of_run) != before
    assert evaluation(of_run) == "second" and len(read) == 2


def test_a_photo_is_read_again_when_it_was_overwritten_in_place(tmp_path: Path) -> None:
    @cached(max_entries=4)
    def contents(paths: tuple[Path, ...]) -> list[bytes]:
        return [path.read_bytes() for path in paths]

    photo = tmp_path / "photo"
    photo.write_bytes(b"first")
    assert contents((photo,)) == [b"first"]
    photo.write_bytes(b"second")
    assert contents((photo,)) == [b"second"]


def test_an_upload_is_answered_once_a_visit_and_known_to_no_other(
    trained: Run, samples: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, classify = [], Classifier.classify

    def counted(classifier: Classifier, source: bytes) -> object:
        answered.append(source)
        return classify(classifier, source)

    monkeypatch.setattr(Classifier, "classify", counted)
    content = (samples.root / samples.files[0]).read_bytes()
    for visits in (1, 2):
        # Streamlit gives all visits of its own tests one name.
        monkeypatch.setattr(
            cache_data_api, "get_session_id_or_throw", lambda visit=f"visit {visits}": visit
        )
        page = open_page("Classify", "alone")
        page.file_uploader[0].upload("a.jpg", content, "image/jpeg")
        for _ in range(2):
            assert "The training photos it is most like" in words(run(page))
        assert len(answered) == visits
