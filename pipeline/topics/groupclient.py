"""Reads what a consumer group says with its offsets, through the connection of `pipeline.topics.admin`."""

import time
from contextlib import suppress

from pipeline.errors import SinkUnavailable
from pipeline.topics.admin import TopicAdmin

PATIENCE_S = 30.0
"""A group's coordinator is away for some seconds after its broker has ended, and where nothing was ever committed."""
_PAUSE_S = 0.5


class GroupAdmin(TopicAdmin):
    """A connection to a cluster, for a group's offsets too."""

    def notes_of(self, group: str) -> list[str]:
        """Return the texts that stand beside a group's committed offsets; none of a group that has committed nothing.

        Raises:
            ConfigError: this user may not see the group.
            SinkUnavailable: the group's coordinator is not there.
        """
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with suppress(SinkUnavailable):
                return self._notes_of(group)
            time.sleep(_PAUSE_S)
        return self._notes_of(group)

    def _notes_of(self, group: str) -> list[str]:
        with self._guarded("read the group's offsets"):
            found = self._client.list_group_offsets({group: None})[group]
        return [said.metadata for said in found.values() if said.metadata]
