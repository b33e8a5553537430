"""The canary verdict: which planted values are where they may not be, and which benign ones are gone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from pipeline.synth.model import Canary


@dataclass(slots=True)
class Verdict:
    """What became of the canaries; kinds and places only, never a value.

    Attributes:
        absent: planted identifiers that are nowhere, as they should be.
        leaked: identifiers found, by (place, kind).
        kept: benign markers found in the content of their request.
        lost: benign markers that are gone: over-redaction.
    """

    absent: int = 0
    leaked: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: int = 0
    lost: int = 0

    @property
    def clean(self) -> bool:
        """Tell whether nothing leaked and nothing benign was lost."""
        return not self.leaked and not self.lost


def judge_canaries(canaries: Iterable[Canary], content: Mapping[str, str], places: Mapping[str, str]) -> Verdict:
    """Look for canaries.

    Args:
        canaries: what was planted.
        content: the content record of each request, as text; a request without one has none to keep.
        places: all text of each place, by its name, the content records together among them.
    """
    verdict = Verdict()
    for canary in canaries:
        if canary.expect == "present":
            text = content.get(canary.request_id)
            if text is not None:
                verdict.kept += canary.value in text
                verdict.lost += canary.value not in text
            continue
        found = [place for place, text in places.items() if any(form in text for form in _forms(canary.value))]
        verdict.absent += not found
        verdict.leaked.update((place, canary.kind) for place in found)
    return verdict


def _forms(value: str) -> set[str]:
    """Return a value as it stands in text and in JSON."""
    return {value, orjson.dumps(value).decode()[1:-1]}
