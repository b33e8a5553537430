"""``lethe store``: what is done to a store apart from writing and reading it."""

from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.migrate import migrate, plan_migration
from pipeline.store.opening import open_store

app = typer.Typer(no_args_is_help=True, help="Keep a store as the policy says.")


@app.command("migrate")
def migrate_command(
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the statements and change nothing; exits with 3 when there are any.")
    ] = False,
) -> None:
    """Give a store's tables the columns that its record schemas have got. Any other change is refused.

    It may be run again at any time; one that was interrupted goes on where it ended.
    """
    settings = edge.settings()
    policy = edge.policy_of(settings)
    tables = make_tables(schemas_of(policy), policy.sinks)
    with open_store(settings.store, now_ms=edge.now_ms()) as store:
        statements = plan_migration(store, tables) if plan else migrate(store, tables)
        for statement in statements:
            typer.echo(f"{statement};")
        done = "changes are pending" if plan else "done"
        typer.echo(f"{store.label}: {done if statements else 'nothing to do'}", err=True)
    if plan and statements:
        raise typer.Exit(edge.EXIT_PENDING)
