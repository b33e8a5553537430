"""The policy page in a real browser, by keyboard alone: `make test-deploy` runs it; it needs chromium and chromedriver.

The driver is spoken to in its own protocol (W3C WebDriver), which is JSON over HTTP. The browser is told that no name
resolves, and what it asks for is read from its own log.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TAB, ENTER, SPACE, DOWN, SHIFT, END = "\ue004", "\ue007", " ", "\ue015", "\ue008", "\ue010"
STEPS_MAX = 60
PATIENCE_S = 90
CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3
ROOT = Path(__file__).resolve().parent.parent

# Every text that is shown, with the ratio of its colour to that of what is behind it (WCAG 2.2's formula).
CONTRASTS = """
const parse = c => c.match(/[\\d.]+/g).map(Number);
const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] === 1) return c; } throw new Error('nothing is behind it'); };
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) { const e = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !e.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), walk.currentNode.data.trim().slice(0, 40)]); }
for (const e of document.querySelectorAll('textarea')) {
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), 'textarea']); }
return found;
"""
# What has the focus, and whether that can be seen.
FOCUSED = """
const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
return {name: e.tagName.toLowerCase(), id: e.id, text: (e.labels?.[0] ?? e).textContent.trim().slice(0, 40),
  label: e.getAttribute('aria-label'), href: e.getAttribute('href'), group: e.name || '', type: e.type || '',
  seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && box.width > 0 && box.right > 0};
"""
# Everything that a keyboard must reach; of a group of radio buttons, one.
CONTROLS = """
return [...document.querySelectorAll('a[href], button, textarea, summary, input, .scroll')]
  .filter(e => e.checkVisibility() && (e.type !== 'radio' || e.checked)).length;
"""
TO_THE_TOP = """
document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); scrollTo(0, 0);
"""
ROWS = """
return [...document.querySelectorAll('#fields ~ .scroll tbody tr, #fields ~ * tbody tr')]
  .filter(e => e.checkVisibility() && e.className).map(e => e.className);
"""


class Browser:
    """One window of a browser."""

    def __init__(self, driver: str, profile: Path, *, dark: bool = False) -> None:
        """Open it."""
        self._driver = driver
        arguments = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--window-size=1280,900", f"--user-data-dir={profile}"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
        ]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"performance": "ALL"},
        }
        answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def go(self, url: str) -> None:
        """Open a page."""
        self._call("/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what a script of the test's own says of the page."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def wait_for(self, script: str) -> None:
        """Wait until a script says yes: a key that sends a form is pressed before its answer is there."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.run(f"return {script}"):
            assert time.monotonic() < until_s, f"never: {script}"
            time.sleep(0.05)

    def press(self, *keys: str, held: str = "") -> None:
        """Press keys, one after another."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        if held:
            actions = [{"type": "keyDown", "value": held}, *actions, {"type": "keyUp", "value": held}]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def focused(self) -> dict[str, Any]:
        """Return what has the focus."""
        found: dict[str, Any] = self.run(FOCUSED)
        return found

    def tab_to(self, **wanted: str) -> dict[str, Any]:
        """Press Tab until what has the focus is what is wanted."""
        for _ in range(STEPS_MAX):
            self.press(TAB)
            found = self.focused()
            if all(found[name] == value for name, value in wanted.items()):
                return found
        raise AssertionError(f"the keyboard does not reach {wanted}")

    def asked(self) -> list[str]:
        """Return the addresses that were asked for."""
        log = [json.loads(entry["message"])["message"] for entry in self._call("/se/log", {"type": "performance"})]
        return [one["params"]["request"]["url"] for one in log if one["method"] == "Network.requestWillBeSent"]

    def picture(self, path: Path) -> None:
        """Save what is seen."""
        path.write_bytes(base64.b64decode(self._send("GET", f"{self._session}/screenshot")))

    def close(self) -> None:
        """Close it."""
        self._send("DELETE", self._session)

    def _call(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("POST", f"{self._session}{path}", body)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._driver + path, data, method=method)  # noqa: S310 - a driver of ours
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310 - as above
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:500]}") from error


@contextlib.contextmanager
def started(*call: str, says: str, **environ: str) -> Iterator[str]:
    """Start a process, and end it at the end; yield the first line of it that has a text."""
    process = subprocess.Popen(  # noqa: S603 - ours
        call, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}, cwd=environ.get("TMPDIR")
    )
    try:
        assert process.stdout is not None
        yield next(line.strip() for line in process.stdout if says in line)
    finally:
        process.terminate()
        process.wait(20)


def walk_through(browser: Browser) -> int:
    """Press Tab from the top to the end: every control is reached, in order, and seen to have the focus."""
    browser.run(TO_THE_TOP)
    count = int(browser.run(CONTROLS))
    reached = []
    for _ in range(count):
        browser.press(TAB)
        reached.append(browser.focused())
    unseen = [one for one in reached if not one["seen"]]
    assert unseen == [], unseen
    assert reached[0]["href"] == "#content", "the first is the way past the navigation"
    assert len({json.dumps(one) for one in reached}) == count, "one was reached twice, another not at all"
    assert [one for one in reached if one["name"] in ("body", "html")] == []
    browser.press(TAB)
    assert browser.focused()["name"] == "body" or browser.focused() == reached[0], "there is a trap or one more control"
    return count


def check_contrast(browser: Browser) -> float:
    """Return the least contrast of any text that is shown."""
    found = browser.run(CONTRASTS)
    assert len(found) > 8
    low = [one for one in found if one[0] < CONTRAST_MIN]
    assert low == [], low
    return float(min(found)[0])


def check_policy(browser: Browser, url: str, pictures: Path | None) -> None:
    """The policy page: the skip link, the choices, and everything by keyboard."""
    browser.go(url)
    if pictures is not None:
        browser.picture(pictures / "policy-page.png")
    controls = walk_through(browser)
    browser.run(TO_THE_TOP)
    browser.press(TAB, ENTER)
    assert browser.focused()["id"] == "content"
    every = browser.run(ROWS)
    browser.tab_to(id="clause-0")
    browser.press(DOWN)
    assert browser.focused()["id"] == "clause-1"
    some = browser.run(ROWS)
    assert 0 < len(some) < len(every)
    browser.tab_to(id="treatment-0")
    browser.press(DOWN, DOWN)
    assert set(browser.run(ROWS)) <= {"treatment-2"}
    assert len(browser.run(ROWS)) < len(some)
    print(f"policy page: {controls} controls, {len(every)} fields, least contrast {check_contrast(browser):.2f}")


def check_playground(browser: Browser, url: str, pictures: Path | None) -> None:
    """The playground from the policy page: an example and one's own event, accepted and rejected, without a mouse."""
    browser.go(url)
    browser.tab_to(text="Try an event")
    browser.press(ENTER)
    browser.wait_for("document.title === 'Try an event'")
    browser.tab_to(text="An example")
    browser.press(ENTER)
    browser.wait_for("document.querySelector('textarea').value.includes('req_')")
    browser.tab_to(name="textarea")
    browser.tab_to(name="button")
    browser.press(ENTER)
    browser.wait_for("document.title.startsWith('Accepted')")
    assert browser.run("return location.hash") == "#result"
    assert browser.run("return document.querySelector('#result').getAttribute('role')") == "status"
    assert "PERSON" in browser.run("return document.querySelector('mark b').textContent + document.body.textContent")
    if pictures is not None:
        browser.run("document.querySelector('mark').closest('pre').previousElementSibling.scrollIntoView()")
        browser.picture(pictures / "playground.png")
    controls, contrast = walk_through(browser), check_contrast(browser)
    browser.tab_to(name="summary")
    browser.press(ENTER)
    assert browser.run("return document.querySelector('details').open")
    browser.tab_to(name="textarea")
    browser.press("a", held="\ue009")
    browser.press(*'{"status": "x"')
    browser.press("}")
    browser.tab_to(name="button")
    browser.press(SPACE)
    browser.wait_for("document.title.startsWith('Rejected')")
    assert "missing_field" in browser.run("return document.querySelector('#result').textContent")
    least = min(contrast, check_contrast(browser))
    print(f"playground: {controls} controls, least contrast {least:.2f}")


def check_requests(browser: Browser, url: str) -> None:
    """Nothing but this server's own pages was asked for, and the log has those."""
    asked = [one for one in browser.asked() if urlsplit(one).scheme not in ("data", "chrome", "about")]
    assert [one for one in asked if not one.startswith(url)] == []
    assert any(one.startswith(f"{url}try") for one in asked), "the log of requests is empty"
    print(f"requests: {len(asked)}, all to {urlsplit(url).netloc}")


def main(pictures: Path | None = None) -> None:
    """Start page, driver and browser, in light and dark; check, and print what was seen; pictures go into a folder."""
    lethe = str(Path(sys.executable).parent / "lethe")
    environ = {"LETHE_CACHE": os.environ.get("LETHE_CACHE", str(ROOT / ".venv" / "lethe-cache"))}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        said = stack.enter_context(started("chromedriver", "--port=0", says="successfully", TMPDIR=str(folder)))
        driver = f"http://127.0.0.1:{said.rpartition(' ')[2].rstrip('.')}"
        url = stack.enter_context(started(lethe, "page", says="http", TMPDIR=str(folder), **environ))
        for dark in (False, True):
            begun = time.monotonic()
            browser = Browser(driver, folder / f"profile-{dark}", dark=dark)
            stack.callback(browser.close)
            assert browser.run("return matchMedia('(prefers-color-scheme: dark)').matches") is dark
            check_policy(browser, url, None if dark else pictures)
            check_playground(browser, url, None if dark else pictures)
            check_requests(browser, url)
            print(f"{'dark' if dark else 'light'}: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
