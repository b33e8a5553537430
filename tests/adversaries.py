"""Texts made to be slow to look at: for each finder what its patterns like, and what they nearly find.

Each shape is a unit that is repeated. From a pattern's parsed form come its matches, the same with every repetition as
long as it may be, and those repetitions alone, each behind what stands before it: what a pattern tries in vain is where
its time goes. The last character is taken off each, so that it is tried and not found.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to what a pattern is made of
from typing import Any, NamedTuple

from rule_examples import expand

from pipeline.detect.columns import Columns
from pipeline.detect.engine import Engine
from pipeline.detect.names import Names
from pipeline.detect.recognizer import Recognizer
from pipeline.detect.rules import Rule
from pipeline.detect.spans import OwnIdentifier

LONG = 400
"""So often a repetition without a bound, or with a higher one, is repeated."""
EXAMPLES_MAX = 3
PATTERNS_MAX = 80
_PUMPED_MIN = 8
_CATEGORIES = {"DIGIT": "1", "WORD": "a", "SPACE": " ", "NOT_DIGIT": "a", "NOT_WORD": " ", "NOT_SPACE": "a"}
COMMON_OWN = (
    OwnIdentifier("EMAIL_ADDRESS", "will@mail.example.com"),
    OwnIdentifier("PERSON", "Will Frost"),
    OwnIdentifier("ORGANIZATION", "Apple"),
)
OWN = (
    OwnIdentifier("EMAIL_ADDRESS", "marit.solberg@mail.example.com"),
    OwnIdentifier("PERSON", "Marit Solberg"),
    OwnIdentifier("ORGANIZATION", "Fjordlys Analytics"),
    OwnIdentifier("ACCOUNT_ID", "acct_5f0c77de21b94a08"),
)
GENERIC = (
    *("1", ".", "@", "(", "[", "{", "<", "1.", "1.1.1.", "1:", "::", "12:34:", "1-", "1 ", "+", "+1", "0", "00 "),
    *(
        '"',
        "'",
        "\\",
        '\\"',
        "\\\\",
        "\\u",
        "\\u0041",
        "\\n",
        "=",
        "==",
        "a=",
        "a.",
        "a.a@",
        "a@",
        "@a.",
        "a@a.",
        "-",
        "_",
    ),
    *(
        "a",
        "A",
        "z",
        "aA",
        "aA1",
        "Aa",
        "a1",
        "a ",
        "A ",
        "Ab ",
        "ab ",
        "a b c ",
        "/",
        "//",
        "/a",
        "http://a:",
        "https://a@",
    ),
    *(
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----\n",
        "\u200b",
        "a\u200b",
        "\uff11",
        "\uff41",
        "\uff20",
        "%20",
        "%2520",
        "%41",
    ),
    *(
        "&#64;",
        "&amp;",
        "&#x41;",
        '{"a":',
        '{"password":',
        "[[",
        '["a",',
        "a,",
        "1,",
        ",",
        "a;",
        "a\t",
        "|",
        "|a",
        " | a",
    ),
    *(
        "name,ssn\n",
        "name,ssn\na,1\n",
        "ssn  name  a\n",
        "name: ",
        "from: ",
        "Dear ",
        "my name is ",
        "Nadia ",
        "Nadia\n",
    ),
    *("password", "password=", "password: ", "token ", "secret='", "key=", "ssn ", "passport ", "phone ", "call 1"),
    *("aGVsbG8gd29ybGQg", "QUJD", "41 42 ", "4142", "=41", "=3D", "a=\n", "a\\\n", "a [at] ", "a at b dot c ", "[dot]"),
    *(
        "\n",
        " ",
        "\t",
        "\r\n",
        "\x00",
        "\x1c",
        "\x85",
        "\u2028",
        "\xa0",
        "\u3000",
        "\u00e9",
        "\u0130",
        "\u212a",
        "\u0430",
    ),
    *(
        "\u4e2d",
        "\u4e2d1",
        "\u3042",
        "\uac00",
        "\u0639",
        "\u05d0",
        "\u0905",
        "\u0e01",
        "\u0661",
        "\U0001d400",
        "\U0001f600",
    ),
    *(
        "INSERT INTO t (ssn) VALUES (",
        "INSERT INTO t (ssn, a) VALUES ('",
        "COPY t (ssn) FROM stdin;\n",
        "insert into t (",
        "('',",
    ),
    *(
        "+1 212-555-0123 ",
        "212-555-0123",
        "(212) ",
        "0171 234",
        "4111 1111 1111 111",
        "GB29 NWBK 6016 1331 9268 1",
        "DE89",
    ),
    "ssn passport tfn sin nhs lanr tax medicare itin bank account license id and more words 123456782 A123456782 ",
    *("passport AB1234567 and something el\n", "3782-8224-6310-005 bcdfghjklmnpqrst ", '"a,"a,', "a@b.c.d.e.f@"),
    *("203.0.113.7 ", "203.0.113.", "2001:db8:", "00:11:22:33:44:", "a@example.com ", "a@example.com", "Nadia Rossi, "),
)
"""Units that no finder is asked for: characters, openings, nearly everything that is escaped or grouped."""
LED = (
    ("id,ssn\n1,", " "),
    ('id,ssn\n1,"', '""'),
    ("id\tssn\n1\t", "\t "),
    ("id;ssn\n1;", " \x0b"),
    ("id  ssn  name\n1  a", " a"),
    ("INSERT INTO t (ssn) VALUES (", "'"),
    ("INSERT INTO t (ssn) VALUES ('a'", " "),
    ("-----BEGIN PRIVATE KEY-----\n", "QUJD"),
    ("my name is ", "a-"),
    ("my name is Nadia ", "Rossi, Nadia "),
)
"""What stands once, and what is repeated behind it."""


class Shape(NamedTuple):
    """A text of any length.

    Attributes:
        name: of whom it is made for, and how.
        unit: repeated behind the lead until the text is long enough.
        lead: stands once, before all.
        chars: length of the texts that it is cut into; 0 for one text.
        own: what the account's own identifiers are.
    """

    name: str
    unit: str
    lead: str = ""
    chars: int = 0
    own: tuple[OwnIdentifier, ...] = ()

    def texts(self, size: int) -> list[str]:
        """Return the texts, of so many bytes of UTF-8 together."""
        data = (self.lead + self.unit * (size // len(self.unit) + 1)).encode("utf-8", "replace")
        whole = data[:size].decode("utf-8", "ignore")
        step = self.chars or size
        return [whole[start : start + step] for start in range(0, len(whole), step)]


def shapes(engine: Engine, examples: Mapping[str, Sequence[str]]) -> list[Shape]:
    """Return the shapes for every finder and viewer of an engine, each unit once.

    Args:
        engine: the engine.
        examples: of recognizers that do not bring their own, by name.
    """
    made: list[Shape] = list(_generic())
    for finder in engine._finders:
        name, regexes, words, texts = _known(finder)
        own = examples.get(name, ())
        made += _of(name, regexes, words, [*texts, *own])
    made += _together(engine)
    for viewer in engine._viewers:
        run = getattr(viewer, "_run", None)
        regexes = [way.pattern.regex for way in viewer.gate] + ([run.pattern] if run else [])
        made += _of(type(viewer).__name__, regexes, (), ())
    return list({(shape.unit, shape.lead, shape.chars, shape.own): shape for shape in reversed(made)}.values())


def _generic() -> Iterator[Shape]:
    for unit in GENERIC:
        name = f"generic {unit!a}"
        yield Shape(name, unit)
        yield Shape(f"{name}, lines", unit * max(1, 40 // len(unit)) + "\n")
        yield Shape(f"{name}, spaces", unit * max(1, 12 // len(unit)) + " ")
        yield Shape(f"{name}, seams", unit, chars=40)
    for lead, unit in LED:
        yield Shape(f"generic {lead!a} and {unit!a}", unit, lead)
        yield Shape(f"generic {lead!a} and {unit!a}, lines", lead + unit * (LONG * 4) + '"x\n')
    yield Shape("generic chunks", "Nadia Rossi, 212-555-0123, a@example.com; ", chars=4)
    yield Shape("own common words", "will@mail.example.com xxxxx Will xxxx Apple xxxxx\n", own=COMMON_OWN)
    for own in OWN:
        for unit in (own.value, own.value[:-1], own.value.split()[0] + " ", own.value[0]):
            yield Shape(f"own {own.entity} {unit!a}", unit, own=OWN)
            yield Shape(f"own {own.entity} {unit!a}, spaces", unit + " ", own=OWN)
            yield Shape(f"own {own.entity} {unit!a}, escaped", unit + "\\u0041", own=OWN)


def _together(engine: Engine) -> Iterator[Shape]:
    """Yield many finders' examples in one text, so that all of these finders look at it."""
    rules = [_known(finder)[3][0] for finder in engine._finders if isinstance(finder, Rule)]
    yield Shape("every rule", "\n".join(rules))
    yield Shape("every rule, then words", "and then they went on. ", "\n".join(rules))
    for first in range(0, len(rules), 40):
        some = rules[first : first + 40]
        yield Shape(f"rules from {first}", "\n".join(some))
        yield Shape(f"rules from {first}, then words", "and then they went on. ", "\n".join(some))
        yield Shape(f"rules from {first}, then digits", "10 21 32 43 ", "\n".join(some))


def _known(finder: Any) -> tuple[str, list[str], Sequence[str], list[str]]:
    """Return a finder's name, patterns, words beside them, and examples."""
    if isinstance(finder, Rule):
        texts = [expand([one] if isinstance(one, str) else list(one), 1)[0] for one in finder.examples]
        return finder.name, [finder.regex.pattern], finder.words, texts
    if isinstance(finder, Recognizer):
        rule, inner = finder.rule, finder.recognizer
        regexes = [pattern.regex for pattern in getattr(inner, "patterns", ())]
        more = [regex for regex in (rule.gate, rule.gate_alone, *rule.scan) if regex]
        return rule.name, regexes + more, inner.context or (), list(rule.examples)
    if isinstance(finder, Names):
        texts = [text for cue in finder.cues for text in (*cue.examples, *cue.counterexamples)]
        return "Names", [phrase for cue in finder.cues for phrase in cue.phrases], (), texts
    if isinstance(finder, Columns):
        heads = list(finder._heads)
        return (
            "Columns",
            [way.pattern.regex for way in finder.gate],
            (),
            [f"id,{head}\n1,a1b2c3" for head in heads[::9]],
        )
    raise TypeError(type(finder).__name__)


def _of(name: str, regexes: Iterable[str], words: Sequence[str], texts: Iterable[str]) -> Iterator[Shape]:
    word = f"{words[0]} " if words else ""
    for number, text in enumerate(_spread(texts, EXAMPLES_MAX)):
        for what, unit in (("example", text), ("near-miss", text[:-1])):
            if unit:
                yield from _repeated(f"{name} {what} {number}", unit)
    for number, regex in enumerate(_spread(regexes, PATTERNS_MAX)):
        try:
            tree = parser.parse(regex)
        except re.error:
            continue  # of the other regex module's dialect
        random = Random(number)
        for what, repeats in (("shortest", 0), ("longest", LONG)):
            match = _sample(tree, repeats, random)
            if match:
                yield from _repeated(f"{name} {what} {number}", match)
                yield Shape(f"{name} {what} {number}, cut", match[:-1] or match)
        head = re.match(r"[A-Za-z0-9_-]{2,}", _sample(tree, 0, random))
        if head:
            yield Shape(f"{name} prefix {number}", head.group())
        for place, (before, body) in enumerate(_pumps(tree, "", random)):
            yield Shape(f"{name} pump {number}.{place}", body, word + before)
            yield Shape(f"{name} pumps {number}.{place}", word + before + body * (LONG // len(body)) + "\n")


def _spread(some: Iterable[str], count: int) -> list[str]:
    """Return no more than so many, evenly spaced."""
    all_of_them = list(dict.fromkeys(some))
    return all_of_them[:: -(-len(all_of_them) // count) or 1]


def _repeated(name: str, unit: str) -> Iterator[Shape]:
    yield Shape(name, unit)
    yield Shape(f"{name}, lines", unit + "\n")


def _pumps(tree: Any, before: str, random: Random) -> Iterator[tuple[str, str]]:
    """Yield each repetition of a pattern: a shortest match of what stands before it, and of what is repeated."""
    for item in tree:
        kind, value = str(item[0]), item[1]
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            body = _sample(value[2], 1, random)
            if value[1] >= _PUMPED_MIN and body:
                yield before, body
            yield from _pumps(value[2], before, random)
        elif kind == "SUBPATTERN":
            yield from _pumps(value[3], before, random)
        elif kind == "ATOMIC_GROUP":
            yield from _pumps(value, before, random)
        elif kind == "BRANCH":
            for branch in value[1]:
                yield from _pumps(branch, before, random)
        before += _sample([item], 0, random)


def _sample(tree: Any, repeats: int, random: Random) -> str:
    """Return a text that a pattern matches, but for its lookarounds; repetitions are as long as they may be."""
    return "".join(_sample_of(str(kind), value, repeats, random) for kind, value in tree)


def _sample_of(kind: str, value: Any, repeats: int, random: Random) -> str:
    made = ""
    if kind in ("LITERAL", "NOT_LITERAL", "ANY"):
        made = chr(value) if kind == "LITERAL" else "b" if value == ord("a") else "a"
    elif kind == "IN":
        made = _sample_of_class(value, random)
    elif kind in ("BRANCH", "SUBPATTERN", "ATOMIC_GROUP"):
        body = random.choice(value[1]) if kind == "BRANCH" else value[3] if kind == "SUBPATTERN" else value
        made = _sample(body, repeats, random)
    elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, body = value
        made = _sample(body, min(repeats, 2), random) * max(low, min(int(high), repeats))
    return made


def _sample_of_class(items: Any, random: Random) -> str:
    """Return a character of a class; of a negated one, a letter, digit or sign that is none of it."""
    kinds = [(str(kind), value) for kind, value in items]
    if kinds[0][0] == "NEGATE":
        regex = re.compile("".join(_written(kind, value) for kind, value in kinds[1:]).join(("[^", "]")))
        return next((char for char in 'a1 .A_/"é~\x00' if regex.match(char)), "\u4e2d")
    kind, value = random.choice(kinds)
    if kind == "CATEGORY":
        return _CATEGORIES[str(value).removeprefix("CATEGORY_")]
    return chr(value[0] if kind == "RANGE" else value)


def _written(kind: str, value: Any) -> str:
    if kind == "CATEGORY":
        letter = str(value).removeprefix("CATEGORY_")
        return {
            "DIGIT": r"\d",
            "WORD": r"\w",
            "SPACE": r"\s",
            "NOT_DIGIT": r"\D",
            "NOT_WORD": r"\W",
            "NOT_SPACE": r"\S",
        }[letter]
    low, high = value if kind == "RANGE" else (value, value)
    return f"\\U{low:08x}-\\U{high:08x}"
