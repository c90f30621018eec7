"""What people wrote, such as names of classes, files and runs, inside Markdown."""

import re

_JOINER = "\u2060"
"""Shows as nothing."""


def plain(text: str) -> str:
    """Returns what a person wrote so that Markdown shows it as it is: no pictures, no links."""
    # Addresses and icons are found after escapes are gone; the joiner breaks them up.
    text = re.sub(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//|material/)|(?=@)", _JOINER, text)
    return re.sub(r"([\\`*_{}\[\]()<>#!|~$:&@])", r"\\\1", text)


def bold(text: str) -> str:
    """Returns what a person wrote, as it is and in bold."""
    return f"**{plain(text)}**"


def unmarked(text: str) -> str:
    """Returns what Markdown of `bold` and `plain` words says."""
    return re.sub(r"\\(.)", r"\1", text.replace("**", "").replace(_JOINER, ""))


def data_name(name: str) -> str:
    """Writes a data set's name for people."""
    return "TrashNet" if name == "trashnet" else plain(name)
