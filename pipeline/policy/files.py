"""Reads the policy's files from disk. The only I/O of the policy."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from pipeline.errors import PolicyError

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """Every document of a policy, parsed, by its path below the schemas folder.

    Attributes:
        main: schemas/policy.json.
        event: the annotated event schema.
        records: output schemas by name: content, operational, rejection, control, audit.
        catalogues: catalogues by name.
        sinks: sinks by name.
        stores: sinks without a topic, tables of a store, by name.
        entities, allow, names, common_words, body: what detection and the content walk go by.
        rules: detection's own rules, by file name.
        recognizers: those of the policy's owner in Presidio's YAML; empty when policy.json names no such file.
        ner: what counts of a model's findings; empty when policy.json names no such file.
        meta: metaschemas by name.
        paths: path below the schemas folder of each of the above, for messages.
        digest: 16 hex digits over all of them.
    """

    main: Document
    event: Document
    records: Mapping[str, Document]
    catalogues: Mapping[str, Document]
    sinks: Mapping[str, Document]
    stores: Mapping[str, Document]
    entities: Document
    allow: Document
    names: Document
    common_words: Document
    body: Document
    rules: Mapping[str, Document]
    recognizers: Document
    ner: Document
    meta: Mapping[str, Document]
    paths: Mapping[str, str]
    digest: str


def default_schemas_dir() -> Path:
    """Return the folder of the shipped schemas: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_schemas"
    return shipped if shipped.is_dir() else package.parent / "schemas"


def read_policy_files(schemas_dir: Path, event: str | None = None) -> PolicyFiles:
    """Read a policy.

    Args:
        schemas_dir: folder that holds policy.json.
        event: path of another annotated event schema, below the folder or absolute; default what policy.json says.

    Raises:
        PolicyError: a file is missing or not JSON; the text names it.
    """
    reader = _Reader(schemas_dir)
    main = reader.read("policy.json")
    try:
        event_path = event or main["event"]
        event_document = reader.read(event_path)
        record_paths = {**main["records"], **event_document.get("x-event", {}).get("records", {})}
        records = {name: reader.read(path) for name, path in record_paths.items()}
        named = {key: reader.read(main[key]) for key in ("entities", "allow", "names", "common_words", "body")}
        catalogues = reader.read_folder(main["catalogues"])
        sinks = reader.read_folder(main["sinks"])
        stores = reader.read_folder(main["stores"])
        rules = reader.read_folder(main["rules"])
        recognizers = reader.read_yaml(main["recognizers"]) if "recognizers" in main else {}
        ner = reader.read(main["ner"]) if "ner" in main else {}
    except KeyError as error:
        missing = str(error.args[0])
    else:
        paths = {"event": event_path, **{f"record {name}": path for name, path in record_paths.items()}}
        meta = {
            name: reader.read(f"meta/{name}.schema.json", count=False)
            for name in ("privacy", "record-field", "sink", "store", "catalogue")
        }
        return PolicyFiles(
            main,
            event_document,
            records,
            catalogues,
            sinks,
            stores,
            **named,
            rules=rules,
            recognizers=recognizers,
            ner=ner,
            meta=meta,
            paths=paths,
            digest=reader.digest(),
        )
    raise PolicyError(f"policy.json: '{missing}' is missing; see the shipped schemas/policy.json")


def read_document(schemas_dir: Path, path: str) -> Document:
    """Read a file that is no part of the policy's digest: it decides no byte of a record.

    Raises:
        PolicyError: it is missing or not JSON; the text names it.
    """
    return _Reader(schemas_dir).read(path, count=False)


class _Reader:
    """Reads JSON and YAML files below one folder and keeps a digest of all that it read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, str] = {}

    def read(self, path: str, *, count: bool = True) -> Document:
        document: Document
        file = self._folder / path
        problem = ""
        try:
            document = orjson.loads(file.read_bytes())
        except OSError as error:
            problem = f"{file}: cannot be read ({error.strerror})"
        except orjson.JSONDecodeError as error:
            problem = f"{file}: not JSON (line {error.lineno}, column {error.colno})"
        else:
            if not isinstance(document, dict):
                problem = f"{file}: must hold a JSON object"
        if problem:
            raise PolicyError(problem)
        if count:
            self._count(path, document)
        return document

    def read_yaml(self, path: str) -> Document:
        document: Document
        file = self._folder / path
        problem = ""
        try:
            document = yaml.safe_load(file.read_bytes())
            if not isinstance(document, dict):
                problem = f"{file}: must hold a mapping"
            else:
                self._count(path, document)
        except OSError as error:
            problem = f"{file}: cannot be read ({error.strerror})"
        except (yaml.YAMLError, TypeError):  # of a key or value that JSON has not, too
            problem = f"{file}: not YAML of texts, numbers, lists and mappings"
        if problem:
            raise PolicyError(problem)
        return document

    def _count(self, path: str, document: Document) -> None:
        canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        self._seen[path] = hashlib.sha256(canonical).hexdigest()

    def read_folder(self, path: str) -> dict[str, Document]:
        files = sorted((self._folder / path).glob("*.json"))
        return {file.stem: self.read(f"{path}/{file.name}") for file in files}

    def digest(self) -> str:
        """16 hex digits over names and canonical contents, in sorted order."""
        return hashlib.sha256(orjson.dumps(self._seen, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
