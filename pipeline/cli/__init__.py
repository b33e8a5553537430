"""The command ``lethe``: thin, and the one place where errors become exit codes."""

import logging
import sys
from typing import Annotated

import typer

from pipeline.cli import (
    aggregates,
    archive,
    audit,
    audit_log,
    content,
    demo,
    generate,
    keys,
    lookups,
    mending,
    page,
    policy,
    receipt,
    rejected,
    replay,
    retention,
    rights,
    run,
    scan,
    store,
    topics,
    worker,
)
from pipeline.cli.version import show_version
from pipeline.errors import PipelineError, describe

EXIT_ERROR = 2
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # as shells say it: 128 and the number of SIGINT

app = typer.Typer(
    name="lethe",
    help="Streaming anonymization pipeline for LLM API traffic.",
    epilog="Exit codes: 0 done; 1 the check that was asked for fails (run --strict, scan, policy lint, demo, "
    "topics verify, retention, audit-log verify, receipt verify), nothing is found (resolve, search, open), or nobody "
    "reads the output any more; 2 an argument, input, setting, key or sink is wrong or failed; 3 changes are pending "
    "(topics plan, topics apply, store migrate --plan) or something is waited for (erase, restrict, rescrub, purge); "
    "4 rejections flood (worker); 70 a defect of lethe; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a pretty traceback shows local variables, and those are people's data
    add_completion=False,
)
policy.app.command("page")(page.policy_page_command)
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(store.app, name="store")
app.add_typer(audit_log.app, name="audit-log")
app.add_typer(receipt.app, name="receipt")
app.add_typer(retention.app, name="retention")
app.add_typer(aggregates.app, name="aggregates")
app.command("run")(run.run_command)
app.command("erase")(rights.erase_command)
app.command("restrict")(rights.restrict_command)
app.command("export")(rights.export_command)
app.command("find")(lookups.find_command)
app.command("resolve")(lookups.resolve_command)
app.command("pseudonym")(lookups.pseudonym_command)
app.command("search")(content.search_command)
app.command("open")(content.open_command)
app.command("rescrub")(mending.rescrub_command)
app.command("purge")(mending.purge_command)
app.command("audit")(audit.audit_command)
app.command("generate")(generate.generate_command)
app.command("scan")(scan.scan_command)
app.command("page")(page.page_command)
app.command("demo")(demo.demo_command)
app.command("rejected")(rejected.rejected_command)
app.command("replay")(replay.replay_command)
app.command("worker")(worker.worker_command)
app.command("archive")(archive.archive_command)


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Version, policy, schemas.")
    ] = False,
) -> None:
    """Streaming anonymization pipeline for LLM API traffic."""


def main() -> None:
    """Run the command. Errors go to standard error in one line, without a value of any event."""
    _quiet_libraries()
    try:
        app()
    except PipelineError as error:
        typer.echo(f"lethe: {error}", err=True)
        sys.exit(EXIT_ERROR)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # typer's word for Ctrl-C, which it passes on in silence
            typer.echo("lethe: interrupted", err=True)
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: the message of an unforeseen error can hold data
        typer.echo(f"lethe: internal error: {describe(error)}; please report it", err=True)
        sys.exit(EXIT_BUG)


def _quiet_libraries() -> None:
    """Pin third-party loggers above DEBUG: some write the texts and rows that they handle there."""
    libraries = ("presidio-analyzer", "presidio-anonymizer", "clickhouse_connect", "kafka", "tldextract", "urllib3")
    for name in (*libraries, "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)
