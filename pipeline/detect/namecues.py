"""Cues of names, read from schemas/detection/names.json and put together into one pattern. Pure.

All phrases are tried in one pass over the text in lower case, each only where a word begins with its first character.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.detect.gates import Alternative
from pipeline.detect.namephrases import heads
from pipeline.detect.node import Compile, Node
from pipeline.detect.scan import ScanPattern

FILE = "schemas/detection/names.json"
# What stands between a phrase and the name: how a sentence goes on, a comma, a line break, a colon.
_OPEN = "[\"'`*_\u201c\u201e\u00ab(<\\\\]{0,3}"
_TAILS = {
    "space": "[,:]?[ \\t\\xa0\\n]{1,3}" + _OPEN,
    "glued": "[ :\uff1a\u3000]?" + _OPEN,
    "comma": "[,.!]{1,3}[ \\t\\xa0]{1,3}" + _OPEN,
    "sign": "[ \\t]{0,3}[,.!:]{0,3}[ \\t]{0,3}\\r?\\n\\s{0,4}[-\u2013\u2014*_>~ ]{0,4}",
    "label": "[\"'`\\])*_\\\\]{0,4}[ \\t.]{0,24}(?:[:=|>\uff1a]|=>)[ \\t\\xa0\u3000]{0,24}(?:\\n[ \\t]{0,24})?\\[?"
    + _OPEN,
    "line": "",
    "before": "",
}
# The same for the scan, looser and in ASCII: a pattern that names no letter beyond it is scanned several times faster.
_LOOSE = {
    "space": "[,:]?[^!-~][^A-Za-z0-9]*",
    "glued": "[^A-Za-z0-9]*",
    "comma": "[,.!]{1,3}[^!-~][^A-Za-z0-9]*",
    "sign": "[^A-Za-z0-9]*",
    "label": "[^A-Za-z0-9]*(?:[:=|>]|[^ -~])[^A-Za-z0-9]*",
    "line": "",
    "before": "",
}
_APOSTROPHE = re.compile("\\['\u2019\\]|\\[\u2019'\\]|\u2019")
_NEEDS = ("any", "first", "known", "title", "full")
_CAPITAL = "[^\\x00-@\\[-`a-z{-\\x7f]"
_SPACELESS = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef@]")
_DEPTH = 4
_KEYS = {
    "why",
    "kind",
    "need",
    "score",
    "phrases",
    "lower",
    "strong",
    "case",
    "list",
    "gate",
    "weak",
    "end",
    "examples",
    "counterexamples",
}


@dataclass(frozen=True, slots=True)
class Cue:
    """One sort of cue.

    Attributes:
        name: as spans carry it.
        kind: what stands between the phrase and the name, or ``before`` where the name stands before the phrase.
        need: what the words beside it must be: ``any`` that can be a name, one that is ``known``, ``first`` (known,
            and of a single word a given name), ``title`` (any, but in capitals), or ``full`` (known, or two words).
        score: confidence, 0 to 1.
        phrases: regular expressions in lower case that begin with a literal, a group or a class.
        is_lower: whether a known name counts in lower case too.
        is_strong: whether it is a name even if it is an ordinary word, or that of a person of public knowledge.
        is_capital: whether the phrase itself begins with a capital letter.
        is_list: whether more names may follow, after commas and the like.
        is_weak: whether it counts only where other evidence of a person stands near.
        is_gate: whether the scan looks for it; if not, it counts where something else made this finder look.
        end: what must follow a name that is not known, or None.
        examples: texts in which it finds something.
        counterexamples: texts in which it finds nothing.
    """

    name: str
    kind: str
    need: str
    score: float
    phrases: tuple[str, ...]
    is_lower: bool
    is_strong: bool
    is_capital: bool
    is_list: bool
    is_weak: bool
    is_gate: bool
    end: re.Pattern[str] | None
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...]

    @property
    def is_line(self) -> bool:
        """Whether the name must stand on a line of its own: what `end` says must follow it in any case."""
        return self.kind in {"sign", "line"}

    @property
    def ways(self) -> Iterator[Alternative]:
        """Yield the ways through a gate that this cue opens."""
        for phrase in self.phrases:
            after = "" if self.kind in {"before", "line"} or self.is_strong else _CAPITAL
            begins = heads(phrase) or ()
            start = r"\b" if all(_begins_word(char) for char, _ in begins) else ""
            # A text may begin with what stands at the start of a line; texts are scanned joined by line breaks.
            regex = f"^(?i:{phrase[2:]}" if phrase.startswith("\\n") else f"{start}(?i:{phrase}"
            loose = _APOSTROPHE.sub("[^A-Za-z0-9]", regex)
            yield Alternative(ScanPattern(f"{loose}{_LOOSE[_kind(self.kind, phrase)]}){after}", "m"))


def cues_from_json(top: Node) -> tuple[Cue, ...]:
    """Read the cues of the file.

    Raises:
        PolicyError: a field is missing, unknown or wrong; the text names it.
    """
    return tuple(_cue(name, node) for name, node in top.children("cues", _KEYS))


def _cue(name: str, node: Node) -> Cue:
    node.text("why")
    kind, need = node.text("kind"), node.text("need")
    if kind not in _TAILS:
        node.fail("kind", f"must be one of {', '.join(_TAILS)}")
    if need not in _NEEDS:
        node.fail("need", f"must be one of {', '.join(_NEEDS)}")
    examples, counterexamples = node.strings("examples"), node.strings("counterexamples")
    if not examples or not counterexamples:
        node.fail("examples", "a cue needs examples and counterexamples")
    return Cue(
        name=name,
        kind=kind,
        need=need,
        score=node.number("score"),
        phrases=node.strings("phrases", partial(_is_phrase, node.compile)),
        is_lower=node.flag("lower"),
        is_strong=node.flag("strong"),
        is_capital=node.flag("case"),
        is_list=node.flag("list"),
        is_weak=node.flag("weak"),
        is_gate="gate" not in node.data or node.flag("gate"),
        end=node.regex("end"),
        examples=examples,
        counterexamples=counterexamples,
    )


def _is_phrase(compile_regex: Compile, phrase: str) -> bool:
    try:
        return compile_regex(phrase).groups == 0 and all(char for char, _ in heads(phrase) or [("", "")])
    except (re.error, ValueError):
        return False


_Item = tuple[str, Cue]


class CuePattern:
    """The phrases of cues as one pattern: a tree by their first characters, so that few are tried at any place.

    It matches where a phrase begins, or the character before; an empty group stands where the phrase ends.
    """

    def __init__(self, cues: Sequence[Cue], *, is_word: bool, compile_regex: Compile = re.compile) -> None:
        self._cues: list[tuple[Cue, re.Pattern[str]]] = []
        self._offset = int(is_word)
        # What follows is written once for all phrases with the same first character, or compiling takes a second.
        first: dict[str, dict[str, list[_Item]]] = {}
        for cue in cues:
            for phrase in cue.phrases:
                for char, rest in heads(phrase) or ():
                    if _begins_word(char) == is_word:
                        first.setdefault(char, {}).setdefault(_tail(cue.kind, phrase), []).append((rest, cue))
        branches = []
        for char, by_tail in first.items():
            trees = "|".join(
                f"{self._tree(some, _DEPTH, re.compile(tail))}(?={tail})" for tail, some in by_tail.items()
            )
            guard = r"(?<!\w@)" if char == "@" else ""
            branches.append(
                f"{re.escape(char)}{guard}(?:{trees})" if is_word else f"{re.escape(char)}{guard}(?={trees})"
            )
        self.regex = compile_regex(rf"[\W_](?={'|'.join(branches)})" if is_word else "|".join(branches))

    def find(self, text: str, start: int, end: int) -> Iterator[tuple[Cue, int, int]]:
        """Yield cues, each with where it begins, and where it ends with what stands between it and the name."""
        for match in self.regex.finditer(text, start, end):
            group = match.lastindex or 0
            cue, tail = self._cues[group - 1]
            follows = tail.match(text, match.end(group))
            yield cue, match.start() + self._offset, follows.end() if follows else match.end(group)

    def _tree(self, items: Sequence[_Item], depth: int, tail: re.Pattern[str]) -> str:
        """Return a pattern for phrases, and note their cues in the order of its groups."""
        branches: dict[str, list[_Item]] = {}
        for phrase, cue in items:
            begins = heads(phrase) if phrase and depth else None
            for char, rest in begins or [("", phrase)]:
                branches.setdefault(char, []).append((rest, cue))
        parts = []
        for char, some in branches.items():
            if char:
                parts.append(re.escape(char) + self._tree(some, depth - 1, tail))
                continue
            for phrase, cue in some:
                self._cues.append((cue, tail))
                parts.append(f"{phrase}()")
        return f"(?:{'|'.join(parts)})"


def _begins_word(char: str) -> bool:
    return char.isalnum() and not _SPACELESS.match(char)


def _tail(kind: str, phrase: str) -> str:
    return _TAILS[_kind(kind, phrase)]


def _kind(kind: str, phrase: str) -> str:
    is_glued = kind == "space" and any(_SPACELESS.match(char) for char, _ in heads(phrase) or ())
    return "glued" if is_glued else kind
