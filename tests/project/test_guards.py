"""That no page reaches what changes this server except through the guard, read from the code.

What writes, starts or ends something is found in the package itself, from what it calls, so a new
action is found without being listed here.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = sorted(
    path
    for path in (ROOT / "trashnet").rglob("*.py")
    if path.stem != "__main__" and path.parent.name != "cli"
)
PAGES = [ROOT / "home.py", *sorted((ROOT / "pages").rglob("*.py"))]

GUARD = "owner_only"

PRIMITIVES = {
    *("write_json", "write_atomically", "write_text", "write_bytes", "to_parquet", "touch"),
    *("unlink", "rmtree", "Popen", "launch", "kill", "terminate"),
    *("upload_file", "upload_folder", "create_repo", "create_commit", "push_to_hub"),
}
"""What changes files, processes or somebody else's server."""

READS = {"log_tail", "tail"}
"""What changes nothing and is the owner's all the same."""

ANYBODY = {
    "find_photos": "opens what is there; a zip is extracted once, to the owner's own cache",
    "small_folder": "unpacks the package's photos, once",
    "scan": "keeps what it measured of the owner's photos",
    "pixel_statistics": "the same",
    "review_of": "carries the owner's decisions over to photos that were renamed, by their content",
    "stored_thumbnail": "keeps a small copy of a photo in the owner's own cache",
    "ship": "copies what is published to a temporary folder, of which a visitor gets a zip",
    "zip_run": "packs a temporary file, which is gone when the download is made",
    "zip_saved": "the same, for whom `allowed_later` lets",
    "Preview": "one small process that augments photos for all visitors and ends when idle",
    "variants": "asks it",
    "close": "ends it, with the app",
    "save": "Pillow's, into memory; the package's own is a training's",
    "end_if_overdue": "ends only what the owner asked to stop",
}
"""What visitors may reach although it writes, and why."""

Name = tuple[str, str]
"""How something is called: as a `function` (a class, too) or as a `method`, and its name."""


def references(tree: ast.AST) -> Iterator[tuple[Name, ast.expr]]:
    """Yields all that is named under a node, called or handed on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield ("function", node.id), node
        elif isinstance(node, ast.Attribute):
            starts = isinstance(node.value, ast.Name) and node.value.id == "subprocess"
            yield ("method", "Popen" if starts else node.attr), node


def definitions(tree: ast.Module) -> Iterator[tuple[Name, ast.FunctionDef]]:
    """Yields functions and methods; making an object is a function of its class's name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield ("function", node.name), node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    is_new = inner.name == "__init__"
                    name = ("function", node.name) if is_new else ("method", inner.name)
                    yield name, inner


def find_actions(trees: list[ast.Module]) -> set[Name]:
    """Returns what leads to a primitive, however far, on the way passing nothing for anybody."""
    calls: dict[Name, set[Name]] = {}
    for tree in trees:
        for name, node in definitions(tree):
            stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and is_stored(n)}
            calls.setdefault(name, set()).update(
                (kind, found) for (kind, found), _ in references(node) if found not in stored
            )
    known = {(kind, name) for kind in ("function", "method") for name in PRIMITIVES}
    while True:
        more = {name for name, inside in calls.items() if inside & known} - known
        more = {(kind, name) for kind, name in more if name not in ANYBODY}
        if not more:
            return {found for found in known if found in calls or found[1] in PRIMITIVES}
        known |= more


def is_stored(node: ast.Name) -> bool:
    """Whether a name is given a value here, and so is a variable."""
    return isinstance(node.ctx, ast.Store)


def reached() -> list[ast.Module]:
    """Returns the package's modules that a page imports, or one of these, wherever in the code.

    Names alone tell actions apart, and those of modules that only the command line has would make
    actions of what pages call the same.
    """
    waiting, seen = list(PAGES), {}
    while waiting:
        path = waiting.pop()
        if path in seen or path not in {*PAGES, *PACKAGE}:
            continue
        seen[path] = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(seen[path]):
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = (ROOT / node.module.replace(".", "/")).with_suffix(".py")
                names = (ROOT / node.module.replace(".", "/") / f"{a.name}.py" for a in node.names)
                waiting += [inside, *names]
    return [tree for path, tree in seen.items() if path in PACKAGE]


ACTIONS = find_actions(reached())


def guarded_nodes(tree: ast.AST) -> set[ast.AST]:
    """Returns what runs for the owner alone.

    The guard must be the innermost decorator: Streamlit calls what `st.fragment` and `st.dialog`
    were given again by itself, past whatever was put around them.
    """
    inside: set[ast.AST] = set()
    guards = {GUARD, f"owner.{GUARD}"}
    takers = set(guards)  # what is handed to a guarded function does nothing outside of it
    for node in ast.walk(tree):
        decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        if decorators and ast.unparse(decorators[-1]) in guards:
            takers.add(node.name)
            for statement in node.body:
                inside.update(ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in takers:
            inside.update(node.args)
            inside.update(part for arg in node.args for part in branches(arg))
    return inside


def branches(node: ast.expr) -> list[ast.expr]:
    """Returns what may come out of `a if b else c`."""
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else []


def unguarded(source: str) -> list[str]:
    """Returns the actions that code reaches without the guard, each after its line."""
    tree = ast.parse(source)
    guarded = guarded_nodes(tree)
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trashnet")
        for alias in node.names
    }
    found = []
    for (kind, name), node in references(tree):
        if isinstance(node, ast.Name):
            acts = ("function", imported.get(name, "")) in ACTIONS or imported.get(name) in READS
        elif isinstance(node.value, ast.Name) and node.value.id in imported:  # of a module
            acts = ("function", name) in ACTIONS or ("method", name) in ACTIONS or name in READS
        else:
            acts = ((kind, name) in ACTIONS or name in READS) and ast.unparse(node.value) != "st"
        if acts and node not in guarded:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def in_files(paths: list[Path], look: Callable[[str], list[str]]) -> str:
    """Returns what `look` finds in each file's source, a line each: `file:line: what`."""
    found = (
        f"{path.relative_to(ROOT).as_posix()}:{what}"
        for path in paths
        for what in look(path.read_text("utf-8"))
    )
    return "\n".join(found)


def test_the_files_are_found() -> None:
    assert len(PACKAGE) > 70 and len(PAGES) > 30


def test_every_action_of_a_page_is_behind_the_guard() -> None:
    found = in_files(PAGES, unguarded)
    assert not found, (
        f"{found}\nThis changes the server: put it into a function under @{GUARD} "
        "(pages/shared/owner.py), or say in ANYBODY why a visitor may"
    )


def test_what_is_known_to_act_is_found() -> None:
    functions = {"start", "stop", "new_run", "delete", "describe_as", "choose_photos", "measured"}
    assert {("function", name) for name in functions} <= ACTIONS
    assert {("method", name) for name in ("decide", "undo", "write_status")} <= ACTIONS
    assert ("function", "load_photo") not in ACTIONS and ("function", "describe") not in ACTIONS


@pytest.mark.parametrize(
    "code",
    [
        "from trashnet.runs.control import stop\nif st.button('Stop'):\n    stop(run)",
        "from trashnet.runs.control import stop as end\ndef f():\n    end(run)",
        "from trashnet.runs import control\ndef f():\n    control.stop(run)",
        "st.button('Undo', on_click=review.undo)",
        "@st.fragment\ndef f():\n    st.button('x', on_click=lambda: review.decide('a', 'keep'))",
        "from trashnet.runs.control import stop\n@owner_only\n@st.fragment\ndef f():\n"
        "    stop(run)",
        "from trashnet.runs.control import stop\n@owner_only\ndef f(then=stop):\n    pass",
        "def f():\n    st.code(run.log_tail())",
        "(run.path / 'x').write_text('y')",
    ],
)
def test_an_unguarded_action_is_found(code: str) -> None:
    assert unguarded(code)


@pytest.mark.parametrize(
    "code",
    [
        "from trashnet.runs.control import stop\n@owner_only\ndef f():\n    stop(run)",
        "from trashnet.runs.control import stop\n@st.fragment\n@owner.owner_only\ndef f():\n"
        "    stop(run)",
        "st.button('Undo', on_click=owner_only(review.undo))",
        "def f():\n    @owner_only\n    def decide():\n        review.decide('a', 'keep')",
        "st.stop()",
        "def stop():\n    pass\nstop()",
        "from trashnet.data.download import fetch_trashnet\n@owner_only\ndef get(photos_from):\n"
        "    photos_from()\nget(fetch_trashnet)",
    ],
)
def test_a_guarded_action_is_none(code: str) -> None:
    assert unguarded(code) == []


# ---------------------------------------------------------------- what no file may do

FORBIDDEN = {
    "pickle": "runs what it reads",
    "cloudpickle": "runs what it reads",
    "joblib": "runs what it reads",
    "dill": "runs what it reads",
    "marshal": "runs what it reads",
    "shelve": "runs what it reads",
    "eval": "runs what it reads",
    "exec": "runs what it reads",
    "read_pickle": "runs what it reads",
    "enable_unsafe_deserialization": "lets a Keras file run code",
    "unsafe_allow_html": "shows a stranger's text as HTML",
    "unsafe_allow_javascript": "runs a stranger's text",
}
FORBIDDEN_VALUES = {"allow_pickle": True, "safe_mode": False, "shell": True}


def forbidden(source: str) -> list[str]:
    """Returns what code does that it must not, each after its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "id", None) or getattr(node, "attr", None)
        if isinstance(node, ast.alias):
            name = node.name.split(".")[0]
        if isinstance(node, ast.ImportFrom):
            name = (node.module or "").split(".")[0]
            if [name, *(alias.name for alias in node.names)] == ["joblib", "cpu_count"]:
                continue
        if isinstance(node, ast.keyword):
            name = node.arg
            value = getattr(node.value, "value", None)
            if name in FORBIDDEN_VALUES and value is FORBIDDEN_VALUES[name]:
                found.append(f"{node.lineno}: {name}={value}")
        if name in FORBIDDEN:
            found.append(f"{getattr(node, 'lineno', '?')}: {name} {FORBIDDEN[name]}")
    return found


def test_nothing_runs_or_shows_as_html_what_strangers_wrote() -> None:
    found = in_files([*PACKAGE, *PAGES], forbidden)
    assert not found, found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from joblib import cpu_count, load",
        "import joblib",
        "np.load(path, allow_pickle=True)",
        "load_model(path, safe_mode=False)",
        "st.markdown(name, unsafe_allow_html=True)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_is_forbidden_is_found(code: str) -> None:
    assert forbidden(code)


def test_every_keras_file_is_read_without_its_code() -> None:
    calls = [
        ast.unparse(node)
        for path in PACKAGE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_model")
    ]
    assert calls and all("safe_mode=True" in call for call in calls)


def test_streamlits_door_for_programs_is_shut() -> None:
    from streamlit import config

    assert config.get_option("server.enableAgentApi") is False
    assert config.get_option("client.showErrorDetails") == "type"


def expressions(source: str) -> list[str]:
    """Returns the searches for what may be an expression, each after its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".str.contains"):
            plain = [k for k in node.keywords if k.arg == "regex" and not k.value.value]
            fixed = node.args and isinstance(node.args[0], ast.Constant)
            if not (plain or fixed):
                found.append(f"{node.lineno}: say regex=False")
    return found


def test_no_search_is_an_expression() -> None:
    """What visitors type is looked for as it is: an expression can take for ever."""
    found = in_files([*PACKAGE, *PAGES], expressions)
    assert not found, found
    assert expressions("names.str.contains(typed)")


def tables(source: str) -> list[str]:
    """Returns the tables that leave a page without being disarmed, each after its line."""
    ways = ("st.dataframe", "st.data_editor", ".dataframe", ".data_editor", ".to_csv")
    return [
        f"{node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(ways)
    ]


def test_every_table_of_a_page_is_disarmed() -> None:
    """Streamlit's tables have a CSV button of their own."""
    found = in_files(PAGES, tables).splitlines()
    assert [where.split(":")[0] for where in found] == ["pages/shared/widgets.py"], (
        f"{found}\nDraw it with data_table (pages/shared/widgets.py), "
        "or write it with as_csv (trashnet/evaluation/report_tables.py)"
    )
    assert tables("right.dataframe(table)") and tables("table.to_csv()")


# ---------------------------------------------------------------- the document


def test_every_test_that_the_document_names_is_there() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8"))
    files = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(files), re.MULTILINE))
    assert len(named) > 20 and set(named) <= defined
