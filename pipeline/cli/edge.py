"""What every command needs from the outside: clock, settings, policy, keys, detector and consoles."""

import gc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from pipeline.allocator import give_back
from pipeline.anonymize import Core, make_core
from pipeline.config import Settings, load_settings, unknown_settings
from pipeline.detect.nermodel import Model, find_model
from pipeline.detect.spans import Detector
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.keyring import Keyring
from pipeline.keys.provider import load_provider
from pipeline.keys.sealfile import load_day_keys
from pipeline.policy.load import Policy, load_policy
from pipeline.seal import Opener, PlainSealer, RawOpener, Sealer
from pipeline.suppress import Subject

if TYPE_CHECKING:
    from pipeline.keys.sealing import DaySealer

NS_PER_MS = 1_000_000
_PIPE_COLUMNS = 1000
_GC_THRESHOLDS = (50_000, 20, 50)


EXIT_PENDING = 3
"""What was asked for is not done yet, or would have to be done; the same call goes on."""


def now_ms() -> int:
    """Return the time, in epoch milliseconds. The commands' one clock."""
    return time.time_ns() // NS_PER_MS


def settings(options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process, and warn of variables that look like one.

    Args:
        options: settings given on the command line, by name; "" is none.
    """
    environ = dict(os.environ) | {f"LETHE_{name.upper()}": value for name, value in (options or {}).items() if value}
    for warning in unknown_settings(environ):
        typer.echo(f"lethe: warning: {warning}", err=True)
    return load_settings(environ)


def policy_of(chosen: Settings) -> Policy:
    """Return the policy that the settings name."""
    folder = Path(chosen.schemas) if chosen.schemas else None
    model = model_of(chosen)
    return load_policy(folder, chosen.event_schema or None, chosen.limits(), model.identity if model else "")


def model_of(chosen: Settings) -> Model | None:
    """Return the model that finds names, if the settings name one."""
    return find_model(chosen.ner_model) if chosen.ner_model else None


def core_of(chosen: Settings, policy: Policy, *, sealed: bool = True) -> Core:
    """Return the core: policy, keys from the key file, and the detector.

    Args:
        chosen: the settings.
        policy: in force.
        sealed: seal content, unless the settings say that nothing is; files for inspection are plain.
    """
    keys = load_keyring(Path(chosen.keys))
    sealer = sealer_of(chosen) if sealed else PlainSealer()
    return core_maker(chosen, policy)(keys, sealer, envelopes_of(chosen))


def core_maker(chosen: Settings, policy: Policy) -> Callable[[Keyring, Sealer, RawOpener | None], Core]:
    """Return what makes a core of keys of three kinds; the detector, which takes long, is made once."""
    detector = detector_of(chosen, policy)
    return partial(make_core, policy.without_rules(), detector)


def sealer_of(chosen: Settings) -> "PlainSealer | DaySealer":
    """Return what seals and opens content: under the keyring's keys, unless the settings say that nothing is sealed.

    Raises:
        ConfigError, KeyringError: there are no keys. Whoever writes stops: no key, no plaintext.
    """
    if not chosen.seal:
        return PlainSealer()
    from pipeline.keys.sealing import DaySealer  # noqa: PLC0415 - its libraries take a tenth of a second to import

    return DaySealer(load_day_keys(Path(chosen.keyring), load_provider(chosen.kek)))


def envelopes_of(chosen: Settings) -> RawOpener | None:
    """Return what opens raw events in envelopes; None where the settings name no keys for it.

    Raises:
        KeyringError: there are none at that path, or others can read them.
    """
    if not chosen.raw_key:
        return None
    from pipeline.keys.envelopefile import load_envelope_keys  # noqa: PLC0415 - its libraries take a while to import

    return load_envelope_keys(Path(chosen.raw_key))


def opener_of(chosen: Settings) -> Opener:
    """Return what opens content. Where nothing is sealed any more, it still opens what was, if the keyring is there.

    Raises:
        ConfigError, KeyringError: there are no keys, and the settings say that content is sealed; or others can read
            them.
    """
    return sealer_of(replace(chosen, seal=chosen.seal or Path(chosen.keyring).exists()))


def detector_of(chosen: Settings, policy: Policy) -> Detector:
    """Return the detector of a policy, with the model that the settings name or the policy requires."""
    from pipeline.detect.detector import make_detector  # noqa: PLC0415 - its libraries take seconds to import

    detector: Detector = make_detector(policy, cache_dir(chosen))
    if not chosen.ner_model and not policy.ner.get("model"):
        return detector
    from pipeline.detect.detector import add_model  # noqa: PLC0415 - as above

    return add_model(detector, policy, model_of(chosen), chosen.ner_processes)


def request_pseudonyms(chosen: Settings) -> Callable[[str], str] | None:
    """Return what names a request as tombstones do; None where there is no key file, which a store may do without."""
    path = Path(chosen.keys)
    if not path.exists():
        return None
    return partial(load_keyring(path).suppression, Subject.REQUEST)


def cache_dir(chosen: Settings) -> Path:
    """Return the folder for what is compiled once (XDG Base Directory Specification, where the setting is empty)."""
    if chosen.cache:
        return Path(chosen.cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"


def tune_collector() -> None:
    """Let the garbage collector look less often, and not at what stays; call it when all is set up.

    Decoded events are many small objects that die by reference count, yet each few hundred of them start a collection,
    which then walks over everything the libraries made at import. Measured on the generated mix without detection:
    15 % more events a second, and memory as flat as before.
    """
    give_back()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def console() -> Console:
    """Return a console on standard output, for people: in a pipe nothing is cut to the width of a terminal.

    Square brackets mean nothing to it: names of files and fields have them.
    """
    plain = Console(highlight=False, markup=False)
    return plain if plain.is_terminal else Console(highlight=False, markup=False, width=_PIPE_COLUMNS)


def error_console() -> Console:
    """Return a console on standard error, for progress."""
    return Console(stderr=True, highlight=False)
