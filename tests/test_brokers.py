"""How Kafka is reached: what goes together, what is refused, and that no client is made without it."""

import ast
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fixtures import Lethe, make_lethe
from kafka_broker import DEPLOY  # noqa: F401 - puts local_kafka on the path
from local_kafka.certificates import Authority
from test_architecture import MODULES, name_of

from pipeline.brokers import Brokers, Hidden, Security, is_loopback
from pipeline.config import load_settings
from pipeline.errors import ConfigError, KeyringError, PipelineError

CANARY = "zq-canary-word-zq"
ELSEWHERE = "192.0.2.7:9092"
CLIENTS = {"AIOKafkaConsumer", "AIOKafkaProducer", "KafkaAdminClient", "KafkaConsumer", "KafkaProducer"}
COMMANDS = [
    ["topics", "plan"],
    ["topics", "apply"],
    ["topics", "verify"],
    ["worker"],
    ["worker", "--check"],
    ["archive"],
    ["archive", "--check"],
    ["rejected"],
    ["replay", "events.jsonl"],
    ["generate", "--count", "1", "--to", "kafka:"],
    ["restrict", "--account", "-", "--why", "test", "--ticket", "TEST-1"],
    ["audit-log", "publish"],
]


def reach(folder: Path, **environ: str) -> Brokers:
    """Return how Kafka is reached with some settings."""
    return load_settings({f"LETHE_{name}": value for name, value in environ.items()}, folder / "none.toml").reach()


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Return a file of a password."""
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text(f"{CANARY}\n", "utf-8")
    return path


def test_without_settings_plaintext_stays_on_this_machine(tmp_path: Path) -> None:
    """Loopback in its forms is this machine; no name is looked up."""
    assert reach(tmp_path).options() == {"security_protocol": "PLAINTEXT", "ssl_context": None}
    assert reach(tmp_path, BROKERS="localhost:9092, 127.0.0.9:1,[::1]:9092").servers()[2] == "[::1]:9092"
    assert not any(map(is_loopback, ["kafka", "localhost.example.com", "192.0.2.7", "2001:db8::1", "127.1.example"]))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_plaintext_to_another_machine(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what to do, before anything is sent."""
    lethe: Lethe = make_lethe(tmp_path, monkeypatch, capfd)
    (tmp_path / "events.jsonl").write_bytes(b"{}\n")
    monkeypatch.setenv("LETHE_BROKERS", f"127.0.0.1:9092,{ELSEWHERE}")
    done = lethe(*command, stdin=b"acct_5f0c77de21b94a08\n")
    assert (done.code, "set LETHE_SECURITY" in done.err, "LETHE_PLAINTEXT=true" in done.err) == (2, True, True), done


def test_plaintext_goes_elsewhere_when_that_is_said(tmp_path: Path) -> None:
    """The flag is for networks that are trusted."""
    assert reach(tmp_path, BROKERS=ELSEWHERE, PLAINTEXT="true").address == ELSEWHERE


def test_a_login_is_given_to_clients_and_shown_to_nobody(tmp_path: Path, password: Path) -> None:
    """The password reaches the options alone, and hides in whatever is printed of them."""
    brokers = reach(
        tmp_path, BROKERS=ELSEWHERE, SECURITY="sasl_tls", SASL_USER="worker", SASL_PASSWORD_FILE=str(password)
    )
    options = brokers.options()
    assert (options["sasl_mechanism"], options["sasl_plain_password"]) == ("SCRAM-SHA-512", CANARY)
    assert CANARY not in f"{brokers!r} {brokers} {options} {options!r}"
    context: ssl.SSLContext = options["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_sessions_keys_are_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that other programs obey would let whoever reads that file read the traffic."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    context = Brokers(ELSEWHERE, Security.TLS).context()
    assert context is not None
    assert context.keylog_filename is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BROKERS": f"{CANARY}@example.com"}, r"^brokers \(LETHE_BROKERS\) must be host:port"),
        ({"BROKERS": "kafka..example.org:9092"}, r"^brokers \(LETHE_BROKERS\) must be host:port"),
        ({"BROKERS": "127.0.0.1:65536"}, r"^brokers \(LETHE_BROKERS\) must be host:port"),
        ({"SECURITY": CANARY}, r"^LETHE_SECURITY must be one of plaintext, tls, sasl_tls$"),
        ({"SASL_USER": f"{CANARY} x"}, "^LETHE_SASL_USER must be 1 to 249 letters"),
        ({"TLS_CA": "ca.pem"}, "^LETHE_TLS_CA is set, but LETHE_SECURITY is plaintext"),
        ({"SASL_USER": "u"}, "^LETHE_SASL_USER is set, but LETHE_SECURITY is plaintext"),
        ({"SECURITY": "tls", "SASL_USER": "u"}, "^LETHE_SASL_USER is set, but LETHE_SECURITY is tls, which has no"),
        ({"SECURITY": "sasl_tls", "SASL_USER": "u"}, "sasl_tls, and LETHE_SASL_PASSWORD_FILE is missing"),
        ({"SECURITY": "sasl_tls", "SASL_PASSWORD_FILE": "p"}, "sasl_tls, and LETHE_SASL_USER is missing"),
        ({"SECURITY": "tls", "TLS_CERT": "c.pem"}, "^LETHE_TLS_CERT and LETHE_TLS_KEY go together"),
        ({"SECURITY": "tls", "PLAINTEXT": "true"}, "^LETHE_PLAINTEXT is true, but LETHE_SECURITY is tls"),
        ({"SECURITY": "tls", "TLS_CA": "/nowhere/ca.pem"}, "^the file of LETHE_TLS_CA cannot be used: No such file"),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], message: str, tmp_path: Path) -> None:
    """The message names the setting and what to do, never a value."""
    with pytest.raises(ConfigError, match=message) as refused:
        reach(tmp_path, **environ)
    assert CANARY not in str(refused.value)


def broken_files(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield files that are refused, with a part of the reason."""
    authority, other = Authority(folder / "a"), Authority(folder / "b")
    one, two = authority.sign("one", usage="client"), other.sign("two", usage="client")
    garbage = folder / "garbage.pem"
    garbage.touch(0o600)
    garbage.write_text(CANARY, "utf-8")
    yield "not PEM", {"TLS_CA": str(garbage)}
    yield "not PEM", {"TLS_CERT": str(one.certificate), "TLS_KEY": str(garbage)}
    yield "no pair", {"TLS_CERT": str(one.certificate), "TLS_KEY": str(two.key)}
    one.key.chmod(0o640)
    yield "open to group or others", {"TLS_CERT": str(one.certificate), "TLS_KEY": str(one.key)}
    for name, text, why in (("open", "word", "open to group"), ("empty", "\n", "alone"), ("two", "a\nb\n", "alone")):
        path = folder / name
        path.touch(0o644 if name == "open" else 0o600)
        path.write_text(text, "utf-8")
        yield why, {"SECURITY": "sasl_tls", "SASL_USER": "u", "SASL_PASSWORD_FILE": str(path)}


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Garbage, a pair that is none, a key or a password that others can read: each with its reason, without content."""
    for why, environ in broken_files(tmp_path):
        with pytest.raises(PipelineError, match=why) as refused:
            reach(tmp_path, **{"SECURITY": "tls", "BROKERS": ELSEWHERE, **environ})
        assert isinstance(refused.value, ConfigError | KeyringError)
        assert CANARY not in str(refused.value)


def test_every_client_is_made_in_two_modules_with_the_options() -> None:
    """A client made elsewhere, or without `Brokers.options`, would speak in the clear."""
    made = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLIENTS:
                spread = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg is None]
                made[name_of(path), node.func.id] = "brokers.options()" in spread
    assert made == {
        ("pipeline.client", "AIOKafkaProducer"): True,
        ("pipeline.client", "AIOKafkaConsumer"): True,
        ("pipeline.topics.admin", "KafkaAdminClient"): True,
    }


def test_how_kafka_is_reached_is_made_from_checked_settings_alone() -> None:
    """Whoever made a `Brokers` of an address would have plaintext, unchecked."""
    makers = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"Brokers", "Brokers.checked", "cls", "replace"}
        and any(keyword.arg == "address" for keyword in node.keywords) | (ast.unparse(node.func) == "Brokers")
    }
    assert makers == {"pipeline.config"}


def test_hidden_is_the_text_itself() -> None:
    """Clients encode it as any other text."""
    assert (Hidden("word"), repr(Hidden("word"))) == ("word", "<hidden>")
