r"""What a text spells in another way: escapes, full-width and look-alike letters, invisible characters. Pure.

Unlike `pipeline.detect.fold`, which lower-cases for the search of known words, a reading keeps the case: patterns are
tried on it. It knows where in the original each of its characters stands.

Read are: JSON, URL and HTML escapes, quoted-printable (RFC 2045), ``name [at] example [dot] com``, compatibility
forms (Unicode NFKC), digits of any script, and Cyrillic and Greek letters that look like Latin ones (Unicode TR 39)
where they stand among these. Chinese, Japanese, Korean and Thai put no space before a number or a Latin word, which
the edges of patterns look for: one is read there.
"""

import re
import unicodedata

from pipeline.detect.fold import ESCAPED, UNSEEN, unescape
from pipeline.detect.needles import is_spaceless
from pipeline.detect.segments import Located, Segments

_LOOKS = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u0432\u043a\u043c\u043d\u0442\u0491"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0423\u0406\u0408\u0405"
    "\u03b1\u03bf\u03c1\u03bd\u03b9\u03ba\u03c5\u03c7\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f"
    "\u03a1\u03a4\u03a5\u03a7\u0251\u0261\u026a\u0578\u057d\u0585",
    "aeopcyxijsdhbkmhtr" + "ABEKMHOPCTXYIJS" + "aopvikux" + "ABEZHIKMNO" + "PTYX" + "aginuo",
)
LOOK_ALIKES = "".join(map(chr, _LOOKS))
_AT = r"[ \t]{0,3}[\[({<][ \t]{0,2}(?:at|AT|At|@|\u00e4t|arroba|chiocciola|arobase|malpa)[ \t]{0,2}[\])}>][ \t]{0,3}"
_DOT = r"[ \t]{0,3}[\[({<][ \t]{0,2}(?:dot|DOT|Dot|\.|punkt|punto|point|ponto|kropka)[ \t]{0,2}[\])}>][ \t]{0,3}"
_SPOKEN_AT = r"(?<=[a-z0-9])[ ](?:at|AT)[ ](?=[A-Za-z0-9-]{1,40}[ ](?:dot|DOT)[ ][A-Za-z]{2})"
_SPOKEN_DOT = r"(?<=[A-Za-z0-9])[ ](?:dot|DOT)[ ](?=[A-Za-z]{2})"
_SPECIAL = re.compile(
    rf"[\\%&](?:{ESCAPED})"
    r"|=(?P<quoted>[2-7][0-9A-F]|[CDE][0-9A-F](?:=[89AB][0-9A-F]){1,2})"
    r"|(?P<soft>(?:=|(?<=[A-Za-z0-9])\\)\r?\n[ \t]{0,8})"
    rf"|(?P<at>{_AT}|{_SPOKEN_AT})|(?P<dot>{_DOT}|{_SPOKEN_DOT})"
    r"|(?P<wide>[^\x00-\x7f]+)"
)
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
_NEIGHBOUR = re.compile(r"[A-Za-z0-9@._%+-]")


def read(text: str) -> Located | None:
    """Return how a text reads, or None when that is the text itself."""
    spellings = [spelling for match in _SPECIAL.finditer(text) for spelling in _spellings(match)]
    if not spellings:
        return None
    reading = Segments()
    position = 0
    for start, end, spelled in spellings:
        if position < start:
            reading.add(text[position:start], position, start, linear=True)
        reading.add(spelled, start, end, linear=False)
        position = end
    if position < len(text):
        reading.add(text[position:], position, len(text), linear=True)
    return reading.located()


def _spellings(match: re.Match[str]) -> list[tuple[int, int, str]]:
    """Return (start, end, what it reads as) of each part of a match that reads as something else."""
    start, end = match.span()
    kind = match.lastgroup
    if kind == "wide":
        return _wide(match)
    if kind == "at":
        return [(start, end, "@")]
    if kind == "dot":
        return [(start, end, ".")]
    if kind == "soft":
        return [(start, end, "")]
    if kind == "quoted":
        return [(start, end, bytes(int(unit, 16) for unit in match.group()[1:].split("=")).decode("utf-8", "replace"))]
    spelled = unescape(match)
    return [(start, end, "" if UNSEEN.fullmatch(spelled) else spelled)]


def _plain(char: str) -> str:
    if char.isdecimal():
        return str(int(char))
    if char in _DASHES:
        return "-"
    return " " if char.isspace() else unicodedata.normalize("NFKC", char)


def _wide(match: re.Match[str]) -> list[tuple[int, int, str]]:
    text, start, run = match.string, match.start(), match.group()
    is_mixed = bool(
        (start and _NEIGHBOUR.match(text[start - 1]))
        or (match.end() < len(text) and _NEIGHBOUR.match(text[match.end()]))
    )
    segments = []
    for offset, char in enumerate(run, start):
        spelled = "" if UNSEEN.match(char) else _plain(char)
        if is_mixed:
            spelled = " " if is_spaceless(char) and spelled == char else spelled.translate(_LOOKS)
        if spelled != char:
            segments.append((offset, offset + 1, spelled))
    return segments
