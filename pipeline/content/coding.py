"""Content in another coding is content (design §6): token ids, vectors, opaque blobs, media; recognized and named."""

import re
from collections.abc import Collection, Iterator, Mapping
from string import ascii_letters, ascii_uppercase, digits
from typing import Any

OPAQUE = "<OPAQUE>"
_UNKNOWN_MEDIA = "application/octet-stream"

# Shortest run of base64 in a text that is taken for media. Hashes, keys and ids are shorter.
_RUN_MIN = 200
_RUN_MIN_LINES = 180  # three lines of 60, as the pattern has it
_DISTINCT_MIN = 9  # characters in use; hex has up to 16
_PATH_PART_MAX = 16  # characters between the separators of a path, on average
_BLOCK = 64
_BLOCK_EVERY = 112  # 112 + 64 - 1 < 180
_NESTED_MAX = 3  # lists in a list of numbers: batches of matrices
_MEDIA = re.compile(
    # A data URL (RFC 2397), base64 or not, up to the first character that cannot be in it
    r"(?<![A-Za-z])(?i:data:)(?P<type>[\w.+-]{1,60}/[\w.+-]{1,60})?(?:;[\w.+=-]{1,60}){0,6},[^\s\"'<>()\[\]{}\\]*"
    # base64 in one line
    r"|(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{200,}={0,2}"
    # base64 in lines, as MIME (RFC 2045) and PEM write it
    r"|(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{60,76}\r?\n){3,}[A-Za-z0-9+/]{0,76}={0,2}",
    re.ASCII,
)
# Lines may break it, spaces may not: prose without a full stop is no base64.
_WHOLE_BASE64 = re.compile(r"[A-Za-z0-9+/_\r\n-]{16,}+={0,2}\s*+", re.ASCII)
_FORMAT = re.compile(r"[a-z0-9]{1,8}")


def is_longer(text: str, bytes_max: int) -> bool:
    """Tell whether a text is longer than so many bytes of UTF-8, which takes at most four a character."""
    if len(text) * 4 <= bytes_max:
        return False
    return len(text) > bytes_max or len(text.encode("utf-8", "surrogatepass")) > bytes_max


def media_label(text: str, declared_type: object, known_types: Collection[str]) -> str:
    """Return the placeholder of media: its type if known, its size to two digits (an exact one is a fingerprint)."""
    match = _MEDIA.match(text)
    media_type = match["type"] if match and match["type"] else declared_type
    name = media_type.lower() if isinstance(media_type, str) else ""
    payload = len(text) - text.find(",") - 1 if text[:5].lower() == "data:" else len(text)
    return f"<MEDIA {name if name in known_types else _UNKNOWN_MEDIA} {round_size(payload * 3 // 4)} bytes>"


def media_type_beside(owner: Mapping[str, Any], key: str) -> str | None:
    """Return the media type that stands under a key beside coded media; a bare format (``wav``) is an audio's."""
    declared = owner.get(key) if key else None
    if not isinstance(declared, str):
        return None
    return f"audio/{declared}" if _FORMAT.fullmatch(declared) else declared


def round_size(size: int) -> int:
    """Return a size rounded down to its two leading digits."""
    step: int = 10 ** max(0, len(str(size)) - 2)
    return size // step * step


def find_media(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the data URLs and long runs of base64 in a text that `may_hold_media`."""
    for match in _MEDIA.finditer(text):
        run = match.group()
        is_data_url = match["type"] or (run[:5].lower() == "data:" and ";" in run[:400].partition(",")[0])
        if is_data_url or (len(run) >= _RUN_MIN_LINES and _is_mixed(run)):
            yield match.span()


def may_hold_media(text: str) -> bool:
    """Tell cheaply, and never wrongly when it says no: a long run covers a whole block of 64 without a space."""
    if ":" in text and "data:" in text.lower():
        return True
    # A run of at least 180 covers one of the blocks that begin every 112 characters, wherever it begins itself.
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK_EVERY):
        block = text[start : start + _BLOCK]
        if " " not in block and block.isascii():
            return True
    return False


def is_media(text: str) -> bool:
    """Tell whether a text is one data URL or base64 as a whole, of at least 16 characters."""
    if text[:5].lower() == "data:":
        match = _MEDIA.match(text)
        return match is not None and match.end() == len(text)
    return _WHOLE_BASE64.fullmatch(text) is not None


def _is_mixed(run: str) -> bool:
    """Tell base64 and hex from a rule of dashes, a long word, or a path: many different letters and digits."""
    used = set(run)
    if len(used) < _DISTINCT_MIN or used.isdisjoint(digits) or used.isdisjoint(ascii_letters):
        return False
    # No base64 does without capital letters for so long, and hex has no separators: such a run is a path or a slug.
    separators = run.count("/") + run.count("-") + run.count("_")
    return not (used.isdisjoint(ascii_uppercase) and separators * _PATH_PART_MAX >= len(run))


def is_numbers(value: Any, nested_max: int = _NESTED_MAX) -> bool:
    """Tell whether a value is a list of numbers, or of such lists. Gaps (null) may be among them; some must be there.

    Only so many lists deep, so that a list is not read again at each of its depths.
    """
    if type(value) is not list or not value or nested_max < 0:
        return False
    if type(value[0]) is list:
        return all(is_numbers(member, nested_max - 1) for member in value)
    kinds = set(map(type, value))
    return bool(kinds & {int, float}) and kinds <= {int, float, type(None)}


def count_numbers(value: Any) -> int:
    """Count the entries of a coded value: numbers below lists, or the members of its longest list."""
    if type(value) is list:
        return sum(count_numbers(m) for m in value) if value and type(value[0]) is list else len(value)
    if type(value) is dict:
        return max((count_numbers(member) for member in value.values()), default=0)
    return len(value) * 3 // 16 if type(value) is str else 0  # base64 of 32-bit floats


def coded_list(value: list[Any], tokens_min: int, vector_min: int) -> str | None:
    """Return the placeholder of a list that is long enough to be content in another coding, under whatever key.

    A list of vectors is judged vector by vector: a list of points is none.
    """
    if len(value) < min(tokens_min, vector_min) or not is_numbers(value):
        return None
    if _has_fraction(value):
        return f"<VECTOR {len(value)}>" if len(value) >= vector_min and type(value[0]) is not list else None
    return f"<TOKENS {count_numbers(value)}>" if len(value) >= tokens_min else None


def _has_fraction(value: list[Any]) -> bool:
    if type(value[0]) is list:
        return any(_has_fraction(member) for member in value)
    return any(type(member) is float and not member.is_integer() for member in value)


def coded_value(action: str, value: Any) -> str | None:
    """Return the placeholder of what stands under a coded key, or None where it is no such thing and is walked."""
    if action == "tokens":
        return f"<TOKENS {count_numbers(value)}>" if type(value) in (list, dict) and value else None
    if action == "token_ids":
        return f"<TOKENS {count_numbers(value)}>" if is_numbers(value) else None
    if action == "vector":
        coded = is_numbers(value) or (type(value) is str and len(value) >= _RUN_MIN and is_media(value))
        return f"<VECTOR {count_numbers(value)}>" if coded else None
    if action == "opaque":
        return OPAQUE if type(value) is str and value else None
    return None
