"""What every command needs from the outside: clock, settings, policy, keys, detector and sink."""

import os
import sys
import time
from pathlib import Path

from rich.console import Console

from pipeline.anonymize import Core, make_core
from pipeline.config import Settings, load_settings
from pipeline.detect.entities import EntityTable
from pipeline.keys.keyfile import load_keyring
from pipeline.policy.load import Policy, load_policy

NS_PER_MS = 1_000_000


def now_ms() -> int:
    """Return the time, in epoch milliseconds. The commands' one clock."""
    return time.time_ns() // NS_PER_MS


def settings() -> Settings:
    """Return the settings of this process."""
    return load_settings(os.environ)


def policy_of(chosen: Settings) -> Policy:
    """Return the policy that the settings name."""
    folder = Path(chosen.schemas) if chosen.schemas else None
    return load_policy(folder, chosen.event_schema or None, chosen.limits())


def core_of(chosen: Settings, policy: Policy) -> Core:
    """Return the core: policy, keys from the key file, and the detector."""
    keys = load_keyring(Path(chosen.keys))
    from pipeline.detect.presidio import make_presidio_detector  # noqa: PLC0415 - its libraries take seconds to import

    return make_core(policy, make_presidio_detector(EntityTable.from_json(policy.entities)), keys)


def console() -> Console:
    """Return a console on standard output, for people: colours and width only on a terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def error_console() -> Console:
    """Return a console on standard error, for progress."""
    return Console(stderr=True, highlight=False)
