"""What to look for when an account's own identifiers are searched for in its content. Pure.

Always: e-mail, ids and keys, IP address, full name, organization of several words. A single word of a name, or a
single-word organization, when it has at least four letters and is no common word; otherwise only beside a cue. The
part of the e-mail before the @ when it has at least six characters and is no common word. An e-mail, id
or address of fewer than four characters never: it is everywhere.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.detect.fold import fold
from pipeline.detect.spans import OwnIdentifier

WORD_LETTERS_MIN = 4
LOCAL_PART_CHARS_MIN = 6
ID_CHARS_MIN = 4
_SPACELESS_LETTERS_MIN = 3
_CACHE_SIZE = 4096  # identifiers of the accounts in use at one time: an account's requests come in runs
_LEGAL = frozenset({"inc", "llc", "ltd", "gmbh", "corp", "corporation", "co", "ag", "sa", "bv", "plc", "limited", "kg"})
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Needle:
    """What to look for, folded.

    Attributes:
        entity: type of its spans.
        rule: rule of its spans.
        words: found in this order, with separators between them; a single one is found as it is.
        probe: a part of every text in which the needle can be found.
        needs_cue: it counts only beside a cue.
    """

    entity: str
    rule: str
    words: tuple[str, ...]
    probe: str
    needs_cue: bool = False


def has_probe(folded: str, identifiers: Sequence[OwnIdentifier]) -> bool:
    """Say whether a needle may be in a folded text. Cheap, for it is asked of every event; False is certain."""
    for own in identifiers:
        for probe in _probes(own):
            if probe in folded:
                return True
    return False


def forget_identifiers() -> None:
    """Forget the identifiers that were looked for, for a process that may keep nothing of an event."""
    _probes.cache_clear()
    make_needles.cache_clear()


@lru_cache(_CACHE_SIZE)
def _probes(own: OwnIdentifier) -> tuple[str, ...]:
    return tuple(_PROBES.get(own.entity, _probe_id)(fold(own.value).strip()))


@lru_cache(_CACHE_SIZE)
def make_needles(own: OwnIdentifier, common_words: frozenset[str]) -> tuple[Needle, ...]:
    """Return what to look for because of one identifier."""
    return tuple(_needles(own, common_words))


def _needles(own: OwnIdentifier, common_words: frozenset[str]) -> Iterator[Needle]:
    value = fold(own.value).strip()
    if own.entity == "PERSON":
        yield from _person(value, common_words)
    elif own.entity == "ORGANIZATION":
        yield from _organization(value, common_words)
    elif len(value) < ID_CHARS_MIN:
        return
    elif own.entity == "EMAIL_ADDRESS" and "@" in value:
        yield from _mailbox(value, common_words)
    elif own.entity == "IP_ADDRESS":
        for form in _ip_forms(value):
            yield Needle("IP_ADDRESS", "own_ip", (form,), form)
    else:
        yield Needle(own.entity, "own_id", (value,), value)


def _mailbox(value: str, common_words: frozenset[str]) -> Iterator[Needle]:
    local, _, domain = value.rpartition("@")
    yield Needle("EMAIL_ADDRESS", "own_email", (value,), value)
    plain = local.partition("+")[0]
    if plain and plain != local:
        mailbox = f"{plain}@{domain}"
        yield Needle("EMAIL_ADDRESS", "own_email", (mailbox,), mailbox)
    if len(plain) >= LOCAL_PART_CHARS_MIN and plain not in common_words:
        yield Needle("USERNAME", "own_email_local_part", (plain,), plain)


def _person(value: str, common_words: frozenset[str]) -> Iterator[Needle]:
    words = tuple(_WORDS.findall(value))
    if not any(len(word) > 1 for word in words):
        return
    if len(words) > 1:
        orders = {words, (words[-1], *words[:-1]), (words[0], words[-1])}
        for order in sorted(orders):
            yield Needle("PERSON", "own_name", order, max((words[0], words[-1]), key=len))
    for word in words:
        if len(word) > 1:
            yield Needle("PERSON", "own_name_word", (word,), word, needs_cue=not _is_distinct(word, common_words))


def _organization(value: str, common_words: frozenset[str]) -> Iterator[Needle]:
    words = tuple(_WORDS.findall(value))
    core = _core(words)
    for form in sorted({words, core}):
        if len(form) > 1:
            yield Needle("ORGANIZATION", "own_organization", form, max(core, key=len))
    if len(core) == 1 and len(core[0]) > 1:
        needs_cue = not _is_distinct(core[0], common_words)
        yield Needle("ORGANIZATION", "own_organization_word", core, core[0], needs_cue=needs_cue)


def _is_distinct(word: str, common_words: frozenset[str]) -> bool:
    letters_min = _SPACELESS_LETTERS_MIN if is_spaceless(word[0]) else WORD_LETTERS_MIN
    return len(word) >= letters_min and word not in common_words and not word.isdigit()


def _ip_forms(value: str) -> Collection[str]:
    if len(value) < ID_CHARS_MIN:
        return ()
    if ":" not in value:
        return (value, value.replace(".", "-"))
    forms = {value}
    try:
        address = ipaddress.IPv6Address(value.partition("%")[0])
    except ValueError:
        return forms
    forms.update((address.compressed, address.exploded))
    if address.ipv4_mapped:
        forms.update(_ip_forms(str(address.ipv4_mapped)))
    return forms


def is_spaceless(char: str) -> bool:
    """Say whether a folded character is of a script that puts no spaces between words (Thai, Hangul, Han, kana)."""
    return char > "\u0dff" and ("\u0e00" <= char <= "\u0eff" or "\u1100" <= char <= "\u11ff" or char >= "\u2e80")


def _core(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return an organization's words without the legal forms at their end."""
    while len(words) > 1 and words[-1] in _LEGAL:
        words = words[:-1]
    return words


def _probe_mailbox(value: str) -> Sequence[str]:
    local, at, domain = value.rpartition("@")
    if not at or len(value) < ID_CHARS_MIN:
        return _probe_id(value)
    plain = local.partition("+")[0]
    return (plain if len(plain) >= LOCAL_PART_CHARS_MIN else f"@{domain}",)


def _probe_person(value: str) -> Sequence[str]:
    return [word for word in _WORDS.findall(value) if len(word) > 1]


def _probe_organization(value: str) -> Sequence[str]:
    words = _core(tuple(_WORDS.findall(value)))
    return (max(words, key=len),) if words else ()


def _probe_id(value: str) -> Sequence[str]:
    return (value,) if len(value) >= ID_CHARS_MIN else ()


_PROBES: dict[str, Callable[[str], Collection[str]]] = {
    "EMAIL_ADDRESS": _probe_mailbox,
    "PERSON": _probe_person,
    "ORGANIZATION": _probe_organization,
    "IP_ADDRESS": _ip_forms,
}
