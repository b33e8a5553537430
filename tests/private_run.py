"""Programs that run a command and say which hosts it asked for, and a look into folders while it runs.

The first is in a network namespace of its own, where there is nothing: the kernel's counters are of it alone, and count
what compiled code tries as well. The second notes what Python's own sockets are told to do; there a broker can answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ALONE = """
import atexit, ctypes, os, socket, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET of linux/sched.h
    sys.exit("a network namespace cannot be made: this test must be root on Linux")
def tries():
    with open("/proc/net/snmp") as file:
        lines = file.read().splitlines()
    found = {}
    for names, values in zip(lines[::2], lines[1::2]):
        found |= zip([names.split()[0] + name for name in names.split()], values.split())
    return [int(found[name]) for name in ("Ip:OutRequests", "Ip:OutNoRoutes", "Tcp:ActiveOpens", "Udp:OutDatagrams")]
def tell():
    before = tries()
    try:
        socket.getaddrinfo("lethe.example.org", 443)
    except OSError:
        pass
    print("tries", sum(before), "seen", sum(tries()) > sum(before), file=sys.stderr, flush=True)
atexit.register(tell)
from pipeline.__main__ import main
main()
"""
NOTED = """
import asyncio, sys
import uvloop
uvloop.EventLoopPolicy = asyncio.DefaultEventLoopPolicy  # libuv connects without a word to Python
def listen(name, arguments):
    if name in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "unix"
    elif name in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"):
        host = str(arguments[0])
    else:
        return
    with open("asked", "a") as file:
        file.write(host + chr(10))
sys.addaudithook(listen)
sys.argv[1:] = sys.argv[1:] or ["worker"]
from pipeline.__main__ import main
main()
"""
_EVERY_S = 0.02


@dataclass
class Seen:
    """What was seen in a folder.

    Attributes:
        names: of everything that was ever there, by its path below the folder.
        open_to_others: which of it was readable for others.
        holding: which of it held the marker.
    """

    names: set[str] = field(default_factory=set)
    open_to_others: set[str] = field(default_factory=set)
    holding: set[str] = field(default_factory=set)


@contextmanager
def watching(folder: Path, marker: bytes) -> Iterator[Seen]:
    """Look through a folder again and again meanwhile."""
    seen, ended = Seen(), threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            _look(folder, marker, seen)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        _look(folder, marker, seen)


def _look(folder: Path, marker: bytes, seen: Seen) -> None:
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        try:
            mode = path.lstat().st_mode
            held = path.is_file() and marker in path.read_bytes()
        except OSError:  # gone meanwhile
            continue
        seen.names.add(name)
        if mode & 0o077 and not path.is_symlink():
            seen.open_to_others.add(name)
        if held:
            seen.holding.add(name)
