"""Shared fixtures: the shipped policy, fixed keys, the real detector, and a core made of them."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka_broker import broker, secure_broker  # noqa: F401 - the fixtures are found here

from pipeline.anonymize import Admission, Core, make_core
from pipeline.coarsen import DAY_MS
from pipeline.detect.detector import make_detector
from pipeline.detect.spans import Detector, Span
from pipeline.keys.keyfile import init_keyfile
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.keys.provider import init_kek, load_provider
from pipeline.keys.sealfile import init_day_keys
from pipeline.policy.load import Policy, load_policy
from pipeline.store import open_store

RECEIVED_AT = "2026-11-23T10:00:00.123Z"
RECEIVED_AT_MS = 1_795_428_000_123
KEYS = Keyring((KeyEpoch("e1", 0, b"1" * 32),), {"2026-11-23": b"d" * 32}, b"s" * 32)
CACHE_DIR = Path(__file__).resolve().parent.parent / ".venv" / "lethe-cache"
os.environ.setdefault("LETHE_CACHE", str(CACHE_DIR))  # of the commands that tests start, too
OPEN_DOOR = Admission(latest_ms=RECEIVED_AT_MS + 300_000)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the scans before two processes need them at once, and a worker in a test waits for them."""
    if getattr(config.option, "numprocesses", None):  # the one process that starts the others
        make_detector(load_policy(), CACHE_DIR)


_ON_A_BROKER = ("broker", "test_worker_", "test_local_kafka")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for `make test`, which runs two processes: one has all that wait for a broker, and begins first.

    The others stay together by file, so that a file's fixtures are made once.
    """
    items.sort(key=lambda item: not _is_on_a_broker(item))
    for item in items:
        group = "broker" if _is_on_a_broker(item) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


def _is_on_a_broker(item: pytest.Item) -> bool:
    return any(part in item.path.stem for part in _ON_A_BROKER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One chdb folder for the module, held open: starting the engine takes a second, a database in it nothing."""
    path = tmp_path_factory.mktemp("chdb") / "store"
    with open_store(f"chdb:{path}", now_ms=time.time_ns() // 1_000_000, database="held"):
        yield path


def make_keys(folder: Path, at_ms: int) -> None:
    """Make the files of keys that a command finds in its folder: key file, keyring and key-encryption key."""
    kek = f"file:{folder / 'lethe.kek.json'}"
    init_keyfile(folder / "lethe.keys.json", at_ms)
    init_kek(kek)
    init_day_keys(folder / "lethe.keyring.json", load_provider(kek), at_ms, 30 * DAY_MS)


class NoDetector:
    """Finds nothing, so that a test sees the core alone."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans."""
        return [()] * len(texts)


def base_event() -> dict[str, Any]:
    """Return a small valid event, every operational leaf filled."""
    return {
        "request_id": "req_0192f0c1a2b37c4d8e5f60718293a4b5",
        "received_at": RECEIVED_AT,
        "account": {
            "id": "acct_5f0c77de21b94a08",
            "email": "marit.solberg@mail.example.com",
            "name": "Marit Solberg",
            "organization": "Fjordlys Analytics",
        },
        "api_key_id": "key_91c2aa04e7d35b66",
        "client": {"ip": "203.0.113.7", "user_agent": "OpenAI/Python 1.55.0"},
        "endpoint": "/v1/chat/completions",
        "model": "llama-3.1-70b-instruct",
        "stream": False,
        "status": 200,
        "latency_ms": 1234.5,
        "time_to_first_token_ms": 210.0,
        "queue_ms": 3.1,
        "usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46},
        "request": {"messages": [{"role": "user", "content": "Hello there"}]},
        "response": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Good morning"}}]},
        "error": None,
        "region": "eu-west-1",
        "node": "gpu-07",
    }


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Return the shipped policy."""
    return load_policy()


@pytest.fixture(scope="session")
def detector(policy: Policy) -> Detector:
    """Return the real detector."""
    return make_detector(policy, CACHE_DIR)


@pytest.fixture(scope="session")
def core(policy: Policy, detector: Detector) -> Core:
    """Return the core as it runs."""
    return make_core(policy, detector, KEYS)


@pytest.fixture(scope="session")
def bare_core(policy: Policy) -> Core:
    """Return the core without a detector."""
    return make_core(policy, NoDetector(), KEYS)
