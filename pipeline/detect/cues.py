"""What stands beside a common word and makes it a name: labels, greetings, signatures, the own e-mail. Pure.

All patterns read folded text: lower case, no accents.
"""

import re
from collections.abc import Sequence

_BESIDE_CHARS = 48
NEAR_CHARS = 4

_LABEL_PERSON = re.compile(
    r"(?:\b(?:(?:full|first|last|given|family|user|account|contact|customer|display)[ _-]?)?name|\bauthor|\bowner"
    r"|\bsigned(?: by)?|\bfrom|\bto|\bnom|\bprenom|\bnombre|\bnome|\bvorname|\bnachname|\bimie)"
    r"[\"' ]{0,2}(?: is|[:=])[\s\"'*<]{0,4}\Z"
    r"|\b(?:my name is|call me|je m'appelle|ich heisse|me llamo|mi chiamo|meu nome e)[\s\"'*]{1,3}\Z"
)
_LABEL_ORGANIZATION = re.compile(
    r"\b(?:company|organi[sz]ation|org|employer|firm|customer|client|tenant|firma|empresa|societe|azienda)"
    r"(?:[ _-]?name)?[\"' ]{0,2}(?: is|[:=])[\s\"'*]{0,4}\Z"
)
_GREETING = re.compile(
    r"(?:\b(?:hi|hello|hey|dear|mr|mrs|ms|miss|dr|prof|thanks|thank you|cheers|regards|sincerely|best|i'm|i am|this is"
    r"|hallo|liebe|lieber|hola|querido|querida|bonjour|cher|chere|ciao|caro|cara)[,.!:]?[ \t\n]{1,3}|@)\Z"
)
_EMPLOYMENT = re.compile(
    r"\b(?:work(?:s|ed|ing)? (?:at|for|with)|employed (?:at|by)|here at|c[eft]o of|(?:behalf|team) (?:of|at))[ ]\Z"
)
_LEGAL_FORM = re.compile(r"\A,? (?:inc|llc|ltd|gmbh|corp|corporation|ag|plc|s\.a|limited|b\.v)\b")
_SIGNATURE_BEFORE = re.compile(
    r"(?:\b(?:regards|wishes|sincerely|cheers|thanks|thank you|best|yours|gruss|grusse|gruessen|saludos|cordialement)"
    r"[,.! ]*\n\s*|(?:\A|\n)[ \t]*(?:-{1,3}|[\u2012-\u2015])[ \t\n]*)\Z"
)
_SIGNATURE_AFTER = re.compile(r"\A[ \t.!]*(?:\n|\Z)")


def is_beside_cue(
    text: str, start: int, end: int, mailboxes: Sequence[tuple[int, int]], *, is_capital: bool, entity: str
) -> bool:
    """Say whether the word at a place in a folded text stands beside a cue.

    Args:
        text: folded text.
        start: where the word starts in it.
        end: where the word ends in it.
        mailboxes: ranges of the account's own e-mail in it.
        is_capital: whether the word begins with a capital letter in the original; greetings need one.
        entity: ``PERSON`` or ``ORGANIZATION``.
    """
    before, after = text[max(0, start - _BESIDE_CHARS) : start], text[end : end + _BESIDE_CHARS]
    if any(_is_near(text, start, end, mailbox) for mailbox in mailboxes):
        return True
    if entity == "ORGANIZATION":
        is_named = is_capital and (_EMPLOYMENT.search(before) or _LEGAL_FORM.search(after))
        return bool(_LABEL_ORGANIZATION.search(before) or is_named)
    if _LABEL_PERSON.search(before) or (is_capital and _GREETING.search(before)):
        return True
    return bool(_SIGNATURE_BEFORE.search(before) and _SIGNATURE_AFTER.search(after))


def _is_near(text: str, start: int, end: int, mailbox: tuple[int, int]) -> bool:
    """Say whether only punctuation stands between a word and a mailbox, as in ``Will <will@example.com>``."""
    first, last = (end, mailbox[0]) if mailbox[0] >= end else (mailbox[1], start)
    return 0 <= last - first <= NEAR_CHARS and not any(char.isalnum() for char in text[first:last])
