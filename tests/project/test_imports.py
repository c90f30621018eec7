"""What may import what, and that the printed commands exist."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from trashnet.cli.main import main

PACKAGE = sorted((ROOT / "trashnet").rglob("*.py"))
PAGES = [ROOT / "app.py", ROOT / "home.py", *sorted((ROOT / "pages").rglob("*.py"))]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_FOR_PAGES = {"trashnet.training", "trashnet.distributed", "trashnet.cli"}
NOT_FOR_PAGES |= {"tensorflow", "keras", "ray", "wandb", "plotly", "huggingface_hub"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yields every module that code imports, anywhere; `from a import b` is `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively: name the package"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_the_files_are_found() -> None:
    assert len(PACKAGE) > 70 and len(PAGES) > 30


def test_pages_only_show() -> None:
    """The app never loads TensorFlow: what trains runs in processes of its own."""
    for path in PAGES:
        for name in imported(tree_of(path)):
            parts = name.split(".")
            found = {parts[0], ".".join(parts[:2])} & NOT_FOR_PAGES
            assert not found, f"{path.relative_to(ROOT)} imports {name}"


def test_only_one_module_reads_environment_variables() -> None:
    for path in [*PACKAGE, *PAGES]:
        if path == ROOT / "trashnet" / "environment.py":
            continue
        for node in ast.walk(tree_of(path)):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            if isinstance(node, ast.alias):
                name = node.name
            where = f"{path.relative_to(ROOT)}, line {getattr(node, 'lineno', '?')}"
            assert name not in {"environ", "environb", "getenv", "putenv"}, where


def test_no_module_takes_what_is_private_to_another() -> None:
    for path in [*PACKAGE, *PAGES]:
        for name in imported(tree_of(path)):
            private = [part for part in name.split(".")[1:] if re.match(r"_[^_]", part)]
            ours = name.split(".")[0] in ("trashnet", "pages")
            assert not (private and ours), f"{path.relative_to(ROOT)} imports {name}"


# ---------------------------------------------------------------- the layers


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Checks the contracts of `pyproject.toml` on a package in a folder."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_imports_keep_to_their_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


BREACHES = {
    "inference.classifier": "tensorflow",
    "inference.explain": "trashnet.training.networks",
    "data.dataset": "trashnet.runs.run",
    "hub.space": "trashnet.training.networks",
    "runs.store": "wandb",
    "evaluation.report": "plotly",
    "runs.run": "huggingface_hub",
    "charts": "streamlit",
    "evaluation.slices": "ray",
    "data.scan": "cv2",
}
"""A module, and what no contract lets it import: every contract is broken once."""


def test_a_contract_that_is_broken_is_found(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "assets", "released")
    shutil.copytree(ROOT / "trashnet", tmp_path / "trashnet", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, name in BREACHES.items():
        path = tmp_path / "trashnet" / f"{module.replace('.', '/')}.py"
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"\ndef f():\n    import {name}\n")
    said = lint_imports(tmp_path)
    assert said.returncode == 1 and " 0 kept" in said.stdout, said.stdout + said.stderr
    for module, name in BREACHES.items():
        assert f"trashnet.{module} -> {name} (" in said.stdout, said.stdout


# ---------------------------------------------------------------- commands in the documentation


def printed_commands() -> set[tuple[str, str]]:
    return {
        (path.name, command)
        for path in DOCUMENTS
        for command in re.findall(r"python3? -m trashnet +(\w[\w-]*)", path.read_text("utf-8"))
    }


def test_every_printed_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed_commands()) > 20
    for document, name in printed_commands():
        with pytest.raises(SystemExit) as leaving:
            main([name, "--help"])
        assert leaving.value.code == 0, f"{document} prints {name}, which is no command"


def test_what_is_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["no-such-command", "--help"])
    assert leaving.value.code == 2
