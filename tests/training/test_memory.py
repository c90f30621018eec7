"""What a training frees stays at hand."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import sys, psutil
from trashnet.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
before = psutil.Process().memory_info().rss
tensor = b"x" * 300_000_000
del tensor
print((psutil.Process().memory_info().rss - before) / 300_000_000)
"""


@pytest.mark.parametrize(("how", "least", "most"), [("kept", 0.9, 1.5), ("given back", 0.0, 0.1)])
def test_freed_memory_is_kept_where_asked_for(how: str, least: float, most: float) -> None:
    if platform.libc_ver()[0] != "glibc":
        least = 0.0  # there, nothing is changed
    command = [sys.executable, "-c", _SCRIPT, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert least <= float(done.stdout) <= most
