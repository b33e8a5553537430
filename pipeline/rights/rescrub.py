"""Today's policy over living content: for a gap in detection that is found when raw is gone.

A record is looked at when a lower policy version made it, and replaced when something in it is redacted that was not.
So doing it again does nothing, a run that was killed is simply done again, and what comes once more from a topic loses
against what replaced it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.anonymize import Core, seal_content
from pipeline.coarsen import parse_timestamp
from pipeline.codec import decode
from pipeline.content.again import scrub_again
from pipeline.errors import InvalidEvent
from pipeline.policy.model import FieldType, RecordField
from pipeline.records import ContentRecord
from pipeline.seal import Opener
from pipeline.store.client import Store
from pipeline.store.ddl import Table
from pipeline.store.reading import Selection, Stored, open_body, partitions_of, read_content
from pipeline.store.replacing import replace_records
from pipeline.suppress import Subject

_BODY_BYTES_MAX = 1 << 30
"""What is stored was within the policy's limits when it was made."""
_DEPTH_MAX = 1 << 10
_OTHER = "other"


@dataclass(slots=True)
class Rescrubbed:
    """What a run did, or would do.

    Attributes:
        scanned: records looked at.
        found: of these, how many have something that is to be redacted.
        replaced: how many were replaced; 0 of a dry run. Erased meanwhile are among the found ones only.
        redactions: what is newly redacted, by entity type.
    """

    scanned: int = 0
    found: int = 0
    replaced: int = 0
    redactions: Counter[str] = field(default_factory=Counter)


class Rescrubber:
    """Scrubs the content of a store again."""

    def __init__(self, store: Store, table: Table, core: Core, opener: Opener, clock: Callable[[], int]) -> None:
        """Take an open store and its table of content, the core of today, what opens bodies, and a clock."""
        self._store = store
        self._table = table
        self._core = core
        self._opener = opener
        self._clock = clock

    def run(self, since_ms: int | None, until_ms: int | None, *, dry_run: bool, report: Rescrubbed) -> None:
        """Look at all content of a time that a lower policy version made.

        Args:
            since_ms: received then or later, epoch milliseconds; None for any.
            until_ms: likewise, before then.
            dry_run: count only; change nothing.
            report: is filled as it goes.

        Raises:
            DetectorLost: the detector cannot work any more.
            InvalidEvent: a record would not hold to its schema.
            KeyringError: content is sealed with a key that the opener does not have.
            SinkUnavailable: the store did not answer, or refused; run it again.
        """
        selection = Selection(since_ms, until_ms, below_version=self._core.policy.version)
        for partition in partitions_of(self._store, self._table, selection):
            for records in read_content(self._store, self._table, partition, selection):
                changed = [new for record in records if (new := self._scrub(record, report)) is not None]
                report.scanned += len(records)
                report.found += len(changed)
                if changed and not dry_run:
                    report.replaced += replace_records(
                        self._store, self._table, changed, self._clock(), self._pseudonym_of
                    )

    def count_others(self) -> int:
        """Return how many records a policy of this version or a higher one made that is not this policy."""
        policy = self._core.policy
        sql = "SELECT count() FROM content WHERE policy_version >= {version:Int64} AND policy_digest != {digest:String}"
        return int(self._store.query(sql, {"version": policy.version, "digest": policy.digest}).rows[0][0])

    def _scrub(self, record: Stored, report: Rescrubbed) -> ContentRecord | None:
        """Return what is to replace a record, None when it may stay as it is."""
        core = self._core
        data = open_body(self._opener, record)
        body = decode(data, size_max=_BODY_BYTES_MAX, depth_max=_DEPTH_MAX).event
        scrubbed = scrub_again(body, core.policy, core.table, core.detector)
        if scrubbed.body == body:
            return None
        report.redactions.update(scrubbed.redactions)
        before = record.fields["redactions"]
        redactions = Counter(before if isinstance(before, dict) else {}) + Counter(scrubbed.redactions)
        fields = {
            **record.fields,
            "schema_version": core.policy.content.version,
            "policy_version": core.policy.version,
            "policy_digest": core.policy.digest,
            "redactions": dict(sorted(redactions.items())),
        }
        received_at_ms = parse_timestamp(str(record.fields["received_at"])) or 0
        try:
            return seal_content(record.request_id, fields, scrubbed.body, received_at_ms, core)[0]
        except InvalidEvent:  # a value that was taken off its list since
            fields |= {one.name: _OTHER for one in core.policy.content.fields if _is_listed(one)}
        return seal_content(record.request_id, fields, scrubbed.body, received_at_ms, core)[0]

    def _pseudonym_of(self, request_id: str) -> str:
        return self._core.keys.suppression(Subject.REQUEST, request_id)


def _is_listed(field: RecordField) -> bool:
    return field.closed and field.type is FieldType.STRING
