"""The gate of names: cues, and all given names as texts have them. Pure."""

import re
from collections.abc import Collection, Iterator, Sequence

from pipeline.detect.gates import Alternative
from pipeline.detect.gazetteer import Lexicon
from pipeline.detect.literals import is_literal, literals
from pipeline.detect.namecues import Cue
from pipeline.detect.nameevidence import EVIDENCE, GATES
from pipeline.detect.namewords import is_spaceless
from pipeline.detect.scan import ScanPattern

_SHORT_NAME_CHARS = 4
_BEHIND_NAME = r"[ ,.:;\n)'\"-]"


def ways(cues: Sequence[Cue], lexicon: Lexicon, tables_gate: str) -> tuple[Alternative, ...]:
    """Return the ways through the gate: a cue, or a given name and evidence of a person.

    A cue that is too common to look for by itself is evidence for that, but for those of few letters.
    """
    first = [word for word in lexicon.first if word.isalpha() and lexicon.is_telling(word)]
    begun = {word[:size] for word in lexicon.weak | lexicon.stop for size in range(1, len(word))}
    names = {text for word in first if not is_spaceless(word[0]) for text in _spelled(word, begun)}
    others = [Alternative(ScanPattern(regex, "m")) for regex in (tables_gate, *GATES)]
    quiet = dict.fromkeys(way.pattern for cue in cues if not cue.is_gate for way in cue.ways)
    telling = (pattern for pattern in quiet if _is_telling(pattern))
    beside = (*(ScanPattern(regex, "m") for regex in EVIDENCE), *telling)
    known = [Alternative(ScanPattern(name), beside=beside) for name in sorted(names)]
    return (*dict.fromkeys(way for cue in cues if cue.is_gate for way in cue.ways), *others, *known)


def _is_telling(pattern: ScanPattern) -> bool:
    held = literals(pattern.regex)
    return bool(held) and all(len(one.regex) > _SHORT_NAME_CHARS and is_literal(one.regex) for one in held)


def _spelled(name: str, begun: Collection[str]) -> Iterator[str]:
    """Yield patterns of a given name as texts have it: in capitals or with one.

    A short one, or one with which an ordinary word begins, is followed by what may stand behind it.
    """
    written = re.escape(name.capitalize())
    if len(name) > _SHORT_NAME_CHARS and name not in begun:
        yield from (written, re.escape(name.upper()))
    else:
        yield written + _BEHIND_NAME
