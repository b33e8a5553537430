"""Says in which regions a text may hold a telephone number: the only module that imports phonenumbers.

Asking libphonenumber takes a third of a millisecond for each region. A number is valid in a region only if some of its
last digits have a length and a beginning that the region's numbering plan knows, and that is quickly looked up. What a
plan knows of three digits is worked out when they are first met.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

_GROUP = re.compile(r"[0-9]+")
_ABROAD = re.compile(r"(?<![0-9])(?:00|01[01]|14)")
"""What a number that is dialled abroad begins with in some region (ITU-T E.164 leaves that to each)."""
_PREFIXES = ("0", "1", "90")
"""Of numbers that are dialled within a country, in any region: trunk prefixes, and those of carriers."""
_PREFIX_CHARS_MAX = 8
_PREFIX_DIGITS = 3
_GROUP_DIGITS_MAX = 17
_TEXT_DIGITS_MAX = 200
_DESCRIPTIONS = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("personal_number", "voip", "pager", "uan", "voicemail"),
)


class Plans:
    """The numbering plans of some regions, each with those that share its calling code.

    Attributes:
        regions: two-letter codes (ISO 3166-1), in order.
    """

    def __init__(self, regions: Sequence[str], compiled: Callable[[str], Any]) -> None:
        """Take the regions, and what compiles a pattern that can be asked for partial matches."""
        self.regions = tuple(regions)
        self._compiled = compiled
        self._kinds: dict[str, dict[int, list[tuple[int, Any]]]] = {}

    def regions_for(self, text: str) -> tuple[str, ...]:
        """Return the regions in which a number in a text may be valid; all of them where that cannot be told.

        A number with a plus sign is the same in all of them, and not looked at.
        """
        groups = _GROUP.findall(text)
        digits = "".join(groups)
        if (
            not digits
            or len(digits) > _TEXT_DIGITS_MAX
            or max(map(len, groups)) > _GROUP_DIGITS_MAX
            or _ABROAD.search(text)
            or any(char.isdigit() and not char.isascii() for char in text)
        ):
            return self.regions
        found = 0
        for number in _endings(groups, digits, self._prefixes):
            for region, pattern in self._kinds_of(number[:_PREFIX_DIGITS]).get(len(number), ()):
                if not found >> region & 1 and pattern.fullmatch(number):
                    found |= 1 << region
        return tuple(region for number, region in enumerate(self.regions) if found >> number & 1)

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        """What may stand before a national number: trunk and carrier prefixes, and the regions' calling codes."""
        import phonenumbers  # noqa: PLC0415 - as Presidio, which imports it: most commands never detect anything

        return (*_PREFIXES, *(str(phonenumbers.country_code_for_region(region)) for region in self.regions))

    @cached_property
    def _plans(self) -> list[list[tuple[Any, tuple[int, ...]]]]:
        return [[(self._compiled(pattern), lengths) for pattern, lengths in _plan(region)] for region in self.regions]

    def _kinds_of(self, prefix: str) -> dict[int, list[tuple[int, Any]]]:
        """Return, by the length of a number, the regions' numbers and patterns that know its first digits."""
        kinds = self._kinds.get(prefix)
        if kinds is None:
            kinds = self._kinds[prefix] = {}
            for number, plan in enumerate(self._plans):
                for pattern, lengths in plan:
                    for length in lengths if pattern.fullmatch(prefix, partial=True) else ():
                        kinds.setdefault(length, []).append((number, pattern))
        return kinds


def _endings(groups: Sequence[str], digits: str, prefixes: tuple[str, ...]) -> Iterator[str]:
    """Yield what can be a national number: it ends with a group and begins with one, or behind a prefix of one."""
    ends = list(accumulate(map(len, groups)))
    for first, end_of_first in enumerate(ends):
        begin = end_of_first - len(groups[first])
        offsets = _PREFIX_CHARS_MAX if digits.startswith(prefixes, begin) else 0
        for end in ends[first:]:
            if end - begin > _GROUP_DIGITS_MAX + offsets:
                break
            for start in range(begin, begin + offsets + 1):
                if _PREFIX_DIGITS <= end - start <= _GROUP_DIGITS_MAX:
                    yield digits[start:end]


def _plan(region: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return the patterns of a plan's kinds of numbers, each with the lengths that these can have."""
    import phonenumbers  # noqa: PLC0415 - as above

    code = phonenumbers.country_code_for_region(region)
    plan: dict[tuple[str, tuple[int, ...]], None] = {}
    for other in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(other)
        for name in _DESCRIPTIONS:
            kind: Any = getattr(metadata, name, None)
            if metadata and kind and kind.national_number_pattern:
                general: Any = metadata.general_desc
                lengths = kind.possible_length or general.possible_length
                plan[kind.national_number_pattern, tuple(lengths)] = None
    return list(plan)
