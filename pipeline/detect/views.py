"""Other ways to see a text, on which detection is tried again: as it reads, and what its coded runs hold. Pure.

Base64 (RFC 4648) and hex are looked into where they hold printable text, one level deep; what is found there covers the
whole run. The patterns of the scan are made of what printable ASCII looks like when it is coded, so that hashes,
identifiers and words seldom pass.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from pipeline.detect.gates import Alternative, Range
from pipeline.detect.reading import LOOK_ALIKES, read
from pipeline.detect.scan import ScanPattern, plain_chars
from pipeline.errors import DetectionFailed

RUNS_MIN = 64
CHARS_A_RUN = 2048
AROUND_CHARS = 1 << 10
"""A text may have 64 coded runs, or one in 2,048 characters if that is more; beyond, it is redacted whole."""
_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_FORMS = (
    "\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\uff0e\U0001d400-\U0001d7ff\u2460-\u24ff\u00b2\u00b3\u00b9\u2070-\u209c"
)
# Four characters of base64 hold three bytes; below 0x80, these are what each character can be.
_GROUP = "[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"


_DIGITS = "".join(chr(code) for code, plain in plain_chars().items() if plain != " ")
_SPACELESS = "\u0e00-\u0eff\u1100-\u11ff\u2e80-\u2fff\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff"
_GAPS = "\xa0\u2007\u2009\u202f\u3000\u2010-\u2015\u2212\uff0d"


class View(NamedTuple):
    """A text made of another one.

    Attributes:
        text: what to look at.
        locate: gives the range of the original for a range of the text.
    """

    text: str
    locate: Callable[[int, int], tuple[int, int]]


class Viewer(Protocol):
    """Makes views of a text."""

    @property
    def gate(self) -> tuple[Alternative, ...]:
        """Return the ways through its gate, as a finder's."""
        ...

    def views(self, text: str, parts: Sequence[Range] | None = None) -> Iterator[View]:
        """Yield the views of a text.

        Args:
            text: the text.
            parts: outside these there is nothing to see; None for the whole text.

        Raises:
            DetectionFailed: there are more than the budget; the text is to be redacted whole.
        """
        ...


def _widened(text: str, parts: Sequence[Range] | None) -> Iterator[Range]:
    """Yield the parts with what stands around them; neighbours that come to overlap are one."""
    if parts is None:
        yield Range(0, len(text))
        return
    first, last = -1, -1
    for start, end in parts:
        if start - AROUND_CHARS > last:
            if last >= 0:
                yield Range(first, last)
            first = max(0, start - AROUND_CHARS)
        last = min(len(text), end + AROUND_CHARS)
    yield Range(first, last)


def _shifted(original: Callable[[int, int], tuple[int, int]], by: int) -> Callable[[int, int], tuple[int, int]]:
    def locate(start: int, end: int) -> tuple[int, int]:
        first, last = original(start, end)
        return first + by, last + by

    return locate


class AsRead:
    """The text as it reads: see `pipeline.detect.reading`."""

    gate = tuple(
        Alternative(ScanPattern(regex))
        for regex in (
            r"\\(?:u00|x)[2-7][0-9A-Fa-f]",
            r"%(?:25)*[2-7][0-9A-Fa-f]",
            r"&(?:amp;)*(?:#x?[0-9A-Fa-f]{2,6}|commat|period|lowbar|hyphen|shy|plus)",
            r"=(?:40|2E|5F|2B|3D)",
            r"(?:=[2-7][0-9A-F]){3}",
            r"[!-~][=\\]\r?\n[ \t]{0,8}[!-~]",
            f"[0-9)][{_GAPS}][0-9(]",
            f"[{_SPACELESS}][A-Za-z0-9+]|[A-Za-z0-9][{_SPACELESS}]",
            f"[{_DIGITS}]",
            r"(?i)[\[({<] {0,2}(?:at|@|ät|arroba|chiocciola|arobase|malpa) {0,2}[\])}>]",
            r"(?i)[a-z0-9] at [a-z0-9-]{1,40} dot [a-z]{2}",
            f"[{_UNSEEN}{_FORMS}]",
            f"[A-Za-z0-9@._-][{LOOK_ALIKES}]|[{LOOK_ALIKES}][A-Za-z0-9@._-]",
        )
    )

    def views(self, text: str, parts: Sequence[Range] | None = None) -> Iterator[View]:
        """Yield the reading, if it is another text; of each part with what stands around it."""
        for start, end in _widened(text, parts):
            reading = read(text[start:end])
            if reading is not None:
                yield View(reading.text, _shifted(reading.original, start))


class Coded:
    """What runs of one coding hold."""

    def __init__(self, scan: str, run: str, decode: Callable[[str], bytes]) -> None:
        self.gate = (Alternative(ScanPattern(scan)),)
        self._run = re.compile(run)
        self._decode = decode

    def views(self, text: str, parts: Sequence[Range] | None = None) -> Iterator[View]:
        """Yield the text that each run holds, where it is printable."""
        left = max(RUNS_MIN, len(text) // CHARS_A_RUN)
        for match in chain.from_iterable(self._run.finditer(text, *part) for part in _widened(text, parts)):
            held = self._held(match.group())
            if held:
                left -= 1
                if left < 0:
                    raise DetectionFailed("a text has too much to look at")
                span = match.span()
                yield View(held, lambda _start, _end, span=span: span)  # type: ignore[misc] # bound now, not later

    def _held(self, run: str) -> str:
        try:
            held = self._decode(run).decode("utf-8")
        except (ValueError, binascii.Error):
            return ""
        return held if all(char.isprintable() or char in "\r\n\t" for char in held) else ""


def _from_base64(run: str) -> bytes:
    bare = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)


class Spaced:
    """Letters and digits with a space between each, as in ``l e n a @ e x a m p l e . c o m``."""

    gate = (Alternative(ScanPattern(r"(?:^|\s)(?:[A-Za-z0-9@._+-] ){8}")),)
    _run = re.compile(r"(?<!\S)[A-Za-z0-9@._+-](?: [A-Za-z0-9@._+-]){8,400}(?!\S)")

    def views(self, text: str, parts: Sequence[Range] | None = None) -> Iterator[View]:
        """Yield each run without its spaces."""
        for match in chain.from_iterable(self._run.finditer(text, *part) for part in _widened(text, parts)):
            first = match.start()
            yield View(match.group()[::2], lambda start, end, first=first: (first + 2 * start, first + 2 * end - 1))  # type: ignore[misc] # as above


VIEWERS: tuple[Viewer, ...] = (
    AsRead(),
    Coded(
        rf"(?:^|[^A-Za-z0-9+/_-])(?:{_GROUP}){{4}}",
        rf"(?<![A-Za-z0-9+/_-])(?:{_GROUP}){{4,50}}[A-Za-z0-9+/_-]{{0,3}}={{0,2}}(?![A-Za-z0-9+/=_-])",
        _from_base64,
    ),
    Coded(
        r"(?:^|[^0-9A-Za-z]|0x)(?:[2-7][0-9A-Fa-f]){8}",
        r"(?:(?<![0-9A-Za-z])|(?<=0x))(?:[2-7][0-9A-Fa-f]|0[9AaDd]){8,400}(?![0-9A-Za-z])",
        bytes.fromhex,
    ),
    Coded(
        r"(?:^|[^0-9A-Za-z])(?:[2-7][0-9A-Fa-f] ){8}",
        r"(?<![0-9A-Za-z])(?:[2-7][0-9A-Fa-f]|0[9AaDd])(?: (?:[2-7][0-9A-Fa-f]|0[9AaDd])){7,400}(?![0-9A-Za-z])",
        bytes.fromhex,
    ),
    Spaced(),
)
