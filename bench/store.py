"""Inserts into an embedded store: lethe's write path beside a bare clickhouse-connect loop, same tables, same records.

The bare loop makes columns of the records and inserts them. It looks nothing up, compares nothing and knows of no
erasure, so a repeat would be there twice. Batches take turns, so that a busy machine slows both sides alike.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.anonymize import Admission, make_core, process
from pipeline.cli.edge import tune_collector
from pipeline.detect.spans import Span
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import Policy, load_policy
from pipeline.policy.model import FieldType
from pipeline.records import Anonymized, ContentRecord, OperationalRecord, Source
from pipeline.store.client import Store, connect
from pipeline.store.ddl import DIGEST, Table, column_types, encoding_column
from pipeline.store.intake import Records, RecordWriter, make_tables, schemas_of
from pipeline.store.tables import ensure_tables
from pipeline.store.url import EmbeddedTarget
from pipeline.suppress import Subject
from pipeline.synth import generate_events

KEYS = Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32)
Pair = tuple[ContentRecord, OperationalRecord]


class NoDetector:
    """Finds nothing: what a store is asked to keep does not depend on it. Lives here, where no worker can reach it."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans."""
        return [()] * len(texts)


def make_pairs(policy: Policy, count: int) -> list[Pair]:
    """Return the two records of so many generated events, received up to now."""
    core, admission = make_core(policy, NoDetector(), KEYS), Admission(latest_ms=1 << 50)
    start_ms = int(time.time() * 1000) - 3_600_000
    pairs: list[Pair] = []
    for one in generate_events(seed=7, count=count, start_ms=start_ms, rate_per_s=count / 3000):
        raw = orjson.dumps(one.event)
        fate = process(raw, Source("bench", 0, 0, len(raw)), core, admission)
        if isinstance(fate, Anonymized) and fate.content is not None:
            pairs.append((fate.content, fate.operational))
    return pairs


def columns_of(table: Table, records: Sequence[ContentRecord | OperationalRecord]) -> dict[str, list[Any]]:
    """Return records as columns for a native insert, and nothing more."""
    columns: dict[str, list[Any]] = {}
    for field in table.fields:
        if field.type is FieldType.BODY:
            bodies = [one.body for one in records if isinstance(one, ContentRecord)]
            columns[field.name] = [body.data for body in bodies]
            columns[encoding_column(field.name)] = [body.encoding for body in bodies]
        elif field.type is FieldType.TIMESTAMP:
            times = [datetime.fromisoformat(str(one.fields[field.name])) for one in records]
            columns[field.name] = [round(at.timestamp() * 1000) for at in times]
        else:
            columns[field.name] = [one.fields[field.name] for one in records]
    return columns


def bare_loop(store: Store, tables: Sequence[Table]) -> Callable[[Sequence[Pair]], None]:
    """Return what inserts a batch without looking at what is there."""
    types = {table.name: column_types(table) for table in tables}
    content, operational = tables

    def insert(batch: Sequence[Pair]) -> None:
        for table, records in ((content, [c for c, _ in batch]), (operational, [o for _, o in batch])):
            columns = columns_of(table, records) | {DIGEST: [1] * len(batch)}
            store.insert(table.name, columns, types[table.name])

    return insert


def lethe_path(store: Store, policy: Policy) -> Callable[[Sequence[Pair]], None]:
    """Return what the archive does with a batch."""
    writer = RecordWriter(
        store,
        schemas_of(policy),
        policy.sinks,
        lambda: int(time.time() * 1000),
        lambda request_id: KEYS.suppression(Subject.REQUEST, request_id),
    )

    def insert(batch: Sequence[Pair]) -> None:
        reports = writer.write(Records([c for c, _ in batch], [o for _, o in batch]))
        assert reports["content"].inserted == reports["operational"].inserted == len(batch)  # noqa: S101 - or it measured something else

    return insert


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=2500, help="events of a batch: two records each")
    given = parser.parse_args()
    policy = load_policy()
    pairs = make_pairs(policy, given.events)
    tune_collector()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        target = {name: EmbeddedTarget(Path(folder), name) for name in ("bare", "lethe")}
        with connect(target["bare"]) as bare, connect(target["lethe"]) as own:
            tables = make_tables(schemas_of(policy), policy.sinks)
            ensure_tables(bare, tables)
            runs = {"bare loop": bare_loop(bare, tables[:2]), "lethe": lethe_path(own, policy)}
            measure(runs, pairs[: given.batch], given.batch)  # the first insert imports what the driver needs
            spent = measure(runs, pairs[given.batch :], given.batch)
    rows = len(pairs) - given.batch
    print(f"{rows:,} events of two records, {given.batch:,} a batch, embedded store; wall clock, batches in turns")
    for name, seconds in spent.items():
        print(f"{name:12}{rows / seconds:12,.0f} events/s{spent['bare loop'] / seconds:10.2f} x bare loop")


def measure(runs: dict[str, Callable[[Sequence[Pair]], None]], pairs: Sequence[Pair], size: int) -> dict[str, float]:
    """Return the seconds that each side took for all; who goes first changes with every batch."""
    spent = dict.fromkeys(runs, 0.0)
    names = list(runs)
    for begin in range(0, len(pairs), size):
        names.reverse()
        for name in names:
            started = time.perf_counter()
            runs[name](pairs[begin : begin + size])
            spent[name] += time.perf_counter() - started
    return spent


if __name__ == "__main__":
    main()
