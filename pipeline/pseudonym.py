"""Pseudonyms: keyed, so that nobody without the key can make or test one. Pure."""

import hmac

PSEUDONYM_FORMAT = r"^e[0-9]{1,6}:[0-9a-f]{64}$"
"""A pseudonym under a lasting key epoch (``e1``): accounts and API keys."""
DAY_PSEUDONYM_FORMAT = r"^d[0-9]{8}:[0-9a-f]{64}$"
"""A pseudonym under a day key (``d20261123``), which is destroyed soon after its day: client addresses."""

SUPPRESSION_FORMAT = r"^s1:[0-9a-f]{64}$"
"""A pseudonym under the suppression key, which never rotates: subjects of restrictions and erasures."""

_DOMAIN = b"lethe pseudonym v1\0"


def pseudonymize(key: bytes, epoch: str, field: str, value: str) -> str:
    """Return ``<epoch>:<HMAC-SHA-256 in 64 hex digits>`` of a field's value (RFC 2104; design §2).

    The field's name is in the MAC: the same text as an account and as an API key has unrelated pseudonyms. The
    message is a constant, the length of the name, the name and the value: the length makes it unambiguous whatever
    bytes the name and value hold (``a`` and ``bc`` is never ``ab`` and ``c``), and the constant keeps this use of a
    key apart from any other.

    Args:
        key: 32 secret bytes.
        epoch: name of the key epoch or day key, put before the digest so that a reader knows which key it was.
        field: name of the field as the schema declares it.
        value: any text, lone surrogates included.
    """
    # surrogatepass: injective, and never an error, whose text would quote the value.
    name = field.encode("utf-8", "surrogatepass")
    message = _DOMAIN + len(name).to_bytes(4) + name + value.encode("utf-8", "surrogatepass")
    return f"{epoch}:{hmac.digest(key, message, 'sha256').hex()}"
