"""Settings: the environment first, then lethe.toml, then documented defaults. Read once, frozen."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline.audit.rate import Rates
from pipeline.brokers import Brokers, Security
from pipeline.config_types import ACTOR, HOST, USER, choice, duration, flag, name, parse, text, whole
from pipeline.errors import ConfigError
from pipeline.policy.lint_sinks import SINKS
from pipeline.policy.load import Limits
from pipeline.policy.model import SinkPolicy
from pipeline.topics.duration import parse_ms
from pipeline.topics.life import Wishes
from pipeline.topics.settings import TopicSettings
from pipeline.usage.folding import Rules

PREFIX = "LETHE_"
_LIMITS = Limits()
_BYTES = (1024, 1 << 30)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator sets. Each is ``LETHE_<NAME>`` in the environment, ``<name>`` in lethe.toml.

    What each means stands beside it, and in docs/settings.md. The checks are those of `load_settings`: settings that
    code makes by itself are taken as they are.
    """

    keys: str = text("lethe.keys.json", "path of the key file")
    # A name of its own: whoever switches it off says that the disks under topics and stores are encrypted.
    seal: bool = flag("content is sealed before it goes to a topic or store", default=True)
    keyring: str = text("lethe.keyring.json", "path of the day keys that seal content, each of them wrapped")
    kek: str = text(
        "file:lethe.kek.json", "the key that wraps them: `file:` and its path, or a URL of a provider", secret=True
    )
    raw_key: str = text("", "path of the keys that open raw events in envelopes; empty: gateways send them plain")
    store: str = text("chdb:./lethe-data", "sink URL; it may hold a password, so it is never shown", secret=True)
    schemas: str = text("", "folder of the policy; empty: the shipped one")
    event_schema: str = text("", "annotated event schema below that folder; empty: what policy.json says")
    cache: str = text("", "folder for what is compiled once; empty: lethe in the user's cache folder")
    event_bytes_max: int = whole(_LIMITS.event_bytes_max, _BYTES, "bytes", "largest raw event")
    # Depth ends at 128 because the walk recurses; a deeper event is no request that an API took.
    depth_max: int = whole(_LIMITS.depth_max, (8, 128), "levels", "deepest nesting of an event")
    leaf_bytes_max: int = whole(_LIMITS.leaf_bytes_max, _BYTES, "bytes", "longest string leaf that is scanned")
    ner_model: str = text("", "spaCy pipeline that finds names: a package or a folder; empty: none")
    ner_processes: int = whole(1, (1, 64), "processes", "that hold this model, of each worker or command")
    audit: str = text("lethe-audit", "folder of the audit log")
    actor: str = name("", "who acts, in the audit log; empty: the login", ACTOR)
    receipt_key: str = text("lethe.receipt-key.json", "path of the key that signs receipts and checkpoints")
    # More than one look-up a minute is no person reading; whoever walks through accounts is stopped within the hour.
    desk_hour_max: int = whole(60, (1, 1_000_000), "actions", "privileged look-ups of one operator within an hour")
    desk_day_max: int = whole(240, (1, 1_000_000), "actions", "likewise within 24 hours")
    desk_ids_day_max: int = whole(10_000, (1, 100_000_000), "ids", "pseudonyms that one operator may ask for a day")
    batch_events_max: int = whole(5000, (1, 1_000_000), "events", "events a write into a sink")
    # Below 5 a group tells of its members what "a group" was to hide; at 90 percent the rest of one is hardly there.
    aggregate_min_accounts: int = whole(10, (5, 1_000_000), "accounts", "fewest accounts of a group in aggregates")
    aggregate_share_max: int = whole(80, (10, 90), "percent", "largest share of such a group that one account may make")

    brokers: str = text("127.0.0.1:9092", "Kafka's brokers: `host:port`, several separated by commas")
    security: Security = choice(Security.PLAINTEXT, "how they are reached; docs/security.md has an example of each")  # noqa: RUF009 - a field, as its neighbours
    plaintext: bool = flag("plaintext may leave this machine: the network between is trusted", default=False)
    tls_ca: str = text("", "PEM file of the authorities that sign brokers; empty: the system's")
    tls_cert: str = text("", "PEM file of this client's certificate, where brokers want one")
    tls_key: str = text("", "PEM file of its key, mode 0600, without a passphrase")
    sasl_user: str = name("", "login, by SCRAM-SHA-512", USER)
    sasl_password_file: str = text("", "file, mode 0600, that holds its password alone")
    topic_prefix: str = text("requests.", "stands before the policy's topic names")
    topic_raw: str = text("", "whole name of raw's topic, where it differs; likewise below")
    topic_content: str = text("", "of the content records' topic")
    topic_operational: str = text("", "of the operational records' topic")
    topic_rejected: str = text("", "of the rejections' topic")
    topic_control: str = text("", "of the topic of restrictions and erasures")
    topic_applied: str = text("", "of the topic that says how far these are applied")
    topic_audit: str = text("", "of the audit log's topic")
    admission: str = duration("", "oldest request of which content is made; empty: raw's retention bound")
    archive: bool = flag("an archive stands behind the topics, so content and operational hold 48 h", default=True)

    group: str = name("lethe", "consumer group of the workers")
    instance_id: str = name("", "static member of the group, one a worker: a restart then moves no partitions")
    # Brokers refuse less than 6 s (group.min.session.timeout.ms); for that long a dead worker's partitions stand still.
    session_s: int = whole(15, (6, 60), "s", "how long the group waits for a silent worker")
    batch_bytes_max: int = whole(1 << 20, _BYTES, "bytes", "records that are produced at once; at most event_bytes_max")
    slice_ms: int = whole(100, (1, 1000), "ms", "longest work before what came of it is sent")
    grace_s: int = whole(25, (1, 3600), "s", "for ending well after SIGTERM; orchestrators kill after 30 s by default")
    delivery_s: int = whole(40, (5, 600), "s", "longest wait for a record to be acknowledged; then the worker ends")
    # A process that was stopped finds its clocks 5 s ahead at most (AwakeClock), and must not look stuck for it.
    stuck_s: int = whole(300, (15, 86_400), "s", "records waiting and no commit for so long ends the worker")
    rejection_share_max: int = whole(50, (1, 100), "percent", "more rejected than this stops the worker; 100: never")
    rejection_count_min: int = whole(200, (1, 1_000_000), "events", "rejections below which that share is not judged")
    archive_bytes_max: int = whole(
        32 << 20, _BYTES, "bytes", "records that the archive stores at once, with the last one"
    )
    archive_wait_ms: int = whole(1000, (1, 60_000), "ms", "longest wait of the archive for such a batch to fill")
    store_retry_s: int = whole(120, (0, 3600), "s", "how long the archive tries a store that is down; then it ends")
    metrics_host: str = name("127.0.0.1", "address that /metrics, /healthz and /readyz listen on", HOST)
    metrics_port: int = whole(9464, (0, 65_535), "", "their port; 0: none of them")

    def limits(self) -> Limits:
        """Return the bounds of one event."""
        return Limits(self.event_bytes_max, self.depth_max, self.leaf_bytes_max)

    def topic_settings(self, sinks: Mapping[str, SinkPolicy]) -> TopicSettings:
        """Return the topics' names.

        Args:
            sinks: of the policy, by name.

        Raises:
            ConfigError: as `TopicSettings.check`.
        """
        names = {sink: str(getattr(self, f"topic_{sink}")) for sink in SINKS}
        topics = {sink: topic for sink, topic in names.items() if topic and sink in sinks}
        settings = TopicSettings(self.topic_prefix, topics)
        settings.check(sinks)
        return settings

    def reach(self) -> Brokers:
        """Return how Kafka is reached.

        Raises:
            ConfigError, KeyringError: as `Brokers.checked`.
        """
        return Brokers.checked(
            self.sasl_password_file,
            address=self.brokers,
            security=self.security,
            plaintext_anywhere=self.plaintext,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            user=self.sasl_user,
        )

    def admission_ms(self, sinks: Mapping[str, SinkPolicy]) -> int:
        """Return the age up to which content is made of a request: the one that the topics are derived with.

        Args:
            sinks: of the policy, by name.
        """
        return parse_ms("admission", self.admission) if self.admission else sinks["raw"].retention_ms

    def fold_rules(self) -> Rules:
        """Return when a group may be shown in aggregates."""
        return Rules(self.aggregate_min_accounts, self.aggregate_share_max)

    def rates(self) -> Rates:
        """Return what one operator may do at the desk."""
        return Rates(self.desk_hour_max, self.desk_day_max, self.desk_ids_day_max)

    def wishes(self) -> Wishes:
        """Return what the topics are derived with, as far as it is a setting."""
        admission_ms = parse_ms("admission", self.admission) if self.admission else None
        return Wishes(admission_ms, archive=self.archive, event_bytes_max=self.event_bytes_max)


_FIELDS = {described.name: described for described in fields(Settings)}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}", re.ASCII)


def load_settings(environ: Mapping[str, str], toml_path: Path = Path("lethe.toml")) -> Settings:
    """Read the settings. An empty variable counts as not given: that is how compose files leave one out.

    Raises:
        ConfigError: a setting is of the wrong type or out of range, or the file has one that is unknown; the text
            names it and where it stands, never its value.
    """
    chosen: dict[str, str | int | bool] = {}
    for given, value in _read_toml(toml_path).items():
        if given not in _FIELDS:
            raise ConfigError(f"{toml_path}: {_describe_unknown(given, '')}")
        chosen[given] = parse(_FIELDS[given], value, f"{toml_path}: {given}")
    for known, described in _FIELDS.items():
        if value := environ.get(variable_of(known)):
            chosen[known] = parse(described, value, variable_of(known))
    return _checked(chosen)


def _checked(chosen: dict[str, str | int | bool]) -> Settings:
    """Return the settings when they go together."""
    settings = Settings(**chosen)  # type: ignore[arg-type]  # checked by parse
    if settings.batch_bytes_max <= settings.event_bytes_max:
        return settings
    if "batch_bytes_max" in chosen:
        raise ConfigError(
            "batch_bytes_max must be at most event_bytes_max: brokers judge a batch as they judge a record. "
            f"Lower {variable_of('batch_bytes_max')}, or raise {variable_of('event_bytes_max')}"
        )
    return _checked(chosen | {"batch_bytes_max": settings.event_bytes_max})


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that look like settings and are none, each with the setting that was probably meant.

    They are a warning, not an error: an environment is shared, and other versions have other settings.
    """
    known = {variable_of(known) for known in _FIELDS}
    return [
        _describe_unknown(given, PREFIX) for given in sorted(environ) if given.startswith(PREFIX) and given not in known
    ]


def variable_of(known: str) -> str:
    """Return the environment's name of a setting."""
    return f"{PREFIX}{known.upper()}"


def _describe_unknown(given: str, prefix: str) -> str:
    """Say that a name is no setting. A name of another form is not repeated: who knows what was pasted there."""
    plain = given.removeprefix(prefix).lower()
    shown = f"'{given}'" if _NAME.fullmatch(given) else "a name in it"
    near = difflib.get_close_matches(plain.replace("-", "_"), _FIELDS, n=1)
    known = [variable_of(known) if prefix else known for known in near or sorted(_FIELDS)]
    return f"{shown} is no setting; " + (f"did you mean '{known[0]}'?" if near else f"they are {', '.join(known)}")


def _read_toml(path: Path) -> Mapping[str, object]:
    problem = ""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError):  # TOML's own error is one, and so is a number of thousands of digits
        problem = "is not TOML"  # the exception quotes the file
    raise ConfigError(f"{path}: {problem}")
