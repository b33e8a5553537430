"""Settings: where they come from, which come first, and what their errors say."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from pipeline.config import Settings, load_settings, unknown_settings, variable_of
from pipeline.config_types import duration, name, parse, setting_of, text
from pipeline.errors import ConfigError


def _toml(folder: Path, text: str) -> Path:
    path = folder / "lethe.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_anything_the_documented_defaults_hold(tmp_path: Path) -> None:
    """No environment and no file: 16 MiB, depth 64, leaves of 4 Mi, an embedded store."""
    settings = load_settings({}, tmp_path / "lethe.toml")
    assert Settings() == settings
    assert (settings.event_bytes_max, settings.depth_max, settings.leaf_bytes_max) == (16 << 20, 64, 4 << 20)
    assert settings.store == "chdb:./lethe-data"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """A setting given in both places has the environment's value; one given in the file alone has the file's."""
    path = _toml(tmp_path, 'keys = "file.json"\ndepth_max = 32\nbatch_events_max = 7\n')
    settings = load_settings({"LETHE_KEYS": "environ.json", "LETHE_DEPTH_MAX": "16"}, path)
    assert (settings.keys, settings.depth_max, settings.batch_events_max) == ("environ.json", 16, 7)


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    """Compose files leave a variable out by giving it no value."""
    path = _toml(tmp_path, "depth_max = 32\n")
    assert load_settings({"LETHE_DEPTH_MAX": "", "LETHE_STORE": ""}, path) == Settings(depth_max=32)


@pytest.mark.parametrize(
    "value", ["0", "-5", "+5", "5.0", "5_0", "129", "9" * 5000, "\u0665", " 5", "canary-7f3a"], ids=ascii
)
def test_a_wrong_number_names_the_variable_and_not_the_value(tmp_path: Path, value: str) -> None:
    """Whatever stands in a numeric setting, the error says which setting and its range."""
    with pytest.raises(ConfigError) as caught:
        load_settings({"LETHE_DEPTH_MAX": value}, tmp_path / "none.toml")
    assert str(caught.value) == "LETHE_DEPTH_MAX must be a whole number from 8 to 128"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("depth_max = true", "depth_max must be a whole number from 8 to 128"),
        ("depth_max = 32.0", "depth_max must be a whole number from 8 to 128"),
        ("keys = 5", "keys must be a string"),
        ("batch-events-max = 5", "'batch-events-max' is no setting; did you mean 'batch_events_max'?"),
        (
            '"clickhouse://u:canary-7f3a@h" = 5',
            "a name in it is no setting; they are actor, admission, aggregate_min_accounts, ",
        ),
        ("store = canary-7f3a", "is not TOML"),
        ("store = 'canary-7f3a", "is not TOML"),
        ("keys = " + "[" * 20_000, "is not TOML"),
        ("batch_events_max = " + "9" * 5000, "is not TOML"),
    ],
    ids=[
        "boolean",
        "float",
        "number for a string",
        "typo",
        "a URL as a name",
        "no TOML",
        "open string",
        "deep",
        "digits",
    ],
)
def test_a_wrong_file_names_itself_and_the_setting(tmp_path: Path, text: str, said: str) -> None:
    """An error of the file says where, and repeats no value; nor does what stands behind the exception."""
    path = _toml(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings({}, path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "canary-7f3a" not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A folder in the file's place is not taken for a missing file."""
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        load_settings({}, tmp_path)


def test_a_mistyped_variable_is_named_with_what_was_meant() -> None:
    """A variable that looks like a setting and is none is reported, without its value; others are left alone."""
    environ = {"LETHE_KEY": "canary-7f3a", "LETHE_KEYS": "a", "PATH": "b", "LETHE_QWXZ": "c"}
    first, second = unknown_settings(environ)
    assert first == "'LETHE_KEY' is no setting; did you mean 'LETHE_KEYS'?"
    assert second.startswith(
        "'LETHE_QWXZ' is no setting; they are LETHE_ACTOR, LETHE_ADMISSION, LETHE_AGGREGATE_MIN_ACCOUNTS, "
    )


def test_the_store_is_in_no_repr() -> None:
    """A sink URL can hold a password, so a printed or logged Settings does not show it."""
    assert "canary-7f3a" not in repr(Settings(store="clickhouse://u:canary-7f3a@h/x"))


# The kinds of settings

DURATION = "a duration with its unit, such as 30d, 24h, 15min, 10s or 500ms"
NAME = "1 to 249 letters, digits, '.', '_' or '-'"
HOST = "a host name or an IP address"
KINDS = ["event_bytes_max", "admission", "archive", "group", "instance_id", "metrics_host", "keys"]
"""A setting of each kind."""


def _refusal(environ: dict[str, str], toml_path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ, toml_path)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return str(caught.value)


@pytest.mark.parametrize("value", ["30d", "24h", "15min", "15m", "10s", "500ms", "1h30min", " 1 d 2 h ", "0s"])
def test_a_duration_is_kept_as_it_is_written(tmp_path: Path, value: str) -> None:
    """A duration is text with its units, in the environment and in the file."""
    assert load_settings({"LETHE_ADMISSION": value}, tmp_path / "none.toml").admission == value
    assert load_settings({}, _toml(tmp_path, f'admission = "{value}"')).admission == value


@pytest.mark.parametrize(
    "value",
    ["24", "h", "24 hours", "24H", "1.5h", "-1h", "1h-2h", "1h canary-7f3a", "9" * 5000 + "s", "\u0665h", " "],
    ids=ascii,
)
def test_what_is_no_duration_is_refused_without_its_value(tmp_path: Path, value: str) -> None:
    """The error says which setting, and how a duration is written; nothing behind it holds the value."""
    refusal = _refusal({"LETHE_ADMISSION": value}, tmp_path / "none.toml")
    assert refusal == f"LETHE_ADMISSION must be {DURATION}"


def test_a_number_is_no_duration(tmp_path: Path) -> None:
    """Milliseconds, seconds or hours: a number without a unit does not say."""
    path = _toml(tmp_path, "admission = 86400000")
    assert _refusal({}, path) == f"{path}: admission must be {DURATION}"


@pytest.mark.parametrize(
    ("value", "archive"),
    [("true", True), ("True", True), ("TRUE", True), ("1", True), ("false", False), ("False", False), ("0", False)],
)
def test_a_flag_is_true_or_false(tmp_path: Path, value: str, archive: bool) -> None:
    """Both are known in any case and as digits; false is a value, not a missing one."""
    path = _toml(tmp_path, f"archive = {str(not archive).lower()}")
    settings = load_settings({"LETHE_ARCHIVE": value}, path)
    assert settings.archive is archive
    assert load_settings({}, path).archive is not archive


@pytest.mark.parametrize(
    "value", ["yes", "on", "2", "-1", "1.0", "t", " true", "true\n", "none", "canary-7f3a"], ids=ascii
)
def test_what_is_no_flag_is_refused(tmp_path: Path, value: str) -> None:
    """A word that one tool takes for yes and another for no is asked back."""
    assert _refusal({"LETHE_ARCHIVE": value}, tmp_path / "none.toml") == "LETHE_ARCHIVE must be true or false"


@pytest.mark.parametrize("value", ["1.0", '""', "[true]", "2026-11-23"])
def test_other_types_of_the_file_are_no_flag(tmp_path: Path, value: str) -> None:
    """TOML has more types than a flag has."""
    path = _toml(tmp_path, f"archive = {value}")
    assert _refusal({}, path) == f"{path}: archive must be true or false"


@pytest.mark.parametrize("value", ["lethe", "a", "Team-1_eu.west", "x" * 249, "0"])
def test_a_name_is_of_a_closed_form(tmp_path: Path, value: str) -> None:
    """What Kafka takes for a name everywhere is taken."""
    assert load_settings({"LETHE_GROUP": value}, tmp_path / "none.toml").group == value


@pytest.mark.parametrize(
    "value", ["x" * 250, "two words", "a/b", "a\n", "gr\u00fcn", "canary@7f3a", " lethe", "\u0665"], ids=ascii
)
def test_what_is_no_name_is_refused_without_its_value(tmp_path: Path, value: str) -> None:
    """The error says which characters a name has, and repeats none of the value."""
    assert _refusal({"LETHE_GROUP": value}, tmp_path / "none.toml") == f"LETHE_GROUP must be {NAME}"


@pytest.mark.parametrize("value", ["192.0.2.7", "127.0.0.1", "::1", "localhost", "worker-3.example.com"])
def test_a_host_is_a_name_or_an_address(tmp_path: Path, value: str) -> None:
    """Addresses of both families and host names."""
    assert load_settings({"LETHE_METRICS_HOST": value}, tmp_path / "none.toml").metrics_host == value


@pytest.mark.parametrize("value", ["http://127.0.0.1", "a b", "user@host", "x" * 254, "host\n"], ids=ascii)
def test_what_is_no_host_is_refused(tmp_path: Path, value: str) -> None:
    """A URL is no address to listen on."""
    assert _refusal({"LETHE_METRICS_HOST": value}, tmp_path / "none.toml") == f"LETHE_METRICS_HOST must be {HOST}"


@pytest.mark.parametrize("setting", ["instance_id", "admission"])
def test_nothing_is_a_value_where_it_is_the_default(tmp_path: Path, setting: str) -> None:
    """A file can say that a setting is left empty, as it is without the file."""
    assert load_settings({}, _toml(tmp_path, f'{setting} = ""')) == Settings()


@pytest.mark.parametrize(("setting", "must_be"), [("group", NAME), ("metrics_host", HOST)])
def test_nothing_is_no_value_elsewhere(tmp_path: Path, setting: str, must_be: str) -> None:
    """A group or an address cannot be left empty in the file."""
    path = _toml(tmp_path, f'{setting} = ""')
    assert _refusal({}, path) == f"{path}: {setting} must be {must_be}"


def test_a_kind_refuses_nothing_by_its_default() -> None:
    """Whether a duration or a name may be left empty follows from the default alone; a text always may."""
    for described in (duration("", "a test"), name("", "a test"), text("words", "a test")):
        assert parse(described, "", "here") == ""
    for described, must_be in ((duration("24h", "a test"), DURATION), (name("lethe", "a test"), NAME)):
        with pytest.raises(ConfigError, match=f"^here must be {re.escape(must_be)}$"):
            parse(described, "", "here")


@pytest.mark.parametrize("setting", ["group", "instance_id", "metrics_host"])
@pytest.mark.parametrize("value", ["5", "true", "[]"])
def test_other_types_of_the_file_are_no_name(tmp_path: Path, setting: str, value: str) -> None:
    """A number that looks like a name is none: it must be quoted."""
    path = _toml(tmp_path, f"{setting} = {value}")
    assert _refusal({}, path).startswith(f"{path}: {setting} must be ")


@property_settings(deadline=None)
@given(
    st.sampled_from(KINDS),
    st.text() | st.integers() | st.booleans() | st.floats() | st.none() | st.lists(st.text()) | st.dates(),
)
def test_whatever_is_given_is_a_value_or_a_refusal_that_hides_it(setting: str, value: object) -> None:
    """No value raises anything else; one that is refused leaves no trace; one that is taken has the default's type."""
    described = next(each for each in fields(Settings) if each.name == setting)
    refusal = None
    try:
        assert type(parse(described, value, "here")) is type(described.default)
    except ConfigError as error:
        refusal = error
    said = [] if refusal is None else [(str(refusal), refusal.__context__)]
    assert said in ([], [(f"here must be {setting_of(described).must_be}", None)])


def _number_fields() -> list[tuple[str, int, int]]:
    ranges = {f.name: re.search(r"from (\d+) to (\d+)$", setting_of(f).must_be) for f in fields(Settings)}
    return [(name, int(found[1]), int(found[2])) for name, found in ranges.items() if found]


@pytest.mark.parametrize(("setting", "low", "high"), _number_fields())
def test_a_number_has_both_ends_of_its_range(tmp_path: Path, setting: str, low: int, high: int) -> None:
    """Each number takes its lowest and its highest value and nothing beyond, and its default lies within."""
    described = next(each for each in fields(Settings) if each.name == setting)
    assert [parse(described, str(end), "") for end in (low, high)] == [low, high]
    for beyond in (low - 1, high + 1):
        assert "must be a whole number" in _refusal({variable_of(setting): str(beyond)}, tmp_path / "none.toml")
    assert low <= getattr(Settings(), setting) <= high


def test_every_default_is_a_value_of_its_own_kind() -> None:
    """What stands in the code could be given by an operator too."""
    defaults: list[tuple[Any, Any]] = [(parse(f, f.default, f.name), f.default) for f in fields(Settings)]
    assert [pair for pair in defaults if pair[0] != pair[1]] == []


def test_every_setting_says_what_it_means() -> None:
    """Each has a meaning and a form for docs/settings.md, and a number of bytes, time or events has its unit."""
    settings = {f.name: setting_of(f) for f in fields(Settings)}
    assert [name for name, known in settings.items() if not (known.meaning and known.must_be)] == []
    numbers = [name for name, _, _ in _number_fields()]
    assert [name for name in numbers if not settings[name].unit] == ["metrics_port"]


# Settings that must go together


def test_a_batch_follows_a_smaller_event(tmp_path: Path) -> None:
    """Brokers judge a batch as they judge a record, so where only the event is made smaller the batch is so too."""
    settings = load_settings({"LETHE_EVENT_BYTES_MAX": "4096"}, tmp_path / "none.toml")
    assert (settings.event_bytes_max, settings.batch_bytes_max) == (4096, 4096)


def test_a_batch_that_is_smaller_than_an_event_stays(tmp_path: Path) -> None:
    """Nothing is changed where the two go together, the same size among it."""
    for size in (4096, 8192):
        environ = {"LETHE_EVENT_BYTES_MAX": "8192", "LETHE_BATCH_BYTES_MAX": str(size)}
        assert load_settings(environ, tmp_path / "none.toml").batch_bytes_max == size


@pytest.mark.parametrize("given_event", ["", "8192"])
def test_a_batch_larger_than_an_event_is_refused(tmp_path: Path, given_event: str) -> None:
    """A batch size that somebody chose is not changed in silence: the error names both settings and what to do."""
    path = _toml(tmp_path, f"batch_bytes_max = {1 << 25}")
    refusal = _refusal({"LETHE_EVENT_BYTES_MAX": given_event}, path)
    assert refusal.startswith("batch_bytes_max must be at most event_bytes_max")
    assert refusal.endswith("Lower LETHE_BATCH_BYTES_MAX, or raise LETHE_EVENT_BYTES_MAX")
