"""Which version of the policy is in force in a group of workers, and which versions may follow it. Pure.

Each worker says its policy's version with the offsets that it commits, and the lowest version that may follow. So one
that starts knows what was in force without reading a record. It says no more than two numbers: whether an older policy
keeps more, those decide who know both (`lethe policy diff`), and policy.json has what they found.
"""

import re
from collections.abc import Iterable

from pipeline.errors import ConfigError
from pipeline.policy.load import Policy

_NOTE = re.compile(r"policy/([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")


def note_of(policy: Policy) -> str:
    """Return what a worker says with its offsets: ``policy/8/7``, its version and the lowest that may follow."""
    return f"policy/{policy.version}/{policy.back_to}"


def require_no_way_back(policy: Policy, notes: Iterable[str]) -> None:
    """Refuse a policy that would keep what the one in force does not.

    It is asked once, at the start: in a rolling upgrade, workers of both versions take partitions of each other over.

    Args:
        policy: this worker's.
        notes: said with the offsets of its group; others are passed over, as those of workers that said none.

    Raises:
        ConfigError: another version has been in force that this one must not follow.
    """
    found = [tuple(map(int, match.groups())) for note in notes if (match := _NOTE.fullmatch(note))]
    version, lowest = max(found, key=lambda one: one[1], default=(0, 0))
    if policy.version < lowest:
        raise ConfigError(
            f"policy {version} has been in force in this group, and this worker's is {policy.version}, which may keep "
            f"what {version} no longer keeps: the lowest that may follow is {lowest}. Start the newer version again, "
            "or publish the old rules as a version of their own (docs/upgrades.md)"
        )
