"""The store (design §7): ClickHouse tables derived from the policy, embedded or on a server, each with its bound."""

from pipeline.store.bounds import hold_ms
from pipeline.store.client import Result, Store
from pipeline.store.opening import open_store
from pipeline.store.sweep import SweepReport, sweep
from pipeline.store.writer import StoreSink

__all__ = ["Result", "Store", "StoreSink", "SweepReport", "hold_ms", "open_store", "sweep"]
