"""An erasure that is killed at any step and gone on with: complete, with its counts, and as if it had not been."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from conftest import KEYS, base_event

from pipeline.anonymize import Admission, Core, process
from pipeline.archive.target import StoreTarget
from pipeline.coarsen import format_timestamp
from pipeline.keys.signing import Signer
from pipeline.policy.load import Policy
from pipeline.receipts.files import load_receipt, save_receipt
from pipeline.receipts.model import Receipt, Status
from pipeline.records import Anonymized, Source
from pipeline.rights import erase as erasing
from pipeline.rights import steps as stepping
from pipeline.rights.erase import Named, Operational, StoreEraser
from pipeline.rights.receipt import Ends, Mark, Step, Waited, begin, step_of
from pipeline.rights.steps import Steps
from pipeline.store import Store, open_store
from pipeline.store.entries import read_entries
from pipeline.store.intake import Records
from pipeline.suppress import Subject

NOW_MS = int(time.time()) * 1000
SIGNER = Signer.from_seed(b"r" * 32)
DATABASES = count()
ENDS = {"raw": {0: 3}, "content": {0: 3}, "operational": {0: 3}}


class Killed(BaseException):
    """The process ends here."""


class Topics:
    """Stands where the barrier does: everything is applied, done and archived as soon as it is asked for."""

    group = "workers"

    def __init__(self) -> None:
        self.control: list[bytes] = []

    def publish(self, _: str, entry: bytes) -> Mark:
        """Keep an entry."""
        self.control.append(entry)
        return Mark(0, len(self.control) - 1)

    def wait_for_workers(self, *_: Any) -> Waited:
        """Return two workers."""
        return Waited(0, 2)

    def wait_for_backlog(self, *_: Any) -> Waited:
        """Return that nothing is left."""
        return Waited(0)

    wait_for_archive = wait_for_backlog

    def backlog(self) -> Ends:
        """Return where raw ends."""
        return self.ends("raw")

    def ends(self, *names: str) -> Ends:
        """Return where topics end."""
        return {name: ENDS[name] for name in names}

    def until_ms(self, _: str, now_ms: int) -> int:
        """Return when something is gone."""
        return now_ms + 1000


class Kills:
    """Ends the process after a number of calls of what is watched."""

    def __init__(self) -> None:
        self.after = self.calls = 0

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, watched: what it does is done when the process ends."""

        def watched(*arguments: Any, **options: Any) -> Any:
            done = call(*arguments, **options)
            self.calls += 1
            if self.calls == self.after:
                raise Killed
            return done

        return watched


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=f"test_{next(DATABASES)}") as opened:
        yield opened


def records_of(account: str, first: int, core: Core) -> Records:
    """Return the records of three events of an account; the content of the last one has expired."""
    fates = []
    for number in range(first, first + 3):
        event = base_event() | {
            "request_id": f"req_{number:032x}",
            "received_at": format_timestamp(NOW_MS - 3_600_000),
            "account": {"id": account},
        }
        raw = orjson.dumps(event)
        fates.append(process(raw, Source("raw", 0, number, len(raw)), core, Admission(latest_ms=NOW_MS)))
    good = [fate for fate in fates if isinstance(fate, Anonymized)]
    return Records([one.content for one in good[:2] if one.content is not None], [one.operational for one in good])


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    """Return what ends the process after any of the steps of an erasure."""
    kills = Kills()
    for owner, names in (
        (Topics, ("publish", "wait_for_workers", "wait_for_backlog", "ends", "wait_for_archive")),
        (stepping, ("ensure_entries", "add_entry")),
        (erasing, ("add_tombstones", "mask_records", "unlink_records", "delete_records", "purge_masked")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, kills.watch(getattr(owner, name)))
    monkeypatch.setattr(erasing, "count_lingering", lambda *_: 0)  # that bytes go is seen elsewhere, and takes a second
    return kills


@dataclass
class Erasure:
    """What the command does, from the receipt that is there."""

    named: Named
    path: Path
    how: Operational
    store: Store
    policy: Policy
    kills: Kills
    topics: Any = field(default_factory=Topics)

    def receipt(self) -> Receipt:
        """Return the receipt as it is kept, or a new one."""
        if self.path.exists():
            return load_receipt(self.path, SIGNER.public)
        pseudonym = KEYS.suppression(self.named.subject, self.named.value)
        begun = str(uuid.uuid4()), Subject.ACCOUNT, pseudonym, NOW_MS, self.policy, "", self.how
        return begin(*begun, with_topics=True, audit=("", -1))

    def go_on(self) -> None:
        """Do the steps that are left."""
        receipt = self.receipt()
        save = self.kills.watch(lambda now: save_receipt(self.path, now, SIGNER))
        steps = Steps(self.policy, self.how, 30, lambda: NOW_MS, save, lambda _: None)
        steps.save(receipt)
        receipt = steps.through_topics(receipt, self.topics)
        if step_of(receipt) in {Step.STORE, Step.BYTES}:
            steps.in_store(receipt, self.named, StoreEraser(self.store, self.policy, KEYS))

    def is_killed(self, after: int) -> bool:
        """Go on, and be killed after so many steps; return whether there were as many."""
        self.kills.calls, self.kills.after = 0, after
        try:
            self.go_on()
        except Killed:
            return True
        finally:
            self.kills.after = 0
        return False

    def said(self) -> dict[str, Any]:
        """Return what the receipt says, but for where the entry is: killed before that was noted, it is there twice."""
        receipt = self.receipt()
        assert receipt.status is Status.COMPLETE
        said = {place.name: (dict(place.counts), dict(place.remaining)) for place in receipt.places}
        assert said["topic:control"][0].pop("offset") == len(self.topics.control) - 1
        return said


@pytest.mark.parametrize(("how", "done", "first"), [("unlink", "unlinked", 1), ("delete", "deleted", 16)])
def test_it_may_be_killed_after_any_step(
    store: Store, policy: Policy, bare_core: Core, kills: Kills, tmp_path: Path, how: str, done: str, first: int
) -> None:
    """Gone on with, its receipt says what one says that was not killed, and the account is gone; nobody else is."""
    target = StoreTarget(store, policy, lambda: NOW_MS, partial(KEYS.suppression, Subject.REQUEST))
    target.write(records_of("acct_stays", 0, bare_core))
    expected = {
        "topic:control": ({"entries": 1, "partition": 0, "workers": 2}, {"entries": 1}),
        "store:content": ({"deleted": 2}, {}),
        "store:operational": ({done: 3}, {}),
        "topic:raw": ({"end_offset.0": 3}, {}),
        "topic:content": ({"end_offset.0": 3}, {"requests_at_most": 2}),
        "topic:operational": ({"end_offset.0": 3}, {"requests_at_most": 3}),
    }
    is_killed, after = True, first - 1
    while is_killed:
        after += 1
        named = Named(Subject.ACCOUNT, f"acct_{after}")
        target.write(records_of(named.value, 100 * after, bare_core))
        erasure = Erasure(named, tmp_path / f"{after}.json", Operational(how), store, policy, kills)
        is_killed = erasure.is_killed(after)
        if is_killed:
            erasure.go_on()
        assert erasure.said() == expected, after
        (entry,) = set(erasure.topics.control)  # however often it was published, it is the same one
        assert entry in read_entries(store)
    assert after > 20, "too few steps were watched"
    assert len(read_entries(store)) == after - first + 1
    numbers = "SELECT toUInt8(substring(request_id, -1)) FROM {} ORDER BY request_id"
    assert store.query(numbers.format("content")).rows == [(0,), (1,)]
    assert store.query(numbers.format("operational WHERE account IS NOT NULL")).rows == [(0,), (1,), (2,)]


def begun_receipt(policy: Policy) -> Receipt:
    """Return a receipt of an erasure that begins."""
    about = str(uuid.uuid4()), Subject.ACCOUNT, KEYS.suppression("account", "a"), NOW_MS, policy, ""
    return begin(*about, Operational.UNLINK, with_topics=True, audit=("", -1))


@pytest.mark.parametrize(
    ("waits", "step", "says"),
    [
        ("wait_for_workers", Step.WORKERS, "3 of 3 workers have not applied it yet"),
        (
            "wait_for_backlog",
            Step.BACKLOG,
            "the workers have 3 events before them that were in raw before: do they run?",
        ),
        ("wait_for_archive", Step.ARCHIVE, "the archive has 3 records before it that were made before: does it run?"),
    ],
)
def test_each_step_waits_for_the_one_before(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, waits: str, step: Step, says: str
) -> None:
    """What is not done keeps the receipt pending at its step, says what is waited for, and is done next time."""
    told: list[str] = []
    begun = begun_receipt(policy)
    steps, topics = Steps(policy, Operational.UNLINK, 0, lambda: NOW_MS, lambda _: None, told.append), Topics()
    with monkeypatch.context() as waiting:
        waiting.setattr(topics, waits, lambda *_: Waited(3, 3))
        receipt = steps.through_topics(begun, cast("Any", topics))
    assert (step_of(receipt), told) == (step, [says])
    assert step_of(steps.through_topics(receipt, cast("Any", topics))) is Step.STORE
    assert len(topics.control) == 1


def test_a_receipt_says_that_there_was_no_worker(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody counts as applied, and whoever reads the receipt, or sees it made, is told so."""
    told: list[str] = []
    begun = begun_receipt(policy)
    topics = Topics()
    monkeypatch.setattr(topics, "wait_for_workers", lambda *_: Waited(0))
    steps = Steps(policy, Operational.UNLINK, 0, lambda: NOW_MS, lambda _: None, told.append)
    receipt = steps.through_topics(begun, cast("Any", topics))
    assert told == ["no worker is a member of the group workers; one that joins applies it first"]
    assert {place.name: place.counts for place in receipt.places}["topic:control"]["workers"] == 0
