"""Progress callbacks, and work on all cores that reports to one."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Returns how many CPUs this process may use, which a container or an affinity may limit."""
    from joblib import cpu_count  # imported when there is work: pages without any need it not

    return cpu_count()


def silent(done: int, total: int, what: str) -> None:
    """The progress callback that shows nothing."""


def parallel(
    work: Callable[[Item], Result], items: Iterable[Item], on_progress: Progress, what: str
) -> list[Result]:
    """Calls `work` on every item on all cores; right for work that releases the interpreter lock.

    Progress is told from the calling thread, because a page's progress bar belongs to it.
    """
    items = list(items)
    results = []
    pool = ThreadPoolExecutor(cores())
    try:
        for result in pool.map(work, items):
            results.append(result)
            if len(results) % 25 == 0 or len(results) == len(items):
                on_progress(len(results), len(items), what)
    finally:
        pool.shutdown(cancel_futures=True)  # a stop need not wait for what has not begun
    return results
