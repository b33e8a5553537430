"""One spelling for many: case, full-width and accented letters, invisible characters, and common escapes. Pure.

`fold` says what a text reads as; `fold_located` also says where in the original each folded character stands.
"""

import html
import re
import unicodedata

from pipeline.detect.segments import Located, Segments

# Combining accents, soft hyphen, zero-width and direction marks, word joiners, variation selectors, the BOM.
_UNSEEN_CLASS = "\u00ad\u034f\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
UNSEEN = re.compile(f"[{_UNSEEN_CLASS}\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]")
# Both begin with one set of characters, which the regex engine looks for at once; alternatives it would try at each.
ESCAPED = (
    r"(?<=\\)\\{0,7}(?:u(?P<pair>[Dd][89ABab][0-9A-Fa-f]{2}\\{1,8}u[Dd][C-Fc-f][0-9A-Fa-f]{2})"
    r"|u(?P<unicode>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|(?P<control>[nrtbf])|(?P<plain>[/\"']))"
    r"|(?<=%)(?:25){0,3}"
    r"(?P<percent>[C-Fc-f][0-9A-Fa-f](?:%(?:25){0,3}[89ABab][0-9A-Fa-f]){1,3}|[0-9A-Fa-f]{2})"
    r"|(?<=&)(?:amp;){0,3}"
    r"(?P<entity>#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|commat|period|lowbar|hyphen|nbsp|shy|amp|num|plus);?"
)
_ESCAPE = re.compile(rf"[\\%&](?:{ESCAPED})")
_SPELLING = re.compile(r"\\[ux/\"']|%[0-9A-Fa-f]{2}|&(?:#|[a-z]{3})")
_WIDE = re.compile(r"[^\x00-\x7f]+")
_SPECIAL = re.compile(rf"[\\%&\x80-\U0010ffff](?:{ESCAPED}|(?<=[^\x00-\x7f])(?P<wide>[^\x00-\x7f]*))")


def fold(text: str) -> str:
    """Return the text in lower case, full-width letters and ligatures plain, accents and invisible marks gone."""
    if text.isascii():
        return text.lower()
    return UNSEEN.sub("", unicodedata.normalize("NFKD", text)).casefold()


def has_escapes(text: str) -> bool:
    """Say whether a text may spell a letter as a JSON, URL or HTML escape. False is certain."""
    if "\\" not in text and "%" not in text and "&" not in text:  # one memchr each: this runs on every event
        return False
    return _SPELLING.search(text) is not None


def decode(text: str) -> str:
    """Return the text with its escapes replaced by what they stand for, escaped white space by a space."""
    return _ESCAPE.sub(unescape, text)


def fold_located(text: str, *, escapes: bool) -> Located:
    """Return a text folded, and where its characters stand. With ``escapes``, they are read as what they stand for."""
    if not escapes and text.isascii():
        return Located(text.lower())
    folded = Segments()
    position = 0
    for match in (_SPECIAL if escapes else _WIDE).finditer(text):
        start, end = match.span()
        _add_plain(folded, text[position:start], position)
        if match.lastgroup in (None, "wide"):  # no group: the match is of `_WIDE`
            _add_wide(folded, match.group(), start)
        else:
            folded.add(fold(unescape(match)), start, end, linear=False)
        position = end
    _add_plain(folded, text[position:], position)
    return folded.located()


def _add_plain(folded: Segments, text: str, start: int) -> None:
    if text:
        folded.add(text.lower(), start, start + len(text), linear=True)


def _add_wide(folded: Segments, run: str, start: int) -> None:
    plain = fold(run)
    if len(plain) == len(run) and unicodedata.is_normalized("NFKD", run) and not UNSEEN.search(run):
        folded.add(plain, start, start + len(run), linear=True)
        return
    for offset, char in enumerate(run, start):
        folded.add(fold(char), offset, offset + 1, linear=False)


def unescape(match: re.Match[str]) -> str:
    """Return what a match of `ESCAPED` stands for."""
    kind, value = match.lastgroup, match.group(match.lastgroup or 0)
    if kind == "percent":
        return bytes(int(unit[-2:], 16) for unit in value.split("%")).decode("utf-8", "replace")
    if kind == "pair":
        high, low = int(value[:4], 16), int(value[-4:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if kind in {"unicode", "byte"}:
        return chr(int(value, 16))
    if kind == "entity":
        return html.unescape(f"&{value};")
    return " " if kind == "control" else value
