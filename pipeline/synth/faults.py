"""Failed requests: their status, and an error with a message and a traceback (policy §2.2)."""

from collections.abc import Mapping
from typing import Any

from pipeline.synth.draft import Draft, Json

_TRACE_SHARE = 0.6
_TRACED_FROM = 500
_PROSE_SHARE = 0.5


def choose_fault(draft: Draft) -> Mapping[str, Any]:
    """Choose what went wrong: ``status``, ``type``, ``code``, ``message``."""
    fault: Mapping[str, Any] = draft.rng.choice(draft.corpus.faults["faults"])
    return fault


def write_error(draft: Draft, fault: Mapping[str, Any], *, identifying: bool) -> Json:
    """Return the ``error`` of an event.

    Args:
        draft: the event.
        fault: what went wrong.
        identifying: whether message and trace may repeat identifiers and home folders.
    """
    message = fault["message"]
    if fault["code"] == "invalid_api_key" and identifying and "own_api_key_id" in draft.own:
        key = draft.plant(draft.own["own_api_key_id"], "own_api_key_id", "/error/message")
        message += f" Key: {key}"
    if not draft.marked or draft.chance(_PROSE_SHARE):
        message += " " + draft.prose("/error/message", 0)
    error: Json = {"type": fault["type"], "code": fault["code"], "message": message}
    if fault["status"] >= _TRACED_FROM or draft.chance(_TRACE_SHARE):
        error["trace"] = _trace(draft, identifying=identifying)
    return error


def _trace(draft: Draft, *, identifying: bool) -> str:
    faults = draft.corpus.faults
    root = draft.rng.choice(faults["homes" if identifying else "neutral"])
    detail = ""
    if draft.pending:
        detail = ": " + draft.identifier_sentence("/error/trace")
    template: str = draft.rng.choice(faults["traces"])
    return template.replace("{root}", root).replace("{detail}", detail)
