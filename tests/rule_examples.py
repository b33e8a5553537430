"""Examples of rules hold no key: braces say what stands there, and are filled from a seeded generator.

``{a:48}`` is 48 letters and digits, ``{l:8}`` lower-case letters, ``{u:16}`` upper-case letters and digits, ``{h:32}``
lower-case hex, ``{d:9}`` digits, ``{b:40}`` base64url, ``{B:64}`` base64, ``{uuid}`` a UUID. ``{a:48#1}`` is the same
wherever it stands in one example.
"""

import re
import string
from random import Random
from uuid import UUID

_BRACE = re.compile(r"\{(?:(?P<kind>[aluhdbB]):(?P<size>\d{1,4})|(?P<uuid>uuid))(?P<tag>#\w+)?\}")
_ALPHABETS = {
    "a": string.ascii_letters + string.digits,
    "l": string.ascii_lowercase,
    "u": string.ascii_uppercase + string.digits,
    "h": "0123456789abcdef",
    "d": string.digits,
    "b": string.ascii_letters + string.digits + "-_",
    "B": string.ascii_letters + string.digits + "+/",
}


def expand(texts: list[str], seed: int) -> list[str]:
    """Fill the braces of the texts of one example."""
    random = Random(seed)
    tagged: dict[str, str] = {}

    def fill(match: re.Match[str]) -> str:
        if match.group() in tagged:
            return tagged[match.group()]
        if match["uuid"]:
            value = str(UUID(int=random.getrandbits(128), version=4))
        else:
            value = "".join(random.choices(_ALPHABETS[match["kind"]], k=int(match["size"])))
        if match["tag"]:
            tagged[match.group()] = value
        return value

    return [_BRACE.sub(fill, text) for text in texts]
