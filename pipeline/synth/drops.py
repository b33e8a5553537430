"""Values under the keys that bodies lose, and under keys that no schema declares."""

from collections.abc import Callable

from pipeline.synth.draft import Draft, Json

_SHARE = 0.12
_ROOM_BYTES = 120
_UNDECLARED_SHARE = 0.08

_MAKERS: dict[str, Callable[[Draft], str]] = {
    "user": lambda draft: f"user-{draft.hex(16)}",
    "safety_identifier": lambda draft: draft.hex(32),
    "prompt_cache_key": lambda draft: f"cache-{draft.hex(16)}",
    "previous_response_id": lambda draft: f"resp_{draft.hex(32)}",
    "conversation": lambda draft: f"conv_{draft.hex(24)}",
    "thread_id": lambda draft: f"thread_{draft.hex(24)}",
}
_UNDECLARED = (
    ("", "gateway_session"),
    ("", "x_forwarded_for"),
    ("/account", "phone"),
    ("/client", "device_id"),
    ("/usage", "cost_center"),
    ("/error", "param"),
)


def add_dropped(draft: Draft, body: Json, pointer: str, keys: tuple[str, ...]) -> None:
    """Now and then, put a key of the drop list, with a canary under it, into a body that has room."""
    for key in keys:
        if draft.room > _ROOM_BYTES and draft.chance(_SHARE):
            where = f"{pointer}/{key}"
            if key == "metadata":
                body[key] = draft.spend(_metadata(draft, where))
            else:
                body[key] = draft.spend(draft.plant(_MAKERS[key](draft), "dropped", where))


def drop_id(draft: Draft, pointer: str, prefix: str) -> str:
    """Return an id that a body loses: of a response, an item, a file."""
    return draft.plant(f"{prefix}{draft.hex(24)}", "dropped", pointer)


def link_id(draft: Draft, pointers: tuple[str, ...], prefix: str) -> str:
    """Return an id that pairs two parts of a body, planted at each pointer; it is numbered anew."""
    value = f"{prefix}{draft.hex(24)}"
    for pointer in pointers:
        draft.plant(value, "link", pointer)
    return value


def author_name(draft: Draft, pointer: str) -> str:
    """Return a message's author, as ``messages[].name`` has it."""
    return draft.plant(f"member_{draft.hex(16)}", "dropped", pointer)


def add_undeclared(draft: Draft, event: Json) -> None:
    """Now and then, put a canary under a key of the envelope that the schema does not declare."""
    if not draft.chance(_UNDECLARED_SHARE):
        return
    parent, key = draft.rng.choice(_UNDECLARED)
    owner = event.get(parent[1:]) if parent else event
    if isinstance(owner, dict):
        owner[key] = draft.plant(f"undeclared-{draft.hex(16)}", "undeclared", f"{parent}/{key}")


def _metadata(draft: Draft, pointer: str) -> Json:
    """Return metadata with a canary in a value and one in a key: keys identify too."""
    session = draft.plant(f"sess-{draft.hex(16)}", "dropped", pointer)
    seat = draft.plant(f"seat-{draft.hex(16)}", "dropped", pointer)
    return {"session": session, seat: "true"}
