"""``lethe topics acl``: the roles' rights as Kafka's ACLs: plan, apply."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import edge
from pipeline.cli.policy import SchemasOption
from pipeline.cli.report import make_table, show_table
from pipeline.policy.access import read_roles
from pipeline.policy.files import default_schemas_dir
from pipeline.topics.acl import Difference, Resources, Right, derive, differ, principals_of

if TYPE_CHECKING:
    from pipeline.topics.aclclient import AclAdmin

app = typer.Typer(
    help="The roles' rights as Kafka's ACLs: plan, apply.",
    epilog="Exit codes: 0 nothing to do, or applied; 2 an error; 3 something is left to do, or to be judged by hand.",
    no_args_is_help=True,
)
PrincipalOption = Annotated[
    list[str] | None,
    typer.Option("--principal", metavar="ROLE=User:NAME", help="Who has a role; repeatable. Default: User:ROLE."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MARKS = {"missing": ("+", "green"), "surplus": ("-", "yellow"), "by_hand": ("!", "bold red")}


@app.command("plan")
def plan_command(schemas: SchemasOption = "", principal: PrincipalOption = None, as_json: JsonOption = False) -> None:
    """Show the rights that roles lack, and those that nobody should have. Exits with 3 when there are some."""
    with _session(schemas, principal or ()) as (_, difference):
        _show(difference, as_json=as_json)
    if any((difference.missing, difference.surplus, difference.by_hand)):
        raise typer.Exit(edge.EXIT_PENDING)


@app.command("apply")
def apply_command(
    schemas: SchemasOption = "",
    principal: PrincipalOption = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take away, too, what no role has on these topics and groups.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the plan, then give what is missing. Exits with 3 when something is left to do.

    Nothing is taken away without --remove, and nothing ever of what reaches beyond these topics and groups.
    """
    with _session(schemas, principal or ()) as (admin, difference):
        _show(difference, as_json=as_json)
        admin.add_rights(difference.missing)
        admin.remove_rights(difference.surplus if remove else ())
    removed = len(difference.surplus) if remove else 0
    typer.echo(f"lethe: gave {len(difference.missing)} rights, took {removed} away", err=True)
    if difference.by_hand or len(difference.surplus) > removed:
        raise typer.Exit(edge.EXIT_PENDING)


@contextmanager
def _session(schemas: str, given: Sequence[str]) -> Iterator[tuple["AclAdmin", Difference]]:
    """Yield a connection, and what differs."""
    from pipeline.topics.aclclient import AclAdmin  # noqa: PLC0415 - the client takes a while to import

    chosen = edge.settings({"schemas": schemas})
    policy = edge.policy_of(chosen)
    where = chosen.topic_settings(policy.sinks)
    topics = {name: where.topic_of(sink) for name, sink in policy.sinks.items()}
    resources = Resources(topics, chosen.group, chosen.topic_prefix)
    roles = read_roles(Path(chosen.schemas) if chosen.schemas else default_schemas_dir())
    derived = derive(roles.values(), principals_of(roles, given), resources)
    with AclAdmin(chosen.reach()) as admin:
        yield admin, differ(derived, admin.read_rights(), resources)


def _show(difference: Difference, *, as_json: bool) -> None:
    kinds: dict[str, tuple[Right, ...]] = {kind: getattr(difference, kind) for kind in _MARKS}
    if as_json:
        typer.echo(json.dumps({kind: [right._asdict() for right in rights] for kind, rights in kinds.items()}))
        return
    console = edge.console()
    if not any(kinds.values()):
        console.print("nothing to do")
        return
    columns = ("", "principal", "resource", "name", "operation", "but")
    table = make_table(console, *columns, words=columns)
    for kind, rights in kinds.items():
        mark, style = _MARKS[kind]
        for right in rights:
            odd = [right.pattern] * (right.pattern != "literal") + [right.permission] * (right.permission != "allow")
            table.add_row(mark, *right[:4], " ".join(odd), style=style)
    show_table(console, "+ a role lacks it, - no role has it, ! reaches further: by hand", table)
