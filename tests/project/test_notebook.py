"""The notebook: it runs from top to bottom, calls the package, and is kept without outputs."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from trashnet.data.dataset import Photos

PATH = ROOT / "notebooks" / "exploratory_analysis.ipynb"


@pytest.fixture
def photos(request: pytest.FixtureRequest) -> Photos:
    """The real photos; where there are none and it is no CI, the sample pictures."""
    try:
        return request.getfixturevalue("real_photos")
    except pytest.skip.Exception:
        return request.getfixturevalue("sample_photos")


def code_cells() -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(PATH, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_output_is_kept() -> None:
    """An output would hold photos, which are not ours to pass on."""
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells())


def test_it_imports_the_package_and_display_alone() -> None:
    for cell in code_cells():
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                pytest.fail(f"imports {node.names[0].name}")
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in ("trashnet", "IPython")


@pytest.mark.slow
def test_it_runs(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRASHNET_DATA", str(photos.root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(PATH, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    done = client.execute(env=dict(os.environ))
    outputs = [o for cell in done.cells if cell.cell_type == "code" for o in cell.outputs]
    shown = str(outputs)
    assert f"{len(photos.files):,} photos" in shown
    assert "objects on more than one side: 0" in shown
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == len(photos.classes) + 6  # a mean a class, an original, five variants
    if photos.is_trashnet:  # what the text says was observed
        assert "588 similar pairs, 1,973 with a print in common" in shown
        assert "285 objects on 1,101 photos, 80 at most" in shown
        assert "`glass/glass115.jpg` and `metal/metal91.jpg`" in shown
