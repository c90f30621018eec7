"""Does what the Dockerfile says, step by step, on a machine without a container engine.

python -m tools.rehearse_image

A new environment stands for the base image, a folder for its disk. The app then runs as user 1000
(where this is root), from a folder it cannot write, with no other variables than the image's and
a Space's; the health check is asked and a page is opened in Chromium.
"""

import contextlib
import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trashnet.environment import CHECKOUT
from trashnet.hub.space import PORT, VARIABLES, space_files

USER = 1000
SECONDS = 90
"""How long the app has to become well."""


@dataclass
class Image:
    """What the steps so far have made.

    Attributes:
        disk: Stands for `/`.
        environment: The Python environment: a new one, or the one this runs in.
        variables: The image's.
        workdir: Where commands run and the app lies.
        health: The health check's command.
        command: The image's.
        not_run: Steps that were not done as they stand, and why.
    """

    disk: Path
    environment: Path
    variables: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path()
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        """Whether the environment was made for this."""
        return self.disk in self.environment.parents

    def surroundings(self) -> dict[str, str]:
        """The variables a command of the image gets, and no others."""
        path = f"{self.environment / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "LANG": "C.UTF-8", **self.variables}

    def on_disk(self, value: str) -> str:
        """An absolute path of the image, on this disk."""
        return f"{self.disk}{value}" if value.startswith("/") else value


@dataclass
class Running:
    """The app as the image runs it."""

    image: Image
    url: str
    process: subprocess.Popen[bytes]


def steps(text: str) -> list[tuple[str, str]]:
    """Returns a Dockerfile's instructions and their arguments, in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


def is_ignored(name: str, patterns: list[str]) -> bool:
    """Whether a `.dockerignore` leaves a path of the checkout out; the last that fits decides."""
    ignored = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        parents = [name, *(p.as_posix() for p in Path(name).parents)][:-1]
        forms = (plain, plain.removeprefix("**/"), f"*/{plain.removeprefix('**/')}")
        used = forms if plain.startswith("**/") else forms[:1]
        if any(fnmatch.fnmatchcase(p, form) for p in parents for form in used):
            ignored = not pattern.startswith("!")
    return ignored


def build(disk: Path, new_environment: bool, source: Path = CHECKOUT) -> Image:
    """Does every step up to the command."""
    image = Image(disk, disk / "environment" if new_environment else Path(sys.prefix))
    for name, argument in steps((source / "Dockerfile").read_text()):
        _DO[name](image, argument, source)
    return image


def _from(image: Image, argument: str, source: Path) -> None:
    wanted, here = re.findall(r"\d+\.\d+", argument)[0], f"{sys.version_info.major}."
    here += str(sys.version_info.minor)
    if wanted != here:
        if image.is_new:
            raise SystemExit(f"The Dockerfile is of Python {wanted}, and this is {here}.")
        image.not_run.append(f"FROM {argument}: this is Python {here}")
    image.not_run.append(f"FROM {argument}: this system and a virtual environment stand for it")
    if image.is_new:
        subprocess.run([sys.executable, "-m", "venv", image.environment], check=True)


def _run(image: Image, argument: str, source: Path) -> None:
    if argument.startswith("useradd"):
        image.not_run.append(
            f"RUN {argument}: the number is used, its folders are nobody's to write"
        )
        for folder in ("home/user", "data"):
            (image.disk / folder).mkdir(parents=True)
        return
    if argument.startswith("pip install"):
        if not image.is_new:
            image.not_run.append(f"RUN {argument}: this environment has them")
            return
        argument = argument.replace("--no-cache-dir", "--quiet")  # what was fetched once will do
    subprocess.run(argument, shell=True, check=True, cwd=image.workdir, env=image.surroundings())


def _copy(image: Image, argument: str, source: Path) -> None:
    what, to = argument.split()
    patterns = [
        line
        for line in (source / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    # What `deploy` sends is what a Space builds from.
    for name, content in space_files(source).items():
        if what not in (".", name) or is_ignored(name, patterns):
            continue
        target = image.workdir / to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)


def _env(image: Image, argument: str, source: Path) -> None:
    pairs = (pair.split("=", 1) for pair in argument.split())
    image.variables.update({name: image.on_disk(value) for name, value in pairs})


def _workdir(image: Image, argument: str, source: Path) -> None:
    image.workdir = Path(image.on_disk(argument))
    image.workdir.mkdir(parents=True)


def _user(image: Image, argument: str, source: Path) -> None:
    if argument != str(USER):
        raise SystemExit(f"The Dockerfile's user is {argument}, not {USER}.")


def _expose(image: Image, argument: str, source: Path) -> None:
    if argument != str(PORT):
        raise SystemExit(f"The Dockerfile's port is {argument}, and app_port is {PORT}.")


def _healthcheck(image: Image, argument: str, source: Path) -> None:
    image.health = json.loads(argument.split("CMD", 1)[1])


def _cmd(image: Image, argument: str, source: Path) -> None:
    image.command = json.loads(argument)


_DO = {
    "FROM": _from,
    "RUN": _run,
    "COPY": _copy,
    "ENV": _env,
    "WORKDIR": _workdir,
    "USER": _user,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "CMD": _cmd,
}


@contextlib.contextmanager
def rehearsed(new_environment: bool, **variables: str) -> Iterator[Running]:
    """Builds, runs the command as user 1000 and waits until the health check is content.

    Args:
        new_environment: Whether to install everything anew, as the image does, in minutes.
        variables: The Space's, on top of those that `deploy` sets.
    """
    disk = Path(tempfile.mkdtemp(prefix="image-"))
    disk.chmod(0o755)  # another user is to read it
    try:
        image = build(disk, new_environment)
        with _running(image, variables) as running:
            yield running
    finally:
        subprocess.run(["chmod", "-R", "u+w", disk], check=False)
        shutil.rmtree(disk, ignore_errors=True)


@contextlib.contextmanager
def _running(image: Image, variables: dict[str, str]) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    image.not_run.append(f"port {PORT}: {port} stands for it")
    command = [word.replace(str(PORT), port) for word in image.command]
    health = [word.replace(str(PORT), port) for word in image.health]
    (image.disk / "tmp").mkdir()
    (image.disk / "tmp").chmod(0o1777)
    become = _becoming_the_user(image)
    surroundings = {**image.surroundings(), "SPACE_ID": "x/y", **VARIABLES, **variables}
    with open(image.disk / "app.log", "wb") as log:
        process = subprocess.Popen(
            [*become, *command],
            cwd=image.workdir,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + SECONDS
        check = [*become, *health]
        while subprocess.run(check, env=surroundings, capture_output=True).returncode:
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(f"The app is not well: {(image.disk / 'app.log').read_text()}")
            time.sleep(0.5)
        yield Running(image, f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(30)


def _becoming_the_user(image: Image) -> list[str]:
    """Returns what to put before a command that is to run as the image's user."""
    if os.getuid() != 0:
        image.not_run.append(f"USER {USER}: it runs as you, user {os.getuid()}")
        subprocess.run(["chmod", "-R", "a-w", image.workdir], check=True)
        return []
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    python = Path(sys.executable).resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in python.parents):
        image.not_run.append(f"USER {USER} may also read root's files: Python lies among them")
        become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return become


def main() -> None:
    """Rehearses with a new environment and opens a page."""
    from playwright.sync_api import sync_playwright

    began = time.monotonic()
    with rehearsed(new_environment=True) as running, sync_playwright() as playwright:
        print(f"built and healthy after {time.monotonic() - began:.0f} s")
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(running.url)
        page.get_by_role("heading", name="TrashNet Explorer").first.wait_for(timeout=60_000)
        page.get_by_text("Or try one of these").wait_for(timeout=60_000)  # photos, and a model
        page.wait_for_function("[...document.images].some(image => image.naturalWidth)")
        if page.get_by_test_id("stException").count():
            raise SystemExit("The page shows an exception.")
        browser.close()
        for step in running.image.not_run:
            print(f"not run: {step}")
    print("the page opens")


if __name__ == "__main__":
    main()
