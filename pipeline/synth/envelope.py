"""The envelope of an event: who asked, from where, for which model, and how it went (design §2)."""

import math
from datetime import UTC, datetime, timedelta
from enum import Enum

from pipeline.synth.accounts import Account
from pipeline.synth.draft import Draft, Json

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INVENTED_MODEL_SHARE = 0.01
_REFUSED_FROM, _FAILED_FROM = 400, 500


class Detail(Enum):
    """How much of the optional fields a gateway sends."""

    SPARSE = "required fields only"
    LEAN = "no user agent, no serving figures"
    FULL = "every field"


TAIL_BYTES = {Detail.SPARSE: 15, Detail.LEAN: 38, Detail.FULL: 240}
"""About what `write_tail` adds to an encoded event."""


def write_head(draft: Draft, account: Account, *, endpoint: str, detail: Detail) -> Json:
    """Return the fields known when a request comes in, and note in the draft which own identifiers they declare."""
    event: Json = {"request_id": draft.request_id, "received_at": _timestamp(draft.received_ms)}
    holder = {"id": draft.plant(account.id, "account_id", "/account/id")}
    own = {"own_account_id": account.id}
    event["account"] = holder
    if detail is not Detail.SPARSE:
        holder["email"] = draft.plant(account.email, "account_email", "/account/email")
        event["api_key_id"] = draft.plant(draft.rng.choice(account.api_keys), "api_key_id", "/api_key_id")
        event["client"] = {"ip": draft.plant(draft.rng.choice(account.ips), "client_ip", "/client/ip")}
        own |= {"own_email": account.email, "own_api_key_id": event["api_key_id"]}
    if detail is Detail.FULL:
        holder["name"] = draft.plant(account.name, "account_name", "/account/name")
        holder["organization"] = draft.plant(account.organization, "account_organization", "/account/organization")
        agent, marker = draft.rng.choice(account.user_agents)
        draft.plant(marker, "user_agent", "/client/user_agent")
        event["client"]["user_agent"] = agent
        own["own_name"] = account.name
        if " " in account.organization:  # a single word is not searched for without a cue (design §6)
            own["own_organization"] = account.organization
    draft.own = own
    event["endpoint"] = endpoint
    event["model"] = _model(draft)
    return event


def write_tail(draft: Draft, event: Json, account: Account, *, status: int, detail: Detail) -> None:
    """Add the fields known when a request has ended: figures that agree with the bodies, and where it ran."""
    prompt, completion = draft.tokens("request"), draft.tokens("response")
    first, whole = _latencies(draft, event["endpoint"], status, completion)
    if detail is Detail.FULL:
        event["stream"] = streamed = status < _REFUSED_FROM and completion > 0 and draft.chance(0.6)
    event["status"] = status
    if detail is not Detail.SPARSE:
        event["latency_ms"] = whole
    if detail is not Detail.FULL:
        return
    if streamed:
        event["time_to_first_token_ms"] = first
    event["queue_ms"] = round(draft.rng.lognormvariate(math.log(4), 1), 1)
    event["usage"] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    event["region"] = account.region
    event["node"] = f"gpu-{draft.rng.getrandbits(6):02d}"


def _timestamp(epoch_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _model(draft: Draft) -> str:
    """Return the model asked for: now and then a name that a client invented, which no record may keep."""
    if draft.chance(_INVENTED_MODEL_SHARE):
        return draft.plant(f"ft:{draft.model}:{draft.hex(16)}", "model", "/model")
    return draft.model


def _latencies(draft: Draft, endpoint: str, status: int, completion_tokens: int) -> tuple[float, float]:
    """Return time to first token and whole latency, in milliseconds, log-normal."""
    if _REFUSED_FROM <= status < _FAILED_FROM:
        whole = draft.rng.lognormvariate(math.log(9), 0.5)
        return whole, round(whole, 1)
    median = 35 if endpoint == "/v1/embeddings" else 190
    first = draft.rng.lognormvariate(math.log(median), 0.55)
    whole = first + completion_tokens * draft.rng.lognormvariate(math.log(14), 0.3)
    return round(first, 1), round(whole, 1)
