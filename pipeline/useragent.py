"""User agents made coarse: a family from a closed list and a major version. Pure; the only importer of ua-parser.

The text itself never comes out, only a value of the catalogue: whatever a client writes into its user agent, an
e-mail address included, is at most ``other``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import PolicyError

if TYPE_CHECKING:
    from ua_parser.basic import Resolver

USER_AGENT_CHARS_MAX = 1024
"""A longer one is ``other`` unread: it is no client's own, and ua-parser's patterns take time with its length."""

_CACHE_SIZE = 4096  # clients in use at one time; at most 16 MiB of text, in memory only
_MAJOR = re.compile(r"v?([0-9]{1,4})(?![0-9])", re.IGNORECASE)  # "2.31.0", "v2.9"; a longer number is no version
_BROWSER_PREFIXES = ("Mozilla/", "Opera/")


@dataclass(frozen=True, slots=True, eq=False)
class UserAgentTable:
    """The catalogue of user agents. Compared by identity, so that it can be part of a cache's key.

    Attributes:
        products: family by product, in lower case. A product is what stands before the version: ``axios``,
            ``openai/python``.
        browsers: family by ua-parser's family.
        other: what everything else is.
    """

    products: Mapping[str, str]
    browsers: Mapping[str, str]
    other: str = "other"

    @classmethod
    def from_catalogue(cls, catalogue: Mapping[str, Any]) -> Self:
        """Build the table from schemas/catalogues/user_agents.json, parsed; an empty mapping makes all ``other``.

        Raises:
            PolicyError: a product or browser has a family that is not among the catalogue's values.
        """
        products, browsers = catalogue.get("products", {}), catalogue.get("browsers", {})
        stray = {*products.values(), *browsers.values()} - set(catalogue.get("values", ()))
        if stray:
            raise PolicyError(f"catalogues/user_agents.json: not among its values: {', '.join(sorted(stray))}")
        by_product = {product.lower(): family for product, family in products.items()}
        return cls(by_product, dict(browsers), catalogue.get("other", "other"))


def coarsen_user_agent(text: str, table: UserAgentTable) -> tuple[str, int | None]:
    """Return the family and major version of a user agent (design §2: the full string is a fingerprint).

    Known products are looked for at the start of the text, then ua-parser is asked about what browsers send. The
    version is None where there is none, or none of at most four digits.
    """
    if len(text) > USER_AGENT_CHARS_MAX:
        return table.other, None
    return _coarsen(text, table)


def forget_user_agents() -> None:
    """Forget the user agents that were seen, for a process that may keep nothing of an event."""
    _coarsen.cache_clear()


@lru_cache(maxsize=_CACHE_SIZE)
def _coarsen(text: str, table: UserAgentTable) -> tuple[str, int | None]:
    if text.startswith(_BROWSER_PREFIXES):
        return _find_browser(text, table)
    return _find_product(text, table)


def _find_product(text: str, table: UserAgentTable) -> tuple[str, int | None]:
    """Look at the first two words, since some clients put their language first: ``Python/3.11 aiohttp/3.9.1``."""
    words = text.lower().split(None, 3)
    for place, word in enumerate(words[:2]):
        if (family := table.products.get(word)) is not None:  # "OpenAI/Python 1.40.0", or no version at all
            return family, _parse_major(words[place + 1] if place + 1 < len(words) else None)
        product, _, version = word.rpartition("/")
        if (family := table.products.get(product)) is not None:  # "axios/1.7.2"
            return family, _parse_major(version)
    return table.other, None


def _find_browser(text: str, table: UserAgentTable) -> tuple[str, int | None]:
    # Imported by the package's own name for it, since ua_parser's default resolver depends on what else is installed:
    # the same event must give the same bytes everywhere.
    from ua_parser.core import Domain  # noqa: PLC0415 - 76 ms with the first parse; most commands never parse

    found = _browser_resolver()(text, Domain.USER_AGENT).user_agent
    family = table.browsers.get(found.family) if found is not None else None
    if found is None or family is None:
        return table.other, None
    return family, _parse_major(found.major)


@lru_cache(maxsize=1)
def _browser_resolver() -> "Resolver":
    from ua_parser.basic import Resolver  # noqa: PLC0415 - as above
    from ua_parser.loaders import load_lazy_builtins  # noqa: PLC0415 - as above

    return Resolver(load_lazy_builtins())


def _parse_major(version: str | None) -> int | None:
    match = _MAJOR.match(version) if version is not None else None
    return None if match is None else int(match[1])
