"""Samples of live sinks: rows of a store's views, runs of records of topics. Which ones, a seed says."""

import random
from collections.abc import Mapping
from typing import Any

from pipeline.archive.decode import NotARecord, decoders
from pipeline.brokers import Brokers
from pipeline.client import TopicPartition, reading
from pipeline.policy.load import Policy
from pipeline.policy.model import FieldType
from pipeline.proof.examine import Examiner
from pipeline.records import ContentRecord
from pipeline.recovery.reading import log_ranges, read_range
from pipeline.store.client import Store
from pipeline.store.intake import STORED_SINKS, make_tables, schemas_of
from pipeline.store.reading import plain_value, read_record

_RUNS = 4
"""Runs of records of one partition: several places, for a few seeks."""
_FETCH_BYTES = 8 << 20


def sample_store(store: Store, policy: Policy, examiner: Examiner, size: int, seed: int) -> None:
    """Take about so many records of each of a store's views; content is read one record at a time.

    Args:
        store: open; its tables exist.
        policy: of its records.
        examiner: gets them.
        size: of each view.
        seed: another one takes others.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    for table in make_tables(schemas_of(policy), policy.sinks):
        examiner.expect("store", table.sink)
        names = [field.name for field in table.fields if field.type is not FieldType.BODY]
        key = ", ".join(f"`{name}`" for name in names if name in {"request_id", "topic", "partition", "offset"})
        count = int(store.query(f"SELECT count() FROM {table.sink}").rows[0][0])  # noqa: S608 - a checked name
        share = max(1, count // size)
        has_body = len(names) < len(table.fields)
        columns = "`request_id`" if has_body else ", ".join(f"`{name}`" for name in names)
        sql = (
            f"SELECT {columns} FROM {table.sink} WHERE sipHash64({key}, {{seed:UInt64}}) % {{share:UInt64}} = 0 "  # noqa: S608
            "LIMIT {size:UInt64}"
        )
        for row in store.query(sql, {"seed": seed, "share": share, "size": size}).rows:
            if has_body:
                found = read_record(store, table, row[0])
                if found is not None:  # else erased, or due, since
                    examiner.take("store", table.sink, found.fields, found.body)
            else:
                values = dict(zip(names, map(plain_value, row), strict=True))
                examiner.take("store", table.sink, values)


async def sample_topics(
    brokers: Brokers, topics: Mapping[str, tuple[str, int]], policy: Policy, examiner: Examiner, size: int, seed: int
) -> None:
    """Take about so many records of each topic, in a few runs of each partition.

    Args:
        brokers: how Kafka is reached.
        topics: name and partitions, by sink.
        policy: of the records.
        examiner: gets them.
        size: of each topic.
        seed: another one takes others.

    Raises:
        ConfigError, SinkUnavailable: Kafka is not there, or refuses.
    """
    chance, decode = random.Random(seed), decoders(policy)  # noqa: S311 - a sample, no secret
    async with reading(brokers, fetch_bytes_max=_FETCH_BYTES) as consumer:
        for sink in STORED_SINKS:
            examiner.expect("topics", sink)
            topic, partitions = topics[sink]
            places = [TopicPartition(topic, number) for number in range(partitions)]
            length = max(1, size // (partitions * _RUNS))
            for at, (begin, end) in (await log_ranges(consumer, places)).items():
                for first in _starts(chance, begin, end, length):
                    consumer.assign([at])
                    async for record in read_range(consumer, at, first, min(first + length, end)):
                        _take(examiner, sink, decode[sink], record)


def _starts(chance: random.Random, begin: int, end: int, length: int) -> list[int]:
    """Return where runs begin, none of which reaches into the next."""
    last = max(begin, end - length)
    starts = sorted(chance.randint(begin, last) for _ in range(_RUNS)) if end > begin else []
    return [start for number, start in enumerate(starts) if not number or start >= starts[number - 1] + length]


def _take(examiner: Examiner, sink: str, decode: Any, record: Any) -> None:
    problem = ""
    try:
        made = decode(record.key, record.value, record.headers)
    except NotARecord as fault:
        problem = str(fault)
    if problem:
        examiner.broken("topics", sink, problem)
    else:
        body = made.body if isinstance(made, ContentRecord) else None
        examiner.take("topics", sink, made.fields, body)
