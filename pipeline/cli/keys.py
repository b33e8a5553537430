"""``lethe keys``: make, roll, rotate and show the key file, and the keyring of sealed content."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.coarsen import format_timestamp, parse_timestamp
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import RollReport, init_keyfile, load_keyring, roll_keyfile, rotate_keyfile
from pipeline.keys.provider import file_of, init_kek, load_provider
from pipeline.keys.sealfile import days_of, init_day_keys, rewrap_day_keys, roll_day_keys
from pipeline.policy.load import Policy

# No locals in a traceback: they could be keys.
app = typer.Typer(
    help="Keys of pseudonyms, and of sealed content: files of mode 0600.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

KeyfileOption = Annotated[
    Path | None, typer.Option("--path", help="The key file; default: as the settings say.", dir_okay=False)
]


@app.command()
def init(path: KeyfileOption = None) -> None:
    """Make the files of keys that are not there yet: key file, keyring, key-encryption key. Overwrites none."""
    settings = _settings(path)
    for made in init_keys(settings, edge.policy_of(settings)):
        typer.echo(f"made {made} (mode 0600): keep it off backups")
    typer.echo("run 'lethe keys roll' every hour: it makes the keys of the days to come, and destroys expired ones")


def init_keys(settings: Settings, policy: Policy) -> list[str]:
    """Make the files of keys that are not there yet; return their paths.

    Args:
        settings: name them.
        policy: has the bound of content, as long as which its keys live.

    Raises:
        ConfigError: the key-encryption key is no file, and its provider is not installed.
        KeyringError: all are there already, or one cannot be written.
    """
    now_ms, keys, made = edge.now_ms(), Path(settings.keys), []
    if settings.seal:
        kek = file_of(settings.kek)
        if init_kek(settings.kek):
            made.append(str(kek))
        if init_day_keys(Path(settings.keyring), load_provider(settings.kek), now_ms, bound_of(policy)):
            made.append(settings.keyring)
    if not made or not keys.exists():
        init_keyfile(keys, now_ms)
        made.insert(0, str(keys))
    return made


def bound_of(policy: Policy) -> int:
    """Return how long content may live, from its request to its bytes being gone, in milliseconds."""
    return policy.sinks["content"].retention_ms


@app.command()
def roll(path: KeyfileOption = None) -> None:
    """Make the day keys of the next two days and destroy those that have expired. Run it every hour."""
    settings = _settings(path)
    _tell("day keys", roll_keyfile(Path(settings.keys), edge.now_ms()))
    if settings.seal:
        bound_ms = bound_of(edge.policy_of(settings))
        provider = load_provider(settings.kek)
        _tell("sealing keys", roll_day_keys(Path(settings.keyring), provider, edge.now_ms(), bound_ms))


@app.command()
def rewrap(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The new one: file:PATH, made where there is none.")],
) -> None:
    """Wrap the keyring's keys with another key-encryption key; LETHE_KEK names it from then on."""
    settings = _settings(None)
    init_kek(to)
    count = rewrap_day_keys(Path(settings.keyring), load_provider(settings.kek), load_provider(to))
    typer.echo(f"wrapped {count} keys again: give LETHE_KEK its new value everywhere, then destroy the old key")


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
    epoch = rotate_keyfile(Path(_settings(path).keys), edge.now_ms(), valid_from_ms)
    typer.echo(
        f"made epoch {epoch.name}, in force from {format_timestamp(epoch.valid_from_ms)}: "
        "every worker must have this file by then"
    )


@app.command()
def envelope(
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new key; those before it open as well.")] = False,
    retire: Annotated[bool, typer.Option("--retire", help="Destroy all but the newest.")] = False,
) -> None:
    """Show the public keys to which gateways may seal raw events, the newest first; make the file where there is none.

    The file is what LETHE_RAW_KEY names, and workers alone have it. To change keys: --rotate, give gateways the first
    key that it shows, and --retire when raw's bound has passed.
    """
    path = _settings(None).raw_key
    if not path:
        raise ConfigError("LETHE_RAW_KEY does not say where the keys of raw events are, or shall be")
    if rotate and retire:
        raise ConfigError("--rotate or --retire, not both: what is under way is sealed to the older key")
    from pipeline.keys import envelopefile  # noqa: PLC0415 - its libraries take a while to import

    made = envelopefile.init_envelope_keys(Path(path))
    if (rotate and not made) or retire:
        envelopefile.rotate_envelope_keys(Path(path), retire=retire)
    for public in envelopefile.load_envelope_keys(Path(path)).publics:
        typer.echo(public)


@app.command()
def show(path: KeyfileOption = None) -> None:
    """Show the names of epochs and days; never a key. Tab-separated: kind, name, valid from."""
    settings = _settings(path)
    ring = load_keyring(Path(settings.keys))
    for epoch in ring.epochs:
        typer.echo(f"epoch\t{epoch.name}\t{format_timestamp(epoch.valid_from_ms)}")
    for day in sorted(ring.day_keys):
        typer.echo(f"day\t{day}\t{day}T00:00:00.000Z")
    if settings.seal and Path(settings.keyring).exists():
        for day in days_of(Path(settings.keyring)):
            typer.echo(f"seal\t{day}\t{day}T00:00:00.000Z")


def _tell(kind: str, report: RollReport) -> None:
    typer.echo(f"made {kind}: {', '.join(report.created) or 'none'}")
    typer.echo(f"removed {kind}: {', '.join(report.removed) or 'none'}")


def _settings(path: Path | None) -> Settings:
    return edge.settings({"keys": str(path) if path else ""})
