"""Files on disk: written all at once or not at all, and read whether or not they are whole."""

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in place in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)  # mkstemp makes files that nobody else can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented for people."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))


def read_json(path: Path) -> Any | None:
    """Returns the file's JSON, or None when the file is absent or torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder beside `target` and removes it, and any an interruption left behind."""
    prefix = f".partial-{target.name}-"
    for left_over in target.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def digest(text: str) -> str:
    """Returns twelve hexadecimal digits that name a content."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
