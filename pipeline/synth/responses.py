"""Bodies of /v1/responses: input items, reasoning with encrypted content, function calls, output messages."""

from pipeline.synth.blobs import write_base64, write_media
from pipeline.synth.draft import Draft, Json
from pipeline.synth.drops import add_dropped, drop_id, link_id
from pipeline.synth.tools import choose_tools, define_tools, write_arguments_text, write_result

_DROPS = ("user", "metadata", "safety_identifier", "prompt_cache_key", "previous_response_id", "conversation")
_SMALL_BYTES = 300
_TOOLS_BYTES = 1300
_REASONING_BYTES = 900
_ITEM_BYTES = 70


def write_responses_request(draft: Draft) -> Json:
    """Return a Responses request that fills the draft's room: one string, or a list of items."""
    request = draft.opening()
    large = draft.room > _SMALL_BYTES
    if large:
        request["store"] = False
        add_dropped(draft, request, "/request", _DROPS)
    draft.spend(request)
    if large and draft.chance(0.4):
        request["instructions"] = draft.prose("/request/instructions", draft.room // 4)
        draft.spend(request["instructions"])
    if not large or draft.chance(0.4):
        request["input"] = draft.prose("/request/input", draft.room - 12)
    else:
        request["input"] = _items(draft, request)
    return request


def write_responses_response(draft: Draft) -> Json:
    """Return a response object that fills the draft's room."""
    response: Json = {"object": "response", "status": "completed", "model": draft.model}
    if draft.room > _SMALL_BYTES:
        response = {"id": drop_id(draft, "/response/id", "resp_"), "created_at": draft.received_ms // 1000, **response}
    draft.spend(response)
    output: list[Json] = []
    if draft.room > _REASONING_BYTES and draft.chance(0.35):
        output.append(draft.spend(_reasoning(draft, "/response/output/0")))
    if draft.room > _REASONING_BYTES and draft.chance(0.25):
        output.append(_function_call(draft, f"/response/output/{len(output)}"))
    output.append(_message(draft, f"/response/output/{len(output)}"))
    prompt, completion = draft.tokens("request"), draft.tokens("response")
    usage = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
    return {**response, "output": output, "usage": usage}


def _items(draft: Draft, request: Json) -> list[Json]:
    tail: list[Json] = []
    if draft.room > _TOOLS_BYTES and draft.chance(0.4):
        tail = _called(draft, request)
    parts: list[Json] = []
    if draft.room > _TOOLS_BYTES and draft.chance(0.2):
        data = write_media(draft, "/request/input/0/content/1/image_url", "image/png", draft.room // 2)
        parts = [draft.spend({"type": "input_image", "image_url": f"data:image/png;base64,{data}"})]
        draft.count("request", 800)
    text = draft.prose("/request/input/0/content/0/text", draft.room - _ITEM_BYTES)
    return [{"role": "user", "content": [{"type": "input_text", "text": text}, *parts]}, *tail]


def _called(draft: Draft, request: Json) -> list[Json]:
    """Define tools in the request; return a call and its output, which stand at 1 and 2 of the input."""
    tools = choose_tools(draft)
    request["tools"] = draft.spend(define_tools(tools, "responses"))
    identity = link_id(draft, ("/request/input/1/call_id", "/request/input/2/call_id"), "call_")
    arguments = write_arguments_text(draft, tools[0], "/request/input/1/arguments")
    output = write_result(draft, tools[0], "/request/input/2/output")
    draft.room -= 210
    return [
        {"type": "function_call", "call_id": identity, "name": tools[0]["name"], "arguments": arguments},
        {"type": "function_call_output", "call_id": identity, "output": output},
    ]


def _reasoning(draft: Draft, pointer: str) -> Json:
    sealed = write_base64(draft, f"{pointer}/encrypted_content", "opaque", draft.room // 3)
    return {
        "id": drop_id(draft, f"{pointer}/id", "rs_"),
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": draft.prose(f"{pointer}/summary/0/text", 120)}],
        "encrypted_content": sealed,
    }


def _function_call(draft: Draft, pointer: str) -> Json:
    tool = choose_tools(draft)[0]
    arguments = write_arguments_text(draft, tool, f"{pointer}/arguments")
    identity = link_id(draft, (f"{pointer}/call_id",), "call_")
    draft.room -= 120
    return {
        "type": "function_call",
        "call_id": identity,
        "name": tool["name"],
        "arguments": arguments,
        "status": "completed",
    }


def _message(draft: Draft, pointer: str) -> Json:
    identity = drop_id(draft, f"{pointer}/id", "msg_")
    text = draft.prose(f"{pointer}/content/0/text", draft.room - 240)
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": identity, "type": "message", "role": "assistant", "status": "completed", "content": content}
