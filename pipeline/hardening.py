"""Has a process keep what it holds in memory and in files from other processes, those of the same user included.

A core dump is a copy of memory on a disk, with no bound; and whoever may trace a process reads its memory.
"""

import ctypes
import os
import resource
import sys
from typing import Any

from pipeline.errors import ConfigError

PRIVATE_UMASK = 0o077
_PR_SET_DUMPABLE = 4  # of linux/prctl.h


def harden_process() -> None:
    """Leave no core dump, let no process without CAP_SYS_PTRACE read this one, and make files for this user alone.

    To be called by every process that handles content, before it reads any: the kernel forgets it when a program is
    executed. There is no setting to turn it off (docs/security.md says why).

    Raises:
        ConfigError: the kernel refused; nothing may be read then.
    """
    os.umask(PRIVATE_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit does not hold for a dump that is piped to a program; this flag does. Only Linux has it.
    if sys.platform == "linux" and _c_library().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigError(
            "the kernel refuses to close this process to others (prctl PR_SET_DUMPABLE): allow prctl where system "
            "calls are filtered"
        )


def _c_library() -> Any:
    return ctypes.CDLL(None)
