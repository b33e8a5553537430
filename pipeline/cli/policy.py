"""``lethe policy``: lint, show and explain the policy in force."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge, report
from pipeline.errors import ConfigError
from pipeline.policy.compare import differences
from pipeline.policy.files import default_schemas_dir, read_policy_files
from pipeline.policy.lint import lint
from pipeline.policy.load import Policy, compile_policy
from pipeline.policy.table import HEADERS, destinations, field_rows, markdown

DIFFERENCE = ("what", "before", "after", "keeps more")

app = typer.Typer(help="The policy: schemas, catalogues and sinks.", no_args_is_help=True)

SchemasOption = Annotated[
    str, typer.Option("--schemas", envvar="LETHE_SCHEMAS", help="Folder of the policy; default: the shipped one.")
]
EventOption = Annotated[
    str,
    typer.Option("--event", envvar="LETHE_EVENT_SCHEMA", help="Event schema below it; default: as policy.json says."),
]


@app.command("lint")
def lint_command(schemas: SchemasOption = "", event: EventOption = "") -> None:
    """Check the policy against its own rules. Exits with 1 where one is broken."""
    settings = edge.settings({"schemas": schemas, "event_schema": event})
    folder = Path(settings.schemas) if settings.schemas else default_schemas_dir()
    files = read_policy_files(folder, settings.event_schema or None)
    findings = lint(files)
    for finding in findings:
        typer.echo(str(finding))
    if findings:
        raise typer.Exit(1)
    model = edge.model_of(settings)
    # The one that records bear: limits and model are part of it.
    digest = compile_policy(files, settings.limits(), model.identity if model else "").digest
    typer.echo(f"the policy holds: {files.paths['event']}, digest {digest}")


@app.command("show")
def show_command(schemas: SchemasOption = "", event: EventOption = "") -> None:
    """Show the field table: a table on a terminal, Markdown in a pipe."""
    policy = _policy(schemas, event)
    console = edge.console()
    if not console.is_terminal:
        typer.echo(markdown(policy), nl=False)
        return
    title = f"{policy.shape.name} v{policy.shape.version}, policy {policy.version} ({policy.digest})"
    table = report.make_table(console, *HEADERS, words=HEADERS)
    for row in field_rows(policy):
        table.add_row(*row.cells())
    report.show_table(console, title, table)


@app.command("explain")
def explain_command(
    field: Annotated[str, typer.Argument(help="A field of the event, such as client.ip.")],
    schemas: SchemasOption = "",
    event: EventOption = "",
) -> None:
    """Say what happens to one field, and why."""
    policy = _policy(schemas, event)
    rule = policy.shape.rules.get(field.removeprefix("/").replace("/", "."))  # a JSON pointer will do
    if rule is None:
        raise ConfigError(f"no such field; the fields are {', '.join(policy.shape.rules)}. Anything else is dropped.")
    facts = {
        "field": rule.name,
        "read from": rule.pointer,
        "treatment": str(rule.treatment),
        "goes to": destinations(rule),
        "role": rule.role and str(rule.role),
        "format": rule.format,
        "unit": rule.unit,
        "catalogue": rule.catalogue,
        "searched in content as": rule.entity,
        "clause": rule.clause,
        "why": rule.why,
    }
    for name, value in facts.items():
        if value:
            typer.echo(f"{name}: {value}")


@app.command("diff")
def diff_command(
    other: Annotated[str, typer.Argument(help="Folder of the other policy, such as the version before.")],
    schemas: SchemasOption = "",
    event: EventOption = "",
) -> None:
    """Say what going from this policy to another one changes. Exits with 1 where the other one keeps more."""
    policy, another = _policy(schemas, event), _policy(other, event)
    found = differences(policy, another)
    if not found:
        typer.echo("no difference that decides what is kept")
        return
    console = edge.console()
    table = report.make_table(console, *DIFFERENCE, words=DIFFERENCE)
    for one in found:
        table.add_row(one.place, one.before, one.after, "yes, or nobody can tell" if one.keeps_more else "no")
    report.show_table(console, f"from policy {policy.version} to {another.version}", table)
    more = sum(one.keeps_more for one in found)
    if more:
        typer.echo(f"policy {another.version} keeps more in {more} of {len(found)} places")
        raise typer.Exit(1)
    typer.echo(f"policy {another.version} keeps no more than {policy.version}")


def _policy(schemas: str, event: str) -> Policy:
    return edge.policy_of(edge.settings({"schemas": schemas, "event_schema": event}))
