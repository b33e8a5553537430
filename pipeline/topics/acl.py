"""The rights that the roles have as Kafka's ACLs, and how they differ from those of a cluster. Pure.

`pipeline.topics.aclclient` reads and writes them. A right that nobody derived is shown: "nobody else anything" is as
much of the policy as what the roles may.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.policy.access import Role

CLUSTER = "kafka-cluster"
"""Kafka's name for the cluster as a resource."""
LITERAL, PREFIXED, ANYTHING = "literal", "prefixed", "*"
_PRINCIPAL = re.compile(r"User:[A-Za-z0-9][A-Za-z0-9 ._@=,+-]{0,198}", re.ASCII)


class Right(NamedTuple):
    """One ACL; words are Kafka's, in lower case.

    Attributes:
        principal: ``User:name``.
        kind: ``topic``, ``group`` or ``cluster``.
        name: of the resource.
        operation: what may be done.
        pattern: ``literal`` or ``prefixed``.
        permission: ``allow`` or ``deny``.
        host: from where; ``*`` is anywhere.
    """

    principal: str
    kind: str
    name: str
    operation: str
    pattern: str = LITERAL
    permission: str = "allow"
    host: str = ANYTHING


@dataclass(frozen=True, slots=True)
class Resources:
    """What the policy's names are called in a cluster.

    Attributes:
        topics: topic by sink.
        workers: group of the workers.
        prefix: stands before the name of a role's own group.
    """

    topics: Mapping[str, str]
    workers: str
    prefix: str

    def group_of(self, name: str, role: str) -> str:
        """Return what a group of the policy's is called."""
        return {"workers": self.workers, "archive": f"{self.workers}-archive"}.get(name, f"{self.prefix}{role}")


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands between the policy and a cluster.

    Attributes:
        missing: rights that roles lack.
        surplus: rights on our topics and groups, by their names, that no role has.
        by_hand: rights of wider patterns, on the cluster, or that deny: they may serve others too.
    """

    missing: tuple[Right, ...]
    surplus: tuple[Right, ...]
    by_hand: tuple[Right, ...]


def principals_of(roles: Collection[str], given: Iterable[str]) -> dict[str, list[str]]:
    """Return the principals of each role.

    Args:
        roles: names.
        given: ``role=User:name``, several for a role; a role of none is ``User:role``, with ``-`` for each ``_``.

    Raises:
        ConfigError: one is malformed, or of no role.
    """
    chosen: dict[str, list[str]] = {}
    for pair in given:
        role, _, principal = pair.partition("=")
        if role not in roles or not _PRINCIPAL.fullmatch(principal):
            raise ConfigError(f"--principal takes ROLE=User:NAME, and the roles are {', '.join(roles)}")
        chosen.setdefault(role, []).append(principal)
    return {role: chosen.get(role) or [f"User:{role.replace('_', '-')}"] for role in roles}


def derive(roles: Iterable[Role], principals: Mapping[str, Iterable[str]], resources: Resources) -> list[Right]:
    """Return the rights of all roles, each once."""
    rights = {
        right: None
        for role in roles
        for principal in principals[role.name]
        for right in _of(role, principal, resources)
    }
    return list(rights)


def differ(derived: Collection[Right], live: Iterable[Right], resources: Resources) -> Difference:
    """Compare the derived rights with those that a cluster has."""
    wanted, found = set(derived), list(live)
    names = {("topic", topic) for topic in resources.topics.values()}
    names |= {(right.kind, right.name) for right in wanted if right.kind == "group"}
    others = [right for right in found if right not in wanted and _touches(right, names)]
    ours = [right for right in others if _is_plain(right) and (right.kind, right.name) in names]
    return Difference(
        tuple(right for right in derived if right not in found),
        tuple(ours),
        tuple(right for right in others if right not in ours),
    )


def _of(role: Role, principal: str, resources: Resources) -> Iterator[Right]:
    for sink, operations in role.topics.items():
        yield from (Right(principal, "topic", resources.topics[sink], one) for one in operations)
    for group, operations in role.groups.items():
        name = resources.group_of(group, role.name)
        yield from (Right(principal, "group", name, one) for one in operations)
    yield from (Right(principal, "cluster", CLUSTER, one) for one in role.cluster)


def _is_plain(right: Right) -> bool:
    return right.pattern == LITERAL and right.permission == "allow"


def _touches(right: Right, names: Collection[tuple[str, str]]) -> bool:
    """Say whether a right is about one of these resources, or about the cluster."""
    if right.kind == "cluster":
        return True
    if right.pattern == PREFIXED:
        return any(kind == right.kind and name.startswith(right.name) for kind, name in names)
    return (right.kind, right.name) in names or (right.name == ANYTHING and right.kind in {"topic", "group"})
