"""The app as a Hugging Face Space: which files it needs, and one commit that puts them there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trashnet.environment import CHECKOUT
from trashnet.errors import ConfigError, HubError
from trashnet.hub.markdown import render
from trashnet.hub.repository import Repository, require_token
from trashnet.progress import Progress, silent

PORT = 7860

FILES = (
    ".dockerignore",
    ".streamlit/config.toml",
    "Dockerfile",
    "LICENSE",
    "app.py",
    "home.py",
    "requirements.lock",
)

FOLDERS = ("pages", "trashnet")
"""What the app is made of; tests, benchmarks, tools and documents stay behind."""

LARGEST, LARGEST_TOTAL = 10_000_000, 60_000_000
"""Bytes of one file, beyond which the Hub wants Git LFS, and of all."""

VARIABLES = {"STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false"}
"""What only a Space needs: its page shows the app in another site's frame, where browsers keep the
cookie back that Streamlit compares uploads with (docs/deploy.md says why that is safe there)."""

_MARKS = {"trashnet/hub/space.py", "trashnet/space.py"}
"""The files by which a Space is known to hold this app; the latter in versions before 0.2."""

_NEW = {"README.md", ".gitattributes"}


def space_files(root: Path = CHECKOUT, models: tuple[str, ...] = ()) -> dict[str, Path | bytes]:
    """Returns what the Space holds, by its path there.

    Args:
        root: The checkout.
        models: Models on the Hub to link the Space with.

    Raises:
        ConfigError: It is no checkout, or a file is too large.
    """
    missing = [name for name in FILES if not (root / name).is_file()]
    if missing:
        raise ConfigError(f"{root} is no checkout of TrashNet Explorer: {missing[0]} is not there.")
    files: dict[str, Path | bytes] = {name: root / name for name in FILES}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root)
            litter = path.suffix == ".pyc" or any(
                part.startswith((".", "__pyc")) for part in name.parts
            )
            if path.is_file() and not litter:
                files[name.as_posix()] = path
    # Made here, because GitHub would show a card's front matter as a table.
    files["README.md"] = render("space", port=PORT, models=models).encode()
    large = [name for name in files if _size(files[name]) > LARGEST]
    total = sum(map(_size, files.values()))
    if large or total > LARGEST_TOTAL:
        what = large[0] if large else f"{total / 1e6:.0f} MB of files"
        raise ConfigError(f"{what} is too large for a Space; move it out of {', '.join(FOLDERS)}.")
    return dict(sorted(files.items()))


def listed(files: Mapping[str, Path | bytes]) -> list[dict[str, Any]]:
    """Returns `file` and `size` (bytes) of each."""
    return [{"file": name, "size": _size(content)} for name, content in files.items()]


def deploy(
    name: str,
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
    models: tuple[str, ...] = (),
    private: bool = False,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Creates the Space, or brings it up to date; the Hub builds its image from the Dockerfile.

    Secrets and variables are set before the code, so that no visitor meets the app without its
    password. Repeating it is safe.

    Args:
        name: `OWNER/NAME`.
        secrets: Values that nobody can read back, by name.
        variables: Values that everybody can read, by name.
        models: Models on the Hub to link it with.
        private: Whether a new Space is for its owner only.
        on_progress: Told what is being done.

    Returns:
        `space`, `url` (its page), `address` (the app itself), `commit` and `files`.

    Raises:
        HubError: No token, refused, not reached, or the Space holds something else.
        ConfigError: The name is none, or this is no checkout.
    """
    space = Repository(name, "space", "Nothing was deployed")
    files = space_files(models=models)
    require_token()
    on_progress(0, 3, f"Asking the Hub about {name}")
    variables = {**VARIABLES, **variables}
    if not space.look():
        space.create(private, space_sdk="docker")
    elif not _MARKS & set(space.files) and set(space.files) - _NEW:
        raise HubError(
            f"Nothing was deployed: {space.url} holds something else; choose another name."
        )
    on_progress(1, 3, "Setting secrets and variables")
    for key, value in secrets.items():
        space.set_secret(key, value)
    for key, value in variables.items():
        space.set_variable(key, value)
    on_progress(2, 3, f"Uploading to {name}")
    ours = {path for path in space.files if path.split("/")[0] in FOLDERS}
    commit = space.publish(files, ours - set(files), "Deploy TrashNet Explorer")
    on_progress(3, 3, f"Uploading to {name}")
    return {
        "space": name,
        "url": space.url,
        "address": f"https://{_subdomain(name)}.hf.space",
        "commit": commit,
        "files": listed(files),
    }


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _subdomain(name: str) -> str:
    """How the Hub makes a host name of a Space's."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())
