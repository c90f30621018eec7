"""What may import what, read from the code itself, and that the printed commands exist."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from trashnet.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "trashnet").glob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LAYERS = [
    {
        "config",
        "errors",
        "files",
        "photos",
        "samples",
        "archive",
        "neighbours",
        "changes",
        "door",
        "drawings",
        "thumbnails",
        "storage",
    },
    {
        "data",
        "review",
        "index",
        "processes",
        "jobs",
        "findings",
        "leaks",
        "pixels",
        "places",
        "runs",
        "library",
        "estimate",
        "preview",
    },
    {
        "predict",
        "augmentation",
        "pipeline",
        "devices",
        "standardized",
        "models",
        "tracking",
        "evaluate",
        "figures",
    },
    {
        "audit",
        "batch",
        "explain",
        "checkpoint",
        "export",
        "formats",
        "train",
        "measure",
        "variants",
        "robustness",
        "compare",
        "own",
        "reports",
        "slices",
        "publish",
        "suspects",
        "card",
        "hub",
        "received",
        "sharing",
        "space",
        "parts",
        "scale",
        "sweep",
    },
    {"printing", "__main__", "__init__"},
]
"""From low to high; a module imports its own layer and those before it."""

OWNERS = {
    "streamlit": set(),
    "wandb": {"tracking"},
    "huggingface_hub": {"data", "hub", "publish"},
    "plotly": {"figures"},
    "ray": {"scale", "sweep"},
    "tensorflow": {"augmentation", "pipeline", "devices", "export"},
    "keras": {"standardized", "models", "measure", "checkpoint", "export", "formats", "train"},
}
"""The modules of the package that may import what is heavy, optional or another's job."""

TENSORFLOW_MODULES = {
    "augmentation",
    "pipeline",
    "devices",
    "standardized",
    "models",
    "checkpoint",
    "export",
    "train",
    "measure",
    "variants",
}
MAY_START_TENSORFLOW = TENSORFLOW_MODULES | {"audit", "formats", "__main__"}


@dataclass(frozen=True)
class Import:
    """An import statement: what it brings in, and whether that waits for a function's call."""

    name: str
    in_function: bool
    line: int


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_of(node: ast.AST, in_function: bool = False) -> Iterator[Import]:
    """Yields what is imported at run time; `from a import b` counts as both `a` and `a.b`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, in_function, child.lineno)
        elif isinstance(child, ast.ImportFrom):
            module = child.module or ""
            assert child.level == 0, f"line {child.lineno} imports relatively: name the package"
            yield Import(module, in_function, child.lineno)
            for alias in child.names:
                yield Import(f"{module}.{alias.name}", in_function, child.lineno)
        elif not is_for_types(child):
            inside = in_function or isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            )
            yield from imports_of(child, inside)


def own_modules(path: Path, in_functions: bool = True) -> set[str]:
    """The modules of the package that a file imports."""
    names = {p.stem for p in PACKAGE}
    return {
        parts[1]
        for found in imports_of(tree_of(path))
        if (in_functions or not found.in_function)
        and len(parts := found.name.split(".")) > 1
        and parts[0] == "trashnet"
        and parts[1] in names
    }


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_heavy_packages_stay_with_their_owners(path: Path) -> None:
    for found in imports_of(tree_of(path)):
        owners = OWNERS.get(found.name.split(".")[0])
        assert owners is None or path.stem in owners, f"line {found.line} imports {found.name}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_only_show(path: Path) -> None:
    for found in imports_of(tree_of(path)):
        package = found.name.split(".")[0]
        assert package == "streamlit" or package not in OWNERS, f"line {found.line}: {found.name}"
    assert not own_modules(path) & MAY_START_TENSORFLOW, "the app never loads TensorFlow"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_tensorflow_is_loaded_only_when_it_is_needed(path: Path) -> None:
    assert path.stem in TENSORFLOW_MODULES or not (
        own_modules(path, in_functions=False) & TENSORFLOW_MODULES
    )
    assert path.stem in MAY_START_TENSORFLOW or not own_modules(path) & TENSORFLOW_MODULES


@pytest.mark.parametrize("path", [*PACKAGE, *PAGES], ids=name_of)
def test_only_the_configuration_reads_environment_variables(path: Path) -> None:
    if path == ROOT / "trashnet" / "config.py":
        return
    for node in ast.walk(tree_of(path)):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if isinstance(node, ast.alias):
            name = node.name
        assert name not in {"environ", "environb", "getenv", "putenv"}, f"line {node.lineno}"


def layer_of(module: str) -> int:
    found = [number for number, layer in enumerate(LAYERS) if module in layer]
    assert found, f"trashnet/{module}.py has no place in LAYERS yet; give it one"
    return found[0]


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_lower_layers_know_nothing_of_higher_ones(path: Path) -> None:
    # Inside functions, too: that hides a wrong direction, it does not turn it round.
    higher = {m for m in own_modules(path) if layer_of(m) > layer_of(path.stem)}
    assert not higher


def test_no_import_goes_in_a_circle() -> None:
    imports = {path.stem: own_modules(path) - {path.stem} for path in PACKAGE}
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError
    assert set(order) == set(imports)


# ---- the rules can fail ----


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import wandb.sdk", {"wandb.sdk"}),
        ("def f():\n    if True:\n        from keras import layers", {"keras", "keras.layers"}),
        ("class A:\n    async def f(self):\n        import plotly", {"plotly"}),
        ("if TYPE_CHECKING:\n    import datasets", set()),
    ],
)
def test_imports_are_found_wherever_they_hide(code: str, found: set[str]) -> None:
    assert {i.name for i in imports_of(ast.parse(code))} == found


# ---- commands in the documentation ----


def printed_commands() -> list[tuple[str, str]]:
    return [
        (path.name, command)
        for path in DOCUMENTS
        if path.exists()
        for command in re.findall(r"python3? -m trashnet +(\w[\w-]*)", path.read_text("utf-8"))
    ]


@pytest.mark.parametrize(("document", "name"), sorted(set(printed_commands())))
def test_a_printed_command_exists(
    document: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert leaving.value.code == 0, f"{document} prints a command that does not exist"


def test_what_is_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["no-such-command", "--help"])
    assert leaving.value.code == 2
