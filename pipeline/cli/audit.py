"""``lethe audit``: one report, by clause of the privacy policy, of whether live sinks keep what it promises."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from pipeline.audit.chain import Chain
from pipeline.audit.verify import verify_folder
from pipeline.cli import edge
from pipeline.cli.metrics_file import check_metrics_path, write_metrics
from pipeline.cli.policy import EventOption, SchemasOption
from pipeline.cli.privilege import signer_of
from pipeline.cli.report import make_table, show_table
from pipeline.cli.retention import EXIT_CODES, JsonOption, StoreOption, TextfileOption, holdings_of
from pipeline.cli.topics import AdmissionOption, AssumeOption
from pipeline.config import Settings
from pipeline.errors import ConfigError, PipelineError, PolicyError
from pipeline.policy.files import default_schemas_dir, read_policy_files
from pipeline.policy.lint import lint
from pipeline.policy.load import Policy
from pipeline.proof.examine import Examiner
from pipeline.proof.metrics import AuditMetrics
from pipeline.proof.report import Check, judged, of_holdings, worst
from pipeline.proof.witness import FILE, Witness
from pipeline.retention import Verdict
from pipeline.seal import Opener, PlainSealer
from pipeline.store.client import Store
from pipeline.store.intake import STORED_SINKS
from pipeline.store.opening import open_unswept
from pipeline.store.sweep import sweep
from pipeline.store.url import EmbeddedTarget, parse_store_url
from pipeline.synth.manifest import read_manifest
from pipeline.synth.model import Canary

_DATABASE = "lethe"
_STYLES = {Verdict.HOLDS: "", Verdict.LATE: "yellow", Verdict.UNSEEN: "bold red", Verdict.BROKEN: "bold red"}


def audit_command(
    store: StoreOption = "",
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not look at a store.")] = False,
    no_topics: Annotated[bool, typer.Option("--no-topics", help="Do not look at topics.")] = False,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Records of each topic and table.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed takes other records.")] = 0,
    canaries: Annotated[
        Path | None, typer.Option("--canaries", help="A manifest of `lethe generate`: none of it may be found.")
    ] = None,
    schemas: SchemasOption = "",
    event: EventOption = "",
    admission: AdmissionOption = "",
    assume: AssumeOption = None,
    textfile: TextfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove the policy over live sinks: schemas, identifiers, canaries, retention, the audit log; shows no content.

    Exits with 1 when a promise is broken, with 2 when something could not be looked at.
    """
    check_metrics_path("--textfile", textfile)
    settings = edge.settings({"schemas": schemas, "event_schema": event, "store": store})
    policy = edge.policy_of(settings)
    planted = None if canaries is None else _manifest(canaries)
    examiner = Examiner(policy, _opener(settings), _witness(settings))
    holdings = holdings_of(settings, admission, assume, topics=not no_topics, store=not no_store)
    checks = [_lint(settings), *of_holdings(holdings, policy.clauses())]
    if not no_topics:
        checks += _tried("§5", "samples of topics", lambda: _sample_topics(settings, policy, examiner, sample, seed))
    if not no_store:
        checks += _tried("§5", "samples of the store", lambda: _sample_store(settings, policy, examiner, sample, seed))
    checks += examiner.checks(planted)
    checks.append(_audit_log(settings, policy))
    checks.sort(key=lambda check: check.clause)
    if as_json:
        document = {"verdict": worst(checks), "checks": [asdict(one) for one in checks]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(edge.console(), checks)
    written = textfile is None or write_metrics("--textfile", textfile, AuditMetrics(checks, edge.now_ms()))
    raise typer.Exit(max(EXIT_CODES[worst(checks)], 0 if written else 2))


def _tried(clause: str, name: str, look: Callable[[], None]) -> list[Check]:
    """Look; what cannot be looked at is said, and does not keep the rest from being looked at."""
    try:
        look()
    except PipelineError as error:
        return [Check(clause, name, Verdict.UNSEEN, note=str(error))]
    return []


def _opener(settings: Settings) -> Opener:
    """Return what opens bodies; an auditor may be without the keyring, and is then told how many stayed closed."""
    is_there = Path(settings.keyring).exists()
    return edge.opener_of(settings) if is_there else PlainSealer()


def _manifest(path: Path) -> list[Canary]:
    reason = ""
    try:
        return [*read_manifest(path)]
    except OSError as error:
        reason = error.strerror or "cannot be read"
    raise ConfigError(f"--canaries: {reason}")


def _witness(settings: Settings) -> Witness:
    folder = Path(settings.schemas) if settings.schemas else default_schemas_dir()
    problem = ""
    try:
        data, allowed = (
            orjson.loads((folder / "detection" / name).read_bytes()) for name in (Path(FILE).name, "allow.json")
        )
        return Witness(data, allowed)
    except (OSError, orjson.JSONDecodeError):
        problem = f"{FILE} and allow.json beside it: one is missing or no JSON"
    raise PolicyError(problem)


def _lint(settings: Settings) -> Check:
    folder = Path(settings.schemas) if settings.schemas else default_schemas_dir()
    findings = lint(read_policy_files(folder, settings.event_schema or None))
    return judged(
        "§4", "policy: content and operational apart", 1, {"lethe policy lint": len(findings)} if findings else {}
    )


def _sample_topics(settings: Settings, policy: Policy, examiner: Examiner, size: int, seed: int) -> None:
    from pipeline.proof.sampling import sample_topics  # noqa: PLC0415 - Kafka's clients take a while to import
    from pipeline.recovery.reading import count_partitions  # noqa: PLC0415 - likewise

    where = settings.topic_settings(policy.sinks)
    names = {sink: where.topic_of(policy.sinks[sink]) for sink in STORED_SINKS}
    brokers = settings.reach()
    counts = count_partitions(brokers, names.values())
    topics = {sink: (name, counts[name]) for sink, name in names.items()}
    asyncio.run(sample_topics(brokers, topics, policy, examiner, size, seed))


def _sample_store(settings: Settings, policy: Policy, examiner: Examiner, size: int, seed: int) -> None:
    from pipeline.proof.sampling import sample_store  # noqa: PLC0415 - as above

    with _opened(settings.store) as store:
        sample_store(store, policy, examiner, size, seed)


@contextmanager
def _opened(url: str) -> Iterator[Store]:
    """Open a store that exists; an embedded one is swept before its records are read (design §4)."""
    with open_unswept(url, database=_DATABASE, tidy=True) as store:
        if isinstance(parse_store_url(url, database=_DATABASE), EmbeddedTarget):
            sweep(store, edge.now_ms())
        yield store


def _audit_log(settings: Settings, policy: Policy) -> Check:
    folder = Path(settings.audit)
    if not folder.exists():
        return Check(
            "§7", "audit log", Verdict.UNSEEN, note="there is none: nobody did anything privileged, or it is gone"
        )
    signer = signer_of(settings)
    chain = Chain(policy.audit, "" if signer is None else signer.public)
    faults = _tried("§7", "audit log", lambda: verify_folder(folder, chain))
    if faults:
        return faults[0]
    found = {"findings of lethe audit-log verify": len(chain.findings)} if chain.findings else {}
    return judged("§7", "audit log", 0 if chain.head is None else chain.head.sequence + 1, found)


def _show(console: Console, checks: Iterable[Check]) -> None:
    words = ("clause", "check", "verdict", "found", "note")
    table = make_table(console, "clause", "check", "looked at", "verdict", "found", "note", words=words)
    rows = list(checks)
    for one in rows:
        found = ", ".join(f"{kind}: {count:,}" for kind, count in sorted(one.found.items()))
        table.add_row(one.clause, one.name, f"{one.looked:,}", one.verdict, found, one.note, style=_STYLES[one.verdict])
    show_table(console, f"audit: {worst(rows)}", table)
