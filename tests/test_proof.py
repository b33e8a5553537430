"""``lethe audit``: what holds is said to hold, and each promise that is broken is found; no value is ever shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_event, make_lethe, write_lines
from kafka import KafkaProducer
from kafka_broker import Cluster, make_topic
from test_archive_broker import PARTITIONS, SINKS, SIZE, Place

from pipeline.anonymize import Admission, Core, process
from pipeline.codec import texts_of
from pipeline.policy.files import default_schemas_dir
from pipeline.proof.witness import Rule, Witness
from pipeline.records import Source

LEFT = "tora.lie@mail.example.org"
WHY = ("--why", "abuse_report", "--ticket", "ABUSE-17")
DETECTION = default_schemas_dir() / "detection"


def witness() -> Witness:
    """Return the shipped one."""
    return Witness(*(json.loads((DETECTION / name).read_bytes()) for name in ("witness.json", "allow.json")))


@pytest.mark.parametrize("rule", witness().rules, ids=lambda rule: rule.entity)
def test_a_rule_finds_its_examples_and_leaves_its_counter_examples(rule: Rule) -> None:
    """Every rule has both, and does what they say."""
    assert rule.examples
    assert [text for text in rule.examples if not [*rule.values_in(text)]] == []
    assert [text for text in rule.counter_examples if [*rule.values_in(text)]] == []


def test_the_witness_looks_at_keys_and_leaves_what_the_policy_leaves() -> None:
    """Keys of objects are text too; a private network's address is nobody's."""
    found = witness().look({"a": [{LEFT: 1}], "b": "10.1.2.3 and 198.51.100.7", "c": None})
    assert found == {"EMAIL_ADDRESS": 1, "IP_ADDRESS": 1}


def test_a_body_may_be_deep() -> None:
    """Every text of a body is looked at, however deep it is."""
    body: Any = "the last"
    for _ in range(5000):
        body = [body]
    assert [*texts_of(body)] == ["the last"]


class _Nothing:
    def find_spans(self, texts: Any, _own: object = ()) -> list[Any]:
        return [()] * len(texts)


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command in a folder with keys, and a detector that finds nothing."""
    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Nothing())
    command = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_STORE", "chdb:store")
    return command


def stored(lethe: Lethe, *texts: str) -> None:
    """Store one event a text, and leave an entry in the audit log."""
    events = [make_event(number) for number in range(len(texts))]
    for event, text in zip(events, texts, strict=True):
        event["request"] = {"messages": [{"role": "user", "content": text}]}
    write_lines(Path("events.jsonl"), events)
    assert lethe("run", "events.jsonl", "--to", "chdb:store").code == 0
    assert lethe("find", "--account", "-", *WHY, stdin=b"acct_nobody\n").code == 0


def audited(lethe: Lethe, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return exit code and checks by name; no value is in what is shown."""
    done = lethe("audit", "--json", *options)
    assert LEFT not in done.out + done.err
    return done.code, {one["name"]: one for one in json.loads(done.out)["checks"]}


def test_a_store_that_keeps_its_promises(lethe: Lethe) -> None:
    """Every check holds, and each has looked at something."""
    stored(lethe, "how are you", "fine, thanks", "good")
    code, checks = audited(lethe, "--no-topics")
    assert (code, {one["verdict"] for one in checks.values()}) == (0, {"holds"})
    assert {one["clause"] for one in checks.values()} == {"§4", "§5", "§7"}
    assert checks["identifiers: content in store"]["looked"] == checks["schema: operational in store"]["looked"] == 3
    assert checks["audit log"]["looked"] >= 2


def test_what_a_detector_missed_and_what_was_planted_are_found(lethe: Lethe) -> None:
    """An address in stored content is a leak to the witness, and to a manifest that has it."""
    stored(lethe, "nothing", f"write to {LEFT}")
    canary = {"request_id": f"req_{1:032x}", "kind": "email", "pointer": "/request", "value": LEFT, "expect": "absent"}
    Path("manifest.jsonl").write_text(json.dumps(canary) + "\n")
    code, checks = audited(lethe, "--no-topics", "--canaries", "manifest.jsonl", "--textfile", "audit.prom")
    assert code == 1
    gauges = Path("audit.prom").read_text()
    assert 'lethe_audit_verdict{check="canaries",clause="§5"} 3.0' in gauges
    assert 'lethe_audit_found{check="identifiers: content in store",clause="§5"} 1.0' in gauges
    assert 'lethe_audit_verdict{check="schema: content in store",clause="§5"} 0.0' in gauges
    assert LEFT not in gauges
    assert checks["identifiers: content in store"]["found"] == {"EMAIL_ADDRESS": 1}
    assert checks["canaries"]["found"] == {"email in content in store": 1}
    assert checks["schema: content in store"]["verdict"] == "holds"


def test_a_changed_audit_log_is_found(lethe: Lethe) -> None:
    """The chain is looked through."""
    stored(lethe, "nothing")
    (log,) = Path.cwd().rglob("audit-*.jsonl")
    log.write_text(log.read_text().replace("ABUSE-17", "ABUSE-18"))
    code, checks = audited(lethe, "--no-topics")
    assert (code, checks["audit log"]["verdict"]) == (1, "broken")


def test_nothing_to_look_at_is_no_proof(lethe: Lethe) -> None:
    """Without a store and a log, nothing is said to hold."""
    code, checks = audited(lethe, "--no-topics")
    assert (code, checks["samples of the store"]["verdict"], checks["audit log"]["verdict"]) == (2, "unseen", "unseen")


def test_records_of_topics_are_held_to_their_schemas(
    broker: Cluster, bare_core: Core, lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of topics are decoded as the archive does; one that no worker wrote is found, by its reason alone."""
    place = Place(
        broker, tmp_path, bare_core, {sink: make_topic(broker, PARTITIONS, max_message_bytes=SIZE) for sink in SINKS}
    )
    events = [make_event(number) for number in range(40)]
    raws = [json.dumps(event).encode() for event in events]
    door = Admission(latest_ms=1 << 50)
    place.send(
        place.outgoing([process(raw, Source("raw", 0, n, len(raw)), bare_core, door) for n, raw in enumerate(raws)])
    )
    monkeypatch.setenv("LETHE_BROKERS", broker.bootstrap)
    for sink, topic in place.topics.items():
        monkeypatch.setenv(f"LETHE_TOPIC_{sink.upper()}", topic)
    _, checks = audited(lethe, "--no-store")
    assert (
        checks["schema: content in topics"]["verdict"] == checks["schema: operational in topics"]["verdict"] == "holds"
    )
    assert checks["schema: content in topics"]["looked"] >= 20
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for partition in range(PARTITIONS):
        producer.send(place.topics["content"], LEFT.encode(), key=b"x", partition=partition)
    producer.flush()
    producer.close()
    code, checks = audited(lethe, "--no-store", "--sample", "400")
    assert code != 0
    found = checks["schema: content in topics"]["found"]
    assert found == {"has no header that says its schema is content/1": PARTITIONS}
