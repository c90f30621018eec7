"""Memory that a training process frees and takes again, hundreds of times a step."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
"""As `malloc.h` numbers what `mallopt` sets."""

_AT_ONCE = 2**28
"""Bytes by which memory grows; what of them is never used costs nothing."""


def keep_freed_memory() -> None:
    """Lets this process keep memory that it frees, to use it again.

    By default glibc gives every large tensor back to the system, which has to clear it page by page
    when the next one is asked for (docs/performance.md says what that costs). Other C libraries are
    left as they are.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # musl, macOS, Windows
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)  # what one thread frees serves another; their arenas give back early
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)  # never
        mallopt(_TOP_PAD, _AT_ONCE)
