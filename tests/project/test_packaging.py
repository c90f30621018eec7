"""What `pip install` gives: the whole package, its command and its extras."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the checkout: what was built before would find its way into it."""
    folder = tmp_path_factory.mktemp("wheel")
    litter = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "trashnet", folder / "trashnet", ignore=litter)
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "."]
    if int(version("setuptools").split(".")[0]) >= 77:  # else pip fetches one that is new enough
        command.append("--no-build-isolation")
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    (path,) = folder.glob("trashnet-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_package_as_it_lies_here(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    here = {path.relative_to(ROOT) for path in (ROOT / "trashnet").rglob("*") if path.is_file()}
    source = {path.as_posix() for path in here if path.suffix != ".pyc" and path.name[0] != "."}
    assert packed == source
    needed = {"py.typed", "cli/main.py", "released/model.tflite", "assets/trashnet.csv"}
    assert {f"trashnet/{name}" for name in needed} <= packed


def test_the_wheel_has_the_command_and_the_extras(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    commands = wheel.read(f"{info}/entry_points.txt").decode()
    assert "trashnet = trashnet.cli.main:main" in commands
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert set(re.findall(r"^Provides-Extra: (\w+)", metadata, re.M)) == set(EXTRAS)
    assert len(re.findall(r"^Requires-Dist: ", metadata, re.M)) == len(requirements())


def requirements() -> list[str]:
    """Returns everything that is asked for, of the package and of its extras."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    core = [line for line in lines if not line.startswith("#")]
    return [*core, *(line for extra in EXTRAS.values() for line in extra)]


def test_the_image_gets_every_requirement_in_a_version_that_is_allowed() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    block = r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)"
    blocks = re.findall(block, lock, re.M)
    locked = {canonicalize_name(name): version for name, version, _ in blocks}
    assert len(blocks) == len(re.findall(r"^[\w.-]+==", lock, re.M)) == len(locked) > 50
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            wanted = Requirement(line)
            assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


def test_the_tests_get_every_extra() -> None:
    *_, line = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    assert line == f"-e .[{','.join(EXTRAS)}]"


def test_every_dependency_is_explained_with_its_range() -> None:
    document = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| (\S+) \| .* \| `(\S+)` \| .* \|$", document, re.M)
    assert sorted(f"{name}{of}" for name, of in rows) == sorted(requirements())
