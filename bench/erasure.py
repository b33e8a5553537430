"""One account erased from an embedded store of millions of rows: how long, step by step, and with how much memory.

The engine makes the rows itself, of the shape that the archive writes: days of traffic, accounts of equal size. What is
measured is what ``lethe erase --store-only`` does.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import Policy, load_policy
from pipeline.policy.model import FieldType
from pipeline.rights.erase import Named, Operational, StoreEraser, pseudonym_field
from pipeline.store.client import Store, connect
from pipeline.store.ddl import DIGEST, Table, column_types, encoding_column
from pipeline.store.erasure import ensure_tombstones
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.tables import ensure_tables
from pipeline.store.url import EmbeddedTarget
from pipeline.suppress import Subject

KEYS = Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32)
DAYS = 28
BODY_BYTES = 1600
Made = TypeVar("Made")


def fill(store: Store, table: Table, rows: int, accounts: int, field: str, account: str) -> None:
    """Make rows; the first account's pseudonym is a real one, so that it can be found by its name."""
    at = f"now64(3) - toIntervalSecond(number * {DAYS * 86_400 // rows or 1} % {DAYS * 86_400})"
    others = f"concat('e1:', lower(hex(MD5(toString(number % {accounts})))))"
    text = f"randomPrintableASCII({BODY_BYTES // 4}), repeat('ab', {BODY_BYTES * 3 // 8})"
    values = {
        "request_id": "concat('req_', lower(hex(MD5(toString(number)))))",
        table.time: at,
        field: f"if(number % {accounts} = 0, '{account}', {others})",
    }
    for one in table.fields:
        if one.type is FieldType.BODY:
            values[one.name] = f"concat('{{\"t\":\"', {text}, '\"}}')"
            values[encoding_column(one.name)] = "'json'"
    columns = column_types(table)
    chosen = [f"{values[name]} AS `{name}`" for name in columns if name in values]
    names = ", ".join(f"`{name}`" for name in columns if name in values)
    store.command(
        f"INSERT INTO {table.name} ({names}, {DIGEST}) SELECT {', '.join(chosen)}, 1 FROM numbers({rows}) "  # noqa: S608 - ours
        "SETTINGS max_partitions_per_insert_block = 1000"
    )


def timed(name: str, do: Callable[[], Made]) -> Made:
    """Do it, and print how long it took and how large this process is."""
    began_s = time.perf_counter()
    made = do()
    print(f"{name:52}{time.perf_counter() - began_s:8.1f} s{resident_mb():8.0f} MB", flush=True)
    return made


def resident_mb() -> float:
    """Return the resident memory of this process, now."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def erase(eraser: StoreEraser, name: str, how: Operational) -> None:
    """Erase an account, and wait until its bytes are gone."""
    now_ms = int(time.time() * 1000)
    named = Named(Subject.ACCOUNT, name)
    done = timed(f"  hidden from every reader ({how})", lambda: eraser.erase(named, now_ms, now_ms, how))

    def finish() -> None:
        while not eraser.finish(how):
            time.sleep(0.2)

    timed(f"  bytes gone: {done.content:,} contents, {done.operational:,} operational", finish)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of each of the two tables")
    parser.add_argument("--accounts", type=int, default=5000)
    given = parser.parse_args()
    policy = load_policy()
    with tempfile.TemporaryDirectory() as folder, connect(EmbeddedTarget(Path(folder), "lethe")) as store:
        run(store, policy, given.rows, given.accounts)


def run(store: Store, policy: Policy, rows: int, accounts: int) -> None:
    """Fill the store, and erase two of the accounts."""
    tables = make_tables(schemas_of(policy), policy.sinks)
    ensure_tables(store, tables)
    ensure_tombstones(store, policy.sinks["content"].retention_ms)
    field = pseudonym_field(policy, Subject.ACCOUNT)
    name = "acct_0000000000000001"
    (pseudonym,) = KEYS.pseudonyms(field, name)
    for table in tables[:2]:
        timed(f"{rows:,} rows into {table.name}", partial(fill, store, table, rows, accounts, field, pseudonym))
    eraser = StoreEraser(store, policy, KEYS)
    print(f"one of {accounts:,} accounts")
    erase(eraser, name, Operational.UNLINK)
    left = store.query(
        "SELECT count() FROM content WHERE request_id = {first:String}",
        {"first": "req_cfcd208495d565ef66e7dff9f98764da"},
    )
    print(f"left of it: {left.rows[0][0]}")


if __name__ == "__main__":
    main()
