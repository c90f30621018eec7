"""What people do with their runs: name, tag and annotate them, delete them, take them along."""

import shutil
import zipfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trashnet.errors import RunError
from trashnet.files import read_json, write_atomically, write_json
from trashnet.runs.run import Run

_LONGEST = {"title": 80, "note": 2000}

_MOST_TAGS = 10

_NOT_ZIPPED = ("checkpoint", "wandb", "stop")
"""What only this machine needs: to resume, and to upload later."""


class About(BaseModel):
    """What a person wrote about a run; its id never changes.

    Attributes:
        title: A name for people, empty if the id will do.
        tags: Short words to find it by.
        note: Why it was made, what came of it.
    """

    model_config = ConfigDict(frozen=True)

    title: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""


def about(run: Run) -> About:
    """Returns what was written about the run; nothing if the file is absent or torn."""
    try:
        return About.model_validate(read_json(run.path / "about.json"))
    except ValidationError:
        return About()


def describe_as(run: Run, title: str = "", tags: tuple[str, ...] = (), note: str = "") -> About:
    """Writes a title, tags and a note about the run.

    Raises:
        RunError: A text is too long, or there are too many tags.
    """
    texts = {"title": " ".join(title.split()), "note": note.strip()}
    for name, text in texts.items():
        if len(text) > _LONGEST[name]:
            raise RunError(f"The {name} has {len(text)} characters; {_LONGEST[name]} are allowed.")
    kept = tuple(dict.fromkeys(" ".join(tag.split())[:30] for tag in tags if tag.strip()))
    if len(kept) > _MOST_TAGS:
        raise RunError(f"A run can have {_MOST_TAGS} tags, and these are {len(kept)}.")
    written = About(**texts, tags=kept)
    try:
        write_json(run.path / "about.json", written.model_dump())
    except OSError as error:
        raise RunError(f"That could not be kept ({error.strerror}).") from error
    return written


def delete(run: Run) -> None:
    """Deletes the run's directory for good.

    Raises:
        RunError: It is being trained.
    """
    if run.status().is_active:
        raise RunError(f"The run {run.id} is being trained; stop it first.")
    # Out of sight in one step, so that nobody meets half a run; then it takes the time it takes.
    bin_path = run.path.with_name(f".deleted-{run.id}")
    shutil.rmtree(bin_path, ignore_errors=True)
    try:
        run.path.rename(bin_path)
    except OSError as error:
        raise RunError(f"The run {run.id} cannot be deleted ({error.strerror}).") from error
    shutil.rmtree(bin_path, ignore_errors=True)


def zip_run(run: Run, target: Path) -> None:
    """Writes the run as a zip, less what only serves to resume it here.

    Args:
        run: What to pack.
        target: The zip.

    Raises:
        RunError: There is no space for it.
    """
    files = [
        path
        for path in sorted(run.path.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and not set(path.relative_to(run.path).parts) & set(_NOT_ZIPPED)
    ]

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, Path(run.id) / path.relative_to(run.path))

    try:
        write_atomically(target, write)
    except OSError as error:
        raise RunError(f"The run could not be packed ({error.strerror}).") from error
