"""Runs on the Hugging Face Hub: publish one with its card, and bring one back."""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from trashnet.environment import Environment
from trashnet.errors import EXIT_MISTAKE, HubError
from trashnet.files import temporary_folder
from trashnet.hub.bundle import SHIPPED, ship
from trashnet.hub.model_card import published_card
from trashnet.hub.repository import Repository, require_token
from trashnet.hub.verification import KERAS, admit
from trashnet.progress import Progress, silent
from trashnet.runs.processes import run_child
from trashnet.runs.run import Run

MANIFEST = "trashnet.json"
"""Names a repository's files with their SHA-256, and says that it is ours."""

_FETCHED = (*SHIPPED, "config.json", "status.json", "metrics.jsonl")

_RUN_FILES = (*_FETCHED, KERAS)

_OBSOLETE = {*_RUN_FILES, "confusion_matrix.png"}
"""What may be left of an earlier push; versions before 0.2 drew the picture."""

_LARGEST = 200_000_000
"""Bytes of all files of a run that may be fetched; a large network's are 50 million."""

_ASIDE_SECONDS = 600

_ALWAYS = ("README.md", ".gitattributes")
"""What a repository that nobody has used yet may hold."""


def push(run: Run, repo: str, is_private: bool = True, on_progress: Progress = silent) -> Any:
    """Publishes a finished run as a model on the Hub, in one commit.

    Repeating it sends only what changed. Files of an earlier run that this one has not, go.

    Args:
        run: A finished run.
        repo: `OWNER/NAME`; made if it does not exist.
        is_private: Whether only its owner may see a repository that is new.
        on_progress: Told what is being done.

    Returns:
        `run`, `repo`, `url`, `commit` and `files`, a list of `file` and `size` in bytes.

    Raises:
        HubError: No token, refused, not reached, or the repository holds something else.
        RunError: The run is not finished.
    """
    model = Repository(repo, "model")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ship(run, folder, more=(KERAS,))
        (folder / "README.md").write_text(published_card(run, repo), encoding="utf-8")
        files = {path.name: path for path in sorted(folder.iterdir())}
        manifest = {name: _sha256(path) for name, path in files.items() if name in _RUN_FILES}
        files[MANIFEST] = folder / MANIFEST
        content = {"schema": 1, "run": run.id, "files": manifest}
        files[MANIFEST].write_text(json.dumps(content, indent=2) + "\n")
        require_token()
        on_progress(0, 2, f"Asking the Hub about {repo}")
        if model.look():
            if MANIFEST not in model.files and set(model.files) - set(_ALWAYS):
                raise HubError(
                    f"Nothing was published: {model.url} holds something else; choose another name."
                )
        else:
            model.create(is_private)
        on_progress(1, 2, f"Uploading to {repo}")
        commit = model.publish(files, _OBSOLETE - set(files), f"Publish the run {run.id}")
        on_progress(2, 2, f"Uploading to {repo}")
        sizes = [{"file": name, "size": path.stat().st_size} for name, path in files.items()]
    return {"run": run.id, "repo": repo, "url": model.url, "commit": commit, "files": sizes}


def pull(repo: str, root: Path, on_progress: Progress = silent) -> Run:
    """Brings a published run back as a run of its own, once its files are verified.

    Only formats that hold no code are fetched and read (LiteRT, arrays without pickles, Parquet,
    JSON), so not `model.keras`. A commit is fetched once.

    Args:
        repo: `OWNER/NAME`.
        root: Folder of runs.
        on_progress: Told what is being done.

    Raises:
        HubError: Refused, not reached, or it holds no run, a damaged one or a hostile one.
    """
    model = Repository(repo, "model", "Nothing was fetched")
    on_progress(0, 1, f"Asking the Hub about {repo}")
    if not model.look():
        raise HubError(
            f"Nothing was fetched: the Hub has no model {repo}, or it is private and HF_TOKEN is "
            "not that of somebody who may see it."
        )
    if MANIFEST not in model.files:
        raise HubError(f"Nothing was fetched: {repo} is no model of TrashNet Explorer.")
    names = [name for name in (MANIFEST, *_FETCHED) if name in model.files]
    if sum(model.files[name] for name in names) > _LARGEST:
        raise HubError(
            f"Nothing was fetched: {repo} is larger than {_LARGEST // 10**6} MB, as no run is."
        )
    target = root / f"{repo.replace('/', '-')}-{(model.commit or '')[:7]}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{target.name}.lock"):
        if not target.is_dir():
            with temporary_folder(target) as partial:
                model.fetch(names, partial / "fetched", on_progress)
                (partial / "run").mkdir()
                source = {"repo": repo, "commit": model.commit}
                admit(partial / "fetched", MANIFEST, partial / "run", source)
                os.replace(partial / "run", target)
    return Run(target)


def pull_aside(repo: str, env: Environment) -> Run:
    """Does what `pull` does in a process of its own: what a model's file does to it, ends there.

    Raises:
        HubError: As of `pull`; or that process ended without a word.
        ConfigError: The name is none.
    """
    Repository(repo, "model")  # a slip of the pen is said at once
    try:
        done = run_child(["pull", "--json", "--", repo], env, _ASIDE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HubError(f"Nothing was fetched: {repo} took too long; try again.") from error
    if done.returncode == 0:
        return Run(env.runs / json.loads(done.stdout)["run"])
    if done.returncode == EXIT_MISTAKE:
        raise HubError(done.stderr.strip().splitlines()[-1])
    raise HubError(f"Nothing was fetched: {repo} could not be read, and made its reader fail.")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
