"""``lethe --version``: which program this is, and which policy and schemas it ships."""

import typer

from pipeline import __version__
from pipeline.errors import PolicyError
from pipeline.policy.load import Policy, load_policy


def show_version(wanted: bool) -> None:
    """Print one fact a line, and end: the program first; then the shipped policy, whatever settings name another.

    Records bear the policy's version and digest. Limits and a model are part of a digest: this is the one of defaults,
    and `lethe policy lint` prints the one in force.
    """
    if not wanted:
        return
    typer.echo(f"lethe {__version__}")
    try:
        typer.echo("\n".join(_facts(load_policy())))
    except PolicyError:  # the program is known all the same
        typer.echo("lethe: the policy that belongs to it is missing or does not hold: `lethe policy lint`", err=True)
    raise typer.Exit


def _facts(policy: Policy) -> list[str]:
    records = (
        *(policy.content, policy.operational, policy.rejection),
        *(policy.control, policy.applied, policy.audit),
    )
    return [
        f"policy {policy.version} {policy.digest}",
        f"event {policy.shape.name} {policy.shape.version}",
        *(f"record {record.name} {record.version}" for record in records),
    ]
