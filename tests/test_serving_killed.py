"""The process that serves a store is killed in the middle of what another one changes there."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import KEYS

from pipeline.coarsen import DAY_MS
from pipeline.errors import SinkUnavailable
from pipeline.policy.load import Policy
from pipeline.rights.erase import Erased, Named, Operational, StoreEraser
from pipeline.store import Store, open_store
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.opening import open_existing
from pipeline.store.tables import ensure_tables
from pipeline.suppress import Subject

NOW_MS = int(time.time()) * 1000
GONE, STAYS = "acct_5f0c77de21b94a08", "acct_77aa21b94a0801cd"
ROWS = 12_000
OWNER = """
import sys, threading, time
from pathlib import Path
from pipeline.store import open_store
from pipeline.store.serving import served
from pipeline.store.url import EmbeddedTarget
folder = Path(sys.argv[1])
with open_store(f"chdb:{folder}", now_ms=0, own=True), served(EmbeddedTarget(folder, "lethe"), threading.Lock(), print):
    print("serves", flush=True)
    time.sleep(600)
"""


def fill(store: Store, policy: Policy) -> None:
    """Write rows of two accounts in turn, over the parts of several months and days."""
    ensure_tables(store, make_tables(schemas_of(policy), policy.sinks))
    accounts = [KEYS.pseudonyms("account", account)[0] for account in (GONE, STAYS)]
    at = "fromUnixTimestamp64Milli({now:Int64} - (number % 4) * {step:Int64})"
    key = "concat('req_', leftPad(toString(number), 32, '0'))"
    rows = f"SELECT {key}, {at}, if(number % 2, {{stays:String}}, {{gone:String}}) FROM numbers({ROWS})"  # noqa: S608
    names = {"gone": accounts[0], "stays": accounts[1], "now": NOW_MS - DAY_MS}
    for table, column, step in (("operational", "account", 28 * DAY_MS), ("content", "body", DAY_MS)):
        sql = f"INSERT INTO {table}_rows (request_id, received_at, {column}) {rows}"
        store.command(sql, {**names, "step": step})


def erase(store: Store, policy: Policy) -> Erased:
    """Erase the account, wait until its bytes are gone, and return what was found."""
    eraser = StoreEraser(store, policy, KEYS)
    erased = eraser.erase(Named(Subject.ACCOUNT, GONE), NOW_MS, NOW_MS, Operational.UNLINK)
    until_s = time.monotonic() + 30
    while not eraser.finish(Operational.UNLINK):
        assert time.monotonic() < until_s, "something lingers"
        time.sleep(0.1)
    return erased


def test_an_erasure_goes_on_where_its_owner_was_killed(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told; opened anew, nothing of the account is left, and of nobody else anything is missing.

    Each mutation names a table in memory that is empty after the kill: what the engine does again by itself finds
    nothing in it, and the erasure, done again, finds the rest.
    """
    folder = tmp_path / "store"
    with open_store(f"chdb:{folder}", now_ms=NOW_MS) as store:
        fill(store, policy)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "serves\n"
        with open_existing(f"chdb:{folder}", now_ms=NOW_MS) as guest:
            command = guest.command

            def killed(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
                if sql.startswith("ALTER TABLE operational_rows"):
                    threading.Timer(0.02, owner.send_signal, (signal.SIGKILL,)).start()
                command(sql, parameters)

            monkeypatch.setattr(guest, "command", killed)
            with pytest.raises(SinkUnavailable, match="cannot be reached"):
                erase(guest, policy)
    finally:
        owner.kill()
        owner.communicate()
    with open_existing(f"chdb:{folder}", now_ms=NOW_MS) as store:
        found = erase(store, policy)
        sql = "SELECT count() FROM operational WHERE account IS NOT NULL"
        assert store.query(sql).rows == store.query("SELECT count() FROM content").rows == [(ROWS // 2,)]
        assert store.query("SELECT count() FROM operational").rows == [(ROWS,)]
        assert erase(store, policy) == Erased(0, 0, 0)
    assert found.requests
