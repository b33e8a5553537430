"""Erasures with brokers, workers and an archive, of any size, compared row by row with what was sent.

``python tests/rights_harness.py --events 50000 --accounts 200 --erasures 20 --kills 10`` runs it big.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.structs import OffsetAndMetadata, TopicPartition
from kafka_broker import admin, running
from worker_harness import Bench, Worker, ending, make_event, now_ms

from pipeline.coarsen import parse_timestamp
from pipeline.keys.keyfile import rotate_keyfile
from pipeline.keys.signingfile import load_signer
from pipeline.receipts.files import verify_file
from pipeline.receipts.signed import to_document
from pipeline.store import open_store

WHY = ("--why", "account_request", "--ticket", "DSR-12")
VIEWS = {
    "content": "request_id, body",
    "operational": "request_id, account, api_key, client_network, client_ip, status, prompt_tokens, received_at",
}
PENDING = 3
# A worker that finds nothing, and so is there within two seconds and not ten: what is found is not looked at here.
BLIND = """
import sys, types
class NoDetector:
    def find_spans(self, texts, own=()):
        return [()] * len(texts)
made = types.SimpleNamespace(make_detector=lambda policy, cache_dir: NoDetector())
sys.modules["pipeline.detect.detector"] = made
sys.argv[1:] = ["worker"]
from pipeline.cli import main
"""
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        events: sent in all; half of them before the first erasure.
        accounts: whose they are.
        erasures: of so many accounts, one after another while events flow.
        kills: how many runs of the archive are killed at a random moment.
        rate: events a second, once accounts are being erased.
        first: number of the first event and account.
    """

    events: int
    accounts: int
    erasures: int
    kills: int = 0
    rate: float = 150.0
    first: int = 0

    @property
    def owners(self) -> range:
        """The accounts."""
        return range(self.first, self.first + self.accounts)

    def owner(self, number: int) -> int:
        """Return whose an event is."""
        return self.owners[number % self.accounts]


def account_name(number: int) -> str:
    """Return the id of an account."""
    return f"acct_{number:016x}"


def event_of(number: int, account: int) -> bytes:
    """Return an event of an account, received now."""
    event = json.loads(make_event(number))
    event["account"]["id"] = account_name(account)
    return json.dumps(event).encode()


@dataclass
class Sent:
    """What was sent, by request id: account and time of its request. The values in order."""

    accounts: dict[str, int] = field(default_factory=dict)
    received_ms: dict[str, int] = field(default_factory=dict)
    values: list[bytes] = field(default_factory=list)

    def add(self, number: int, account: int) -> bytes:
        """Make an event, and note it."""
        raw = event_of(number, account)
        event = json.loads(raw)
        self.accounts[event["request_id"]] = account
        self.received_ms[event["request_id"]] = parse_timestamp(event["received_at"]) or 0
        self.values.append(raw)
        return raw


class Site:
    """Topics, store, keys, audit log and receipts of one installation."""

    def __init__(self, bench: Bench) -> None:
        """Make what a bench has not: a receipt key, and the store's place."""
        self.bench = bench
        bench.settings["LETHE_STORE"] = self.store = f"chdb:{bench.folder / 'store'}"
        bench.lethe("receipt", "key")

    def rotate_keys(self) -> None:
        """Begin a key epoch, once every worker has had time to read the file."""
        valid_from_ms = now_ms() + 2500
        rotate_keyfile(self.bench.folder / "lethe.keys.json", now_ms(), valid_from_ms, lead_ms=0)
        time.sleep((valid_from_ms - now_ms()) / 1000)

    def workers(self, count: int, *, is_blind: bool = True) -> list[Worker]:
        """Start workers, and wait until each is a member."""
        started = [self.bench.worker(code=BLIND + "main()" if is_blind else "") for _ in range(count)]
        for worker in started:
            worker.wait_assigned()
        return started

    def erase(self, account: str, receipt: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Erase an account."""
        call = ("erase", "--account", "-", "--receipt", receipt, *WHY, *more)
        return self.bench.lethe(*call, check=False, stdin=f"{account}\n")

    def restrict(self, account: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Restrict an account."""
        return self.bench.lethe("restrict", "--account", "-", *WHY, *more, check=False, stdin=f"{account}\n")

    def archive(self, *, kill_after_s: float | None = None) -> None:
        """Store what is in the topics now; or be killed on the way."""
        call = [sys.executable, "-m", "pipeline", "archive", "--once"]
        environ = self.bench.environ(LETHE_BATCH_EVENTS_MAX=str(random.choice((90, 400, 5000))))
        with (self.bench.folder / "archive.log").open("ab") as log:
            process = subprocess.Popen(call, cwd=self.bench.folder, env=environ, stdout=log, stderr=log)  # noqa: S603 - ours
            if kill_after_s is not None:
                time.sleep(kill_after_s)
                process.kill()
                process.wait()
                return
            assert process.wait(600) == 0, (self.bench.folder / "archive.log").read_text()[-2000:]

    def rewind(self) -> None:
        """Set the archive's group to the start of every partition."""
        group = f"{self.bench.prefix}workers-archive"
        with admin(self.bench.cluster) as client:
            _rewind(client, group)

    def rows(self, sent: "Sent") -> dict[str, dict[str, Row]]:
        """Return the rows of both views of what was sent, by request id, and see that each is there once."""
        found: dict[str, dict[str, Row]] = {}
        with open_store(self.store, now_ms=now_ms()) as store:
            for view, columns in VIEWS.items():
                binary = ("body",) if view == "content" else ()
                rows = store.query(f"SELECT {columns} FROM {view}", binary=binary).rows  # noqa: S608 - ours
                found[view] = {row[0]: row for row in rows if row[0] in sent.accounts}
                assert len({row[0] for row in rows}) == len(rows), "an id is there twice"
        return found

    def receipt(self, name: str) -> dict[str, Any]:
        """Return a receipt whose signature holds."""
        public = load_signer(self.bench.folder / "lethe.receipt-key.json").public
        return to_document(verify_file(self.bench.folder / name, public))


def _rewind(client: KafkaAdminClient, group: str) -> None:
    places: list[TopicPartition] = list(client.list_group_offsets({group: None})[group])
    client.alter_group_offsets(group, {at: OffsetAndMetadata(0, "", -1) for at in places})


class Load(threading.Thread):
    """Sends events at a rate, of all accounts in turn."""

    def __init__(self, bench: Bench, sent: Sent, numbers: range, size: Size) -> None:
        super().__init__(daemon=True)
        self._bench, self._sent, self._numbers, self._size = bench, sent, numbers, size
        self.failed: list[BaseException] = []

    def run(self) -> None:
        """Send them all."""
        producer = self._bench.producer()
        try:
            for number in self._numbers:
                raw = self._sent.add(self._size.first + number, self._size.owner(number))
                producer.send(self._bench.topic("raw"), raw).add_errback(self.failed.append)
                time.sleep(1 / self._size.rate)
            producer.flush(timeout=60)
        except BaseException as error:  # noqa: BLE001 - shown by whoever waits
            self.failed.append(error)
        finally:
            producer.close(timeout=5)


def erase_under_load(site: Site, size: Size, chance: random.Random) -> dict[int, int]:
    """Erase accounts one after another; return up to when each is erased. The archive is killed now and then."""
    erased: dict[int, int] = {}
    kills = size.kills
    for account in chance.sample(size.owners, size.erasures):
        name = f"receipt-{account}.json"
        done = site.erase(account_name(account), name, "--wait-s", "0.5")
        while done.returncode == PENDING:
            kill_after_s = chance.uniform(1.5, 4) if kills > 0 and chance.random() < 0.5 else None
            kills -= kill_after_s is not None
            site.archive(kill_after_s=kill_after_s)
            done = site.erase(account_name(account), name, "--wait-s", "5")
        assert done.returncode == 0, done.stderr[-2000:]
        erased[account] = parse_timestamp(site.receipt(name)["received_until"]) or 0
    return erased


def check_rows(rows: dict[str, dict[str, Row]], sent: Sent, erased: dict[int, int]) -> None:
    """Hold the views to what was sent: nothing of the erased, everything of all others."""
    gone = {one for one, account in sent.accounts.items() if sent.received_ms[one] <= erased.get(account, -1)}
    assert gone, "nothing was erased"
    assert set(rows["content"]) == set(sent.accounts) - gone
    assert set(rows["operational"]) == set(sent.accounts)
    for one, row in rows["operational"].items():
        assert (row[1:5] == (None,) * 4) is (one in gone), "an account is where it must not be, or the reverse"


def run_end_to_end(site: Site, size: Size) -> None:
    """Erase while events flow, through two workers that run; then all of it comes once more, from topics and raw."""
    bench, chance, sent = site.bench, random.Random(size.events), Sent()
    half = size.events // 2
    bench.send([sent.add(size.first + number, size.owner(number)) for number in range(half)])
    bench.wait_done()
    site.archive()
    before = site.rows(sent)
    site.rotate_keys()
    load = Load(bench, sent, range(half, size.events), size)
    load.start()
    erased = erase_under_load(site, size, chance)
    load.join()
    assert not load.failed
    bench.wait_done()
    site.archive()
    after = site.rows(sent)
    check_rows(after, sent, erased)
    for view, rows in before.items():
        kept = {one: row for one, row in rows.items() if sent.accounts[one] not in erased}
        assert kept == {one: after[view][one] for one in kept}, "another account was touched"
    bench.send(sent.values)
    bench.wait_done()
    site.rewind()
    site.archive()
    assert site.rows(sent) == after
    for account in erased:
        check_receipt(site, site.receipt(f"receipt-{account}.json"))
    assert bench.lethe("audit-log", "verify").returncode == 0
    epochs = {row[1].partition(":")[0] for row in after["operational"].values() if row[1] is not None}
    assert epochs == {"e1", "e2"}, "it did not span key epochs"
    if size.kills:
        check_bytes(site)
        check_export(site, sent, after, next(account for account in size.owners if account not in erased))
        check_tampering(site, f"receipt-{next(iter(erased))}.json")


def check_bytes(site: Site) -> None:
    """See that no row of content is merely hidden, and that no part but those in use is there."""
    hidden = "SELECT count() FROM content_rows WHERE NOT _row_exists SETTINGS apply_deleted_mask = 0"
    parts = "SELECT count() FROM system.parts WHERE table = 'content_rows' AND _state != 'Active' AND _state != ''"
    with open_store(site.store, now_ms=now_ms()) as store:
        assert store.query(hidden).rows == [(0,)]
        assert store.query(parts).rows == [(0,)]


def check_export(site: Site, sent: Sent, rows: dict[str, dict[str, Row]], account: int) -> None:
    """See that an account's export is what was sent of it, over all key epochs, anonymized."""
    call = ("export", "--account", "-", "--content", *WHY, "out")
    done = site.bench.lethe(*call, check=False, stdin=f"{account_name(account)}\n")
    assert done.returncode == 0, done.stderr
    wanted = {one for one, owner in sent.accounts.items() if owner == account}
    for name in VIEWS:
        lines = (site.bench.folder / "out" / f"{name}.jsonl").read_bytes().splitlines()
        exported = {record["request_id"]: record for record in map(json.loads, lines)}
        assert set(exported) == wanted
        assert not any(b"example.org" in line or account_name(account).encode() in line for line in lines)
        if name == "content":
            assert {one: record["body"] for one, record in exported.items()} == {
                one: json.loads(rows[name][one][1]) for one in wanted
            }


def check_tampering(site: Site, receipt: str) -> None:
    """See that a changed receipt and a changed audit log do not hold."""
    path = site.bench.folder / receipt
    assert site.bench.lethe("receipt", "verify", receipt, check=False).returncode == 0
    path.write_bytes(path.read_bytes().replace(b'"complete"', b'"pending"', 1))
    assert site.bench.lethe("receipt", "verify", receipt, check=False).returncode == 1
    log = min((site.bench.folder / "lethe-audit").glob("*.jsonl"))
    log.write_bytes(log.read_bytes().replace(b'"erase"', b'"export"', 1))
    assert site.bench.lethe("audit-log", "verify", check=False).returncode == 1


def check_receipt(site: Site, receipt: dict[str, Any]) -> None:
    """See that a receipt is complete, says what remains in topics, and names an entry of the audit log."""
    assert receipt["status"] == "complete"
    places = {place["name"]: place for place in receipt["places"]}
    assert places["topic:control"]["counts"]["workers"] == 2
    deleted = places["store:content"]["counts"]["deleted"]
    for name in ("topic:content", "topic:operational"):
        assert places[name]["remaining"] == {"requests_at_most": deleted}
        assert places[name]["until"] > receipt["requested_at"]
    assert places["topic:raw"]["why"]
    lines = [line for path in (site.bench.folder / "lethe-audit").glob("*.jsonl") for line in path.open()]
    entry = next(e for e in map(json.loads, lines) if e["sequence"] == receipt["audit"]["sequence"])
    assert (entry["log"], entry["action"], entry["outcome"]) == (receipt["audit"]["log"], "erase", "started")
    assert entry["pseudonym"] == receipt["subject"]["pseudonym"]


def main() -> None:
    """Run it on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("events", 50_000), ("accounts", 200), ("erasures", 20), ("kills", 10), ("rate", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = Size(**vars(parser.parse_args()))
    with running() as cluster, tempfile.TemporaryDirectory() as folder:
        site = Site(Bench(cluster, Path(folder), "rights.").prepare(4))
        workers = site.workers(2, is_blind=False)
        with ending(workers):
            run_end_to_end(site, size)
            assert [worker.stop() for worker in workers] == [0, 0]
    sys.stdout.write(f"holds: {size}\n")


if __name__ == "__main__":
    main()
