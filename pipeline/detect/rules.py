"""Our own rules, as data: schemas/detection/rules/*.json. Each carries its examples and counterexamples. Pure.

A rule is a regular expression with what makes its matches count: the entropy of the value, its checksum, what it must
not be, and what may not stand around it. Only the named group is the value, so that ``Authorization: Bearer`` stays.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.detect.budget import Allowance
from pipeline.detect.checksums import has_checksum, is_check
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.node import Node
from pipeline.detect.patterns import Patterns
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span
from pipeline.errors import DetectionFailed, PolicyError

FOLDER = "schemas/detection/rules"
_BESIDE_CHARS = 48
NEAR_CHARS = 80
NEAR_AFTER_CHARS = 24
MATCHES_MIN = 500
CHARS_A_MATCH = 250
REACH_MAX = 50_000
"""A text may have 500 matches of a rule, or one in 250 characters if that is more; beyond, it is redacted whole."""
_KEYS = {
    *(
        "entity",
        "issuer",
        "regex",
        "scan",
        "score",
        "entropy_min",
        "check",
        "near",
        "ignore",
        "ignore_before",
        "ignore_after",
    ),
    *("anchor", "anchor_before_chars", "anchor_after_chars", "words", "why", "examples", "counterexamples"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: as spans carry it.
        entity: the type of its findings.
        score: its confidence, 0 to 1.
        regex: what it looks for; the value is the named group, or the whole match where there is none.
        scan: the pattern that the scan goes by, where it is not the regex itself.
        anchor: a literal that is in every match, or ""; the regex is then tried around each, from
            ``anchor_before_chars`` before it to ``anchor_after_chars`` behind it.
        words: one of these stands somewhere in the text; empty when none is needed.
        entropy_min: Shannon entropy of the value, in bits a character.
        check: name of the checksum that the value must have, or "".
        near: what stands in the 80 characters before the value, or the 24 behind it.
        ignore: values that are none.
        ignore_before: what may not stand before the value.
        ignore_after: what may not stand behind the value.
        examples: texts, or [text, value], in which it finds something; see tests/rule_examples.py for the braces.
        counterexamples: texts in which it finds nothing.
        reach: how long a match can be, in characters.
        group: of rules that are looked for together; see `pipeline.detect.gates`.
    """

    name: str
    entity: str
    score: float
    regex: re.Pattern[str]
    scan: str = ""
    anchor: str = ""
    anchor_before_chars: int = 0
    anchor_after_chars: int = 0
    words: tuple[str, ...] = ()
    entropy_min: float = 0.0
    check: str = ""
    near: re.Pattern[str] | None = None
    ignore: re.Pattern[str] | None = None
    ignore_before: re.Pattern[str] | None = None
    ignore_after: re.Pattern[str] | None = None
    why: str = ""
    examples: tuple[Any, ...] = ()
    counterexamples: tuple[str, ...] = ()
    reach: int = 0
    group: str = ""

    @property
    def gate(self) -> tuple[Alternative, ...]:
        """Return the way through the gate: the rule's own pattern, or the cheaper one that stands for it."""
        pattern = ScanPattern(self.regex.pattern)
        if not self.scan:
            return (Alternative(pattern, self.words, None, self.group),)
        return (Alternative(ScanPattern(self.scan), self.words, pattern, self.group),)

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,
        found: Collection[Span] = (),  # noqa: ARG002 - a `Finder`
        allowance: Allowance | None = None,  # noqa: ARG002 - a `Finder`
    ) -> Iterator[Span]:
        """Yield the findings that count.

        Raises:
            DetectionFailed: the text has more matches than the budget.
        """
        left = max(MATCHES_MIN, len(text) // CHARS_A_MATCH)
        groups = self.regex.groupindex
        group = next(iter(groups.values())) if groups else 0
        for match in self._matches(text, parts, left):
            left -= 1
            if left < 0:
                raise DetectionFailed("a text has too much to look at")
            start, end = match.span(group)
            if end > start and self._counts(text, start, end):
                yield Span(start, end, self.entity, self.score, self.name)

    def _matches(self, text: str, parts: Sequence[Range] | None, anchors_max: int) -> Iterator[re.Match[str]]:
        for start, end in parts or (Range(0, len(text)),):
            first, last = max(0, start - self.reach), min(len(text), end + self.reach)
            if not self.anchor:
                yield from self.regex.finditer(text, first, last)
                continue
            done = 0
            position = text.find(self.anchor, first, last)
            while position >= 0:
                anchors_max -= 1
                if anchors_max < 0:
                    raise DetectionFailed("a text has too much to look at")
                window = max(done, position - self.anchor_before_chars), position + self.anchor_after_chars
                match = self.regex.search(text, *window)
                if match:
                    yield match
                    done = match.end()
                position = text.find(self.anchor, max(position + 1, done), last)

    def _counts(self, text: str, start: int, end: int) -> bool:
        value = text[start:end]
        if self.ignore and self.ignore.search(value):
            return False
        if self.ignore_before and self.ignore_before.search(text[max(0, start - _BESIDE_CHARS) : start]):
            return False
        if self.ignore_after and self.ignore_after.match(text[end : end + _BESIDE_CHARS]):
            return False
        if self.near and not self._is_near(text, start, end):
            return False
        if self.entropy_min and entropy_bits(value) < self.entropy_min:
            return False
        return not self.check or has_checksum(self.check, value)

    def _is_near(self, text: str, start: int, end: int) -> bool:
        assert self.near is not None  # noqa: S101 - for the type checker; the caller looked
        before, after = text[max(0, start - NEAR_CHARS) : start], text[end : end + NEAR_AFTER_CHARS]
        return bool(self.near.search(before) or self.near.search(after))


def entropy_bits(value: str) -> float:
    """Return the Shannon entropy of a text's characters, in bits a character (Shannon 1948); 0 for the empty one."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def rules_from_json(files: Mapping[str, Any], patterns: Patterns | None = None) -> tuple[Rule, ...]:
    """Compile the parsed files, in the order of their names.

    Args:
        files: documents by name, without ``.json``.
        patterns: compiles their patterns; None for one that has none.

    Raises:
        PolicyError: a field is missing, unknown or wrong, or two rules share a name; the text names it.
    """
    patterns = patterns or Patterns()
    rules: dict[str, Rule] = {}
    for file, data in sorted(files.items()):
        top = Node(f"{FOLDER}/{file}.json", data, {"why", "together", "rules"}, patterns.compile)
        group = file if top.flag("together") else ""
        for name, node in top.children("rules", _KEYS):
            if name in rules:
                raise PolicyError(f"{node.where}: there is another rule of this name; give it its own")
            rules[name] = _rule(name, node, group, patterns)
    return tuple(rules.values())


def _rule(name: str, node: Node, group: str, patterns: Patterns) -> Rule:
    regex = node.regex("regex")
    if regex is None:
        node.fail("regex", "is needed")
    if len(regex.groupindex) > 1:
        node.fail("regex", "has more than one named group; name only the value")
    check = node.text("check", "")
    if check and not is_check(check):
        node.fail("check", "must be one of docs/detection.md, or stdnum:COUNTRY.MODULE")
    examples = node.data.get("examples", [])
    if not examples or not node.data.get("counterexamples"):
        node.fail("examples", "a rule needs examples and counterexamples")
    entropy = node.data.get("entropy_min", 0)
    if isinstance(entropy, bool) or not isinstance(entropy, int | float) or not 0 <= entropy <= 8:  # noqa: PLR2004 - bits
        node.fail("entropy_min", "must be a number of bits a character, 0 to 8")
    anchor = node.text("anchor", "")
    reach = patterns.chars_max(regex.pattern)
    if reach > REACH_MAX:
        node.fail("regex", f"can match more than {REACH_MAX} characters; bound its repetitions")
    return Rule(
        name=name,
        entity=node.text("entity"),
        score=node.number("score"),
        regex=regex,
        scan=node.text("scan", ""),
        anchor=anchor,
        anchor_before_chars=node.count("anchor_before_chars", 64) if anchor else 0,
        anchor_after_chars=node.count("anchor_after_chars", 256) if anchor else 0,
        words=node.strings("words", lambda word: bool(word) and word == word.lower()),
        entropy_min=float(entropy),
        check=check,
        near=node.regex("near"),
        ignore=node.regex("ignore"),
        ignore_before=node.regex("ignore_before"),
        ignore_after=node.regex("ignore_after"),
        why=node.text("why"),
        examples=tuple(examples),
        counterexamples=node.strings("counterexamples"),
        reach=reach,
        group=group,
    )
