"""Settings: where they come from, which come first, and what their errors say."""

from pathlib import Path

import pytest

from pipeline.config import Settings, load_settings, unknown_settings
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
        ('"clickhouse://u:canary-7f3a@h" = 5', "a name in it is no setting; they are batch_events_max, depth_max, "),
        ("store = canary-7f3a", "is not TOML"),
        ("store = 'canary-7f3a", "is not TOML"),
        ("keys = " + "[" * 20_000, "is not TOML"),
    ],
    ids=["boolean", "float", "number for a string", "typo", "a URL as a name", "no TOML", "open string", "deep"],
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
    assert second.startswith("'LETHE_QWXZ' is no setting; they are LETHE_BATCH_EVENTS_MAX, LETHE_DEPTH_MAX, ")


def test_the_store_is_in_no_repr() -> None:
    """A sink URL can hold a password, so a printed or logged Settings does not show it."""
    assert "canary-7f3a" not in repr(Settings(store="clickhouse://u:canary-7f3a@h/x"))
