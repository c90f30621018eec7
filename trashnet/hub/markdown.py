"""Cards for the Hub: Markdown templates, in which names that people chose stay text."""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Returns a template of this package, filled in."""
    return _environment().get_template(f"{template}.md.j2").render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("trashnet.hub"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "text": text,
        "number": "{:,}".format,
        "decimal": "{:.3f}".format,
        "percent": lambda share: f"{100 * share:.1f} %",
    }
    return made


def text(name: str) -> str:
    """Returns what a person wrote so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|~$:&@])", r"\\\1", " ".join(name.split()))


def code(name: str) -> str:
    """Returns a file's name in code font, within more backticks than it has itself."""
    name = " ".join(name.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    return f"{fence}{name}{fence}" if len(fence) == 1 else f"{fence} {name} {fence}"
