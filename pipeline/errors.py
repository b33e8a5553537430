"""The vocabulary of failures: each carries a reason and a pointer, never a value of an event."""

import traceback
from enum import StrEnum
from typing import NoReturn


class Reason(StrEnum):
    """Why an event was rejected. Closed: a rejection, a metric label and a golden case for each."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    BAD_FORMAT = "bad_format"
    IN_FUTURE = "in_future"
    EXPIRED = "expired"
    SEALED = "sealed"
    EGRESS = "egress"


class PipelineError(Exception):
    """Base of every error that lethe raises. Its text never holds a value of an event."""


class InvalidEvent(PipelineError):  # noqa: N818 - the field's word for it; the base class says error
    """A bad event, which becomes a rejection. Permanent: trying again changes nothing.

    Attributes:
        reason: why, from the closed list.
        pointer: JSON pointer (RFC 6901) into the event; a name the schema does not declare is ``*``.
    """

    def __init__(self, reason: Reason, pointer: str = "") -> None:
        super().__init__(f"{reason} at {pointer or '/'}")
        self.reason = reason
        self.pointer = pointer


class PolicyError(PipelineError):
    """A schema, catalogue or sink file is not a valid policy. The text names file, field and fix."""


class KeyringError(PipelineError):
    """Keys are missing, unreadable, unsafe or too old. The process must stop: no key, no fallback."""


class ConfigError(PipelineError):
    """A setting or argument is wrong. The text names the setting and the fix, never a secret."""


class SinkUnavailable(PipelineError):  # noqa: N818 - as InvalidEvent
    """A sink cannot take records now. Nothing is lost: the caller must not pass over the batch."""


class DetectionFailed(PipelineError):  # noqa: N818 - as InvalidEvent
    """A detector failed on a text; the caller redacts that text whole. Never says what the text was."""


class DetectorLost(PipelineError):  # noqa: N818 - as InvalidEvent
    """A detector cannot work any more. The process must stop: it would redact every text from here on."""


def reject(reason: Reason, pointer: str = "") -> NoReturn:
    """Raise `InvalidEvent`. Call it outside ``except`` blocks, or the original stays in ``__context__``."""
    raise InvalidEvent(reason, pointer)


def forget_text(error: BaseException) -> None:
    """Take out of an error of a library's all that it says: it will be the context of one of ours."""
    error.args = ()
    error.__cause__ = error.__context__ = None


def describe(error: BaseException) -> str:
    """Name an exception by its type and place, never by its message, which can hold data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
