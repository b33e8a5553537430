"""The playground: one event through the core that `lethe run` has, under keys that nothing else has.

Nothing of an event outlives its call: a keyring remembers pseudonyms, so each call has one of its own, and what else
remembers is told to forget. Real keys would make it an oracle: whoever guesses an account could see its pseudonym.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pipeline.anonymize import Admission, make_core
from pipeline.coarsen import forget_addresses
from pipeline.codec import decode
from pipeline.detect.needles import forget_identifiers
from pipeline.detect.own import find_own
from pipeline.detect.spans import Detector, OwnIdentifier, Span, merge_spans
from pipeline.extract import extract
from pipeline.inputs import RawEvent
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Fate, Source
from pipeline.run import to_fate
from pipeline.seal import PlainSealer
from pipeline.useragent import forget_user_agents

DAYS_BACK = 31
"""So many past days have a key: an event that was recorded lately has its address's pseudonym."""
_TOPIC = "file:" + "0" * 16


class Seen(NamedTuple):
    """A text that the detector was shown, and what was found in it; None where it could not be read."""

    text: str
    spans: Sequence[Span] | None

    def __repr__(self) -> str:
        return f"Seen({len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Play:
    """What became of an event.

    Attributes:
        fate: as `lethe run` has it.
        leaves: names of the declared leaves that the event has.
        seen: the texts of its content, in order.
    """

    fate: Fate
    leaves: Sequence[str] = field(repr=False)
    seen: Sequence[Seen] = field(repr=False)


class Playground:
    """Plays events, one at a time."""

    def __init__(self, policy: Policy, detector: Detector, keys: Keyring, admit: Callable[[], Admission]) -> None:
        """Take what a core is made of.

        Args:
            policy: in force.
            detector: finds what identifies.
            keys: drawn for this playground alone.
            admit: says what is admitted now.
        """
        self.policy = policy
        self._detector = detector
        self._keys = keys
        self._admit = admit
        self._turn = threading.Lock()

    def play(self, raw: bytes, patience_s: float) -> Play | None:
        """Return what becomes of an event; None where others were before it for longer than its patience.

        Raises:
            DetectorLost: the detector cannot work any more.
        """
        if not self._turn.acquire(timeout=patience_s):
            return None
        try:
            return self._play(raw)
        finally:
            self._forget()
            self._turn.release()

    def _forget(self) -> None:
        """Empty what is there to save work when the like of it comes again."""
        forget_addresses()
        forget_identifiers()
        forget_user_agents()
        forget_texts = getattr(self._detector, "forget", None)
        if forget_texts is not None:
            forget_texts()

    def _play(self, raw: bytes) -> Play:
        witness = _Witness(self._detector, self.policy)
        core = make_core(self.policy, witness, replace(self._keys), PlainSealer())
        fate = to_fate(RawEvent(raw, Source(_TOPIC, 0, 1, len(raw))), core, self._admit())
        if not isinstance(fate, Anonymized):
            return Play(fate, (), ())
        limits = self.policy.limits
        decoded = decode(raw, size_max=limits.event_bytes_max, depth_max=limits.depth_max)
        values, _ = extract(decoded.event, self.policy.shape)
        return Play(fate, [*values], witness.seen)


class _Witness:
    """A detector that remembers what another found in the one event it is there for."""

    def __init__(self, detector: Detector, policy: Policy) -> None:
        self._detector = detector
        self._policy = policy
        self.seen: list[Seen] = []

    def find_spans(self, texts: Sequence[str], own: Sequence[OwnIdentifier] = ()) -> list[Sequence[Span] | None]:
        """Find the spans of each text, and note them with the account's own identifiers, as they are replaced."""
        found = self._detector.find_spans(texts, own)
        own_found = find_own(texts, own, self._policy.common_words)
        self.seen = [
            Seen(text, None if spans is None else merge_spans([*spans, *mine]))
            for text, spans, mine in zip(texts, found, own_found, strict=True)
        ]
        return found
