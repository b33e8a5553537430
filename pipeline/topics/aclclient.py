"""Reads and writes a cluster's ACLs, through the connection of `pipeline.topics.admin`."""

from collections.abc import Sequence
from typing import Any

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import NoError

from pipeline.errors import ConfigError
from pipeline.topics.acl import Right
from pipeline.topics.admin import TopicAdmin


class AclAdmin(TopicAdmin):
    """A connection to a cluster, for its ACLs too."""

    def read_rights(self) -> list[Right]:
        """Return every ACL of the cluster.

        Raises:
            ConfigError: the cluster has no authorizer, or does not let this user see its ACLs.
            SinkUnavailable: it is not there.
        """
        everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        with self._guarded("read the cluster's ACLs"):
            found, _ = self._client.describe_acls(
                ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything)
            )
        return sorted(map(_right, found))

    def add_rights(self, rights: Sequence[Right]) -> None:
        """Give rights.

        Raises:
            ConfigError, SinkUnavailable: as `read_rights`; some may be given.
        """
        if not rights:
            return
        with self._guarded("give rights"):
            done = self._client.create_acls([_acl(right) for right in rights])
        _check("give", done["failed"])

    def remove_rights(self, rights: Sequence[Right]) -> None:
        """Take rights away.

        Raises:
            ConfigError, SinkUnavailable: as `read_rights`; some may be taken.
        """
        if not rights:
            return
        with self._guarded("take rights away"):
            done = self._client.delete_acls([_filter(right) for right in rights])
        _check("take away", [error for _, _, error in done if error is not NoError])


def _check(doing: str, errors: Sequence[Any]) -> None:
    if errors:
        raise ConfigError(f"the cluster refuses to {doing} {len(errors)} rights: {errors[0].__name__}")


def _right(acl: Any) -> Right:
    pattern = acl.resource_pattern
    return Right(
        acl.principal,
        pattern.resource_type.name.lower(),
        pattern.resource_name,
        acl.operation.name.lower(),
        pattern.pattern_type.name.lower(),
        acl.permission_type.name.lower(),
        acl.host,
    )


def _parts(right: Right) -> tuple[Any, ...]:
    return (
        right.principal,
        right.host,
        ACLOperation[right.operation.upper()],
        ACLPermissionType[right.permission.upper()],
    )


def _where(right: Right) -> tuple[Any, ...]:
    return ResourceType[right.kind.upper()], right.name, ACLResourcePatternType[right.pattern.upper()]


def _acl(right: Right) -> ACL:
    return ACL(*_parts(right), ResourcePattern(*_where(right)))


def _filter(right: Right) -> ACLFilter:
    return ACLFilter(*_parts(right), ResourcePatternFilter(*_where(right)))
