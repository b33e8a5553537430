"""The retention proof of the topics: all checks of `pipeline.topics.verify`, as one holding for each sink. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.retention import Holding, Kind, Verdict, judge, unseen
from pipeline.topics.life import Basis
from pipeline.topics.live import LiveTopic
from pipeline.topics.verify import Check, Outcome, oldest_record, verify_topics


def hold_topics(basis: Basis, live: Mapping[str, LiveTopic], now_ms: int) -> list[Holding]:
    """Judge every sink's topic: by its oldest record, and broken too where any of its checks fails.

    A topic that keeps its bound today under settings that do not bound it keeps nothing.

    Args:
        basis: policy, names, brokers and wishes.
        live: the topics that exist, read deeply, by name.
        now_ms: now, epoch milliseconds.
    """
    checks = verify_topics(basis, live, now_ms)
    holdings = []
    for sink in basis.sinks.values():
        name = basis.names[sink.name]
        topic = live.get(name)
        if topic is None:
            holdings.append(unseen(sink.name, Kind.TOPIC, f"no topic {name}: lethe topics apply makes it"))
            continue
        oldest = oldest_record(sink, topic, basis, now_ms)
        holding = judge(
            sink.name,
            Kind.TOPIC,
            age_ms=oldest.age_ms,
            late_ms=oldest.usual_ms,
            bound_ms=oldest.limit_ms,
            count=oldest.partitions,
        )
        holdings.append(_with_checks(holding, [check for check in checks if check.topic == name]))
    return holdings


def _with_checks(holding: Holding, checks: list[Check]) -> Holding:
    failed = [check.check for check in checks if check.outcome is Outcome.FAILS]
    if not failed:
        return holding
    return replace(holding, verdict=Verdict.BROKEN, note=f"lethe topics verify fails: {', '.join(failed)}")
