"""What a disk refuses is one sentence; our own mistakes stay what they are."""

import errno
import os

import pytest

from trashnet.errors import TrashnetError, disk_refusals


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_a_disk_refuses_is_a_sentence_with_the_file(number: int) -> None:
    with pytest.raises(TrashnetError, match=r"^/home/x .*\(.+\); .+\.$"), disk_refusals():
        raise OSError(number, os.strerror(number), "/home/x")


@pytest.mark.parametrize("error", [OSError("odd"), FileNotFoundError(2, "gone"), ValueError("x")])
def test_any_other_error_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, disk_refusals():
        raise error
    assert raised.value is error
