"""Waiting until bytes are gone: the engine removes what it has replaced some moments later."""

import time
from collections.abc import Callable

_POLL_S = 0.2


def wait_until(is_done: Callable[[], bool], wait_s: float) -> bool:
    """Ask again and again whether something is done, for so long at most; say whether it was."""
    until_s = time.monotonic() + wait_s
    while not is_done():
        if time.monotonic() >= until_s:
            return False
        time.sleep(_POLL_S)
    return True
