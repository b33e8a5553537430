"""Looks a chain through, entry after entry: what is missing, changed or out of its order. Pure; memory is flat."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.audit.entry import (
    GENESIS,
    Action,
    Entry,
    Head,
    Outcome,
    head_of,
    is_signed_by,
    parse_entry,
)
from pipeline.policy.model import RecordSchema

FINDINGS_MAX = 100


class Finding(NamedTuple):
    """Something that does not hold: where, and what. Nothing of an entry is in it."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass
class Chain:
    """What was seen of a chain so far.

    Attributes:
        schema: of entries.
        public: public key of checkpoints; "" looks at no signature.
        strict: whether each checkpoint must bear that key's signature.
        anywhere: whether it may begin in the middle of a segment, as a topic does whose records expire.
        known: heads that were published, by sequence: the chain must have them.
        findings: what does not hold, the first `FINDINGS_MAX`.
        more: how many others there are.
        first: the first entry, if there is one.
        head: of the last entry that could be read.
        last_at: its time.
        entries: how many could be read.
        open: sequences of what was started and has not ended.
        signed: sequence of the last checkpoint that bears a signature under ``public``; -1 for none.
        expired_to: the last sequence that an expiry took out; -1 for none.
    """

    schema: RecordSchema
    public: str = ""
    strict: bool = False
    anywhere: bool = False
    known: Mapping[int, Head] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    first: Entry | None = None
    head: Head | None = None
    last_at: str = ""
    entries: int = 0
    open: set[int] = field(default_factory=set)
    signed: int = -1
    expired_to: int = -1

    def add(self, line: bytes, place: str, *, begins: bool = False) -> Entry | None:
        """Look at the next line.

        Args:
            line: without its end.
            place: what findings call it.
            begins: whether a segment begins with it.

        Returns:
            The entry, where it can be read.
        """
        entry = parse_entry(line, self.schema)
        if isinstance(entry, str):
            self.find(place, entry)
            return None
        for text in self._judge(entry, begins=begins):
            self.find(place, text)
        self._take(entry)
        return entry

    def finish(self) -> None:
        """Judge what only the end shows: that nothing is missing at the beginning, or after the last entry."""
        if self.first is None:
            self.find("the log", "holds no entry")
        elif self.first["sequence"] > self.expired_to + 1:
            self.find("the beginning", "is gone, and no expiry in the chain says so")
        end = -1 if self.head is None else self.head.sequence
        for sequence in self.known:
            if sequence > end:
                self.find("the end", f"is gone: a head of sequence {sequence} was published")

    def find(self, place: str, text: str) -> None:
        """Note what does not hold."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(place, text))
        else:
            self.more += 1

    def _judge(self, entry: Entry, *, begins: bool) -> Iterator[str]:
        if self.head is None:
            is_first = entry["sequence"] == 0
            if is_first != (entry["previous"] == GENESIS):
                yield "does not begin a chain"
            begins = not self.anywhere
        else:
            yield from self._judge_link(entry, self.head)
        if begins and entry["action"] != Action.CHECKPOINT:
            yield "is no checkpoint, with which every segment begins"
        if self._must_be_signed(entry) and not is_signed_by(entry, self.public):
            yield "is a checkpoint without a signature of the key"
        known = self.known.get(entry["sequence"])
        if known is not None and known != head_of(entry):
            yield "is not the entry whose head was published"

    def _must_be_signed(self, entry: Entry) -> bool:
        if not self.public or entry["action"] != Action.CHECKPOINT:
            return False
        return self.strict or bool(entry["signer"] == self.public)

    def _judge_link(self, entry: Entry, head: Head) -> Iterator[str]:
        if entry["log"] != head.log:
            yield "is of another log"
        elif entry["sequence"] != head.sequence + 1:
            yield f"has the sequence {entry['sequence']} where {head.sequence + 1} belongs"
        elif entry["previous"] != head.hash:
            yield "does not hold the hash of the entry before"

    def _take(self, entry: Entry) -> None:
        self.first = self.first or entry
        self.head, self.last_at = head_of(entry), entry["at"]
        self.entries += 1
        if entry["outcome"] == Outcome.STARTED:
            self.open.add(entry["sequence"])
        elif entry["started"] is not None:
            self.open.discard(entry["started"])
        if self.public and entry["action"] == Action.CHECKPOINT and is_signed_by(entry, self.public):
            self.signed = entry["sequence"]
        if entry["action"] == Action.EXPIRE:
            self.expired_to = max(self.expired_to, entry["counts"].get("last_sequence", -1))
