"""``lethe topics``: derive the topics from the policy, show the difference, apply it, and verify what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

import typer

from pipeline.cli import acl, edge, topics_report
from pipeline.cli.policy import EventOption, SchemasOption
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.topics.derive import DerivedTopic, derive_topics
from pipeline.topics.duration import parse_ms
from pipeline.topics.folders import check_folder
from pipeline.topics.life import SEGMENT_MS_MIN, SLACK_MS, Basis, Wishes
from pipeline.topics.live import CHECK_INTERVAL, DELETE_DELAY
from pipeline.topics.plan import Plan, make_plan
from pipeline.topics.verify import Check, Outcome, files_end_ms, has_failed, verify_topics

EXIT_FAILED = 1
_ASSUMABLE = (CHECK_INTERVAL, DELETE_DELAY)

app = typer.Typer(
    help="The sinks as Kafka topics: plan, apply, verify.",
    epilog="Exit codes: 0 nothing to do, applied, or verified; 1 verify found a failure; 2 an error, or a bound that "
    "cannot be met; 3 changes are pending: plan found some, or apply left some (--yes is missing, or by hand).",
    no_args_is_help=True,
)
app.add_typer(acl.app, name="acl")

ArchiveOption = Annotated[
    bool | None,
    typer.Option(
        "--archive/--no-archive",
        show_default=False,
        help="An archive reads content and operational: these topics then hold 48 h; default: the setting archive.",
    ),
]
AdmissionOption = Annotated[
    str,
    typer.Option(
        "--admission", help="Oldest request of which content is made; default: the setting admission, or raw's bound."
    ),
]
SlackOption = Annotated[str, typer.Option("--slack", help="Safety for clocks and delays; default: 15min.")]
ReplicationOption = Annotated[
    int | None, typer.Option("--replication", min=1, help="Replicas; default: 3, or as many as there are brokers.")
]
PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", min=1, help="Partitions of the traffic's topics; default: as declared.")
]
SegmentOption = Annotated[
    str, typer.Option("--segment-min", help="Shortest segment.ms; default: 1min. Less (to 1s) is for tests.")
]
AssumeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--assume", metavar="KEY=VALUE", help=f"A broker setting that the cluster hides: {', '.join(_ASSUMABLE)}."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("plan")
def plan_command(
    schemas: SchemasOption = "",
    event: EventOption = "",
    archive: ArchiveOption = None,
    admission: AdmissionOption = "",
    slack: SlackOption = "",
    replication: ReplicationOption = None,
    partitions: PartitionsOption = None,
    segment_min: SegmentOption = "",
    assume: AssumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what `apply` would change, and why. Exits with 3 when there is something to do."""
    chosen = edge.settings({"schemas": schemas, "event_schema": event})
    wishes = wishes_of(chosen, admission, slack, segment_min, archive, replication=replication, partitions=partitions)
    with Session(chosen, wishes, assume) as session:
        derived, plan = session.plan()
    _show(session.basis, derived, plan, as_json=as_json)
    if plan.changes:
        raise typer.Exit(edge.EXIT_PENDING)


@app.command("apply")
def apply_command(
    schemas: SchemasOption = "",
    event: EventOption = "",
    archive: ArchiveOption = None,
    admission: AdmissionOption = "",
    slack: SlackOption = "",
    replication: ReplicationOption = None,
    partitions: PartitionsOption = None,
    segment_min: SegmentOption = "",
    assume: AssumeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree that records live for a shorter or longer time.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the plan, then create and alter the topics. Exits with 3 when something is left to do."""
    chosen = edge.settings({"schemas": schemas, "event_schema": event})
    wishes = wishes_of(chosen, admission, slack, segment_min, archive, replication=replication, partitions=partitions)
    with Session(chosen, wishes, assume) as session:
        derived, plan = session.plan()
        _show(session.basis, derived, plan, as_json=as_json)
        if plan.needs_consent and not yes:
            typer.echo("lethe: nothing was changed: records would live for another time than now; give --yes", err=True)
            raise typer.Exit(edge.EXIT_PENDING)
        if plan.to_do:
            session.admin.apply(plan.to_do)
            session.admin.wait_for(plan.to_do)
            typer.echo(f"lethe: applied {len(plan.to_do)} changes", err=True)
    if plan.by_hand:
        raise typer.Exit(edge.EXIT_PENDING)


@app.command("verify")
def verify_command(
    schemas: SchemasOption = "",
    event: EventOption = "",
    admission: AdmissionOption = "",
    replication: ReplicationOption = None,
    assume: AssumeOption = None,
    log_dirs: Annotated[
        list[str] | None, typer.Option("--log-dir", help="One of this broker's log.dirs: look into its folders too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the live topics, managed or not, against their bounds. Exits with 1 when one does not hold."""
    chosen = edge.settings({"schemas": schemas, "event_schema": event})
    with Session(chosen, wishes_of(chosen, admission, replication=replication), assume) as session:
        live = session.admin.read_topics(session.basis.names.values(), deep=True)
        now_ms = edge.now_ms()
    checks = verify_topics(session.basis, live, now_ms)
    checks += _at_rest(chosen, session.basis.names)
    for log_dir in log_dirs or ():
        checks += check_folder(Path(log_dir), files_end_ms(session.basis, live), now_ms)
    if as_json:
        typer.echo(topics_report.checks_json(checks))
    else:
        topics_report.show_checks(edge.console(), checks)
    if has_failed(checks):
        raise typer.Exit(EXIT_FAILED)


def _at_rest(chosen: Settings, names: Mapping[str, str]) -> list[Check]:
    """Say what encrypts content where it lies (policy §7): lethe cannot see whether the brokers' disks are."""
    what, disks = "encryption at rest", "encrypted disks under the brokers"
    content = ("sealed by its writers", "") if chosen.seal else ("not sealed (LETHE_SEAL=false)", disks)
    raw = ("may be in envelopes (LETHE_RAW_KEY)", "") if chosen.raw_key else ("not sealed: relies on the disks", disks)
    return [
        Check(names["raw"], what, Outcome.OK, *raw),
        Check(names["content"], what, Outcome.OK if chosen.seal else Outcome.WARNS, *content),
    ]


class Session:
    """What commands about topics share: policy, settings, a connection, and what the brokers say."""

    def __init__(self, chosen: Settings, wishes: Wishes, assume: Sequence[str] | None) -> None:
        from pipeline.topics.admin import TopicAdmin  # noqa: PLC0415 - the client takes a while to import

        policy = edge.policy_of(chosen)
        where = chosen.topic_settings(policy.sinks)
        assumed = _assumed(assume or ())
        names = {name: where.topic_of(sink) for name, sink in policy.sinks.items()}
        self.admin = TopicAdmin(chosen.reach())
        try:
            facts = self.admin.read_brokers(assumed)
        except BaseException:  # whatever stopped it, the connection must not stay
            self.admin.close()
            raise
        self.basis = Basis(policy.sinks, policy.operational, names, facts, wishes)

    def plan(self) -> tuple[list[DerivedTopic], Plan]:
        """Return the topics as they follow from the policy, and what would make them so."""
        derived = derive_topics(self.basis)
        live = self.admin.read_topics(topic.name for topic in derived)
        return derived, make_plan(derived, live, self.basis.facts.check_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()


def _show(basis: Basis, derived: Sequence[DerivedTopic], plan: Plan, *, as_json: bool) -> None:
    if as_json:
        typer.echo(topics_report.plan_json(basis, derived, plan))
    else:
        topics_report.show_plan(edge.console(), basis, derived, plan)


def wishes_of(
    chosen: Settings,
    admission: str,
    slack: str = "",
    segment_min: str = "",
    archive: bool | None = None,
    *,
    replication: int | None = None,
    partitions: int | None = None,
) -> Wishes:
    """Return the wishes: the options over the settings, which the worker follows too."""
    wishes = chosen.wishes()
    return replace(
        wishes,
        admission_ms=parse_ms("--admission", admission) if admission else wishes.admission_ms,
        slack_ms=parse_ms("--slack", slack) if slack else SLACK_MS,
        archive=wishes.archive if archive is None else archive,
        replication=replication,
        partitions=partitions,
        segment_ms_min=parse_ms("--segment-min", segment_min) if segment_min else SEGMENT_MS_MIN,
    )


def _assumed(given: Sequence[str]) -> dict[str, str]:
    assumed = {}
    for pair in given:
        name, _, value = pair.partition("=")
        if name not in _ASSUMABLE or not (value.isascii() and value.isdigit()):
            raise ConfigError(f"--assume takes NAME=MILLISECONDS, and the names are {', '.join(_ASSUMABLE)}")
        assumed[name] = value
    return assumed
