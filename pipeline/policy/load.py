"""Loads a policy: read, lint, compile. A policy that breaks a rule does not load, so nothing starts with it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import PolicyError
from pipeline.policy.body import BodyRules, compile_body_rules
from pipeline.policy.files import Document, PolicyFiles, default_schemas_dir, read_policy_files
from pipeline.policy.lint import lint
from pipeline.policy.model import RecordSchema, SinkPolicy, StorePolicy
from pipeline.policy.record import compile_record
from pipeline.policy.shape import EventShape, compile_shape


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one event; part of the policy's digest, because they decide bytes.

    Attributes:
        event_bytes_max: a larger raw event is rejected, a larger record loses its bodies (default 16 MiB).
        depth_max: deeper JSON is rejected; where strings of JSON lead deeper, they are redacted (default 64).
        leaf_bytes_max: a longer string leaf is redacted whole, in bytes of UTF-8 (default 4 MiB).
    """

    event_bytes_max: int = 16 * 1024 * 1024
    depth_max: int = 64
    leaf_bytes_max: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A closed list of values.

    Attributes:
        mapping: what a text stands for: a value itself, or an alias of one.
        other: what any other text becomes.
    """

    mapping: Mapping[str, str] = field(repr=False)
    other: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy in force, compiled. Equal files, limits and model give an equal digest.

    Attributes:
        back_to: the lowest version that may follow this one, as policy.json says; by default this one.
        model: identity of the model that finds names, or "" where there is none; see `pipeline.detect.nermodel`.
    """

    version: int
    digest: str
    limits: Limits
    shape: EventShape = field(repr=False)
    content: RecordSchema = field(repr=False)
    operational: RecordSchema = field(repr=False)
    rejection: RecordSchema = field(repr=False)
    control: RecordSchema = field(repr=False)
    applied: RecordSchema = field(repr=False)
    audit: RecordSchema = field(repr=False)
    sinks: Mapping[str, SinkPolicy] = field(repr=False)
    stores: Mapping[str, StorePolicy] = field(repr=False)
    catalogues: Mapping[str, Catalogue] = field(repr=False)
    user_agents: Document = field(repr=False)
    entities: Document = field(repr=False)
    rules: Mapping[str, Document] = field(repr=False)
    recognizers: Document = field(repr=False)
    allow: Document = field(repr=False)
    names: Document = field(repr=False)
    ner: Document = field(repr=False)
    common_words: frozenset[str] = field(repr=False)
    body: BodyRules = field(repr=False)
    model: str = ""
    back_to: int = 0

    def clauses(self) -> dict[str, str]:
        """Return the clause of each sink that the retention proof names: topics and their tables, and other tables."""
        tables = {table: one.clause for one in self.stores.values() for table in one.tables}
        return {name: sink.clause for name, sink in self.sinks.items()} | tables

    def without_rules(self) -> "Policy":
        """Return it as it is for a process whose detector is made: rules and their examples are 3 MB."""
        return replace(self, rules={}, names={}, recognizers={}, allow={})


def load_policy(
    schemas_dir: Path | None = None, event: str | None = None, limits: Limits | None = None, model: str = ""
) -> Policy:
    """Load the policy of a schemas folder (default: the shipped one).

    Args:
        schemas_dir: folder that holds policy.json.
        event: path of another annotated event schema.
        limits: bounds of one event.
        model: identity of the model that finds names, "" for none.

    Raises:
        PolicyError: a file is missing or breaks a rule; the text lists every finding.
    """
    files = read_policy_files(schemas_dir or default_schemas_dir(), event)
    findings = lint(files)
    if findings:
        raise PolicyError("the policy does not hold:\n" + "\n".join(f"  {finding}" for finding in findings))
    return compile_policy(files, limits or Limits(), model)


def compile_policy(files: PolicyFiles, limits: Limits, model: str = "") -> Policy:
    """Compile linted files; the arguments are those of `load_policy`."""
    decisive = f"{files.digest} {limits} {model}".rstrip()
    records = {name: compile_record(schema, files.catalogues) for name, schema in files.records.items()}
    return Policy(
        version=files.main["version"],
        digest=hashlib.sha256(decisive.encode()).hexdigest()[:16],
        limits=limits,
        shape=compile_shape(files.event),
        content=records["content"],
        operational=records["operational"],
        rejection=records["rejection"],
        control=records["control"],
        applied=records["applied"],
        audit=records["audit"],
        sinks={name: _sink(sink) for name, sink in files.sinks.items()},
        stores={name: StorePolicy(**{**one, "tables": tuple(one["tables"])}) for name, one in files.stores.items()},
        catalogues={name: _catalogue(data) for name, data in files.catalogues.items()},
        user_agents=files.catalogues.get("user_agents", {}),
        entities=files.entities,
        rules=files.rules,
        recognizers=files.recognizers,
        allow=files.allow,
        names=files.names,
        ner=files.ner,
        common_words=frozenset(files.common_words.get("words", ())),
        body=compile_body_rules(files.body),
        model=model,
        back_to=files.main.get("back_to", files.main["version"]),
    )


def _catalogue(data: Document) -> Catalogue:
    return Catalogue({**{v: v for v in data["values"]}, **data.get("aliases", {})}, data["other"])


def _sink(data: Document) -> SinkPolicy:
    return SinkPolicy(**{key: value for key, value in data.items() if key != "cleanup_policy"})
