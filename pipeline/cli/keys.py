"""``lethe keys``: make, roll, rotate and show the key file."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.coarsen import format_timestamp, parse_timestamp
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import init_keyfile, load_keyring, roll_keyfile, rotate_keyfile

# No locals in a traceback: they could be keys.
app = typer.Typer(
    help="Keys of pseudonyms: one file, mode 0600.", no_args_is_help=True, pretty_exceptions_show_locals=False
)

KeyfileOption = Annotated[
    Path | None, typer.Option("--path", help="The key file; default: as the settings say.", dir_okay=False)
]


@app.command()
def init(path: KeyfileOption = None) -> None:
    """Make a key file. Refuses to overwrite one."""
    chosen = _chosen(path)
    init_keyfile(chosen, edge.now_ms())
    typer.echo(f"made {chosen} (mode 0600): keep it off backups, and run 'lethe keys roll' daily")


@app.command()
def roll(path: KeyfileOption = None) -> None:
    """Make the day keys of the next two days and remove those that have expired. Run it daily."""
    report = roll_keyfile(_chosen(path), edge.now_ms())
    typer.echo(f"made day keys: {', '.join(report.created) or 'none'}")
    typer.echo(f"removed day keys: {', '.join(report.removed) or 'none'}")


@app.command()
def rotate(
    valid_from: Annotated[
        str, typer.Option(help="When it comes into force, RFC 3339 with a zone: 2026-12-01T00:00:00Z.")
    ],
    path: KeyfileOption = None,
) -> None:
    """Add the next key epoch, at least an hour before it comes into force."""
    valid_from_ms = parse_timestamp(valid_from)
    if valid_from_ms is None:
        raise ConfigError("--valid-from is not an RFC 3339 time with a zone, as 2026-12-01T00:00:00Z")
    epoch = rotate_keyfile(_chosen(path), edge.now_ms(), valid_from_ms)
    typer.echo(
        f"made epoch {epoch.name}, in force from {format_timestamp(epoch.valid_from_ms)}: "
        "every worker must have this file by then"
    )


@app.command()
def show(path: KeyfileOption = None) -> None:
    """Show the names of epochs and days; never a key. Tab-separated: kind, name, valid from."""
    ring = load_keyring(_chosen(path))
    for epoch in ring.epochs:
        typer.echo(f"epoch\t{epoch.name}\t{format_timestamp(epoch.valid_from_ms)}")
    for day in sorted(ring.day_keys):
        typer.echo(f"day\t{day}\t{day}T00:00:00.000Z")


def _chosen(path: Path | None) -> Path:
    return Path(edge.settings({"keys": str(path) if path else ""}).keys)
