"""How a worker process ends when it cannot go on: at once, with a reason for people and a code for supervisors.

It does not wait for anything: what is not committed is read again, and correctness does not rest on an orderly end.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from pipeline.brokers import Brokers
from pipeline.client import KafkaError, from_kafka
from pipeline.errors import PipelineError, describe
from pipeline.worker.engine import RejectionFlood
from pipeline.worker.supervisor import EXIT_FLOOD

EXIT_FAILED = 2
EXIT_BUG = 70
LAST_WORDS_S = 5.0
"""How long the last words may take."""
ASKING_S = 20.0
"""How long it may take to find out more before them: a client tries for 10 s to connect, after a knock of up to 3."""


def explain(error: BaseException, brokers: Brokers) -> tuple[str, int]:
    """Return what to tell of an error, without a value of any event, and the exit code."""
    if isinstance(error, RejectionFlood):
        return str(error), EXIT_FLOOD
    if isinstance(error, PipelineError):
        return str(error), EXIT_FAILED
    if isinstance(error, KafkaError):
        return str(from_kafka("go on", brokers, error)), EXIT_FAILED
    return f"internal error: {describe(error)}; please report it", EXIT_BUG


def ask_briefly(ask: Callable[[], str], otherwise: str, patience_s: float = ASKING_S) -> str:
    """Return what an asker finds out, or another text when that takes too long: brokers that are silent stop no end.

    Args:
        ask: finds out, in a thread of its own.
        otherwise: what is known without it.
        patience_s: how long it may take.
    """
    found = [otherwise]
    asking = threading.Thread(target=lambda: found.insert(0, ask()), daemon=True)
    asking.start()
    asking.join(patience_s)
    return found[0]


def end_process(text: str, code: int, log: Callable[[str], None], clean: Callable[[], None]) -> NoReturn:
    """Say why, tidy up, and end this process without running anything else of it, whatever happens on the way.

    Args:
        text: the reason.
        code: exit code.
        log: writes a line for operators.
        clean: removes what must not stay on disk.
    """
    last = threading.Timer(LAST_WORDS_S, os._exit, (code,))  # nobody may read standard error any more
    last.daemon = True
    last.start()
    try:
        log(text)
        clean()
        sys.stderr.flush()
    finally:
        os._exit(code)
