"""The shape of the code: imports go one way, one module imports each big library, nothing grows past one idea."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))

# From the bottom up; a module imports from its own layer or below it. The longest matching name decides.
LAYERS = [
    {"pipeline", "pipeline.errors", "pipeline.records", "pipeline.allocator", "pipeline.hardening"},
    {"pipeline.codec", "pipeline.policy", "pipeline.coarsen", "pipeline.pseudonym", "pipeline.seal"},
    {
        "pipeline.useragent",
        "pipeline.keys",
        "pipeline.detect",
        "pipeline.redact",
        "pipeline.suppress",
        "pipeline.applied",
        "pipeline.brokers",
    },
    {"pipeline.extract", "pipeline.transform", "pipeline.plan", "pipeline.content"},
    {"pipeline.egress"},
    {"pipeline.rejects"},
    {"pipeline.anonymize", "pipeline.tally"},
    {
        *("pipeline.wire", "pipeline.metrics", "pipeline.inputs", "pipeline.retention", "pipeline.sinks"),
        *(
            "pipeline.retention_metrics",
            "pipeline.store",
            "pipeline.synth",
            "pipeline.topics",
            "pipeline.client",
            "pipeline.boundedserver",
            "pipeline.closing",
            "pipeline.knock",
            "pipeline.usage",
        ),
    },
    {
        *("pipeline.config", "pipeline.config_types", "pipeline.run", "pipeline.recovery"),
        *("pipeline.audit", "pipeline.receipts", "pipeline.rights"),
    },
    {"pipeline.worker"},
    {"pipeline.archive"},
    {"pipeline.proof", "pipeline.page"},
    {"pipeline.cli", "pipeline.__main__"},
]
# Each big library has one door; Presidio a second one, behind which its models are loaded, Hyperscan one for terms,
# Kafka's administrator one for rights, signatures and
# encryption a module each.
DOORS = {
    "jsonschema_rs": {"pipeline.policy.validator"},
    "presidio_analyzer": {"pipeline.detect.presidio", "pipeline.detect.nerchild"},
    "spacy": set(),
    "tldextract": {"pipeline.detect.presidio"},
    "regex": {"pipeline.detect.presidio"},
    "hyperscan": {"pipeline.detect.scan", "pipeline.rights.term"},
    "yaml": {"pipeline.policy.files"},
    "phonenumbers": {"pipeline.detect.phones"},
    "stdnum": {"pipeline.detect.checksums"},
    "faker": {"pipeline.detect.gazetteer"},
    "aiokafka": {"pipeline.client", "pipeline.knock"},
    "cryptography": {f"pipeline.keys.{name}" for name in ("certificates", "cipher", "envelope", "signing")},
    "faust": {f"pipeline.worker.{name}" for name in ("agent", "client_thread", "fetcher", "producer", "transport")},
    "kafka": {"pipeline.topics.admin", "pipeline.topics.aclclient"},
    "uvloop": {"pipeline.worker.process"},
    "clickhouse_connect": {"pipeline.store.client"},
    "prometheus_client": {"pipeline.metrics"},
    "ua_parser": {"pipeline.useragent"},
    "zstandard": {"pipeline.inputs", "pipeline.keys.sealing"},
    "chdb": {"pipeline.store.engine"},
    "urllib3": {"pipeline.store.pool"},
    "pandas": set(),
}
# What the pure core may not touch: files, clocks, processes, the network, randomness.
IMPURE = {"os", "time", "socket", "subprocess", "random", "secrets", "logging", "pathlib", "threading", "tempfile"}
PURE = [
    *("pipeline.errors", "pipeline.records", "pipeline.codec", "pipeline.coarsen", "pipeline.pseudonym"),
    *("pipeline.seal", "pipeline.redact", "pipeline.extract", "pipeline.transform", "pipeline.plan", "pipeline.egress"),
    *("pipeline.anonymize", "pipeline.content", "pipeline.detect.own", "pipeline.detect.spans"),
    *("pipeline.detect.fold", "pipeline.detect.needles", "pipeline.detect.cues", "pipeline.detect.node"),
    *(
        f"pipeline.detect.{name}"
        for name in ("allow", "columns", "engine", "gates", "loosen", "memory", "ner", "nerrules", "reading", "rules")
    ),
    *("pipeline.detect.budget", "pipeline.detect.context"),
    *(
        f"pipeline.detect.{name}"
        for name in ("seams", "segments", "views", "checksums", "literals", "traits", "phones")
    ),
    *("pipeline.detect.recognizer", "pipeline.detect.entities", "pipeline.keys.keyring", "pipeline.keys.keyformat"),
    *("pipeline.policy.shape", "pipeline.policy.record", "pipeline.policy.body"),
    *(
        "pipeline.keys.signing",
        "pipeline.keys.cipher",
        "pipeline.keys.daykeys",
        "pipeline.keys.envelope",
        "pipeline.keys.sealing",
        "pipeline.audit.entry",
        "pipeline.audit.chain",
        "pipeline.receipts.model",
        "pipeline.receipts.signed",
        "pipeline.rights.receipt",
        "pipeline.retention",
        "pipeline.usage.folding",
    ),
    *("pipeline.suppress", "pipeline.applied", "pipeline.tally", "pipeline.worker.admit", "pipeline.worker.batches"),
    *("pipeline.worker.breaker", "pipeline.worker.merge", "pipeline.worker.offsets", "pipeline.worker.route"),
    *("pipeline.worker.slices", "pipeline.worker.watermark"),
    *("pipeline.archive.decode", "pipeline.archive.batch", "pipeline.store.request"),
    *(
        f"pipeline.page.{name}"
        for name in ("example", "formdata", "frame", "html", "play_page", "policy_page", "words")
    ),
    *("pipeline.proof.report", "pipeline.proof.witness", "pipeline.proof.examine"),
]
LINES_MAX = 260
FUNCTION_LINES_MAX = 70


def name_of(path: Path) -> str:
    """Return a module's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            known = (ROOT / node.module.replace(".", "/")).is_dir()
            for alias in node.names:
                submodule = ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                yield f"{node.module}.{alias.name}" if known and submodule.exists() else node.module


def layer_of(module: str) -> int:
    """Return the number of a module's layer, from the bottom."""
    candidates = [(len(name), level) for level, names in enumerate(LAYERS) for name in names
                  if module == name or (name != "pipeline" and module.startswith(f"{name}."))]  # fmt: skip
    assert candidates, f"{module} belongs to no layer: put it into LAYERS"
    return max(candidates)[1]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    """A module imports only from its own layer or from below it."""
    module = name_of(path)
    upward = [i for i in imports_of(path) if i.split(".")[0] == "pipeline" and layer_of(i) > layer_of(module)]
    assert upward == []


@pytest.mark.parametrize("library", DOORS)
def test_each_big_library_has_one_door(library: str) -> None:
    """Only the named module imports a library; everyone else goes through it."""
    importers = {name_of(path) for path in MODULES for i in imports_of(path) if i.split(".")[0] == library}
    assert importers == DOORS[library]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path: Path) -> None:
    """A module is one idea of about 250 lines, a function at most 70."""
    text = path.read_text("utf-8")
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= FUNCTION_LINES_MAX]
    assert len(text.splitlines()) <= LINES_MAX
    assert long == []


@pytest.mark.parametrize(
    "path", [p for p in MODULES if any(name_of(p) == n or name_of(p).startswith(f"{n}.") for n in PURE)], ids=name_of
)
def test_the_core_is_pure(path: Path) -> None:
    """The core imports nothing that reads files, clocks, the network or randomness, and opens nothing."""
    tree = ast.parse(path.read_text("utf-8"))
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert [i for i in imports_of(path) if i.split(".")[0] in IMPURE] == []
    assert calls & {"open", "print", "input"} == set()
