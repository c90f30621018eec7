"""The owner's door: right and wrong passwords, the wait between guesses, passes that run out."""

import threading

import pytest

from pages.shared.password import LONGEST_WAIT, PASS_SECONDS, Door, DoorError, Pass

PASSWORD = "correct horse, battery staple: äöü"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Door:
    return Door(clock)


def test_the_right_password_opens_for_two_hours(door: Door, clock: Clock) -> None:
    held = door.enter(PASSWORD, PASSWORD)
    clock.now += PASS_SECONDS - 1
    assert held.seconds_left == 1
    clock.now += 1
    assert held.seconds_left == 0


def test_a_pass_that_is_given_back_opens_nothing(door: Door) -> None:
    held = door.enter(PASSWORD, PASSWORD)
    held.give_back()
    assert held.seconds_left == 0


def test_no_pass_opens_nothing() -> None:
    assert Pass(0.0).seconds_left == 0


@pytest.mark.parametrize(
    "given",
    ["", " ", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), "\0", "\ud800", "x" * 1_000_000],
)
def test_nothing_else_opens(door: Door, given: str) -> None:
    with pytest.raises(DoorError, match="not the owner's password") as caught:
        door.enter(given, PASSWORD)
    assert PASSWORD not in str(caught.value)


def test_without_a_password_nobody_is_let_in(door: Door) -> None:
    with pytest.raises(DoorError):
        door.enter("", "")


def test_every_wrong_guess_doubles_the_wait_up_to_a_minute(door: Door, clock: Clock) -> None:
    began = clock.now
    for wait in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        with pytest.raises(DoorError, match="not the owner's"):
            door.enter("guess", PASSWORD)
        clock.now += wait - 0.1
        with pytest.raises(DoorError, match="wait 1 s"):  # even for the right one, unlooked at
            door.enter(PASSWORD, PASSWORD)
        clock.now += 0.1
    assert clock.now - began == pytest.approx(63 + 3 * LONGEST_WAIT)
    assert door.enter(PASSWORD, PASSWORD).seconds_left == PASS_SECONDS


def test_guesses_sent_at_once_are_not_all_looked_at(door: Door) -> None:
    said: list[str] = []

    def guess(number: int) -> None:
        with pytest.raises(DoorError) as caught:
            door.enter(f"guess {number}", PASSWORD)
        said.append(str(caught.value))

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("not the owner's" in text for text in said) == 1


def test_a_long_siege_does_not_break_the_arithmetic(door: Door, clock: Clock) -> None:
    for _ in range(5_000):
        with pytest.raises(DoorError):
            door.enter("guess", PASSWORD)
        clock.now += LONGEST_WAIT
    assert door.enter(PASSWORD, PASSWORD).seconds_left
