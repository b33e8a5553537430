"""The keyring of sealed content: who may read it, what wraps it, and when a key in it is destroyed."""

import json
import stat
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from test_keys import NOW_MS

from pipeline.coarsen import DAY_MS, day_of
from pipeline.errors import ConfigError, KeyringError
from pipeline.keys import provider as providers
from pipeline.keys.cipher import Cipher
from pipeline.keys.daykeys import due_ms
from pipeline.keys.provider import FileProvider, KeyProvider, init_kek, load_provider
from pipeline.keys.sealfile import days_of, init_day_keys, load_day_keys, rewrap_day_keys, roll_day_keys

BOUND_MS = 30 * DAY_MS
KEK = FileProvider(b"k" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keyring made at `NOW_MS`, wrapped with `KEK`."""
    made = tmp_path / "keyring.json"
    assert init_day_keys(made, KEK, NOW_MS, BOUND_MS)
    return made


def test_a_new_keyring_has_every_day_that_is_not_due(path: Path) -> None:
    """Thirty days back, today and two ahead: what `lethe run` reads may be as old as the store still holds."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    days = days_of(path)
    assert (days[0], days[-1], len(days)) == ("2026-10-25", "2026-11-25", 32)
    ring = load_day_keys(path, KEK)
    assert ring.days == tuple(days)
    assert ring.at(NOW_MS).day == "2026-11-23"


def test_a_keyring_is_never_overwritten(path: Path) -> None:
    """A second init leaves it as it is: to lose a key is to lose its day's content."""
    before = path.read_bytes()
    assert not init_day_keys(path, FileProvider(b"x" * 32), NOW_MS, BOUND_MS)
    assert path.read_bytes() == before


def test_rolling_destroys_what_is_due_and_makes_what_is_to_come(path: Path) -> None:
    """At the millisecond, and again without effect; keys that stay are the same keys."""
    before = load_day_keys(path, KEK)
    due = due_ms("2026-10-25", BOUND_MS)
    assert roll_day_keys(path, KEK, due - 1, BOUND_MS).removed == ()
    report = roll_day_keys(path, KEK, due, BOUND_MS)
    assert report.removed == ("2026-10-25",)
    later = roll_day_keys(path, KEK, NOW_MS + 3 * DAY_MS, BOUND_MS)
    assert later.removed == ("2026-10-26", "2026-10-27")
    assert later.created == ("2026-11-26", "2026-11-27", "2026-11-28")
    after = load_day_keys(path, KEK)
    assert after.at(NOW_MS).key == before.at(NOW_MS).key
    gone = before.at(NOW_MS - 29 * DAY_MS)
    assert after.named(gone.name) is None
    assert gone.name.partition(".")[2] not in path.read_text()


def test_rolling_again_changes_nothing(path: Path) -> None:
    """The file is not even written."""
    seen = path.stat().st_mtime_ns, path.stat().st_ino
    report = roll_day_keys(path, KEK, NOW_MS, BOUND_MS)
    assert (report.created, report.removed) == ((), ())
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == seen


def test_a_keyring_that_was_left_alone_for_months_starts_anew(path: Path) -> None:
    """All that it has is due, and the days that are not get keys."""
    later_ms = NOW_MS + 90 * DAY_MS
    report = roll_day_keys(path, KEK, later_ms, BOUND_MS)
    assert len(report.removed) == 32
    assert days_of(path) == list(report.created)
    assert day_of(later_ms) in report.created


def test_keys_are_wrapped(path: Path) -> None:
    """No key stands in the file, and each opens under the key-encryption key that wrapped it alone."""
    text = path.read_text()
    ring = load_day_keys(path, KEK)
    assert all(ring.at(NOW_MS - number * DAY_MS).key.hex() not in text for number in range(20))
    with pytest.raises(KeyringError, match="not wrapped by this"):
        load_day_keys(path, FileProvider(b"x" * 32))


def test_a_key_cannot_stand_for_another_day(path: Path) -> None:
    """Whoever swaps two days' keys, so that one outlives its day, finds that they do not open."""
    document = json.loads(path.read_text())
    days = document["days"]
    days["2026-11-22"], days["2026-11-23"] = days["2026-11-23"], days["2026-11-22"]
    path.write_text(json.dumps(document))
    with pytest.raises(KeyringError, match="not wrapped by this"):
        load_day_keys(path, KEK)


def test_another_key_encryption_key_takes_over(path: Path) -> None:
    """Rewrapped, the same keys open under the new one and no longer under the old one."""
    before, after = load_day_keys(path, KEK), FileProvider(b"n" * 32)
    assert rewrap_day_keys(path, KEK, after) == 32
    assert load_day_keys(path, after).at(NOW_MS).key == before.at(NOW_MS).key
    with pytest.raises(KeyringError, match="not wrapped by this"):
        load_day_keys(path, KEK)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("canary-7f3a", "not a JSON object"),
        ("[" * 5000, "not a JSON object"),
        ('{"version": 1, "days": {}, "canary-7f3a": 1}', "not a JSON object"),
        ('{"version": 2, "days": {}}', "its version is not 1"),
        ('{"version": 1, "days": []}', "/days is not an object"),
        ('{"version": 1, "days": {"canary-7f3a": {"id": "7f3a91c2", "key": "AA=="}}}', "YYYY-MM-DD"),
        ('{"version": 1, "days": {"2026-11-23": {"id": "canary", "key": "AA=="}}}', "8 hex digits"),
        ('{"version": 1, "days": {"2026-11-23": {"id": "7f3a91c2", "key": "canary!"}}}', "not base64"),
        ('{"version": 1, "days": {"2026-11-23": {"id": "7f3a91c2", "key": 7}}}', "not base64"),
        ('{"version": 1, "days": {"2026-11-23": "canary-7f3a"}}', "with id and key"),
        ('{"version": 1, "days": {"2026-11-23": {"id": "7f3a91c2", "key": "AA=="}}}', "not wrapped by this"),
    ],
)
def test_a_file_that_is_no_keyring_is_refused(path: Path, text: str, why: str) -> None:
    """With a text that names the place and repeats nothing of the file, nor has an error behind it that does."""
    path.write_text(text)
    with pytest.raises(KeyringError, match=why) as caught:
        load_day_keys(path, KEK)
    assert "canary" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_others_may_not_read_it(path: Path, tmp_path: Path) -> None:
    """Neither keyring nor key-encryption key; and where one is missing, the text says how to make it."""
    path.chmod(0o640)
    with pytest.raises(KeyringError, match="chmod 600"):
        load_day_keys(path, KEK)
    with pytest.raises(KeyringError, match=r"LETHE_KEYRING=.*lethe keys init"):
        load_day_keys(tmp_path / "nowhere.json", KEK)
    url = f"file:{tmp_path / 'kek.json'}"
    with pytest.raises(KeyringError, match=r"LETHE_KEK=file:.*lethe keys init"):
        load_provider(url)
    assert init_kek(url)
    assert not init_kek(url)
    assert stat.S_IMODE((tmp_path / "kek.json").stat().st_mode) == 0o600
    (tmp_path / "kek.json").chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        load_provider(url)


@pytest.mark.parametrize("text", ["canary", '{"version": 1, "kek": "canary!"}', '{"version": 1, "kek": "AAAA"}', "[1]"])
def test_a_file_that_is_no_key_encryption_key_is_refused(tmp_path: Path, text: str) -> None:
    """With a text that repeats nothing of it."""
    file = tmp_path / "kek.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(KeyringError, match="is not a valid key-encryption key") as caught:
        load_provider(f"file:{file}")
    assert "canary" not in f"{caught.value!r}{caught.value.__context__!r}"


class Vault:
    """A key management service of the tests' own: it wraps with a key that nobody sees, and counts."""

    def __init__(self, url: str) -> None:
        """Take the URL that named it."""
        self.url, self.calls, self._cipher = url, 0, Cipher(b"v" * 32)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a key wrapped."""
        self.calls += 1
        return self._cipher.seal(b"0" * 12, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key again."""
        self.calls += 1
        key = self._cipher.open(b"0" * 12, wrapped, context)
        if key is None:
            raise KeyringError("the vault refuses")
        return key


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], KeyProvider]:
    """Install the vault as a plugin, as a package's entry point would."""
    point = EntryPoint("vault", f"{__name__}:Vault", providers.PLUGINS)
    monkeypatch.setattr(providers, "entry_points", lambda group: [point] if group == providers.PLUGINS else [])
    return load_provider


def test_a_key_management_service_is_a_plugin(plugged: Callable[[str], KeyProvider], tmp_path: Path) -> None:
    """A URL of its scheme loads it; keys are wrapped by it when they are made, and unwrapped once a process."""
    vault = plugged("vault://keys.example.com/lethe")
    assert isinstance(vault, Vault)
    assert vault.url == "vault://keys.example.com/lethe"
    assert init_kek("vault://keys.example.com/lethe") is False
    path = tmp_path / "keyring.json"
    init_day_keys(path, vault, NOW_MS, BOUND_MS)
    ring = load_day_keys(path, vault)
    assert vault.calls == 2 * len(ring.days)
    with pytest.raises(KeyringError, match="not wrapped by this"):
        load_day_keys(path, KEK)


@pytest.mark.parametrize("url", ["kms:alias/canary-7f3a", "canary-7f3a", "file:", ""])
def test_a_provider_that_is_not_there_is_named_by_what_there_is(
    plugged: Callable[[str], KeyProvider], url: str
) -> None:
    """The error lists schemes, and does not repeat the URL, which may hold a token."""
    with pytest.raises(ConfigError, match="LETHE_KEK") as caught:
        plugged(url)
    assert "canary" not in str(caught.value)
