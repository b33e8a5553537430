"""Rights on a real broker: each role can do what its programs need and is refused everything else (policy §7)."""

import json
import time
from pathlib import Path

import pytest
from cli_fixtures import Done, Lethe, finish, make_event, make_lethe, start
from conftest import base_event
from kafka import KafkaAdminClient, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import CoordinatorNotAvailableError, GroupAuthorizationFailedError
from kafka_broker import Cluster, SecureCluster
from test_security_broker import by_certificate, committed
from worker_harness import wait_until

from pipeline.brokers import Brokers
from pipeline.config import load_settings
from pipeline.policy.access import read_roles
from pipeline.policy.files import default_schemas_dir
from pipeline.topics.acl import Right
from pipeline.topics.aclclient import AclAdmin

pytestmark = pytest.mark.xdist_group("security")  # in one process, so that there is one broker
PREFIX, GROUP = "acl.", "acl-workers"
SINKS = ("raw", "content", "operational", "rejected", "control", "applied", "audit")
ROLES = read_roles(default_schemas_dir())
# Who may read and who may write, as the issue of access controls says it; not taken from the policy's file.
READS = {
    "worker": {"raw", "control"},
    "archive": {"content", "operational", "rejected"},
    "abuse_desk": {"content"},
    "billing": {"operational"},
    "officer": {"applied"},
    "operator": {"rejected", "raw"},
    "recorder": {"audit"},
    "auditor": {"content", "operational", "rejected"},
}
WRITES = {
    "gateway": {"raw"},
    "worker": {"content", "operational", "rejected", "applied"},
    "officer": {"control"},
    "operator": {"raw"},
    "recorder": {"audit"},
}
GROUPS = {"worker": {GROUP}, "archive": {f"{GROUP}-archive"}, "abuse_desk": {f"{PREFIX}abuse_desk"}}
GROUPS["billing"] = {f"{PREFIX}billing"}
ACCOUNT = base_event()["account"]["id"]


class Site:
    """A cluster whose topics and rights the command has made, and who may do what there."""

    def __init__(self, cluster: SecureCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def environ(self, who: str) -> dict[str, str]:
        """Return the settings of somebody with a certificate of that name."""
        return by_certificate(self.cluster, self.cluster.authority.sign(who, usage="client")) | {
            "LETHE_TOPIC_PREFIX": PREFIX,
            "LETHE_GROUP": GROUP,
            "LETHE_SESSION_S": "6",
            "LETHE_METRICS_PORT": "0",
            "LETHE_STORE": "chdb:store",
        }

    def lethe(self, who: str, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a command as somebody, in a process of its own: it is done before a test begins, or opens the store."""
        return finish(start(self.folder, arguments, **self.environ(who)), stdin)  # type: ignore[arg-type]

    def brokers(self, who: str) -> Brokers:
        """Return how somebody reaches it."""
        return load_settings(self.environ(who)).reach()

    def admin(self, who: str) -> KafkaAdminClient:
        """Return a bare client of somebody's."""
        brokers = self.brokers(who)
        return KafkaAdminClient(bootstrap_servers=brokers.servers(), **brokers.options())


def may_commit(client: KafkaAdminClient, group: str) -> bool:
    """Return whether a client may keep offsets in a group."""
    while True:
        try:
            said = client.alter_group_offsets(group, {TopicPartition(f"{PREFIX}raw", 0): OffsetAndMetadata(0, "", -1)})
        except GroupAuthorizationFailedError:
            return False
        except CoordinatorNotAvailableError:  # the first one that is asked for in a cluster
            time.sleep(0.1)
        else:  # a topic that it may not read is another matter: the group is asked for first
            return GroupAuthorizationFailedError not in said.values()


def principals() -> list[str]:
    """Return the options that give each role the certificate of its name."""
    return [part for role in ROLES for part in ("--principal", f"{role}=User:CN={role}")]


@pytest.fixture(scope="module")
def site(secure_broker: SecureCluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a cluster with topics, and with the rights that the command gives."""
    made = Site(secure_broker, tmp_path_factory.mktemp("acl"))
    done = made.lethe("client", "topics", "apply", "--partitions", "1")
    assert done.code == 0, done.err
    done = made.lethe("client", "topics", "acl", "apply", *principals())
    assert (done.code, "lethe: gave " in done.err) == (0, True), done.err
    return made


@pytest.fixture
def lethe(site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command as somebody runs it, in this process."""
    run = make_lethe(site.folder, monkeypatch, capfd)

    def as_somebody(who: str, *arguments: str) -> Done:
        for name, value in site.environ(who).items():
            monkeypatch.setenv(name, value)
        return run(*arguments)

    return as_somebody


def test_what_was_applied_is_what_is_wanted(site: Site, lethe: Lethe) -> None:
    """A second plan has nothing to do; a right that no role has is shown and taken away, a wider one only shown."""
    call = ("topics", "acl", "plan", *principals())
    assert lethe("client", *call).code == 0
    assert lethe("admin", *call).code == 0  # the role that gives rights sees them, too
    with AclAdmin(site.brokers("client")) as client:
        added = Right("User:CN=guest", "topic", f"{PREFIX}content", "read")
        wider = Right("User:CN=guest", "topic", "ac", "write", "prefixed")
        client.add_rights([added, wider])
        try:
            done = lethe("client", *call, "--json")
            shown = {kind: [Right(**one) for one in rights] for kind, rights in json.loads(done.out).items()}
            assert (done.code, shown) == (3, {"missing": [], "surplus": [added], "by_hand": [wider]})
            assert lethe("client", "topics", "acl", "apply", *principals()).code == 3
            assert {added, wider} <= set(client.read_rights())
            assert lethe("client", "topics", "acl", "apply", "--remove", *principals()).code == 3
            assert {added, wider} & set(client.read_rights()) == {wider}
        finally:
            client.remove_rights([added, wider])


def test_each_role_has_its_rights_and_no_other(site: Site) -> None:
    """The broker itself is asked, by each of them, what it would let them do with every topic and group."""
    reads: dict[str, set[str]] = {}
    writes: dict[str, set[str]] = {}
    joins: dict[str, set[str]] = {}
    groups = sorted({group for found in GROUPS.values() for group in found})
    for role in (*ROLES, "nobody"):
        client = site.admin(role)
        try:
            for topic in client.describe_topics([PREFIX + sink for sink in SINKS]):
                may = set(topic["authorized_operations"] or ())
                for kind, found in (("READ", reads), ("WRITE", writes)):
                    if kind in may:
                        found.setdefault(role, set()).add(topic["name"].removeprefix(PREFIX))
                assert role == "admin" or not may & {"CREATE", "DELETE", "ALTER", "ALTER_CONFIGS"}
            for group in groups:
                if may_commit(client, group):
                    joins.setdefault(role, set()).add(group)
            may = set(client.describe_cluster()["authorized_operations"] or ())
            allowed = {"DESCRIBE", "DESCRIBE_CONFIGS"} if role in {"officer", "auditor", "admin"} else set()
            assert may == (allowed | {"ALTER"} if role == "admin" else allowed), role
        finally:
            client.close()
    assert (reads, writes, joins) == (READS, WRITES, GROUPS)


def test_the_roles_programs_have_what_they_need(site: Site, lethe: Lethe) -> None:
    """The whole way, each step by who has that role: sent, split, archived, looked at, erased, recorded, audited."""
    gateway = site.brokers("gateway")
    producer = KafkaProducer(bootstrap_servers=gateway.servers(), **gateway.options())
    for value in (*(json.dumps(make_event(n)).encode() for n in range(5)), b"{}"):
        producer.send(f"{PREFIX}raw", value).get(timeout=30)
    producer.close()
    with (site.folder / "worker.log").open("wb") as log:
        worker = start(site.folder, ["worker"], stderr=log.fileno(), **site.environ("worker"))
        try:
            wait_until(lambda: committed(site.brokers("client"), GROUP) == 6)
            archived = site.lethe("archive", "archive", "--once")
            assert (archived.code, "11 records read, 11 stored" in archived.err) == (0, True), archived.err
            listed = lethe("operator", "rejected", "--json")
            assert (listed.code, listed.out.count("missing_field")) == (0, 1), listed.err
            assert lethe("officer", "receipt", "key").code == 0
            call = ("erase", "--account", "-", "--why", "account_request", "--ticket", "DSR-1", "--wait-s", "20")
            erased = site.lethe("officer", *call, stdin=f"{ACCOUNT}\n".encode())
            assert (erased.code, "complete: receipt.json" in erased.out) == (0, True), erased.err
        finally:
            worker.kill()
            worker.wait()
    recorded = lethe("recorder", "audit-log", "publish")
    assert recorded.code == 0, recorded.err
    audited = lethe("auditor", "audit", "--no-store")
    assert audited.code == 0, audited.out + audited.err
    assert lethe("admin", "topics", "plan", "--partitions", "1").code == 0


def test_who_lacks_a_right_is_told_which(lethe: Lethe) -> None:
    """A worker without rights, and a desk that looks at rejections, end with one line and exit code 2."""
    for who, *call in (("billing", "worker", "--check"), ("billing", "rejected"), ("worker", "topics", "acl", "plan")):
        done = lethe(who, *call)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "docs/access.md" in done.err


def test_a_cluster_that_has_no_rights_is_told(
    broker: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without an authorizer everybody may do everything, and nothing of this file holds."""
    run = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_BROKERS", broker.bootstrap)
    done = run("topics", "acl", "plan")
    assert (done.code, "has no authorizer" in done.err) == (2, True), done.err
