"""Bodies of /v1/chat/completions: turns, system prompts, tools, images, audio, refusals, logprobs, several choices."""

from typing import NamedTuple

from pipeline.synth.blobs import write_chat_logprobs, write_media
from pipeline.synth.draft import Draft, Json
from pipeline.synth.drops import add_dropped, author_name, drop_id, link_id
from pipeline.synth.tools import choose_tools, define_tools, write_arguments_text, write_result

_DROPS = ("user", "metadata", "safety_identifier", "prompt_cache_key")
_FRAME_BYTES = 32
_SMALL_BYTES = 330
_LOGPROBS_BYTES = 900
_TURN_BYTES = 700


class _Plan(NamedTuple):
    """Which parts a request has.

    Attributes:
        system: it begins with a system prompt.
        pairs: earlier turns, each a question and an answer.
        tools: a tool was called after the last question.
        media: the last question holds an image, a recording or a file.
    """

    system: bool
    pairs: int
    tools: bool
    media: bool

    @property
    def question(self) -> int:
        """Index of the last question among the messages."""
        return self.system + 2 * self.pairs


def write_chat_request(draft: Draft) -> Json:
    """Return a chat request that fills the draft's room."""
    plan = _plan(draft)
    request = draft.opening()
    if draft.room > _SMALL_BYTES:
        request |= {"temperature": round(draft.rng.random(), 2), "max_tokens": 2 << int(6 + draft.rng.random() * 6)}
        add_dropped(draft, request, "/request", _DROPS)
    draft.spend(request)
    called = _call_tools(draft, request, plan.question + 1) if plan.tools else []
    parts = _media_parts(draft, f"/request/messages/{plan.question}/content") if plan.media else []
    texts = plan.system + 2 * plan.pairs + 1
    sizes = draft.split(draft.room - _FRAME_BYTES * texts, texts)
    request["messages"] = [*_messages(draft, plan, sizes, parts), *called]
    return request


def write_chat_response(draft: Draft) -> Json:
    """Return a chat completion that fills the draft's room; its usage counts the request written before."""
    if draft.room < _SMALL_BYTES:
        text = draft.prose("/response/choices/0/message/content", draft.room - 80)
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    response: Json = {
        "id": drop_id(draft, "/response/id", "chatcmpl-"),
        "object": "chat.completion",
        "created": draft.received_ms // 1000,
        "model": draft.model,
        "system_fingerprint": drop_id(draft, "/response/system_fingerprint", "fp_"),
    }
    draft.spend(response)
    count = 2 + draft.chance(0.3) if draft.room > _TURN_BYTES and draft.chance(0.08) else 1
    sizes = draft.split(draft.room - 170, count)
    response["choices"] = [_choice(draft, index, size) for index, size in enumerate(sizes)]
    prompt, completion = draft.tokens("request"), draft.tokens("response")
    response["usage"] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return response


def _plan(draft: Draft) -> _Plan:
    room = draft.room
    turns = room // _TURN_BYTES
    pairs = int(draft.rng.random() * min(turns, 8)) if draft.chance(0.6) else 0
    return _Plan(
        system=room > _SMALL_BYTES and draft.chance(0.5),
        pairs=pairs,
        tools=room > 2 * _TURN_BYTES and draft.chance(0.35),
        media=room > 2 * _TURN_BYTES and draft.chance(0.15),
    )


def _messages(draft: Draft, plan: _Plan, sizes: list[int], parts: list[Json]) -> list[Json]:
    messages: list[Json] = []
    for index, size in enumerate(sizes):
        role = "system" if plan.system and index == 0 else ("user", "assistant")[(index - plan.system) % 2]
        where = f"/request/messages/{index}"
        message: Json = {"role": role}
        if role == "user" and draft.chance(0.04):
            message["name"] = author_name(draft, f"{where}/name")
        if parts and index == plan.question:
            text = draft.prose(f"{where}/content/0/text", size)
            message["content"] = [{"type": "text", "text": text}, *parts]
        else:
            message["content"] = draft.prose(f"{where}/content", size)
        messages.append(message)
    return messages


def _call_tools(draft: Draft, request: Json, index: int) -> list[Json]:
    """Define tools in the request; return the call and its result, which stand at ``index`` and after."""
    tools = choose_tools(draft)
    request["tools"] = draft.spend(define_tools(tools, "chat"))
    call, answer = f"/request/messages/{index}/tool_calls/0", f"/request/messages/{index + 1}"
    identity = link_id(draft, (f"{call}/id", f"{answer}/tool_call_id"), "call_")
    arguments = write_arguments_text(draft, tools[0], f"{call}/function/arguments")
    result = write_result(draft, tools[0], f"{answer}/content")
    function = {"name": tools[0]["name"], "arguments": arguments}
    draft.room -= 220
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": identity, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": identity, "content": result},
    ]


def _media_parts(draft: Draft, pointer: str) -> list[Json]:
    """Return what follows the text of a question: an image as a data URL, a recording, or a stored file."""
    where, size, draw = f"{pointer}/1", int(draft.room * 0.5), draft.rng.random()
    if draw < 0.15:  # noqa: PLR2004 - a share
        return [draft.spend({"type": "file", "file": {"file_id": drop_id(draft, f"{where}/file/file_id", "file-")}})]
    if draw < 0.3:  # noqa: PLR2004 - a share
        data = write_media(draft, f"{where}/input_audio/data", "audio/wav", size)
        return [draft.spend({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})]
    media_type = draft.rng.choice(("image/png", "image/jpeg"))
    data = write_media(draft, f"{where}/image_url/url", media_type, size)
    draft.count("request", 800)
    return [draft.spend({"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}})]


def _choice(draft: Draft, index: int, size: int) -> Json:
    where = f"/response/choices/{index}"
    choice: Json = {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}
    draw = draft.rng.random()
    if draw < 0.03:  # noqa: PLR2004 - a share
        choice["message"]["refusal"] = draft.prose(f"{where}/message/refusal", size - 20)
        return choice
    if draw < 0.13:  # noqa: PLR2004 - a share
        call = f"{where}/message/tool_calls/0"
        tool = choose_tools(draft)[0]
        function = {
            "name": tool["name"],
            "arguments": write_arguments_text(draft, tool, f"{call}/function/arguments"),
        }
        identity = link_id(draft, (f"{call}/id",), "call_")
        choice["message"]["tool_calls"] = [{"id": identity, "type": "function", "function": function}]
        choice["finish_reason"] = "tool_calls"
        size -= 180
    elif size > _LOGPROBS_BYTES and draft.chance(0.06):
        choice["logprobs"] = write_chat_logprobs(draft, f"{where}/logprobs", size // 2)
        size //= 2
    choice["message"]["content"] = draft.prose(f"{where}/message/content", size)
    return choice
