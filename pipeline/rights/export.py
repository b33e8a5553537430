"""What is stored of a subject, as files for whoever asks for it (policy §8: access and portability).

Operational records are found over all key epochs. Content is anonymized; it is exported only when asked for, and only
through an opener. A folder is complete when it has its manifest, which is written last.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from pipeline.coarsen import format_timestamp
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.policy.model import FieldType, RecordSchema
from pipeline.records import Sealed
from pipeline.rights.erase import Named, StoreEraser
from pipeline.seal import Opener
from pipeline.store.client import Store
from pipeline.store.ddl import encoding_column
from pipeline.store.reading import plain_value

MANIFEST = "manifest.json"
_KEYS_A_QUERY = 500
"""So many records are in memory at once; one has up to 16 MiB, and usually two KB."""


class Exporter:
    """Writes what a store has of a subject."""

    def __init__(self, store: Store, policy: Policy, finder: StoreEraser) -> None:
        """Take an open store, the policy of its records, and what finds requests in it."""
        self._store = store
        self._policy = policy
        self._finder = finder

    def export(self, named: Named, folder: Path, now_ms: int, opener: Opener | None = None) -> dict[str, int]:
        """Write the records and a manifest; return how many there are, by file.

        Args:
            named: the subject.
            folder: made, readable by its owner only; must be empty.
            now_ms: now, epoch milliseconds.
            opener: opens content; None leaves content out.

        Raises:
            ConfigError: the folder has something in it, or cannot be written.
            KeyringError: content is sealed with a key that the opener does not have.
            SinkUnavailable: the store did not answer, or refused.
        """
        request_ids = self._finder.requests_of(named, now_ms)
        _make_empty(folder)
        written = {"operational.jsonl": _write(folder / "operational.jsonl", self._operational(request_ids))}
        if opener is not None:
            written["content.jsonl"] = _write(folder / "content.jsonl", self._content(request_ids, opener))
        manifest = {
            "version": 1,
            "made_at": format_timestamp(now_ms),
            "subject": str(named.subject),
            "pseudonym": self._finder.keys.suppression(named.subject, named.value),
            "policy_version": self._policy.version,
            "policy_digest": self._policy.digest,
            "files": {name: {"records": count, "sha256": digest} for name, (count, digest) in written.items()},
        }
        _write(folder / MANIFEST, iter([orjson.dumps(manifest, option=orjson.OPT_INDENT_2)]))
        return {name: count for name, (count, _) in written.items()}

    def _operational(self, request_ids: Sequence[str]) -> Iterator[bytes]:
        for row in self._rows("operational", self._policy.operational, request_ids):
            yield orjson.dumps(row)

    def _content(self, request_ids: Sequence[str], opener: Opener) -> Iterator[bytes]:
        for row in self._rows("content", self._policy.content, request_ids):
            for field in self._policy.content.fields:
                if field.type is FieldType.BODY:
                    sealed = Sealed(row.pop(encoding_column(field.name)), row[field.name])
                    body = opener.open(sealed, request_id=row["request_id"], schema_version=row["schema_version"])
                    row[field.name] = orjson.Fragment(body)
            yield orjson.dumps(row)

    def _rows(self, view: str, schema: RecordSchema, request_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the records of some requests, in the order of their ids, a bounded number in memory."""
        bodies = [field.name for field in schema.fields if field.type is FieldType.BODY]
        names = [*(field.name for field in schema.fields), *map(encoding_column, bodies)]
        columns = ", ".join(f"`{name}`" for name in names)
        sql = f"SELECT {columns} FROM {view} WHERE request_id IN {{ids:Array(String)}} ORDER BY request_id"  # noqa: S608
        for start in range(0, len(request_ids), _KEYS_A_QUERY):
            some = list(request_ids[start : start + _KEYS_A_QUERY])
            for values in self._store.query(sql, {"ids": some}, binary=bodies).rows:
                yield dict(zip(names, map(plain_value, values), strict=True))


def _make_empty(folder: Path) -> None:
    reason = ""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            reason = "has something in it: give an empty one"
        else:
            folder.chmod(0o700)
    except OSError as error:
        reason = error.strerror or "cannot be made"
    if reason:
        raise ConfigError(f"the folder for the export: {reason}")


def _write(path: Path, lines: Iterator[bytes]) -> tuple[int, str]:
    """Write lines to a new file that its owner alone can read; return how many, and the file's SHA-256."""
    digest, count = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        for line in lines:
            file.write(line + b"\n")
            digest.update(line + b"\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count, digest.hexdigest()
