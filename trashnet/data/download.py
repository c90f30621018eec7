"""TrashNet from the Hugging Face Hub."""

import os
from pathlib import Path
from typing import Any

from trashnet.data.dataset import Photos, extract_photos, open_folder
from trashnet.data.editions import FULL
from trashnet.environment import Environment
from trashnet.errors import DataError
from trashnet.progress import Progress, silent

HUB_REPO = "garythung/trashnet"

HUB_FILE = "dataset-resized.zip"

HUB_SIZE = 42_834_870
"""Bytes of `dataset-resized.zip` on the Hub (the repository also holds 3.6 GB of originals)."""


def fetch_trashnet(env: Environment, on_progress: Progress = silent) -> Photos:
    """Downloads TrashNet's resized photos (43 MB) from the Hugging Face Hub and extracts them.

    Safe to interrupt and repeat: a half download resumes, a half extraction is thrown away.

    Raises:
        DataError: The Hub cannot be reached, or the file it served is damaged.
    """
    target = env.photos / "trashnet"
    if not target.is_dir():
        archive = _download(env, on_progress)
        try:
            extract_photos(archive, target, on_progress, expect_trashnet=True)
        finally:  # a damaged one too, or the Hub's client would take it for whole next time
            archive.unlink(missing_ok=True)
    return open_folder(target, "trashnet", "hub", edition=FULL)


def _download(env: Environment, on_progress: Progress) -> Path:
    # Imported here: it costs a second that a start with photos at hand need not pay.
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from tqdm import tqdm

    way_on = "use the small photos of the package, or set TRASHNET_DATA to dataset-resized.zip"
    if env.hub_offline:
        raise DataError(f"HF_HUB_OFFLINE is set, so TrashNet cannot be fetched; {way_on}.")

    class Bar(tqdm):
        """Hands the download's progress on instead of drawing it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": open(os.devnull, "w")})

        def update(self, n: float | None = 1) -> bool | None:
            result = super().update(n)
            on_progress(int(self.n), HUB_SIZE, "Downloading TrashNet from the Hugging Face Hub")
            return result

    on_progress(0, HUB_SIZE, "Connecting to the Hugging Face Hub (up to 10 seconds)")
    try:
        # One quick question first: the download itself retries for long before it gives up.
        get_hf_file_metadata(hf_hub_url(HUB_REPO, HUB_FILE, repo_type="dataset"), timeout=10)
        path = hf_hub_download(
            HUB_REPO,
            HUB_FILE,
            repo_type="dataset",
            local_dir=env.cache / "downloads",
            etag_timeout=10,
            tqdm_class=Bar,
        )
    except Exception as error:  # the client's error classes change with its HTTP library
        reason = type(error).__name__
        raise DataError(
            f"The Hugging Face Hub could not be reached ({reason}); check the connection and try "
            f"again, or {way_on}."
        ) from error
    return Path(path)
