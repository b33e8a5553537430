"""The processes that hold a model: started anew when they die, and gone with their parent.

They are started as processes of their own rather than by ``multiprocessing``: a child of that imports the caller's main
module, keeps the queue's writing end open and so outlives a parent that is killed, and sends exceptions with their
messages. Here nothing but texts goes out, and nothing but findings comes back.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue

from pipeline.detect.nerchild import Found, Ready, Setup
from pipeline.errors import ConfigError, DetectorLost, PipelineError

ATTEMPTS = 2
"""A process that died was perhaps killed from outside, and the same texts must give the same records: once more."""
# One thread and no graphics card: results must not depend on the machine's load. And a model fetches nothing.
_ENVIRON = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"),
    **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"),
    "PRESIDIO_DEVICE": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
}
_COMMAND = "import sys; sys.path[:] = sys.argv[3:]; __import__(sys.argv[1], fromlist=['main']).main(int(sys.argv[2]))"


class Pool:
    """Processes that hold the same model. Any thread may ask."""

    def __init__(self, setup: Setup, processes: int, module: str = "pipeline.detect.nerchild") -> None:
        """Start them, and wait until each has loaded its model.

        Args:
            setup: which model, and what counts of its findings.
            processes: how many, 1 or more.
            module: its ``main`` is what they run.

        Raises:
            ConfigError: the model cannot be loaded; the text names the setting.
        """
        self._children = [_Child(setup, module) for _ in range(processes)]
        self._idle: SimpleQueue[_Child] = SimpleQueue()
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="ner")
        problem = ""
        try:
            for child in self._children:
                child.start()
            for child in self._children:
                child.await_ready()
                self._idle.put(child)
        except PipelineError as error:
            problem = str(error)
        if problem:
            self.close()
            raise ConfigError(f"LETHE_NER_MODEL: {problem}")

    def read(self, texts: Sequence[str]) -> "Future[Found | None]":
        """Have some texts read together; what comes is None where that failed, or `DetectorLost` is raised by it."""
        return self._threads.submit(self._read, texts)

    def pids(self) -> list[int]:
        """Return the ids of the processes that there are now."""
        return [child.process.pid for child in self._children if child.process is not None]

    def close(self) -> None:
        """End the processes. Ending this process does that too."""
        for child in self._children:
            child.close()
        self._threads.shutdown(cancel_futures=True)
        for child in self._children:
            child.stop()

    def _read(self, texts: Sequence[str]) -> Found | None:
        child = self._idle.get()
        try:
            return child.read(texts)
        finally:
            self._idle.put(child)


class _Child:
    """One place in the pool, and whichever process is in it. One thread at a time."""

    def __init__(self, setup: Setup, module: str) -> None:
        self._setup = setup
        self._module = module
        self._connection: Connection | None = None
        self._is_closed = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a process, which then loads its model.

        Raises:
            DetectorLost: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        problem = ""
        with theirs:
            command = [sys.executable, "-P", "-c", _COMMAND, self._module, str(theirs.fileno()), *sys.path]
            try:
                # In a group of its own: Ctrl-C on a terminal is for the parent alone.
                self.process = subprocess.Popen(  # noqa: S603 - our own interpreter, without a shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                    env=os.environ | _ENVIRON,
                )
            except OSError as error:
                problem = error.strerror or "unknown error"
        if problem:
            self.stop()
            raise DetectorLost(f"a process for the model cannot be started: {problem}")

    def await_ready(self) -> None:
        """Wait until it has loaded its model.

        Raises:
            DetectorLost: it has not, or another one than was meant.
        """
        ready = Ready("", "the process that loads the model has died; it may have too little memory")
        if self._connection is not None:
            try:
                self._connection.send(self._setup)
                ready = self._connection.recv()
            except (EOFError, OSError):
                self.stop()
        problem = ready.problem
        if not problem and ready.identity != self._setup.model.identity:
            problem = "the model's files have changed since the start; start again"
        if problem:
            self.stop()
            raise DetectorLost(problem)

    def read(self, texts: Sequence[str]) -> Found | None:
        """Return the findings of texts; None where the model failed, or died of them.

        Raises:
            DetectorLost: a process has died, and none can take its place.
        """
        for _ in range(ATTEMPTS):
            if self._is_closed:
                break
            if self._connection is None:
                self.start()
                self.await_ready()
            answer, is_answered = self._ask(texts)
            if is_answered:
                return answer if answer is None or len(answer) == len(texts) else None
            self.stop()
        return None

    def _ask(self, texts: Sequence[str]) -> tuple[Found | None, bool]:
        """Return an answer, and whether there was one."""
        if self._connection is None:
            return None, False
        try:
            self._connection.send(texts)
            return self._connection.recv(), True
        except (EOFError, OSError):
            return None, False

    def close(self) -> None:
        """Let it be the last process here, and whoever waits for it wait no longer; any thread may call this."""
        self._is_closed = True
        process = self.process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the process, if there is one."""
        connection, process, self._connection, self.process = self._connection, self.process, None, None
        if process is not None:
            process.kill()
            process.wait()
        if connection is not None:
            connection.close()
