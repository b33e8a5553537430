"""User agents: a family of the catalogue and a major version, and nothing else of the text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PolicyError
from pipeline.useragent import USER_AGENT_CHARS_MAX, UserAgentTable, coarsen_user_agent

ROOT = Path(__file__).parents[1]
CATALOGUE = json.loads((ROOT / "schemas/catalogues/user_agents.json").read_text())
TABLE = UserAgentTable.from_catalogue(CATALOGUE)
KNOWN = {*CATALOGUE["values"], CATALOGUE["other"]}

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("text", "family", "major"),
    [
        ("OpenAI/Python 1.40.0", "openai-python", 1),
        ("AsyncOpenAI/Python 2.1.0", "openai-python", 2),
        ("AzureOpenAI/Python 1.40.0", "openai-python", 1),
        ("OpenAI/JS 4.52.0", "openai-js", 4),
        ("OpenAI/2.0.0 (.NET 8.0.6; Linux)", "openai-dotnet", 2),
        ("Anthropic/Python 0.34.2", "anthropic-python", 0),
        ("Anthropic/JS 0.27.0", "anthropic-js", 0),
        ("litellm/1.44.5", "litellm", 1),
        ("langchainjs-openai/1.0.0 ((node/v20.1.0; linux; x64))", "langchain", 1),
        ("ai-sdk/openai/2.0.1 runtime/node.js/22", "ai-sdk", 2),
        ("python-requests/2.31.0", "python-requests", 2),
        ("python-httpx/0.27.0", "python-httpx", 0),
        ("Python/3.11 aiohttp/3.9.1", "aiohttp", 3),
        ("Python-urllib/3.11", "python-urllib", 3),
        ("axios/1.7.2", "axios", 1),
        ("node-fetch/1.0 (+https://example.com/node-fetch)", "node-fetch", 1),
        ("node-fetch", "node-fetch", None),
        ("undici", "undici", None),
        ("got (https://example.com/got)", "got", None),
        ("curl/8.5.0", "curl", 8),
        ("CURL/8.5.0", "curl", 8),
        ("Wget/1.21.4", "wget", 1),
        ("Go-http-client/1.1", "go-http-client", 1),
        ("okhttp/4.12.0", "okhttp", 4),
        ("Java-http-client/17.0.2", "java-http-client", 17),
        ("Java/1.8.0_402", "java", 1),
        ("Dart/3.4 (dart:io)", "dart", 3),
        ("Faraday v2.9.0", "faraday", 2),
        ("Ruby", "ruby", None),
        ("GuzzleHttp/7", "guzzle", 7),
        ("PostmanRuntime/7.39.0", "postman", 7),
        ("insomnia/9.2.0", "insomnia", 9),
        ("curl/555123", "curl", None),  # a number too long for a version
        ("curl/", "curl", None),
        ("curl/alice", "curl", None),
        ("curl/８.5", "curl", None),  # noqa: RUF001 - a full-width digit is meant
    ],
)
def test_known_products_are_their_family(text: str, family: str, major: int | None) -> None:
    """The leading product says the family; the version behind it, if it is one, the major."""
    assert (family, major) == coarsen_user_agent(text, TABLE)


@pytest.mark.parametrize(
    ("text", "family", "major"),
    [
        (f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36", "chrome", 131),
        (f"{WINDOWS} HeadlessChrome/131.0.0.0 Safari/537.36", "chrome", 131),
        (f"{ANDROID} Chrome/131.0.0.0 Mobile Safari/537.36", "chrome", 131),
        (f"{IPHONE} CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1", "chrome", 131),
        (f"{ANDROID[:-23]}; wv) AppleWebKit/537.36 Version/4.0 Chrome/99.0.1 Mobile Safari/537.36", "chrome", 99),
        (f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0", "edge", 131),
        (f"{ANDROID} Chrome/131.0.0.0 Mobile Safari/537.36 EdgA/130.0.0.0", "edge", 130),
        (f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36 OPR/117.0.0.0", "opera", 117),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "firefox", 133),
        ("Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0", "firefox", 133),
        (f"{IPHONE} FxiOS/133.0 Mobile/15E148 Safari/605.1.15", "firefox", 133),
        (f"{MAC} Version/18.1 Safari/605.1.15", "safari", 18),
        (f"{IPHONE} Version/18.1 Mobile/15E148 Safari/604.1", "safari", 18),
        (f"{IPHONE} Mobile/15E148", "ios-webview", None),
        (f"{ANDROID} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36", "samsung-internet", 27),
        ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10", "opera", 7),
        ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://example.com/gptbot)", "bot", 1),
        ("Mozilla/5.0 (Windows NT; Windows NT 10.0) WindowsPowerShell/5.1.19041", "powershell", 5),
        (f"{WINDOWS} Chrome/131555.0.0.0 Safari/537.36", "chrome", None),
    ],
)
def test_browsers_are_their_family(text: str, family: str, major: int | None) -> None:
    """What ua-parser finds is mapped through the catalogue, desktop and mobile alike."""
    assert (family, major) == coarsen_user_agent(text, TABLE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MyApp/1.0 (alice@example.com)",
        "alice@example.com",
        "alice@example.com/4",
        "Mozilla/5.0",
        "Mozilla/5.0 (compatible; AliceExampleBrowser/3.0; alice@example.com)",
        "acct_example/12",
        "curling/8.0",
        "MyApp/1.0 (curl/8.0)",
        "a b curl/8.0",
        "curl/8.0" + " " * USER_AGENT_CHARS_MAX,
        f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36".ljust(USER_AGENT_CHARS_MAX + 1),
    ],
)
def test_anything_else_is_other(text: str) -> None:
    """A product that no list knows, an identifier or an endless text is other, without a version."""
    assert coarsen_user_agent(text, TABLE) == ("other", None)


@given(
    st.text(), st.sampled_from(["", "Mozilla/5.0 (", "Opera/9.80 ", "curl/", "OpenAI/Python ", *CATALOGUE["products"]])
)
def test_nothing_of_the_text_comes_out(text: str, start: str) -> None:
    """The family is a value of the catalogue and the version a number of at most four digits, whatever was sent."""
    family, major = coarsen_user_agent(start + text, TABLE)
    assert family in KNOWN
    assert major is None or 0 <= major <= 9999


def test_every_value_of_the_catalogue_can_come_out() -> None:
    """The closed list holds no family that no product or browser has."""
    assert set(CATALOGUE["values"]) == {*CATALOGUE["products"].values(), *CATALOGUE["browsers"].values()}
    assert "other" not in CATALOGUE["values"]


@pytest.mark.parametrize("product", CATALOGUE["products"])
def test_every_product_of_the_catalogue_is_found(product: str) -> None:
    """Each product is its family, with a version in either notation and without one."""
    family = CATALOGUE["products"][product]
    found = [coarsen_user_agent(text, TABLE) for text in (product, f"{product}/12.3", f"{product} 12.3 (x)")]
    assert [(family, None), (family, 12), (family, 12)] == found


def test_a_family_that_is_not_a_value_fails_at_load() -> None:
    """A product mapped to a family outside the closed list is a policy error."""
    with pytest.raises(PolicyError, match="not among its values: curll"):
        UserAgentTable.from_catalogue({"values": ["curl"], "products": {"curl": "curll"}})


def test_without_a_catalogue_everything_is_other() -> None:
    """A policy that has no catalogue of user agents keeps none."""
    table = UserAgentTable.from_catalogue({})
    assert coarsen_user_agent("curl/8.5.0", table) == ("other", None)
    assert coarsen_user_agent(f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36", table) == ("other", None)


def test_two_tables_do_not_share_answers() -> None:
    """A reloaded catalogue takes effect at once: the cache knows which table an answer came from."""
    changed = UserAgentTable.from_catalogue({"values": ["tool"], "products": {"curl": "tool"}})
    answers = [coarsen_user_agent("curl/8.5.0", table) for table in (TABLE, changed)]
    assert answers == [("curl", 8), ("tool", 8)]


def test_ua_parser_is_imported_only_when_a_browser_is_seen() -> None:
    """A process that parses no browser pays nothing for ua-parser."""
    program = (
        "import sys; from pipeline.useragent import UserAgentTable, coarsen_user_agent as coarsen\n"
        "table = UserAgentTable.from_catalogue({})\n"
        "coarsen('curl/8.5.0', table); before = 'ua_parser' in sys.modules\n"
        "coarsen('Mozilla/5.0', table); print(before, 'ua_parser' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603 - our own program
    assert done.stdout == "False True\n"
