"""What privileged commands share: the reason and ticket that they ask for, and the audit log that they write to."""

import re
from pathlib import Path
from typing import Annotated

import typer

from pipeline.audit.entry import Action, Deed, Subject
from pipeline.audit.log import AuditLog
from pipeline.audit.operator import find_operator
from pipeline.cli import edge
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.signing import Signer
from pipeline.keys.signingfile import load_signer
from pipeline.policy.load import Policy
from pipeline.policy.validator import FORMATS

SCHEDULE = "schedule"

_TICKET = re.compile(FORMATS["ticket"])

WhyOption = Annotated[
    str, typer.Option("--why", metavar="REASON", help="The reason, of a closed list: abuse_report, incident, …")
]
TicketOption = Annotated[
    str, typer.Option("--ticket", metavar="TICKET", help="Where the reason is written down: ABUSE-17.")
]


def open_log(settings: Settings, policy: Policy) -> AuditLog:
    """Return the audit log that the settings name; what it repairs is said on standard error."""
    return AuditLog(
        Path(settings.audit),
        policy.audit,
        find_operator(settings.actor),
        edge.now_ms,
        signer=signer_of(settings),
        warn=lambda text: typer.echo(f"lethe: warning: {text}", err=True),
    )


def signer_of(settings: Settings) -> Signer | None:
    """Return the receipt key, or None where there is none; one that is there must be usable."""
    path = Path(settings.receipt_key)
    return load_signer(path) if path.exists() else None


def deed_of(policy: Policy, action: Action, why: str, ticket: str) -> Deed:
    """Return a privileged action that is about nobody in particular.

    Args:
        policy: its catalogue of reasons.
        action: what is to be done.
        why: reason as it was given.
        ticket: ticket as it was given, "" for none.

    Raises:
        ConfigError: there is no such reason, or the ticket is missing or none; neither is repeated.
    """
    reasons = policy.catalogues["audit_reasons"].mapping
    if why not in reasons:
        raise ConfigError(f"{action} is privileged: it needs a reason with --why, one of {', '.join(sorted(reasons))}")
    if ticket and not _TICKET.fullmatch(ticket):
        raise ConfigError(
            "--ticket takes a key and a number, such as ABUSE-17: it names where the reason is written down"
        )
    if not ticket and why != SCHEDULE:
        raise ConfigError(f"{action} is privileged: it needs a --ticket, such as ABUSE-17")
    return Deed(action, why, ticket or None)


def about(deed: Deed, settings: Settings, subject: Subject, value: str) -> Deed:
    """Return an action that is about someone, or about a record: by a pseudonym under the suppression key.

    Args:
        deed: of `deed_of`.
        settings: name the key file.
        subject: what the value is.
        value: an id; nothing but its pseudonym is kept.

    Raises:
        KeyringError: there are no keys, or others can read them.
    """
    pseudonym = load_keyring(Path(settings.keys)).suppression(str(subject), value)
    return deed._replace(subject=subject, pseudonym=pseudonym)
