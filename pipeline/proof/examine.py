"""Judges records that were sampled from sinks: schema, identifiers, canaries. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.errors import KeyringError
from pipeline.policy.load import Policy
from pipeline.policy.model import FieldType
from pipeline.proof.report import Check, judged
from pipeline.proof.witness import Witness
from pipeline.records import Sealed
from pipeline.retention import Verdict
from pipeline.seal import Opener
from pipeline.synth.model import Canary
from pipeline.synth.verdict import judge_canaries

_CLAUSES = {"content": "§5", "operational": "§5", "rejected": "§7"}


@dataclass(slots=True)
class Seen:
    """What one place's records of one sink came to.

    Attributes:
        looked: records.
        wrong: what does not hold, by reason.
        opened: bodies that were looked through.
        closed: bodies that could not be opened.
        leaks: identifiers in them, by entity type.
    """

    looked: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    closed: int = 0
    leaks: Counter[str] = field(default_factory=Counter)


class Examiner:
    """Takes records, a place at a time, and says in the end what they came to."""

    def __init__(self, policy: Policy, opener: Opener, witness: Witness) -> None:
        """Take the policy of the records, what opens content, and what looks through it."""
        self._opener, self._witness = opener, witness
        self._schemas = {"content": policy.content, "operational": policy.operational, "rejected": policy.rejection}
        self._seen: dict[tuple[str, str], Seen] = {}
        self._texts: dict[str, list[str]] = {}
        self._content: dict[str, str] = {}

    def expect(self, place: str, sink: str) -> None:
        """Say that a sink is looked at, so that none of its records is no silence."""
        self._seen.setdefault((place, sink), Seen())

    def broken(self, place: str, sink: str, reason: str) -> None:
        """Take note of a record that is none."""
        self.expect(place, sink)
        seen = self._seen[place, sink]
        seen.looked += 1
        seen.wrong[reason] += 1

    def take(self, place: str, sink: str, fields: Mapping[str, Any], sealed: Sealed | None = None) -> None:
        """Judge one record.

        Args:
            place: where it was: ``store`` or ``topics``.
            sink: content, operational or rejected.
            fields: its clear fields.
            sealed: its body, where it has one.
        """
        self.expect(place, sink)
        seen = self._seen[place, sink]
        seen.looked += 1
        body = None if sealed is None else self._open(sealed, fields, seen)
        whole = dict(fields)
        for one in self._schemas[sink].fields:
            if one.type is FieldType.BODY and (body is not None or sealed is not None):
                whole[one.name] = {} if body is None else orjson.loads(body)
                seen.leaks.update(self._witness.look(whole[one.name]))
        if not self._schemas[sink].is_valid(whole):
            seen.wrong["does not hold to its schema"] += 1
        self._texts.setdefault(f"{sink} in {place}", []).append(orjson.dumps(whole, default=str).decode())

    def _open(self, sealed: Sealed, fields: Mapping[str, Any], seen: Seen) -> bytes | None:
        request_id, version = str(fields["request_id"]), fields["schema_version"]
        try:
            body = self._opener.open(sealed, request_id=request_id, schema_version=version)
        except KeyringError:
            seen.closed += 1
            return None
        seen.opened += 1
        self._content[request_id] = body.decode("utf-8", "replace")
        return body

    def checks(self, canaries: Iterable[Canary] | None) -> list[Check]:
        """Return what all came to.

        Args:
            canaries: what was planted, None where nobody says.
        """
        checks: list[Check] = []
        for (place, sink), seen in self._seen.items():
            name = f"schema: {sink} in {place}"
            if sink == "rejected" and not seen.looked:  # it is no silence: nothing was refused
                checks.append(Check(_CLAUSES[sink], name, Verdict.HOLDS, note="nothing is rejected"))
                continue
            checks.append(judged(_CLAUSES[sink], name, seen.looked, seen.wrong))
            if sink == "content":
                note = f"{seen.closed} bodies could not be opened" if seen.closed else ""
                check = judged("§5", f"identifiers: {sink} in {place}", seen.opened, seen.leaks, note)
                checks.append(_unseen(check) if seen.closed and check.verdict is Verdict.HOLDS else check)
        if canaries is not None:
            checks.append(self._judge(canaries))
        return checks

    def _judge(self, canaries: Iterable[Canary]) -> Check:
        places = {place: "\n".join(texts) for place, texts in self._texts.items()}
        verdict = judge_canaries(canaries, self._content, places)
        leaked = {f"{kind} in {place}": count for (place, kind), count in verdict.leaked.items()}
        looked = verdict.absent + sum(leaked.values())
        note = f"{verdict.lost} benign markers are gone from sampled content" if verdict.lost else ""
        return judged("§5", "canaries", looked if places else 0, leaked, note)


def _unseen(check: Check) -> Check:
    return Check(check.clause, check.name, Verdict.UNSEEN, check.looked, check.found, check.note)
