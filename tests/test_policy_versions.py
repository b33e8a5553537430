"""From one version of the policy to another: what the other keeps beyond it, and which worker may follow which."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_lethe

from pipeline.errors import ConfigError, PolicyError
from pipeline.policy.compare import differences
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import Policy, load_policy
from pipeline.worker.versions import note_of, require_no_way_back

DAY_MS = 86_400_000
Edit = Callable[[dict[str, Any]], object]
EVENT = "request_event/v1/event.schema.json"


def leaf(document: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return a leaf of the event's schema."""
    for name in path:
        document = document["properties"][name]
    return document


def targets(document: dict[str, Any], *path: str) -> Any:
    """Return where a leaf goes."""
    return leaf(document, *path)["x-privacy"]["to"]


def drop(document: dict[str, Any], *path: str) -> None:
    """Drop a leaf."""
    note = leaf(document, *path)["x-privacy"]
    for name in ("to", "role", "entity", "catalogue", "unit"):
        note.pop(name, None)
    note["treatment"] = "drop"


def edited(folder: Path, file: str, edit: Edit) -> Path:
    """Copy the shipped policy into a folder and edit one of its files."""
    schemas = folder / "schemas"
    if not schemas.exists():
        shutil.copytree(default_schemas_dir(), schemas)
    path = schemas / file
    document = json.loads(path.read_text("utf-8"))
    edit(document)
    path.write_text(json.dumps(document), "utf-8")
    return schemas


# What an edit does to the policy, and whether undoing it keeps more: (file, edit, place, undoing keeps more, doing it).
EDITS: dict[str, tuple[str, Edit, str, bool, bool]] = {
    "a leaf is dropped": (EVENT, lambda d: drop(d, "region"), "field region", True, False),
    "a leaf goes to one field less": (
        EVENT,
        lambda d: targets(d, "client", "ip").pop(),
        "field client.ip",
        True,
        False,
    ),
    "a bound is shorter": (
        "topics/content.json",
        lambda d: d.update(retention_ms=d["retention_ms"] - DAY_MS),
        "sink content",
        True,
        False,
    ),
    "a store's bound is shorter": (
        "stores/aggregates.json",
        lambda d: d.update(retention_ms=d["retention_ms"] - DAY_MS),
        "sink aggregates",
        True,
        False,
    ),
    "a catalogue has one value less": (
        "catalogues/regions.json",
        lambda d: d["values"].pop(),
        "catalogue regions",
        True,
        False,
    ),
    "an entity type is no longer looked for": (
        "detection/entities.json",
        lambda d: d["entities"]["CREDIT_CARD"].update(enabled=False),
        "entity CREDIT_CARD",
        False,
        True,
    ),
    "an entity type needs a higher score": (
        "detection/entities.json",
        lambda d: d["entities"]["CREDIT_CARD"].update(score_min=0.95),
        "entity CREDIT_CARD",
        True,
        True,
    ),
    "a key of bodies is no longer dropped": (
        "detection/body.json",
        lambda d: d["drop"].pop(0),
        "detection, body",
        True,
        True,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_another_version_keeps(policy: Policy, tmp_path: Path, name: str) -> None:
    """What is surely less is said to be less; whatever nobody can weigh counts as more, both ways."""
    file, edit, place, undoing, doing = EDITS[name]
    other = load_policy(edited(tmp_path, file, edit))
    (there,), (back,) = differences(policy, other), differences(other, policy)
    assert (there.place, there.keeps_more) == (place, doing)
    assert (back.place, back.keeps_more) == (place, undoing)
    assert (there.before, there.after) == (back.after, back.before) or there.after in {"otherwise", "another"}


def test_equal_policies_differ_in_nothing(policy: Policy, tmp_path: Path) -> None:
    """Reasons and the version itself decide nothing that is kept."""
    schemas = edited(tmp_path, EVENT, lambda d: leaf(d, "region")["x-privacy"].update(why="Another reason."))
    assert differences(policy, load_policy(edited(tmp_path, "policy.json", lambda d: d.update(version=9)))) == []
    assert load_policy(schemas).version == 9


@pytest.mark.parametrize(
    ("version", "notes", "starts"),
    [
        (1, [], True),
        (1, ["", "something else", "policy/2", "policy/02/02"], True),
        (2, ["policy/1/1"], True),
        (2, ["policy/2/2", "policy/1/1"], True),
        (1, ["policy/2/2"], False),
        (1, ["policy/1/1", "policy/2/2"], False),
        (1, ["policy/2/1"], True),
        (7, ["policy/8/7"], True),
        (6, ["policy/8/7"], False),
        (8, ["policy/9/9", "policy/10/8"], False),
    ],
)
def test_which_version_may_follow(policy: Policy, version: int, notes: list[str], *, starts: bool) -> None:
    """A newer one may; an older one when the one in force says so, and never another that says nothing of it."""
    one = replace(policy, version=version, back_to=version)
    if starts:
        require_no_way_back(one, notes)
        return
    with pytest.raises(ConfigError, match=r"the lowest that may follow is [2-9]"):
        require_no_way_back(one, notes)


def test_a_worker_says_its_version_and_what_may_follow(policy: Policy, tmp_path: Path) -> None:
    """policy.json says how far back is safe; where it does not, no older version is."""
    assert note_of(policy) == f"policy/{policy.version}/{policy.version}"
    other = load_policy(edited(tmp_path, "policy.json", lambda d: d.update(version=8, back_to=7)))
    assert note_of(other) == "policy/8/7"


@pytest.mark.parametrize("back_to", [0, 2, "1", None])
def test_a_version_that_nobody_can_go_back_to_is_refused(tmp_path: Path, back_to: object) -> None:
    """It is from 1 to the policy's own version."""
    schemas = edited(tmp_path, "policy.json", lambda d: d.update(version=1, back_to=back_to))
    with pytest.raises(PolicyError, match=r"/back_to.* is a version from 1 to the policy's own"):
        load_policy(schemas)


def test_the_command_says_what_keeps_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`lethe policy diff` names each place, and exits with 1 where the other policy keeps more."""
    lethe: Lethe = make_lethe(tmp_path, monkeypatch, capfd)
    other = str(edited(tmp_path, "topics/content.json", lambda d: d.update(retention_ms=20 * DAY_MS)))
    narrower, wider = (
        lethe("policy", "diff", other),
        lethe("policy", "diff", str(default_schemas_dir()), "--schemas", other),
    )
    assert (narrower.code, "keeps no more" in narrower.out) == (0, True), narrower
    assert (wider.code, "keeps more in 1 of 1 places" in wider.out) == (1, True), wider
    assert "sink content" in wider.out
    assert lethe("policy", "diff", str(default_schemas_dir())).out == "no difference that decides what is kept\n"
