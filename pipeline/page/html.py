"""HTML that is escaped by construction: a text becomes markup only through here. Pure."""

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"input", "link", "meta"})


class Html(str):
    """Markup. Any other string is a text, and is escaped where it is put into one."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | bool) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: markup, or texts, which are escaped.
        attributes: by name, ``_`` for ``-`` and one at the end left out (``class_``); False leaves it out, True is
            the name alone.
    """
    said = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    return Html(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Return markup and texts one after the other, the texts escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(headers: Iterable[str], *bodies: str, label: str) -> Html:
    """Return a table that scrolls by itself where it is wider than the page, by keyboard as well.

    Args:
        headers: of the columns.
        bodies: what stands in it: ``tbody`` elements.
        label: what it shows, for who cannot see it.
    """
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in headers)))
    return tag("div", tag("table", head, *bodies), class_="scroll", tabindex="0", role="region", aria_label=label)


def row(*cells: str, **attributes: str) -> Html:
    """Return a row whose first cell is its head."""
    first, *rest = cells
    return tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest), **attributes)


def _attribute(name: str, value: str | bool) -> str:
    if value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(value)}"'
