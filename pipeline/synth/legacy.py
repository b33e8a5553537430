"""Bodies of /v1/completions and /v1/embeddings: strings, lists of them, token ids; vectors as floats and as base64."""

from pipeline.synth.blobs import write_text_logprobs, write_token_ids, write_vectors
from pipeline.synth.draft import Draft, Json
from pipeline.synth.drops import add_dropped, drop_id

_SMALL_BYTES = 300
_LOGPROBS_BYTES = 600
_ITEM_BYTES = 160
_VECTOR_FRAME_BYTES = 54


def write_completion_request(draft: Draft) -> Json:
    """Return a legacy completion request that fills the draft's room."""
    request = draft.opening()
    if draft.room > _SMALL_BYTES:
        request |= {"max_tokens": 256, "stop": ["\n\n"]}
        add_dropped(draft, request, "/request", ("user", "metadata"))
    draft.spend(request)
    request["prompt"] = _texts(draft, "/request/prompt")
    return request


def write_completion_response(draft: Draft) -> Json:
    """Return a legacy completion that fills the draft's room."""
    draft.room -= 60
    response: Json = {"object": "text_completion", "model": draft.model}
    if draft.room > _SMALL_BYTES:
        response = {"id": drop_id(draft, "/response/id", "cmpl-"), **response, "created": draft.received_ms // 1000}
    draft.spend(response)
    choice: Json = {"index": 0, "finish_reason": "stop"}
    size = draft.room
    if size > _LOGPROBS_BYTES and draft.chance(0.15):
        choice["logprobs"] = write_text_logprobs(draft, "/response/choices/0/logprobs", size // 2)
        size //= 2
    choice["text"] = draft.prose("/response/choices/0/text", size)
    response["choices"] = [choice]
    return response


def write_embedding_request(draft: Draft) -> Json:
    """Return an embedding request that fills the draft's room."""
    request = draft.opening()
    if draft.room > _SMALL_BYTES:
        request["encoding_format"] = draft.rng.choice(("float", "base64"))
        add_dropped(draft, request, "/request", ("user",))
    draft.spend(request)
    request["input"] = _texts(draft, "/request/input")
    return request


def write_embedding_response(draft: Draft) -> Json | None:
    """Return one or more vectors, or None where the room holds none."""
    tokens = draft.tokens("request")
    response: Json = {"object": "list", "data": [], "model": draft.model}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    draft.spend({**response, "usage": usage})
    count = 1 + int(draft.rng.random() * min(draft.room // 4000, 16))
    draft.room -= _VECTOR_FRAME_BYTES * count
    vectors = write_vectors(draft, "/response/data", count, packed=draft.chance(0.4))
    if not vectors:
        return None
    response["data"] = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {**response, "usage": usage}


def _texts(draft: Draft, pointer: str) -> str | list[str] | list[int] | list[list[int]]:
    """Return a prompt in one of its four forms."""
    draw = draft.rng.random()
    if draft.room > 2 * _ITEM_BYTES:
        if draw < 0.08:  # noqa: PLR2004 - a share
            return write_token_ids(draft, pointer, draft.room)
        if draw < 0.12:  # noqa: PLR2004 - a share
            return [write_token_ids(draft, f"{pointer}/{index}", draft.room // 2) for index in range(2)]
        if draw < 0.35:  # noqa: PLR2004 - a share
            sizes = draft.split(draft.room, 2 + int(draft.rng.random() * min(draft.room // _ITEM_BYTES, 8)))
            return [draft.prose(f"{pointer}/{index}", size) for index, size in enumerate(sizes)]
    return draft.prose(pointer, draft.room - 12)
