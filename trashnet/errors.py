"""Errors a person can act on; the command line and the pages show their text, never a traceback."""

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
