"""Reads the playground's form: multipart/form-data (RFC 7578) with one field, as browsers write it. Pure.

In that encoding an event has its own size; in the ordinary one it would be up to three times as long.
"""

import re

from pipeline.page.play_page import FIELD

_TYPE = re.compile(r'multipart/form-data; *boundary="?([A-Za-z0-9\'()+_,./:=?-]{1,70})"?', re.IGNORECASE)
_HEAD = f'Content-Disposition: form-data; name="{FIELD}"'.encode()


def event_of(content_type: str, body: bytes) -> bytes | None:
    """Return the event in a form's body; None where it is no such form."""
    named = _TYPE.fullmatch(content_type)
    if named is None:
        return None
    boundary = b"--" + named[1].encode()
    begin, end = boundary + b"\r\n" + _HEAD + b"\r\n\r\n", b"\r\n" + boundary + b"--\r\n"
    if not (body.startswith(begin) and body.endswith(end) and len(body) >= len(begin) + len(end)):
        return None
    event = body[len(begin) : -len(end)]
    return None if b"\r\n" + boundary in event else event
