"""Bodies of /v1/messages (Anthropic): content blocks, tool use and results, thinking, images."""

from pipeline.synth.blobs import write_base64, write_media
from pipeline.synth.draft import Draft, Json
from pipeline.synth.drops import add_dropped, drop_id, link_id
from pipeline.synth.tools import choose_tools, define_tools, write_arguments, write_result

_SMALL_BYTES = 300
_TOOLS_BYTES = 1300
_THINKING_BYTES = 900
_BLOCK_BYTES = 70


def write_messages_request(draft: Draft) -> Json:
    """Return a messages request that fills the draft's room."""
    request = draft.opening()
    if draft.room > _SMALL_BYTES:
        request["max_tokens"] = 1024
        add_dropped(draft, request, "/request", ("metadata",))
    draft.spend(request)
    if draft.room > _SMALL_BYTES and draft.chance(0.4):
        request["system"] = draft.prose("/request/system", draft.room // 4)
        draft.spend(request["system"])
    used = _use_tool(draft, request) if draft.room > _TOOLS_BYTES and draft.chance(0.35) else []
    request["messages"] = [{"role": "user", "content": _question(draft)}, *used]
    return request


def write_messages_response(draft: Draft) -> Json:
    """Return a message that fills the draft's room."""
    response: Json = {"type": "message", "role": "assistant", "model": draft.model}
    if draft.room > _SMALL_BYTES:
        response = {"id": drop_id(draft, "/response/id", "msg_"), **response}
    draft.spend(response)
    content: list[Json] = []
    if draft.room > _THINKING_BYTES and draft.chance(0.3):
        content.append(draft.spend(_thinking(draft, "/response/content/0")))
    reason = "end_turn"
    if draft.room > _THINKING_BYTES and draft.chance(0.2):
        content.append(draft.spend(_tool_use(draft, f"/response/content/{len(content)}")))
        reason = "tool_use"
    text = draft.prose(f"/response/content/{len(content)}/text", draft.room - 2 * _BLOCK_BYTES)
    content.append({"type": "text", "text": text})
    usage = {"input_tokens": draft.tokens("request"), "output_tokens": draft.tokens("response")}
    return {**response, "content": content, "stop_reason": reason, "usage": usage}


def _question(draft: Draft) -> str | list[Json]:
    where = "/request/messages/0/content"
    if draft.room < _SMALL_BYTES or draft.chance(0.5):
        return draft.prose(where, draft.room - 40)
    blocks: list[Json] = []
    if draft.room > _TOOLS_BYTES and draft.chance(0.3):
        media_type = draft.rng.choice(("image/png", "image/jpeg"))
        data = write_media(draft, f"{where}/0/source/data", media_type, draft.room // 2)
        source = {"type": "base64", "media_type": media_type, "data": data}
        blocks.append(draft.spend({"type": "image", "source": source}))
        draft.count("request", 800)
    text = draft.prose(f"{where}/{len(blocks)}/text", draft.room - _BLOCK_BYTES)
    return [*blocks, {"type": "text", "text": text}]


def _use_tool(draft: Draft, request: Json) -> list[Json]:
    """Define tools in the request; return a use and its result, which stand at 1 and 2 of the messages."""
    tools = choose_tools(draft)
    request["tools"] = draft.spend(define_tools(tools, "messages"))
    use, result = "/request/messages/1/content/0", "/request/messages/2/content/0"
    identity = link_id(draft, (f"{use}/id", f"{result}/tool_use_id"), "toolu_")
    arguments = write_arguments(draft, tools[0], f"{use}/input")
    answer = write_result(draft, tools[0], f"{result}/content")
    draft.room -= 240
    return [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": identity, "name": tools[0]["name"], "input": arguments}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": identity, "content": answer}]},
    ]


def _thinking(draft: Draft, pointer: str) -> Json:
    thought = draft.prose(f"{pointer}/thinking", draft.room // 4)
    return {
        "type": "thinking",
        "thinking": thought,
        "signature": write_base64(draft, f"{pointer}/signature", "opaque", draft.room // 4),
    }


def _tool_use(draft: Draft, pointer: str) -> Json:
    tool = choose_tools(draft)[0]
    identity = link_id(draft, (f"{pointer}/id",), "toolu_")
    return {
        "type": "tool_use",
        "id": identity,
        "name": tool["name"],
        "input": write_arguments(draft, tool, f"{pointer}/input"),
    }
