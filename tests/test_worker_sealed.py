"""Sealed content through a real broker: what a worker writes, which keys it follows, and how it ends without one."""

import base64
import json
import re
from pathlib import Path

import pytest
from kafka_broker import Cluster
from worker_harness import Bench, ending, make_event, now_ms, read_all, wait_until

from pipeline.coarsen import DAY_MS, day_of
from pipeline.keys.envelope import EnvelopeKeys, EnvelopeSealer
from pipeline.keys.envelopefile import init_envelope_keys, load_envelope_keys
from pipeline.keys.provider import load_provider
from pipeline.keys.sealfile import init_day_keys
from pipeline.keys.sealing import SCHEME
from pipeline.records import Sealed


@pytest.fixture
def bench(broker: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    """Topics and keys of the test's own."""
    return Bench(broker, tmp_path, re.sub(r"[^a-z]", "", request.node.name)[4:40] + ".").prepare(partitions=2)


def keyring(bench: Bench) -> Path:
    """Return the path of the bench's keyring."""
    return bench.folder / "lethe.keyring.json"


def bodies(bench: Bench) -> dict[str, Sealed]:
    """Return the bodies of the content topic by request id, as they are sealed; repeats must be the same."""
    found: dict[str, Sealed] = {}
    for record in read_all(bench.cluster, bench.topic("content")):
        fields = json.loads(record.value)
        body = Sealed(fields["body_encoding"], base64.b64decode(fields["body"]))
        assert found.setdefault(fields["request_id"], body) == body
        assert b"mail row" not in record.value
    return found


def drop_today(bench: Bench) -> None:
    """Take the key of today, and of tomorrow in case it is midnight, out of the keyring."""
    document = json.loads(keyring(bench).read_text())
    for day in (day_of(now_ms()), day_of(now_ms() + DAY_MS)):
        document["days"].pop(day, None)
    keyring(bench).write_text(json.dumps(document))


def test_a_workers_content_is_sealed_and_a_repeat_is_the_same_bytes(bench: Bench) -> None:
    """One that is killed, and one that reads all of it again, make the same bytes; with the keyring they open."""
    bench.send([make_event(number) for number in range(40)])
    first = bench.worker()
    with ending(first):
        bench.wait_done()
        first.kill()
    made = bodies(bench)
    assert len(made) == 40
    assert {body.encoding.partition(":")[0] for body in made.values()} == {SCHEME}
    again = bench.worker(LETHE_GROUP=f"{bench.prefix}again")  # it has committed nothing
    with ending(again):
        wait_until(lambda: len([*read_all(bench.cluster, bench.topic("content"))]) >= 80)
        assert again.stop() == 0
    assert bodies(bench) == made
    opener = bench.sealer()
    for request_id, body in made.items():
        text = opener.open(body, request_id=request_id, schema_version=1)
        assert f"mail row {int(request_id[4:], 16)} to <EMAIL_1>".encode() in text


def test_a_worker_follows_the_keyring(bench: Bench) -> None:
    """A key that was replaced while it runs seals what comes after, without a restart."""
    worker = bench.worker()
    with ending(worker):
        worker.wait_assigned()
        bench.send([make_event(1)])
        bench.wait_done()
        keyring(bench).unlink()
        init_day_keys(keyring(bench), load_provider(f"file:{bench.folder / 'lethe.kek.json'}"), now_ms(), 30 * DAY_MS)
        worker.wait_said("keys have changed and are in force")
        bench.send([make_event(2)])
        bench.wait_done()
        assert worker.stop() == 0
    made = bodies(bench)
    assert len({body.encoding for body in made.values()}) == 2
    assert b"mail row 2" in bench.sealer().open(made[f"req_{2:032x}"], request_id=f"req_{2:032x}", schema_version=1)


def test_without_a_key_the_worker_stops_and_nothing_is_lost(bench: Bench) -> None:
    """No key of the day, no plaintext: it ends with 2 and says what to do; with the key back, the events are there."""
    drop_today(bench)
    bench.send([make_event(number) for number in range(5)])
    worker = bench.worker()
    with ending(worker):
        assert worker.wait() == 2
    assert "the keyring has no key of an event's day: run 'lethe keys roll'" in worker.said()
    assert bodies(bench) == {}
    assert sum(bench.committed().values()) == 0
    bench.lethe("keys", "roll")
    mended = bench.worker()
    with ending(mended):
        bench.wait_done()
        assert mended.stop() == 0
    assert len(bodies(bench)) == 5


def test_without_a_keyring_no_worker_starts(bench: Bench) -> None:
    """It names the file and the way; the check does so too, and says how content is sealed where it is."""
    assert f"content is sealed: {SCHEME}:{day_of(now_ms())}." in bench.lethe("worker", "--check").stdout
    keyring(bench).unlink()
    for arguments in (("worker",), ("worker", "--check")):
        done = bench.lethe(*arguments, check=False)
        assert done.returncode == 2
        assert "there is no keyring at" in done.stderr
        assert "lethe keys init" in done.stderr
    said = bench.lethe("worker", "--check", LETHE_SEAL="false").stdout
    assert "content is NOT sealed" in said


def test_a_keyring_that_goes_away_ends_the_worker(bench: Bench) -> None:
    """Keys that were removed must not live on in a process."""
    worker = bench.worker()
    with ending(worker):
        worker.wait_assigned()
        keyring(bench).unlink()
        assert worker.wait() == 2
    assert "lethe.keyring.json cannot be read: No such file or directory" in worker.said()


def test_events_in_envelopes_are_worked_off_and_one_without_its_key_is_replayed(bench: Bench) -> None:
    """A gateway's envelopes beside plain events; what no key opens is rejected, and comes in when the key is there."""
    path = bench.folder / "raw.json"
    init_envelope_keys(path)
    gateway = EnvelopeSealer(load_envelope_keys(path).publics[0])
    late = EnvelopeSealer(EnvelopeKeys([b"l" * 32]).publics[0])
    bench.send([gateway.seal(make_event(1)), make_event(2), late.seal(make_event(3)), gateway.seal(b"{")])
    worker = bench.worker(LETHE_RAW_KEY=str(path), LETHE_REJECTION_SHARE_MAX="100")
    with ending(worker):
        bench.wait_done()
        assert sorted(bodies(bench)) == [f"req_{number:032x}" for number in (1, 2)]
        reasons = [json.loads(one.value)["reason"] for one in read_all(bench.cluster, bench.topic("rejected"))]
        assert sorted(reasons) == ["not_json", "sealed"]
        path.write_text(json.dumps({"version": 1, "x25519": [base64.b64encode(b"l" * 32).decode()]}))
        worker.wait_said("keys have changed and are in force")
        bench.lethe("replay", "--rejected", "--reason", "sealed")
        wait_until(lambda: len(bodies(bench)) == 3)
        assert worker.stop() == 0
