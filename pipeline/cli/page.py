"""``lethe policy page`` and ``lethe page``: the policy as a web page, in a file or served with a playground."""

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.cli.policy import EventOption, SchemasOption
from pipeline.cli.retention import holdings_of
from pipeline.cli.sink import admitter
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import draw_keyring
from pipeline.page import example
from pipeline.page.play import DAYS_BACK, Play, Playground
from pipeline.page.play_page import PLACE, play_page
from pipeline.page.policy_page import policy_page
from pipeline.page.server import Pages, PageServer
from pipeline.policy.load import Policy

HostOption = Annotated[str, typer.Option("--host", help="Address to serve at.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve at; 0 is any that is free.")]
ExposeOption = Annotated[
    bool, typer.Option("--expose", help="Serve at an address that other machines reach, without encryption.")
]


def policy_page_command(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: the output.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask brokers, store and keyring, as lethe retention verify does.")
    ] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it instead, as lethe page does.")] = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    expose: ExposeOption = False,
    schemas: SchemasOption = "",
    event: EventOption = "",
) -> None:
    """Write the policy as one HTML page: what flows where, every field, how long it is kept, what is taken out.

    It fetches nothing and runs no script. The same policy gives the same bytes, but for --live.
    """
    if serve:
        if live or output:
            raise ConfigError("what is served has no live status and is in no file: leave --live and --output out")
        page_command(host, port, expose, schemas, event)
        return
    if output is None and sys.stdout.isatty():
        raise ConfigError("the page is for a browser: name a file with --output, or pass --serve")
    settings = edge.settings({"schemas": schemas, "event_schema": event})
    policy = edge.policy_of(settings)
    holdings = holdings_of(settings, "", None, topics=True, store=True) if live else None
    data = policy_page(policy, holdings).encode()
    if output is None:
        sys.stdout.buffer.write(data)
        return
    problem = ""
    try:
        output.write_bytes(data)
    except OSError as error:
        problem = f"--output {output}: cannot be written ({error.strerror})"
    if problem:
        raise ConfigError(problem)


def page_command(
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    expose: ExposeOption = False,
    schemas: SchemasOption = "",
    event: EventOption = "",
) -> None:
    """Serve the policy page with a playground: paste an event, and see what becomes of it. Ctrl-C ends it.

    Pseudonyms are made with a key drawn at the start and kept nowhere; no store and no broker is asked. Whoever is to
    see it needs the address as it is printed: it has a token that is new each time.
    """
    _check_host(host, expose)
    settings = edge.settings({"schemas": schemas, "event_schema": event})
    with PageServer(host, port, pages_of(settings, edge.policy_of(settings))) as server:
        typer.echo(server.url)
        sys.stdout.flush()
        try:
            server.serve()
        except KeyboardInterrupt:
            typer.echo("lethe: the page is closed", err=True)


def pages_of(settings: Settings, policy: Policy) -> Pages:
    """Return what is served: the policy, and a playground with keys of its own."""
    keys = draw_keyring(edge.now_ms(), DAYS_BACK)
    admit = admitter("file:", policy, edge.now_ms)
    playground = Playground(policy.without_rules(), edge.detector_of(settings, policy), keys, admit)
    has_example = policy.shape.name == example.SHAPE
    links = {"The policy": "./"} | ({"An example": f"{PLACE}?example"} if has_example else {})

    def form(text: str, play: Play | None) -> bytes:
        return play_page(policy, text, play, links).encode("utf-8", "replace")

    return Pages(
        policy=policy_page(policy, playground=PLACE).encode(),
        form=form,
        example=lambda: example.example_event(edge.now_ms()) if has_example else "",
        play=playground.play,
        event_bytes_max=policy.limits.event_bytes_max,
    )


def _check_host(host: str, expose: bool) -> None:
    """Refuse a host that is no address, all addresses at once, and without --expose what others reach.

    Raises:
        ConfigError: it is one of these.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified:
        raise ConfigError("--host: give one IP address of this machine; requests must name it")
    if address.is_loopback:
        return
    if not expose:
        raise ConfigError(
            "--host: other machines reach that address, and what is pasted goes there unencrypted; pass --expose if "
            "they may, or better: leave --host out and forward the port (ssh -L)"
        )
    typer.echo("lethe: warning: the page is served to other machines, unencrypted", err=True)
