"""The playground's page: a form, and what became of the event that was sent with it. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence

from pipeline.page.frame import page
from pipeline.page.html import Html, join, row, table, tag
from pipeline.page.play import Play, Seen
from pipeline.page.words import TREATMENTS
from pipeline.policy.load import Policy
from pipeline.policy.shape import FieldRule
from pipeline.policy.table import to_days
from pipeline.records import Anonymized, Rejection
from pipeline.redact import find_placeholders
from pipeline.wire import content_bytes, operational_bytes

PLACE = "try"
FIELD = "event"
"""Where the playground is, and the name of its form's one field."""
_ABOUT = (
    "Paste a raw event, and see what becomes of it. It is worked on in memory and not kept. Pseudonyms are made with a "
    "key that was drawn when this page was started: they are like no others."
)


def play_page(policy: Policy, text: str, play: Play | None, links: dict[str, str]) -> Html:
    """Return the page.

    Args:
        policy: in force.
        text: what stands in the form.
        play: what became of it, or None where nothing was sent.
        links: targets of its navigation, by text.
    """
    title = "Try an event"
    subtitle = f"Event {policy.shape.name} v{policy.shape.version}, policy {policy.version}, digest {policy.digest}"
    content = [] if play is None else [_result(policy, play)]
    content.append(tag("section", tag("h2", "An event"), tag("p", _ABOUT), _form(text)))
    if play is not None:
        title = f"{'Rejected' if isinstance(play.fate, Rejection) else 'Accepted'}: what becomes of this event"
    return page(title, subtitle, join(content), links=links, form=True)


def _form(text: str) -> Html:
    area = tag(
        "textarea",
        f"\n{text}",  # a line break at the beginning is not part of it
        id=FIELD,
        name=FIELD,
        required=True,
        spellcheck="false",
        autocomplete="off",
    )
    button = tag("button", "Show what becomes of it", type="submit")
    label = tag("label", "Raw event, as JSON", for_=FIELD)
    return tag("form", label, area, button, method="post", enctype="multipart/form-data", action=f"{PLACE}#result")


def _result(policy: Policy, play: Play) -> Html:
    fate = play.fate
    parts = _rejected(fate) if isinstance(fate, Rejection) else _accepted(policy, play, fate)
    return tag("section", *parts, id="result", role="status", tabindex="-1")


def _rejected(fate: Rejection) -> Iterator[Html]:
    yield tag("h2", "Rejected", class_="bad")
    place = tag("code", fate.pointer or "/")
    yield tag("p", "Reason: ", tag("code", str(fate.reason)), ", at ", place, ".")
    yield tag("p", "Only this is kept of it: where it was read from, its size, the reason and the place.")


def _accepted(policy: Policy, play: Play, fate: Anonymized) -> Iterator[Html]:
    facts = fate.facts
    yield tag("h2", "Accepted", class_="good")
    yield tag("p", f"Taken out of content: {_counts(facts.redactions.items())}.")
    dropped, unknown = f"Declared fields and keys dropped: {facts.dropped_fields}.", facts.unknown_fields
    yield tag("p", f"{dropped} Undeclared fields dropped: {unknown}. Repeated keys: {facts.duplicate_keys}.")
    yield tag("h3", "Field by field")
    rows = (_leaf(policy.shape.rules[name], fate) for name in policy.shape.rules if name in set(play.leaves))
    yield table(("Field", "What happens", "Becomes"), tag("tbody", *rows), label="Field by field")
    yield tag("h3", "Content, as it came in, with what was found in it")
    yield from _texts(play.seen)
    content, operational = (to_days(policy.sinks[name].retention_ms) for name in ("content", "operational"))
    if fate.content is not None:
        yield from _record(f"Content record: {content} at most, no account", content_bytes(fate.content))
    yield from _record(f"Operational record: {operational} at most, no content", operational_bytes(fate.operational))


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts) or "nothing"


def _leaf(rule: FieldRule, fate: Anonymized) -> Html:
    name, _ = TREATMENTS[rule.treatment]
    return row(tag("code", rule.pointer), name, join(_become(rule, fate)) if rule.targets else "nothing")


def _become(rule: FieldRule, fate: Anonymized) -> Iterator[Html]:
    """Yield what a leaf has become in each of its records, a line for each."""
    for target in rule.targets:
        fields = fate.operational.fields if target.record == "operational" else fate.content and fate.content.fields
        if target.how == "scrubbed" or fields is None:
            value = "in the content record below" if fields is not None else "no content record is made"
        else:
            value = json.dumps(fields[target.field], ensure_ascii=False)
        yield tag("div", f"{target.record}.{target.field}: ", tag("code", value))


def _texts(seen: Sequence[Seen]) -> Iterator[Html]:
    """Yield each text in which something was found, and how many there are besides."""
    found = [one for one in seen if one.spans is None or one.spans]
    for one in found:
        if one.spans is None:
            yield tag("p", "A text that could not be read within its bounds: it is replaced whole.")
            continue
        yield tag("pre", *_marked(one.text, ((span.start, span.end, span.entity) for span in one.spans)))
    rest = len(seen) - len(found)
    yield tag("p", f"Texts in which nothing was found: {rest}. What is replaced whole because of its key is not here.")


def _record(title: str, data: bytes) -> Iterator[Html]:
    """Yield a record laid out for reading, its placeholders marked, and the very bytes."""
    readable = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    yield tag("h3", title)
    yield tag("pre", *_marked(readable, ((start, end, "") for start, end in find_placeholders(readable))))
    yield tag("details", tag("summary", f"Bytes of the {title[0].lower()}{title[1:]}"), tag("pre", data.decode()))


def _marked(text: str, spans: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """Yield a text with its spans marked, each with its type; what a browser would not show is a replacement mark."""
    position = 0
    for start, end, entity in spans:
        yield _printable(text[position:start])
        yield tag("mark", _printable(text[start:end]), *([tag("b", entity)] if entity else []))
        position = end
    yield _printable(text[position:])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char in "\n\t " else "\ufffd" for char in text)
