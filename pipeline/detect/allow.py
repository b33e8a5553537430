"""What is found and left, by policy: schemas/detection/allow.json. Pure."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.detect.node import Node

FILE = "schemas/detection/allow.json"
_KEYS = {"enabled", "entities", "regex", "networks", "why"}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Allowance:
    """Values that are nobody's.

    Attributes:
        regex: matches a whole value, or None.
        networks: hold an address, or the network of a value.
    """

    regex: re.Pattern[str] | None
    networks: tuple[_Network, ...]

    def holds(self, value: str) -> bool:
        """Say whether a value is one of these."""
        if self.regex and self.regex.fullmatch(value):
            return True
        if not self.networks:
            return False
        try:
            address = ipaddress.ip_interface(value.partition("%")[0]).ip
        except ValueError:
            return False
        return any(address.version == network.version and address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class AllowList:
    """The allowances in force, by entity type."""

    by_entity: Mapping[str, tuple[Allowance, ...]]

    def holds(self, entity: str, value: str) -> bool:
        """Say whether a finding of a type is to be left."""
        return any(allowance.holds(value) for allowance in self.by_entity.get(entity, ()))

    @classmethod
    def from_json(cls, data: Any) -> "AllowList":
        """Compile the parsed file; lists that are not enabled are checked and left out.

        Raises:
            PolicyError: a field is missing, unknown or wrong; the text names it.
        """
        top = Node(FILE, data, {"why", "lists"})
        by_entity: dict[str, tuple[Allowance, ...]] = {}
        for _name, node in top.children("lists", _KEYS):
            node.text("why")
            allowance = Allowance(node.regex("regex"), _networks(node))
            for entity in node.strings("entities"):
                if node.flag("enabled"):
                    by_entity[entity] = (*by_entity.get(entity, ()), allowance)
        return cls(by_entity)


def _networks(node: Node) -> tuple[_Network, ...]:
    networks = []
    for text in node.strings("networks"):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            node.fail("networks", "holds what is no network")
    return tuple(networks)
