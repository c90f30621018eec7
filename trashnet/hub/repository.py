"""The Hugging Face Hub: a repository, asked quickly and changed in one commit or not at all.

The client's own defaults wait without end for an answer, and up to an hour where the Hub asks for
it; a person gets a sentence within seconds instead.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trashnet.errors import ConfigError, HubError, TrashnetError
from trashnet.progress import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub import HfApi


Kind = Literal["model", "dataset", "space"]

FIRST_SECONDS = 10
"""How long the first question may take; what answers it gets the time it needs."""

_TIMEOUTS = (5.0, 90.0, 90.0, 5.0)  # connect, read, write, wait for a free connection

LONGEST_WAIT = 20
"""Seconds a Hub that is asked too often may tell the client to wait; longer, and it is said."""

_TOKENS = "https://huggingface.co/settings/tokens"

_UNREACHED = (
    "the Hugging Face Hub could not be reached ({}); check the connection and repeat the command"
)


@dataclass
class Repository:
    """A repository on the Hub; nothing is asked before `look`.

    Attributes:
        name: `OWNER/NAME`.
        kind: Model, dataset or space.
        consequence: What a failure means, said before its reason.
        commit: Its latest commit, once looked at; None where it does not exist.
        files: Its files' sizes in bytes.

    Raises:
        ConfigError: The name is none.
    """

    name: str
    kind: Kind
    consequence: str = "Nothing was published"
    commit: str | None = None
    files: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        try:
            validate_repo_id(self.name)
        except HFValidationError:
            valid = False
        else:
            valid = self.name.count("/") == 1
        if not valid:
            raise ConfigError(
                f"{self.name!r} is no name on the Hub; it must be OWNER/NAME, of letters, digits, "
                "hyphens, underscores and dots."
            )

    @property
    def url(self) -> str:
        """Its page."""
        prefix = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{_api().endpoint}/{prefix}{self.name}"

    def look(self) -> bool:
        """Asks whether it exists, what its latest commit is and what it holds.

        Raises:
            HubError: The Hub cannot be reached or refuses.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._said():
            try:
                info: Any = _api().repo_info(
                    self.name, repo_type=self.kind, timeout=FIRST_SECONDS, files_metadata=True
                )
            except RepositoryNotFoundError:
                self.commit, self.files = None, {}
                return False
            self.commit = info.sha
            self.files = {file.rfilename: file.size or 0 for file in info.siblings or []}
        return True

    def create(self, private: bool = False, **space: Any) -> None:
        """Makes it, empty.

        Args:
            private: Whether only its owner may see it.
            space: Further arguments of `HfApi.create_repo`, for a Space.
        """
        with self._said():
            _api().create_repo(
                self.name, repo_type=self.kind, private=private, exist_ok=True, **space
            )
        self.look()

    def set_secret(self, name: str, value: str) -> None:
        """Gives a Space a value that nobody can read back."""
        with self._said():
            _api().add_space_secret(self.name, name, value)

    def set_variable(self, name: str, value: str) -> None:
        """Gives a Space a value that everybody can read."""
        with self._said():
            _api().add_space_variable(self.name, name, value)

    def publish(
        self, files: Mapping[str, Path | bytes], obsolete: set[str], message: str
    ) -> str | None:
        """Puts files into it in one commit on top of the commit that was looked at.

        Args:
            files: Paths there, and what to put there.
            obsolete: Paths there that are to go; those that are not there are passed over.
            message: The commit's.

        Returns:
            The commit. Files that are there already are not sent again, and where all of them
            are, there is no new commit.

        Raises:
            HubError: It failed; the repository is as it was.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in files.items()
        ]
        operations += [CommitOperationDelete(path) for path in sorted(obsolete & set(self.files))]
        with self._said(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a run holds tables is meant
            done = _api().create_commit(
                self.name,
                operations,
                commit_message=message,
                repo_type=self.kind,
                parent_commit=self.commit,
            )
        return done.oid

    def fetch(self, names: list[str], folder: Path, on_progress: Progress = silent) -> None:
        """Downloads files of the commit that was looked at; each is whole or not there."""
        total, done = sum(self.files[name] for name in names), 0
        for name in names:
            on_progress(done, total, f"Fetching {self.name}")
            with self._said():
                _api().hf_hub_download(
                    self.name,
                    name,
                    repo_type=self.kind,
                    revision=self.commit,
                    local_dir=folder,
                    etag_timeout=FIRST_SECONDS,
                )
            done += self.files[name]
        on_progress(total, total, f"Fetching {self.name}")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Turns whatever the client raises into one sentence."""
        try:
            yield
        except TrashnetError:
            raise
        except Exception as error:  # its classes change with its HTTP library and with Xet
            if isinstance(error, (TypeError, AttributeError, NameError)):
                raise  # a bug
            raise HubError(f"{self.consequence}: {_reason(error, self.name)}.") from error


def require_token() -> None:
    """Raises `HubError` where there is no token to publish with."""
    from huggingface_hub import get_token

    if not get_token():
        raise HubError(
            f"Publishing needs a token of yours: make one with write access at {_TOKENS} and set "
            "HF_TOKEN to it, or log in with 'hf auth login'."
        )


@cache
def _tune() -> None:
    """Gives every request a time-out, and refuses to sleep for long."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import disable_progress_bars, hf_raise_for_status, logging
    from huggingface_hub.utils._http import default_client_factory

    def refuse_long_waits(response: Any) -> None:
        if response.status_code >= 400 and (_wait(response) or 0) > LONGEST_WAIT:
            response.read()
            hf_raise_for_status(response)

    def client() -> Any:
        made = default_client_factory()
        made.timeout = _TIMEOUTS
        made.event_hooks = {**made.event_hooks, "response": [refuse_long_waits]}
        return made

    set_client_factory(client)
    disable_progress_bars()  # ours says how far it is
    logging.set_verbosity_error()  # it would say every single retry


def _wait(response: Any) -> int | None:
    """Seconds that a response asks to wait, read in the client's order: the IETF's header first."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    told = response.headers.get("Retry-After", "").strip()
    return int(told) if told.isdecimal() else None


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    _tune()
    return HfApi(library_name="trashnet")


def _reason(error: BaseException, name: str) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return "HF_HUB_OFFLINE is set, so the Hugging Face Hub is not asked; unset it"
    for cause in causes:
        response = getattr(cause, "response", None)
        if response is not None:
            return _refusal(response, name, getattr(cause, "server_message", None))
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); free some space or its rights"
    if isinstance(error, ValueError) and "metadata" in str(error):
        return f"the Hub refuses the card ({str(error).splitlines()[-1]})"
    return _UNREACHED.format(type(causes[0]).__name__)


def _refusal(response: Any, name: str, told: str | None) -> str:
    status = response.status_code
    # What the Hub says is text for people; the first line of it is the reason.
    said = f" ({' '.join(told.split())[:200].rstrip('.')})" if told else f" (status {status})"
    if status == 401:
        return f"the Hub does not accept the token; make a new one at {_TOKENS} and set HF_TOKEN"
    if status == 402:
        return f"the Hub asks for a paid plan{said}; docs/deploy.md names a free way"
    if status == 403:
        return f"the Hub does not allow it{said}; check the token's rights on {name} and its quota"
    if status == 404:
        return f"the Hub has no {name}, or it is not for this token; check the name"
    if status in (409, 412):
        return f"{name} was changed by somebody else at the same time; repeat the command"
    if status in (413, 507):
        return f"there is not enough room left for it on the Hub{said}; free some"
    if status == 429:
        wait = _wait(response)
        when = "in some minutes" if wait is None else f"in {wait} seconds"
        return f"the Hub has been asked too often; repeat the command {when}"
    if status >= 500:
        return f"the Hub has trouble of its own{said}; repeat the command later"
    return f"the Hub refuses{said}"
