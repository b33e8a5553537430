"""Compiled JSON Schema validation (the only module that imports jsonschema-rs)."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from pipeline.pseudonym import DAY_PSEUDONYM_FORMAT, PSEUDONYM_FORMAT, SUPPRESSION_FORMAT

# Strict formats (design §3, rule 2). Written out with ASCII classes: Rust's \d is every Unicode digit.
_HEX8 = "[0-9a-fA-F]{8}"
_HEX4 = "[0-9a-fA-F]{4}"
_UUID = f"{_HEX8}(-{_HEX4}){{3}}-[0-9a-fA-F]{{12}}"
_ULID = "[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
FORMATS: Mapping[str, str] = {
    "request_id": f"^req_({_UUID}|{_ULID}|[0-9a-fA-F]{{24,32}})$",
    "uuid": f"^{_UUID}$",
    "ulid": f"^{_ULID}$",
    "hex": "^[0-9a-f]{8,128}$",
    "timestamp": f"^{_DATE}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}\\.[0-9]{{3}}Z$",
    "minute": f"^{_DATE}T[0-9]{{2}}:[0-9]{{2}}:00\\.000Z$",
    "pseudonym": PSEUDONYM_FORMAT,
    "day_pseudonym": DAY_PSEUDONYM_FORMAT,
    "suppression": SUPPRESSION_FORMAT,
    "network": "^(([0-9]{1,3}\\.){3}0/24|([0-9a-f]{1,4}(:[0-9a-f]{1,4}){0,2})?::/48)$",
    "source": "^(file:[0-9a-f]{16}|[A-Za-z0-9._-]{1,249})$",
    "actor": "^[a-z_][a-z0-9_.-]{0,63}$",
    "host": "^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$",
    "ticket": "^[A-Z][A-Z0-9]{0,9}-[0-9]{1,8}$",
    "pointer": "^(/[A-Za-z0-9_.*~\\[\\]-]{1,64}){0,32}$",
}
OPERATOR_FORMATS = frozenset({"actor", "host", "ticket"})
"""Formats that only the audit log's entries may have: wide enough for an account's name."""


class Validator:
    """A compiled schema. Its errors are a path and a keyword, never a value or a message."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._compiled = jsonschema_rs.Draft202012Validator(dict(schema), offline=True, validate_formats=False)

    def is_valid(self, instance: Any) -> bool:
        """Tell whether the instance satisfies the schema."""
        return self._compiled.is_valid(instance)

    def errors(self, instance: Any) -> Iterator[tuple[list[str | int], str]]:
        """Yield (path to the faulty place, JSON Schema keyword); for ``required`` the path ends in the missing name."""
        for error in self._compiled.iter_errors(instance):
            path = list(error.instance_path)
            if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
                path.append(error.kind.property)
            yield path, error.kind.name
