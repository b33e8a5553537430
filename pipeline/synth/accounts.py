"""The invented accounts that the traffic comes from."""

import unicodedata
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from pipeline.synth.corpus import Corpus
from pipeline.synth.identifiers import make_ip

ACCOUNTS = 200
_LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "pl", "ru", "ja", "zh", "ar", "hi")
_LANGUAGE_WEIGHTS = (50, 9, 7, 7, 4, 3, 4, 3, 4, 5, 2, 2)
_REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-southeast-1", "ap-northeast-1")
_USER_AGENTS = (
    "OpenAI/Python 1.52.0",
    "AsyncOpenAI/Python 1.99.3",
    "OpenAI/JS 4.68.1",
    "Anthropic/Python 0.39.0",
    "Anthropic/JS 0.27.3",
    "curl/8.7.1",
    "python-requests/2.32.3",
    "python-httpx/0.27.2",
    "axios/1.7.7",
    "Go-http-client/2.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
)
_SINGLE_WORD_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Account:
    """An invented account.

    Attributes:
        id: ``acct_`` and 24 hex digits.
        email: its local part holds 32 random bits.
        name: given and family name; no two accounts have the same.
        organization: one word, or three.
        api_keys, ips, user_agents: what it uses; a user agent's last word is its ``marker``.
        language: of most of its prose.
        region: where it is served.
    """

    id: str
    email: str
    name: str
    organization: str
    api_keys: tuple[str, ...]
    ips: tuple[str, ...]
    user_agents: tuple[tuple[str, str], ...]
    language: str
    region: str


@dataclass(frozen=True, slots=True)
class AccountPool:
    """Accounts, busiest first, drawn by Zipf's law."""

    accounts: tuple[Account, ...]
    cumulative: tuple[float, ...]

    def draw(self, rng: Random) -> Account:
        """Draw an account: the second busiest half as often as the busiest, and so on."""
        return rng.choices(self.accounts, cum_weights=self.cumulative)[0]


def make_accounts(seed: int, corpus: Corpus) -> AccountPool:
    """Make the accounts of a seed."""
    rng = Random(f"accounts:{seed}")
    people = corpus.people
    names = _pairs(rng, people["account_given"], people["account_family"])
    heads, tails = people["organization_head"], people["organization_middle"]
    organizations = _pairs(rng, heads, tails)
    accounts = tuple(
        _make_account(rng, name, _organization(rng, pair, people["organization_tail"]))
        for name, pair in zip(names, organizations, strict=True)
    )
    return AccountPool(accounts, tuple(accumulate(1 / rank for rank in range(1, ACCOUNTS + 1))))


def _pairs(rng: Random, left: tuple[str, ...], right: tuple[str, ...]) -> list[tuple[str, str]]:
    return rng.sample([(a, b) for a in left for b in right], ACCOUNTS)


def _organization(rng: Random, pair: tuple[str, str], tails: tuple[str, ...]) -> str:
    if rng.random() < _SINGLE_WORD_SHARE:
        return f"{pair[0]}{pair[1].lower()}"
    return f"{pair[0]} {pair[1]} {rng.choice(tails)}"


def _make_account(rng: Random, name: tuple[str, str], organization: str) -> Account:
    host = "-".join(organization.lower().split()[:2])
    agents = rng.sample(_USER_AGENTS, 1 + rng.getrandbits(1))
    return Account(
        id=f"acct_{rng.getrandbits(96):024x}",
        email=f"{_to_ascii(name[0])}.{rng.getrandbits(32):08x}@{host}.example.com",
        name=" ".join(name),
        organization=organization,
        api_keys=tuple(f"key_{rng.getrandbits(80):020x}" for _ in range(1 + int(rng.random() * 3))),
        ips=tuple(make_ip(rng) for _ in range(1 + rng.getrandbits(1))),
        user_agents=tuple((f"{agent} build/{marker}", marker) for agent in agents for marker in (_marker(rng),)),
        language=rng.choices(_LANGUAGES, _LANGUAGE_WEIGHTS)[0],
        region=rng.choice(_REGIONS),
    )


def _marker(rng: Random) -> str:
    return f"{rng.getrandbits(48):012x}"


def _to_ascii(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word.lower().replace("ł", "l"))
    return letters.encode("ascii", "ignore").decode()
