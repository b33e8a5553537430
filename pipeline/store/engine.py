"""The one door to chdb itself: more connections to the engine that this process has open, each for one thread.

A process can hold one folder open and connect to it as often as it likes; connections work at the same time, as those
to a server do. chdb's errors hold statements and rows: only the error code leaves here.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_CODE = re.compile(r"Code: (\d{1,6})\.")


class Refused(Exception):  # noqa: N818 - as InvalidEvent
    """The engine refused a statement.

    Attributes:
        code: ClickHouse's error code, 0 where there is none.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"ClickHouse error {code}")
        self.code = code


class Engine:
    """One connection. The process must have the folder open."""

    def __init__(self, folder: Path, settings: Mapping[str, int]) -> None:
        """Connect.

        Args:
            folder: real path of the store's folder.
            settings: of all statements.

        Raises:
            Refused: it cannot be connected to.
        """
        import chdb  # noqa: PLC0415 - half a gigabyte, and only who has an embedded store open needs it

        connect: Any = chdb.connect
        self._connection = _refusing(lambda: connect(str(folder)))
        for name, value in settings.items():
            self.run(f"SET {name} = {value:d}", {})

    def use(self, database: str) -> None:
        """Let unqualified table names mean those of a database.

        Args:
            database: its name, checked.
        """
        self.run(f"USE `{database}`", {})

    def run(self, sql: str, parameters: Mapping[str, str]) -> bytes:
        """Run a statement, and return its whole answer, tab-separated unless it names a format.

        Raises:
            Refused: the engine refused it.
        """
        answer = _refusing(lambda: self._connection.query(sql, "TabSeparated", params=dict(parameters)))
        return answer.bytes() or b""

    def stream(self, sql: str, parameters: Mapping[str, str]) -> Generator[bytes, None, None]:
        """Yield the answer to a query in native blocks; whoever stops early has closed the query by closing this.

        Raises:
            Refused: the engine refused it, before the first block or after one.
        """
        blocks = _refusing(lambda: self._connection.send_query(sql, "Native", params=dict(parameters)))
        try:
            while (block := _refusing(blocks.fetch)) is not None:
                yield block.bytes()
        finally:
            with suppress(Exception):  # nothing is left to be told
                blocks.close()

    def close(self) -> None:
        """Disconnect; a query that is under way is cancelled."""
        self._connection.close()


def _refusing(action: Any) -> Any:
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - whatever chdb raises, its text may hold rows
        found = _CODE.search(str(error))
        code = int(found[1]) if found else 0
    raise Refused(code)
