"""The roles' rights: what follows from them, who holds them, and what a cluster has beside them."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, PolicyError
from pipeline.policy.access import Role, read_roles
from pipeline.policy.files import default_schemas_dir
from pipeline.topics.acl import CLUSTER, Resources, Right, derive, differ, principals_of

RESOURCES = Resources({"raw": "t.raw", "content": "t.content"}, "lethe", "t.")
ROLES = {
    "worker": Role("worker", "", {"raw": ("read",), "content": ("write",)}, {"workers": ("read",)}, ()),
    "abuse_desk": Role("abuse_desk", "", {"content": ("read",)}, {"own": ("read",)}, ("describe",)),
}
DERIVED = derive(ROLES.values(), principals_of(ROLES, ()), RESOURCES)


def test_rights_follow_from_roles() -> None:
    """Each operation of a role is one right of each of its principals; groups are called as the clients call them."""
    assert [
        Right("User:worker", "topic", "t.raw", "read"),
        Right("User:worker", "topic", "t.content", "write"),
        Right("User:worker", "group", "lethe", "read"),
        Right("User:abuse-desk", "topic", "t.content", "read"),
        Right("User:abuse-desk", "group", "t.abuse_desk", "read"),
        Right("User:abuse-desk", "cluster", CLUSTER, "describe"),
    ] == DERIVED
    assert RESOURCES.group_of("archive", "worker") == "lethe-archive"


def test_principals_are_given_by_role() -> None:
    """Several may hold a role, with a certificate's name as well; a role of which nothing is said keeps its own."""
    given = ["worker=User:CN=w1,O=Example", "worker=User:w2"]
    assert principals_of(ROLES, given) == {
        "worker": ["User:CN=w1,O=Example", "User:w2"],
        "abuse_desk": ["User:abuse-desk"],
    }


@pytest.mark.parametrize(
    "given", ["worker", "worker=", "worker=w1", "nobody=User:x", "worker=User:*", "worker=Group:x"]
)
def test_a_principal_that_is_none_is_refused(given: str) -> None:
    """Everybody (``User:*``) holds no role."""
    with pytest.raises(ConfigError, match="ROLE=User:NAME, and the roles are worker, abuse_desk"):
        principals_of(ROLES, [given])


def test_what_a_cluster_has_beside_the_roles_is_told_apart() -> None:
    """By name and allowing: may be taken away. Wider, on the cluster, denying or from one host: a person judges."""
    foreign = Right("User:x", "topic", "t.content", "read")
    wide = [
        Right("User:x", "topic", "t.", "read", "prefixed"),
        Right("User:x", "topic", "*", "read"),
        Right("User:x", "group", "*", "read"),
        Right("User:x", "cluster", CLUSTER, "alter"),
        Right("User:worker", "topic", "t.raw", "read", permission="deny"),
    ]
    others = [
        Right("User:x", "topic", "other", "read"),
        Right("User:x", "topic", "other.", "read", "prefixed"),
        Right("User:x", "group", "other", "read"),
        Right("User:x", "transactional_id", "*", "write"),
    ]
    difference = differ(DERIVED, [*DERIVED[1:], foreign, *wide, *others], RESOURCES)
    assert difference.missing == (DERIVED[0],)
    assert difference.surplus == (foreign,)
    assert difference.by_hand == tuple(wide)


def test_the_same_right_from_one_host_is_another() -> None:
    """It is not what the role needs, and is shown."""
    bound = DERIVED[0]._replace(host="192.0.2.1")
    difference = differ(DERIVED[:1], [bound], RESOURCES)
    assert (difference.missing, difference.surplus) == ((DERIVED[0],), (bound,))


def test_nobody_reads_what_he_writes_but_who_must() -> None:
    """Of the shipped roles: content and raw are read by few, and only `admin` changes rights."""
    roles = read_roles(default_schemas_dir())
    readers = {
        sink: {r.name for r in roles.values() if "read" in r.topics.get(sink, ())} for sink in ("raw", "content")
    }
    assert readers == {"raw": {"worker", "operator"}, "content": {"archive", "abuse_desk", "auditor"}}
    assert {role.name for role in roles.values() if "alter" in role.cluster} == {"admin"}
    assert not {one for operations in roles["admin"].topics.values() for one in operations} & {"read", "write"}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"roles": {"worker": {"why": "long enough", "topics": {"raw": ["steal"]}}}}, "/roles/worker/topics/raw/0"),
        ({"roles": {"worker": {"why": "long enough", "topics": {"mine": ["read"]}}}}, "/roles/worker/topics"),
        ({"roles": {"worker": {"topics": {}}}}, "/roles/worker/why"),
        ({"roles": {}}, "/roles"),
    ],
)
def test_roles_that_are_malformed_are_refused(tmp_path: Path, change: dict[str, object], place: str) -> None:
    """The text says where, and repeats nothing."""
    for folder in ("access", "meta"):
        (tmp_path / folder).mkdir()
    meta = "meta/roles.schema.json"
    (tmp_path / meta).write_bytes((default_schemas_dir() / meta).read_bytes())
    (tmp_path / "access" / "roles.json").write_text(json.dumps({"why": "long enough"} | change), "utf-8")
    with pytest.raises(PolicyError) as caught:
        read_roles(tmp_path)
    assert place in str(caught.value)
    assert "steal" not in str(caught.value)
