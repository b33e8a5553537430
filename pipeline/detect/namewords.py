"""Reads the words of a name at a place in a text, in scripts with and without spaces. Pure."""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence

from pipeline.detect.gazetteer import Lexicon, Word, key

WORDS_MAX = 6
BEFORE_CHARS = 72


def _ranges(categories: str) -> str:
    """Return the class of all characters of some categories of the basic plane, without brackets."""
    codes = [code for code in range(0x41, 0x10000) if unicodedata.category(chr(code)) in categories.split()]
    text, start = "", codes[0]
    for code, following in zip(codes, [*codes[1:], sys.maxunicode], strict=True):
        if following != code + 1:
            text += f"{chr(start)}-{chr(code)}" if code > start else chr(start)
            start = following
    return text


UPPER = _ranges("Lu Lt")
# Letters and marks of scripts that have spaces between words and no capitals: Hebrew, Arabic, those of India, Thai.
CASELESS = "\u05d0-\u05ea\u0620-\u0669\u066e-\u06d3\u0900-\u0dff\u0e01-\u0e4f\u10d0-\u10ff\u1200-\u137f"
_LETTER = rf"(?:[^\W\d_]|[\u0300-\u036f{CASELESS}])"
_WORD = rf"{_LETTER}+(?:(?:['\u2019\u2018-](?!s\b))?{_LETTER}+)*"
WORD = re.compile(_WORD)
CAPITAL_WORD = re.compile(rf"[{UPPER}](?:['\u2019-]?{_LETTER})*")
_SPACE = r"[ \t\xa0]{1,2}"
_GAP = re.compile(rf"{_SPACE}(?:[(\"\u201c'][^\W\d_]{{2,14}}[)\"\u201d']{_SPACE})?|\.{_SPACE}?|[\u30fb\u00b7]")
_LIST = re.compile(r"[ \t]?(?:[,;/&|]|\b(?:and|und|et|y|e|en|i|och|og|ve|и)\b)[ \t\n]{0,3}(?:(?:and|&)[ ])?[\"'@]?")
_CODE = re.compile(r"[(\[{=\d_]|::|\.[a-zA-Z_]|[/\\][\w.]|@")
_FULL = re.compile(
    rf"(?<![\w'\u2019.@/#-])[{UPPER}][^\W\d_'\u2019-]+(?:['\u2019-][^\W\d_]{{2,}})*"
    rf"(?:[ \xa0](?:[{UPPER}]\.|[{UPPER}][^\W\d_]*(?:['\u2019-][^\W\d_]{{2,}})*"
    rf"|(?:d[aeiou]s?|van|von|der|den|del|della|la|le|bin|ibn|al|el|ten|ter|zu|y|af|av)(?=[ ])))+"
)
_CJK = re.compile("[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af\u3005]")
_CJK_RUN = re.compile("[\u3400-\u9fff\u3005]{1,4}[ \u3000]?[\u3400-\u9fff\u3040-\u30ff\u3005]{0,4}"
                      "|[\u30a0-\u30ff]{2,12}(?:[\u30fb =][\u30a0-\u30ff]{2,12}){0,3}|[\u3040-\u309f]{1,8}"
                      "|[\uac00-\ud7af]{1,4}[ ]?[\uac00-\ud7af]{0,3}")  # fmt: skip
_HIRAGANA = re.compile("[\u3040-\u309f]")
_CJK_TAIL = re.compile(
    "[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af\u3005][ \u3400-\u9fff\u3040-\u30ff\uac00-\ud7af\u3005]{0,8}\\Z"
)
_CJK_END = re.compile(
    "\\Z|生日|身份|身分|电话|電話|手机|今年|住|说|說|是|想|要|有|[^\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|さん|様|です|と|の|が|は|を|に|も|へ|先生|女士|的|和|在|从|\uff0c"
    "|입니다|이고|이에요|예요|이라고|라고|씨|님|의|은|는|이|가|을|를|에게|과|와"
)


def is_spaceless(char: str) -> bool:
    """Say whether a character is of a script whose names have no space inside: Han, kana, Hangul."""
    return bool(_CJK.match(char))


def read_after(text: str, start: int, lexicon: Lexicon, *, is_lower: bool) -> list[Word]:
    """Return the words from a place on that may be a name: capitals, particles between, known lower-case ones."""
    if start < len(text) and is_spaceless(text[start]):
        return _read_spaceless(text, start, lexicon)
    words: list[Word] = []
    pending: list[Word] = []
    match = WORD.match(text, start)
    while match and len(words) < WORDS_MAX:
        word = _word(match)
        if _counts(word, words, lexicon, is_lower=is_lower):
            words += [*pending, word]
            pending = []
        elif word.key in lexicon.particles and len(pending) < 3:  # noqa: PLR2004 - `van de der`
            pending.append(word)
        else:
            break
        gap = _GAP.match(text, word.end)
        if not gap or (gap.group().startswith(".") and len(word.text) > 1 and word.key not in lexicon.titles):
            break
        match = WORD.match(text, gap.end())
    return [] if words and _CODE.match(text, words[-1].end) else words


def _word(match: re.Match[str]) -> Word:
    return Word(match.start(), match.end(), match.group(), key(match.group()))


def _counts(word: Word, words: Sequence[Word], lexicon: Lexicon, *, is_lower: bool) -> bool:
    if not word.text[0].isalpha():
        return False
    if word.text[0].islower():
        goes_on = bool(words) and words[-1].text.islower() and word.key not in lexicon.weak
        is_given = word.key in lexicon.first and lexicon.is_telling(word.key)
        return is_lower and (is_given or (goes_on and lexicon.is_name(word.key)))
    is_caseless = not word.text[0].isupper()
    return not (is_caseless and words) or lexicon.is_name(word.key)


def read_before(text: str, end: int, lexicon: Lexicon) -> list[Word]:
    """Return the words that end at a place and may be a name."""
    if is_spaceless(text[max(0, end - 2) : end].strip()[-1:]):
        return _read_spaceless_before(text, end, lexicon)
    first = end
    while first > max(0, end - BEFORE_CHARS) and text[first - 1].isalpha():
        first -= 1
    if (
        first == end
        and text[end - 1 : end] != "."
        and not unicodedata.category(text[end - 1 : end] or " ").startswith("M")
    ):
        return []
    if text[first : first + 1].islower() and text[first - 1 : first] not in {"'", "\u2019", "-"}:
        return []
    start = max(0, end - BEFORE_CHARS)
    words: list[Word] = []
    expected = end
    for match in reversed(list(WORD.finditer(text, start, end))):
        word = _word(match)
        gap = text[word.end : expected]
        is_open = not gap.strip(" \t\xa0") or (gap.strip(" ") == "." and len(word.text) <= 3)  # noqa: PLR2004 - `St.`
        if not is_open or len(gap) > 2 * bool(words) or len(words) == WORDS_MAX:
            break
        is_particle = word.text.islower() and word.key in lexicon.particles
        if not (is_particle and words) and not _counts(word, (), lexicon, is_lower=False):
            break
        if not word.text[0].isupper() and not is_particle and not lexicon.is_name(word.key):
            break
        words.insert(0, word)
        expected = word.start
    while words and (words[0].key in lexicon.stop or (words[0].text.islower() and words[0].key in lexicon.particles)):
        words.pop(0)
    return words


def read_list(text: str, start: int, lexicon: Lexicon) -> Iterator[list[Word]]:
    """Yield further names after commas, semicolons and words for ``and``."""
    for _ in range(40):
        separator = _LIST.match(text, start)
        words = read_after(text, separator.end(), lexicon, is_lower=False) if separator else []
        if not words:
            return
        yield words
        start = words[-1].end


def full_names(text: str) -> Iterator[list[Word]]:
    """Yield the runs of two and more words in capitals."""
    for match in _FULL.finditer(text):
        yield words_of(text, *match.span())


def words_of(text: str, start: int, end: int) -> list[Word]:
    """Return all words of a range."""
    return [_word(match) for match in WORD.finditer(text, start, end)]


def _read_spaceless(text: str, start: int, lexicon: Lexicon) -> list[Word]:
    run = _CJK_RUN.match(text, start)
    if not run:
        return []
    for size, last in _sizes(run.group(), lexicon):
        return [Word(start, start + size, text[start : start + size], key(text[start : start + last]))]
    value = run.group().rstrip()
    if _CJK_END.match(text, start + len(value)) and len(value) > 1:
        return [Word(start, start + len(value), value, key(value))]
    return []


def _sizes(run: str, lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    """Yield how long a name at the start of a run can be, and its surname, the likeliest first."""
    for last in (3, 2, 1):
        if key(run[:last]) not in lexicon.last:
            continue
        space = run[last : last + 1] in {" ", "\u3000"}
        for first in (3, 2, 1):
            end = last + space + first
            if len(run) >= end and key(run[last + space : end]) in lexicon.first and _CJK_END.match(run, end):
                yield end, last
        for first in (2, 1):
            end = last + space + first
            if len(run) >= end and _CJK_END.match(run, end) and last + first > 2:  # noqa: PLR2004 - two are a word
                yield end, last
        for first in (3, 2):
            end = last + space + first
            if len(run) >= end and key(run[last + space : end]) in lexicon.first:
                yield end, last


def _read_spaceless_before(text: str, end: int, lexicon: Lexicon) -> list[Word]:
    while end and text[end - 1].isspace():
        end -= 1
    run = _CJK_TAIL.search(text, max(0, end - 9), end)
    window = run.group() if run else ""
    for size in range(min(7, len(window)), 0, -1):
        value = window[-size:]
        is_alone = size == len(window) or not is_spaceless(window[-size - 1])
        for whole, last in () if _HIRAGANA.match(value) else _sizes(value, lexicon):
            if whole == size and (is_alone or key(value[last:].strip()) in lexicon.first):
                return [Word(end - size, end, value, key(value[:last]))]
        if lexicon.is_name(key(value)) and (size > 1 or (is_alone and value < "\uac00")):
            return [Word(end - size, end, value, key(value))]
    return []
