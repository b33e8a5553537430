"""Who acts: the operator is an employee or a service that answers for it, so the log names them in clear.

LETHE_ACTOR says who acts where several people share a login. The login is noted all the same: on Linux the one that
the kernel keeps from the first login on, through sudo and su (``/proc/self/loginuid``), else the process's own.
"""

import os
import platform
import pwd
import re
from pathlib import Path

from pipeline.audit.entry import Operator
from pipeline.policy.validator import FORMATS

_ACTOR, _HOST = re.compile(FORMATS["actor"]), re.compile(FORMATS["host"])
_LOGIN = Path("/proc/self/loginuid")
_NO_LOGIN = (1 << 32) - 1
_UNKNOWN_HOST = "unknown"


def find_operator(actor: str) -> Operator:
    """Return who acts.

    Args:
        actor: as the settings say, "" for the login.
    """
    login = _name_of(_login_id())
    host = platform.node()
    return Operator(actor or login, login, host if _HOST.fullmatch(host) else _UNKNOWN_HOST)


def _login_id() -> int:
    try:
        login = int(_LOGIN.read_text("ascii"))
    except (OSError, ValueError):
        login = _NO_LOGIN
    return os.getuid() if login == _NO_LOGIN else login


def _name_of(user: int) -> str:
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = ""
    return name if _ACTOR.fullmatch(name) else f"uid-{user}"
