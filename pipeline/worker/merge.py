"""The metrics of several processes as one text: each sample says whose it is, each family stands once. Pure.

Prometheus' text format wants the samples of a family together and its HELP and TYPE once, so texts that were simply
strung together would be refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL = "worker"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what is read and written here."""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_KEYWORDS = ("HELP", "TYPE")


@dataclass(slots=True)
class _Family:
    """What the texts say of a metric: by keyword its comments, of which the first counts, and its samples."""

    comments: dict[str, str] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)

    def parts(self) -> tuple[str, ...]:
        """Return what the names of its samples end with beyond its own name."""
        return _PARTS.get(self.comments.get("TYPE", "").rpartition(" ")[2], ())


def merge(texts: Mapping[str, str]) -> str:
    """Return one text with the samples of all, each with the label ``worker``.

    Args:
        texts: expositions in the text format 0.0.4, whole lines, by what the label is to say; it goes in as it is. None
            of them may have that label already. A line that is neither a comment nor a sample is left out.
    """
    families: dict[str, _Family] = {}
    for worker, text in texts.items():
        _read(text, f'{LABEL}="{worker}"', families)
    lines: list[str] = []
    for family in families.values():
        if family.samples:
            lines += [family.comments[keyword] for keyword in _KEYWORDS if keyword in family.comments]
            lines += family.samples
    return "".join(f"{line}\n" for line in lines)


def _read(text: str, label: str, families: dict[str, _Family]) -> None:
    current = ""
    for line in text.split("\n"):  # not splitlines: a label's value may hold what that takes for the end of a line
        if line.startswith("#"):
            words = line.split(" ", 3)
            if len(words) > 2 and words[1] in _KEYWORDS:  # noqa: PLR2004 - "# HELP name"
                current = words[2]
                families.setdefault(current, _Family()).comments.setdefault(words[1], line)
        elif match := _NAME.match(line):
            name = match.group()
            family = current if _belongs(name, current, families) else name
            families.setdefault(family, _Family()).samples.append(_label(name, line[match.end() :], label))


def _belongs(name: str, current: str, families: Mapping[str, _Family]) -> bool:
    """Say whether a sample belongs to the family whose comments stand above it."""
    return name == current or (
        current in families and name.startswith(current) and name[len(current) :] in families[current].parts()
    )


def _label(name: str, rest: str, label: str) -> str:
    """Return a sample with one more label; what stands in the others need not be understood for that."""
    if not rest.startswith("{"):
        return f"{name}{{{label}}}{rest}"
    others = rest[1:].lstrip()
    return f"{name}{{{label}{'' if others.startswith('}') else ','}{others}"
