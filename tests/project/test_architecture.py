"""The pages for contributors name files that exist and draw the layers as they are."""

import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

DOCUMENTS = ("docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md")
RUN_FILES = (
    r"TRASHNET_HOME/.*|[a-z_-]+\.(json|jsonl|parquet|log|keras|tflite|npz)|checkpoint/|folds/"
)


def named_paths(document: str) -> set[str]:
    """Returns the files and folders that a document names in code font or links to."""
    text = (ROOT / document).read_text("utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    words = re.findall(r"`([^`\s]+)`", text) + re.findall(r"\]\(([^):#\s]+)\)", text)
    paths = {word for word in words if "/" in word or re.search(r"\.[a-z]{2,5}$", word)}
    return {path for path in paths if not re.fullmatch(RUN_FILES, path)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document: str) -> None:
    paths = named_paths(document)
    assert paths
    assert not [path for path in sorted(paths) if not (ROOT / path).exists()]


def test_the_picture_has_the_layers_that_lint_imports_checks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    picture = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("```")[1]
    rows = [line.split() for line in picture.splitlines() if line.strip()]
    assert rows[0] == ["app.py", "and", "pages/"]
    assert rows[1:] == [layer.split() for layer in layers if layer != "__main__"]


def test_the_citation_has_the_packages_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["references"][0]["title"].startswith("TrashNet")


def test_the_hooks_need_no_network() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert {hook["language"] for hook in hooks[0]["hooks"]} == {"system"}
