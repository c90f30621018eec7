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
from trashnet.hub.drawings import confusion_matrix_png
from trashnet.hub.model_card import headline, is_of_trashnet, model_card, percent, train_command
from trashnet.hub.repository import Repository, require_token
from trashnet.hub.verification import KERAS, admit
from trashnet.progress import Progress, silent
from trashnet.runs.processes import run_child
from trashnet.runs.run import Run

MANIFEST = "trashnet.json"
"""Names a repository's files with their SHA-256, and says that it is ours."""

PICTURE = "confusion_matrix.png"

_FETCHED = (*SHIPPED, "config.json", "status.json", "metrics.jsonl")

_RUN_FILES = (*_FETCHED, KERAS)

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
        (folder / PICTURE).write_bytes(_picture(run))
        (folder / "README.md").write_text(_front_matter(run) + _card(run, repo))
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
        commit = model.publish(files, set(_RUN_FILES) - set(files), f"Publish the run {run.id}")
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


def _picture(run: Run) -> bytes:
    name, report = list(headline(run).items())[-1]
    right = f"{name.capitalize()}, n = {report['n']:,}: {percent(report['accuracy'])} right"
    return confusion_matrix_png(report["confusion_matrix"], run.classes, right)


def _front_matter(run: Run) -> str:
    """What the Hub reads of a card: licence, data and the figures as `model-index`."""
    from trashnet.hub.repository import model_metadata

    name = run.config["data"]["name"]
    ours = is_of_trashnet(run)
    return model_metadata(
        run.id,
        licence="mit" if ours or run.is_sample else None,  # else it is for the photos' owner to say
        datasets=["garythung/trashnet"] if ours else [],
        data_name="TrashNet" if ours else name,
        figures={
            shown: {"accuracy": report["accuracy"], "f1": report["macro_f1"]}
            for shown, report in headline(run).items()
        },
    )


def _card(run: Run, repo: str) -> str:
    robust = ["python -m trashnet robustness RUN"] * (run.path / "robustness.json").exists()
    made_by = [train_command(run), *robust, f"python -m trashnet push RUN --repo {repo}"]
    more = f"![Confusion matrix]({PICTURE})\n\n## How to use it\n\n{_snippet(run, repo)}"
    about = (
        "It is a run of TrashNet Explorer: every file the app shows it with is here, and\n"
        f"`python -m trashnet pull {repo}` brings it back."
    )
    return model_card(run, run.id, about, made_by, more)


def _snippet(run: Run, repo: str) -> str:
    size, temperature = run.train_config.image_size, run.evaluation()["temperature"]
    return f"""\
```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from huggingface_hub import hf_hub_download
from PIL import Image, ImageOps

classes = {list(run.classes)!r}
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
photo = photo.resize(({size}, {size}), Image.Resampling.BILINEAR)

model = Interpreter(hf_hub_download("{repo}", "model.tflite"))
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], np.asarray(photo, np.float32)[None])
model.invoke()
outputs = [model.get_tensor(output["index"]) for output in model.get_output_details()]
(logits,) = next(output for output in outputs if output.ndim == 2) / {temperature:.4f}
p = np.exp(logits - logits.max())
print(dict(zip(classes, (p / p.sum()).round(3).tolist())))
```

`{KERAS}`, where it is, is the same network for Keras: `keras.saving.load_model("{KERAS}",
compile=False, safe_mode=True)`; divide its logits as above."""
