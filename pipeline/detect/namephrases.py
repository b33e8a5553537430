"""What a cue's phrase can begin with, so that a text is asked for it only where that stands. Pure."""

import re

_CLASS = re.compile(r"\[([^\\\^\]\[-]+)\]")
_ESCAPED = re.compile(r"\\([n.+*?()\[\]|$^{}\\/-])")


def heads(phrase: str) -> list[tuple[str, str]] | None:
    """Return the characters that a phrase can begin with, each with what follows; None where that is no short list."""
    if phrase.startswith("(?:"):
        close, starts = _group(phrase)
    elif simple := _CLASS.match(phrase):
        close, starts = simple.end() - 1, list(simple[1])
    elif escape := _ESCAPED.match(phrase):
        close, starts = 1, ["\\n" if escape[1] == "n" else escape[0]]
    elif phrase[:1] in "\\[^.$":
        return None
    else:
        close, starts = 0, [phrase[:1]]
    rest = phrase[close + 1 :]
    if rest[:1] in {"{", "*", "+"}:
        return None
    is_optional = rest[:1] == "?"
    rest = rest[is_optional:]
    if phrase.startswith("(?:"):
        found: list[tuple[str, str]] = []
        for head in [*starts, ""] if is_optional else starts:
            some = heads(head + rest) if head + rest else [("", "")]
            if some is None:
                return None
            found += some
        return found
    chars = [("\n" if head == "\\n" else head[-1], rest) for head in starts]
    more = (heads(rest) if rest else [("", "")]) if is_optional else []
    return None if more is None else chars + more


def _group(phrase: str) -> tuple[int, list[str]]:
    """Return where the group at the start of a phrase ends, and its alternatives."""
    parts: list[str] = []
    depth, start = 0, 3
    for index, char in enumerate(phrase):
        if phrase[index - 1 : index] == "\\":
            continue
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return index, [*parts, phrase[start:index]]
        elif char == "|" and depth == 1:
            parts.append(phrase[start:index])
            start = index + 1
    raise ValueError("a group has no end")
