"""What every page has around it: head, style, the rule that nothing is fetched, and the way between pages. Pure."""

import base64
import hashlib

from pipeline.page.html import Html, join, tag

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1d21;--soft:#4a4f57;--paper:#fff;--box:#f3f4f6;--line:#70757d;--link:#0b4fb3;
--mark:#ffe9a8;--mark-ink:#231a00;--good:#0d5c2f;--bad:#9c1410}
@media (prefers-color-scheme:dark){:root{--ink:#eceef1;--soft:#b9bfc8;--paper:#14161a;--box:#20242a;--line:#8a919b;
--link:#8fbcff;--mark:#ffe08a;--mark-ink:#231a00;--good:#7ee2a8;--bad:#ffaba6}}
*{box-sizing:border-box}
body{margin:0;font:1rem/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
header,main,footer{max-width:76rem;margin:0 auto;padding:1rem 1.25rem}
h1{margin:.2rem 0;font-size:1.9rem;line-height:1.2}
h2{margin:2.2rem 0 .6rem;font-size:1.35rem}
h3{margin:1.4rem 0 .4rem;font-size:1.05rem}
p{max-width:52rem}
a{color:var(--link)}
a:focus-visible,button:focus-visible,input:focus-visible,textarea:focus-visible,summary:focus-visible,
.scroll:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem;padding:.5rem 1rem;background:var(--paper)}
.skip:focus{left:1rem;top:.5rem}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.6rem 0;padding:0;list-style:none}
.soft,footer{color:var(--soft)}
code,pre,textarea{font:.9rem/1.5 ui-monospace,monospace}
code{overflow-wrap:anywhere}
pre{margin:.4rem 0;padding:.7rem .9rem;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--box);
border-left:4px solid var(--line)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{padding:.4rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--ink)}
tbody th{font-weight:400}
tbody th[scope=rowgroup]{padding-top:1rem;font-weight:700;background:var(--box)}
fieldset{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.5rem 0;padding:.4rem .8rem .6rem;
border:1px solid var(--line)}
section:first-child h2{margin-top:.4rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem}
dd{margin:0}
.flow{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1.6rem;margin:0;padding:0;
list-style:none}
.flow>li{position:relative;padding:.7rem .9rem;background:var(--box);border:1px solid var(--line);border-top-width:5px}
.flow>li:not(:last-child)::after{content:"\u2192" / "";position:absolute;right:-1.35rem;top:.5rem}
.flow strong{display:block}
.flow ul{margin:.4rem 0 0;padding:0;list-style:none}
.flow ul li{margin-top:.5rem;padding-top:.5rem;border-top:1px solid var(--line)}
textarea{display:block;width:100%;min-height:18rem;padding:.7rem;color:var(--ink);background:var(--box);
border:1px solid var(--line)}
button{margin:.8rem 1rem .2rem 0;padding:.6rem 1.2rem;font:inherit;font-weight:600;color:var(--paper);
background:var(--link);border:2px solid var(--link);cursor:pointer}
label{display:block;margin:.3rem 0}
fieldset label{display:inline}
mark{padding:0 .15rem .15rem;color:var(--mark-ink);background:var(--mark);border-bottom:2px solid var(--mark-ink)}
mark b{margin-left:.35rem;font-size:.8em}
.good{color:var(--good)}
.bad{color:var(--bad)}
"""


def page(
    title: str, subtitle: str, content: Html, *, rules: str = "", links: dict[str, str], form: bool = False
) -> Html:
    """Return a whole page.

    Args:
        title: of it.
        subtitle: what stands below its title.
        content: of its main part.
        rules: further rules of style.
        links: targets of its navigation, by text.
        form: it has a form that goes to where the page comes from.
    """
    style = _STYLE + rules
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=content_policy(style, form=form)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="same-origin"),
        tag("link", rel="icon", href="data:,"),  # or a browser asks for one
        tag("title", title),
        tag("style", Html(style)),
    )
    items = (tag("li", tag("a", text, href=target)) for text, target in links.items())
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("h1", title), tag("p", subtitle, class_="soft"), tag("nav", tag("ul", *items))),
        tag("main", content, id="content", tabindex="-1"),
        tag("footer", tag("p", "This page fetches nothing, runs no script and sets no cookie.")),
    )
    return join([Html("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), Html("\n")])


def content_policy(style: str, *, form: bool) -> str:
    """Return the Content Security Policy of a page: nothing but this style, and its own form where it has one."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    target = "'self'" if form else "'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; form-action {target}; base-uri 'none'"
