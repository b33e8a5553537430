"""Tools: definitions in the three dialects, arguments and results, with identifiers inside while any wait."""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from pipeline.synth.draft import Draft, Json

Dialect = Literal["chat", "responses", "messages"]
Tool = Mapping[str, Any]

_ARGUMENT_KEYS = {
    "EMAIL_ADDRESS": "contact",
    "PHONE_NUMBER": "call_back",
    "CREDIT_CARD": "charge_to",
    "IBAN_CODE": "pay_to",
    "IP_ADDRESS": "host",
    "own_email": "sender",
    "own_name": "on_behalf_of",
    "own_organization": "company",
    "own_account_id": "bill_to",
    "own_api_key_id": "with_key",
}
"""Kinds that can stand alone as a value; the others need the words of a sentence."""

_INTEGER_SHARE = 0.3


def choose_tools(draft: Draft) -> list[Tool]:
    """Choose one to three tools."""
    return draft.rng.sample(draft.corpus.tools, 1 + int(draft.rng.random() * 3))


def define_tools(tools: list[Tool], dialect: Dialect) -> list[Json]:
    """Return the definitions of tools as an API's requests spell them."""
    return [_define(tool, dialect) for tool in tools]


def write_arguments(draft: Draft, tool: Tool, pointer: str) -> Json:
    """Return arguments for a call, as an object; canaries are planted at ``pointer``, that of the whole."""
    arguments: Json = dict(draft.rng.choice(tool["arguments"]))
    if draft.pending and draft.pending[-1] in _ARGUMENT_KEYS:
        kind = draft.pending[-1]
        if kind == "CREDIT_CARD" and draft.chance(_INTEGER_SHARE):
            draft.pending.pop()
            arguments["payment"] = {"charge_to": draft.card_number(pointer), "currency": "EUR"}
        else:
            arguments[_ARGUMENT_KEYS[kind]] = draft.identifier(pointer)[1]
    return draft.spend(arguments)


def write_arguments_text(draft: Draft, tool: Tool, pointer: str) -> str:
    """Return arguments for a call as the JSON string that OpenAI's bodies hold."""
    arguments = draft.spend(orjson.dumps(write_arguments(draft, tool, pointer)).decode())
    draft.count("response" if pointer.startswith("/response") else "request", len(arguments))
    return arguments


def write_result(draft: Draft, tool: Tool, pointer: str) -> str:
    """Return what a tool answered: text, mostly JSON in a string."""
    result: str = draft.rng.choice(tool["results"])
    if result.startswith("{") and draft.pending and draft.pending[-1] in _ARGUMENT_KEYS:
        kind, value = draft.identifier(pointer)
        result = orjson.dumps({**orjson.loads(result), _ARGUMENT_KEYS[kind]: value}).decode()
    draft.count("request", len(result))
    return draft.spend(result)


def _define(tool: Tool, dialect: Dialect) -> Json:
    name, description, parameters = tool["name"], tool["description"], tool["parameters"]
    if dialect == "messages":
        return {"name": name, "description": description, "input_schema": parameters}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function} if dialect == "chat" else {"type": "function", **function}
