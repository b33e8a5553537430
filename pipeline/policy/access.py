"""Who may do what with the topics, as the policy says it: roles beside the schemas (policy §7).

They decide no byte of a record, so they are no part of the policy's digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PolicyError
from pipeline.policy.files import read_document
from pipeline.policy.validator import Validator

ROLES = "access/roles.json"
_META = "meta/roles.schema.json"

Operations = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of user may do; operations are Kafka's names, in lower case.

    Attributes:
        name: of the role.
        why: what it is for.
        topics: by sink.
        groups: by ``workers``, ``archive`` and ``own``, which is a group that is called like the role.
        cluster: on the cluster itself.
    """

    name: str
    why: str
    topics: Mapping[str, Operations]
    groups: Mapping[str, Operations]
    cluster: Operations


def read_roles(schemas_dir: Path) -> dict[str, Role]:
    """Read the roles, by name.

    Args:
        schemas_dir: folder of the policy.

    Raises:
        PolicyError: the file is missing or malformed; the text says where.
    """
    document = read_document(schemas_dir, ROLES)
    faults = [*Validator(read_document(schemas_dir, _META)).errors(document)]
    if faults:
        places = "; ".join(f"/{'/'.join(map(str, path))} breaks '{keyword}'" for path, keyword in faults)
        raise PolicyError(f"{ROLES}: {places}")
    return {
        name: Role(
            name,
            role["why"],
            {sink: tuple(operations) for sink, operations in role["topics"].items()},
            {group: tuple(operations) for group, operations in role.get("groups", {}).items()},
            tuple(role.get("cluster", ())),
        )
        for name, role in document["roles"].items()
    }
