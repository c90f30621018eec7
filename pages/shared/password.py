"""The owner's door: one password, few guesses a minute, and a pass that runs out."""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from trashnet.errors import TrashnetError

PASS_SECONDS = 2 * 3600
"""How long a sign-in holds, whatever is done meanwhile."""

LONGEST_WAIT = 60
"""Seconds until the next guess once several in a row were wrong: 1,440 guesses a day."""


class DoorError(TrashnetError):
    """A password was wrong, or came too soon after a wrong one."""


@dataclass
class Pass:
    """What opens the door until it runs out or is given back.

    Attributes:
        until: When it runs out, on `clock` (s).
        clock: Where the time is read from.
    """

    until: float
    clock: Callable[[], float] = time.monotonic

    @property
    def seconds_left(self) -> float:
        """How long it still holds; 0 once it does not."""
        return max(0.0, self.until - self.clock())

    def give_back(self) -> None:
        """Ends it now, wherever it is still held."""
        self.until = 0.0


class Door:
    """Checks passwords for one server.

    Every wrong guess doubles the wait before the next, from a second to a minute, for everybody:
    whoever guesses gets no further by more tabs, sessions or addresses.

    Args:
        clock: Where the time is read from (s).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._wrong = 0
        self._shut_until = 0.0

    def enter(self, given: str, password: str) -> Pass:
        """Returns a pass for the right password.

        Raises:
            DoorError: It is wrong, there is none, or the wait after a wrong one is not over; then
                it is not even looked at.
        """
        with self._turn:  # guesses sent at once are counted one after the other
            now = self._clock()
            if now < self._shut_until:
                wait = int(self._shut_until - now) + 1
                raise DoorError(f"After a wrong password nobody is let in; wait {wait} s.")
            if not password or not _same(given, password):
                self._shut_until = now + min(LONGEST_WAIT, 2**self._wrong)
                self._wrong = min(self._wrong + 1, LONGEST_WAIT)
                raise DoorError("That is not the owner's password.")
            self._wrong = 0
            return Pass(now + PASS_SECONDS, self._clock)


def _same(given: str, password: str) -> bool:
    """In the same time whatever is given: digests have one length, and all of it is compared."""
    one, two = (
        hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (given, password)
    )
    return hmac.compare_digest(one, two)
