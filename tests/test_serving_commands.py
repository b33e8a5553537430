"""Every command that works on a store, beside a process that has it open and serves it: as if that were not there."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from cli_fixtures import NOW_MS, Lethe, make_event, make_lethe
from conftest import make_keys

from pipeline.anonymize import Admission, make_core, process
from pipeline.cli import app
from pipeline.keys.keyfile import load_keyring
from pipeline.policy.load import Policy
from pipeline.records import Source
from pipeline.store import StoreSink, open_store
from pipeline.store.client import Store
from pipeline.store.intake import schemas_of
from pipeline.store.serving import served
from pipeline.store.url import EmbeddedTarget
from pipeline.suppress import Subject

GONE, STAYS, SILENT = "acct_5f0c77de21b94a08", "acct_77aa21b94a0801cd", "acct_0d2b94a0801cd77a"
REQUEST = f"req_{1:032x}"
WHY = ("--why", "account_request", "--ticket", "DSR-12")
# Call, standard input, and what is printed; those that take something out come last.
CALLS = [
    ("retention verify --no-topics", "", "operational"),
    ("retention sweep", "", "partitions"),
    ("find --account - WHY", GONE, '"operational":4'),
    ("resolve --request - WHY", f"{REQUEST}\n{STAYS}", STAYS),
    ("search - WHY", "weather in spring", REQUEST),
    ("open --request - WHY", REQUEST, "about the weather in spring"),
    ("export out --account - --content WHY", STAYS, "8 records in out/content.jsonl"),
    ("rescrub --since 5d WHY", "", '"status":"complete"'),
    ("aggregates build", "", ""),
    ("store migrate", "", ""),
    ("audit --no-topics", "", "§5"),
    ("restrict --account - --store-only WHY", SILENT, "restricted: one account"),
    ("erase --account - --store-only --receipt e.json WHY", GONE, "complete: e.json"),
    ("purge --since 5d --yes --receipt p.json WHY", "", "complete"),
]
# These write records, so they own a store or are refused; `rejected` reads topics, `demo` makes a store of its own.
OWNERS = {"run", "archive"}


class _Nothing:
    def find_spans(self, texts: Any, _own: object = ()) -> list[Any]:
        return [()] * len(texts)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, policy: Policy) -> Iterator[Path]:
    """Return a folder with keys and a store of twelve events of two accounts, which is served meanwhile."""
    folder = tmp_path_factory.mktemp("served")
    make_keys(folder, NOW_MS)
    keys = load_keyring(folder / "lethe.keys.json")
    core = make_core(policy, _Nothing(), keys)
    target = EmbeddedTarget(folder / "store", "store")
    with open_store(f"chdb:{folder / 'store'}", now_ms=NOW_MS, own=True) as store:
        pseudonym_of = partial(keys.suppression, Subject.REQUEST)
        sink = StoreSink(store, schemas_of(policy), policy.sinks, lambda: NOW_MS, pseudonym_of)
        door = Admission(latest_ms=NOW_MS)
        raws = [orjson.dumps(make_event(number, account={"id": STAYS if number % 3 else GONE})) for number in range(12)]
        sink.write([process(raw, Source("raw", 0, at, len(raw)), core, door) for at, raw in enumerate(raws)])
        lines: list[str] = []
        with served(target, threading.Lock(), lines.append):
            yield folder
        assert lines == []


@pytest.fixture
def lethe(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, which cannot open the store itself."""

    def refuse(*_: Any) -> Store:
        pytest.fail("it opened the folder itself")

    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Nothing())
    command = make_lethe(place, monkeypatch, capfd)
    if not (place / "lethe.receipt-key.json").exists():
        assert command("receipt", "key").code == 0
    monkeypatch.setenv("LETHE_STORE", "chdb:store")
    monkeypatch.setattr("pipeline.store.client._connect_alone", refuse)
    return command


@pytest.mark.parametrize(("call", "stdin", "says"), CALLS, ids=[call.partition(" -")[0] for call, _, _ in CALLS])
def test_a_command_works_beside_the_owner(lethe: Lethe, call: str, stdin: str, says: str) -> None:
    """It does what it would do alone."""
    words = [word for part in call.split() for word in (WHY if part == "WHY" else (part,))]
    done = lethe(*words, stdin=f"{stdin}\n".encode())
    assert (done.code, says in done.out) == (0, True), done.out + done.err


def test_no_command_was_forgotten() -> None:
    """Every command that takes a store is above, or owns one."""
    root = typer.main.get_command(app)
    found: set[str] = set()

    def look(command: Any, name: str) -> None:
        for sub, one in getattr(command, "commands", {}).items():
            look(one, f"{name} {sub}".strip())
        if any("--store" in getattr(one, "opts", ()) for one in command.params):
            found.add(name)

    look(root, "")
    called = {call for call, _, _ in CALLS}
    assert {name for name in found - OWNERS if not any(call.startswith(name) for call in called)} == set()
    assert len(found) > 10
