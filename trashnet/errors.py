"""Errors a person can act on; the command line and the pages show their text, never a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_MISTAKE = 2
"""The command line's exit code for any of these."""


class TrashnetError(Exception):
    """A mistake or a missing thing, told in one sentence that says what to do."""


class ConfigError(TrashnetError):
    """A setting has a value that is not allowed."""


class DataError(TrashnetError):
    """The photos cannot be found, fetched, verified or split."""


class PhotoError(TrashnetError):
    """One photo cannot be read as a picture."""


class RunError(TrashnetError):
    """A run directory is missing, damaged or in the wrong state."""


class HubError(TrashnetError):
    """The Hugging Face Hub refuses, cannot be reached, or holds what is not ours."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


@contextmanager
def disk_refusals() -> Iterator[None]:
    """Says what to do about a full disk or a file that cannot be written.

    Raises:
        TrashnetError: In place of such an `OSError`; any other is a mistake of ours and passes.
    """
    try:
        yield
    except OSError as error:
        file, why = error.filename or "A file", error.strerror
        if error.errno in _FULL:
            said = f"{file} could not be written ({why}); free some space and try again."
        elif error.errno in _REFUSED:
            said = f"{file} cannot be read or written ({why}); check its folder and your rights."
        else:
            raise
        raise TrashnetError(said) from error
