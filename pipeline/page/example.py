"""An event to begin with, of the shape that ships. Its people and places are invented. Pure."""

import json

from pipeline.coarsen import format_timestamp

SHAPE = "request_event"

_EVENT = """{"request_id": "req_0192f0c1a2b37c4d8e5f60718293a4b5",
"account": {"id": "acct_5f0c77de21b94a08", "email": "marit.solberg@mail.example.com", "name": "Marit Solberg",
"organization": "Fjordlys Analytics"},
"api_key_id": "key_91c2aa04e7d35b66",
"client": {"ip": "203.0.113.7", "user_agent": "OpenAI/Python 1.55.0"},
"endpoint": "/v1/chat/completions", "model": "llama-3.1-70b-instruct", "stream": false, "status": 200,
"latency_ms": 1234.5, "usage": {"prompt_tokens": 61, "completion_tokens": 24, "total_tokens": 85},
"request": {"user": "customer-4711", "messages": [{"role": "user", "content":
"I am Marit Solberg. Write to jonas.keller@mail.example.org that my card 4111 1111 1111 1111 was refused at 192.0.2.44."
}]},
"response": {"choices": [{"index": 0, "message": {"role": "assistant", "content":
"Dear Jonas, the card of Marit Solberg was refused. You can answer to marit.solberg@mail.example.com."}}]},
"error": null, "campaign": "not declared, so it is dropped"}"""


def example_event(received_at_ms: int) -> str:
    """Return an event that came in at a time, as JSON for people."""
    event = {"received_at": format_timestamp(received_at_ms), **json.loads(_EVENT)}
    return json.dumps(event, indent=2, ensure_ascii=False)
