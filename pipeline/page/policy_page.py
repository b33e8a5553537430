"""The policy page: what flows where, what becomes of each field, how long it is kept. Pure: same policy, same bytes."""

from collections.abc import Iterator, Sequence

from pipeline.detect.entities import EntityTable
from pipeline.page.frame import page
from pipeline.page.html import Html, join, row, table, tag
from pipeline.page.words import SINKS, TREATMENTS, kept_for
from pipeline.policy.load import Policy
from pipeline.policy.model import SinkPolicy, StorePolicy
from pipeline.policy.shape import FieldRule
from pipeline.policy.table import destinations, to_days
from pipeline.retention import Holding
from pipeline.topics.duration import format_ms

TITLE = "What is kept of a request, where, and for how long"
_PARTS = {
    "What flows where": "#flow",
    "Every field": "#fields",
    "Where it is kept": "#sinks",
    "What is taken out": "#removed",
}
_WORKER = (
    "Checks each event, drops what has no use, replaces identifiers, takes what identifies a person out of what was "
    "said, and checks the result before it lets it out."
)
_FIELD_HEADS = ("Field", "What happens", "Becomes", "Kept for", "Why")
_SECOND_MS = 1000
_SINK_HEADS = ("Sink", "Longest time from the request to the bytes being gone", "Answers for it", "Clause", "What for")


def policy_page(policy: Policy, live: Sequence[Holding] | None = None, playground: str = "") -> Html:
    """Return the page of a policy.

    Args:
        policy: with all its parts.
        live: what `lethe retention verify` found, or None where nobody looked.
        playground: where the playground is, or "" for none.
    """
    shape = policy.shape
    subtitle = f"Event {shape.name} v{shape.version}, policy {policy.version}, digest {policy.digest}"
    clauses = sorted({rule.clause for rule in shape.rules.values()})
    content = join(
        [
            tag("section", tag("h2", "What flows where", id="flow"), _flow(policy)),
            tag("section", tag("h2", "Every field", id="fields"), *_fields(policy, clauses)),
            tag("section", tag("h2", "Where it is kept", id="sinks"), _sinks(policy)),
            *([] if live is None else [_live(live)]),
            tag("section", tag("h2", "What is taken out of content", id="removed"), *_removed(policy)),
        ]
    )
    links = _PARTS | ({"Live status": "#live"} if live is not None else {})
    links |= {"Try an event": playground} if playground else {}
    return page(TITLE, subtitle, content, rules=_filters(len(clauses)), links=links)


def _flow(policy: Policy) -> Html:
    sinks = policy.sinks
    outputs = (
        tag("li", tag("strong", name), f"{to_days(sinks[sink].retention_ms)} at most. {sinks[sink].why}")
        for sink, name in SINKS.items()
    )
    steps = (
        ("1. Raw events", f"What the gateway saw. {to_days(sinks['raw'].retention_ms)} at most.", ""),
        (
            "2. The worker",
            _WORKER,
            "",
        ),
        (
            "3. Three outputs, apart",
            f"They share {', '.join(policy.content.links)} and nothing else.",
            tag("ul", *outputs),
        ),
        (
            "4. The archive",
            "Moves the outputs into tables, a day in each part, and drops a part whole when its time is over.",
            "",
        ),
    )
    boxes = (tag("li", tag("strong", name), said, more) for name, said, more in steps)
    rights = "An erasure or restriction goes over a topic of its own to every worker and to the archive, by pseudonym."
    return join([tag("ol", *boxes, class_="flow"), tag("p", rights)])


def _fields(policy: Policy, clauses: Sequence[str]) -> Iterator[Html]:
    yield tag("p", "Whatever is not in this table is dropped and counted; neither its value nor its name is kept.")
    meanings = (join([tag("dt", tag("strong", name)), tag("dd", said)]) for name, said in TREATMENTS.values())
    yield tag("dl", *meanings)
    yield _choice("Clause of the privacy policy", "clause", clauses)
    yield _choice("What happens", "treatment", [name for name, _ in TREATMENTS.values()])
    rules = policy.shape.rules.values()
    bodies = (
        tag(
            "tbody",
            tag("tr", tag("th", f"Clause {clause}", colspan=str(len(_FIELD_HEADS)), scope="rowgroup")),
            *(_field(rule, policy) for rule in rules if rule.clause == clause),
            class_=f"clause-{number}",
        )
        for number, clause in enumerate(clauses, 1)
    )
    yield table(_FIELD_HEADS, *bodies, label="Every field")


def _field(rule: FieldRule, policy: Policy) -> Html:
    name, _ = TREATMENTS[rule.treatment]
    number = list(TREATMENTS).index(rule.treatment) + 1
    pointer = tag("code", rule.pointer)
    return row(pointer, name, destinations(rule), kept_for(rule, policy), rule.why, class_=f"treatment-{number}")


def _choice(legend: str, name: str, values: Sequence[str]) -> Html:
    """Return buttons of which one is chosen: style alone shows the rows that it is about."""
    labels = (
        tag("label", tag("input", type="radio", name=name, id=f"{name}-{at}", checked=at == 0), f" {value}")
        for at, value in enumerate(["all", *values])
    )
    return tag("fieldset", tag("legend", f"Show: {legend}"), *labels)


def _filters(clauses: int) -> str:
    """Return the rules of style by which the choices work."""
    return "".join(
        f"main:has(#{name}-{at}:checked) {part}[class^={name}]:not(.{name}-{at}){{display:none}}\n"
        for name, part, count in (("clause", "tbody", clauses), ("treatment", "tr", len(TREATMENTS)))
        for at in range(1, count + 1)
    )


def _sinks(policy: Policy) -> Html:
    every: list[SinkPolicy | StorePolicy] = [*policy.sinks.values(), *policy.stores.values()]
    rows = (row(one.name, to_days(one.retention_ms), one.owner, one.clause, one.why) for one in every)
    return table(_SINK_HEADS, tag("tbody", *rows), label="Where it is kept")


def _live(holdings: Sequence[Holding]) -> Html:
    heads = ("Sink", "What", "Oldest", "Longest", "Verdict", "Note")
    rows = (
        row(
            one.sink or "-",
            f"field {one.field}" if one.field else one.kind.replace("_", " "),
            *("-" if ms is None else format_ms(ms - ms % _SECOND_MS) for ms in (one.age_ms, one.bound_ms)),
            one.verdict,
            one.note,
        )
        for one in holdings
    )
    said = "As it was found when this page was made."
    shown = table(heads, tag("tbody", *rows), label="Live status")
    return tag("section", tag("h2", "Live status", id="live"), tag("p", said), shown)


def _removed(policy: Policy) -> Iterator[Html]:
    entities = [one for one in EntityTable.from_json(policy.entities).entities.values() if one.enabled]
    yield tag(
        "p",
        "A placeholder stands in the place of each, such as ",
        tag("code", "<EMAIL_1>"),
        "; the same value has the same placeholder throughout one request. A text that could not be read is replaced "
        "whole.",
    )
    rows = (row(one.name, tag("code", f"<{one.placeholder}_1>"), one.why) for one in entities)
    yield table(("Kind", "Placeholder", "Why"), tag("tbody", *rows), label="What is taken out of content")
    dropped = sorted(key for key, rules in policy.body.keys.items() if any(rule.action == "drop" for rule in rules))
    keys = (part for key in dropped for part in (tag("code", key), Html(" ")))
    yield tag("p", "Keys of bodies that are dropped with all that they hold, some only beside another: ", *keys)
