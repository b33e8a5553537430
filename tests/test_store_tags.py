"""A store is known by its tags: an erasure is not complete in another one than the archive's, nor in an old copy."""

import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import KEYS
from store_fixtures import NOW_MS

from pipeline.archive.target import StoreTarget
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.rights.erase import Operational
from pipeline.rights.receipt import Waited, begin
from pipeline.rights.steps import Steps
from pipeline.store import Store, open_store
from pipeline.store.tags import add_tag, from_metadata, has_tags, to_metadata
from pipeline.suppress import Subject

DATABASES = count()
DAY_MS = 86_400_000
OTHERS = "f" * 32


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=f"tags_{next(DATABASES)}") as opened:
        yield opened


class Topics:
    """Stands where the barrier does: the archive has said some tags."""

    group = "workers"

    def __init__(self, *tags: str) -> None:
        self.tags = frozenset(tags)

    def wait_for_archive(self, *_: Any) -> Waited:
        """Return them."""
        return Waited(0, tags=self.tags)


def check(store: Store, policy: Policy, *tags: str) -> list[str]:
    """Hold a store against tags that the archive has said; return what is told."""
    told: list[str] = []
    about = str(uuid.uuid4()), Subject.ACCOUNT, KEYS.suppression("account", "a"), NOW_MS, policy, ""
    receipt = begin(*about, Operational.UNLINK, with_topics=True, audit=("", -1))
    steps = Steps(policy, Operational.UNLINK, 0, lambda: NOW_MS, lambda _: None, told.append)
    steps.check_store(receipt, cast("Any", Topics(*tags)), store)
    return told


def test_a_store_must_have_every_tag_that_was_said(store: Store, policy: Policy) -> None:
    """That of another archive too, beside it on the same store; where none is said, that is told."""
    for none in ((), ("",)):
        (told,) = check(store, policy, *none)
        assert "no archive has said which store" in told
    with pytest.raises(ConfigError, match="LETHE_STORE must be the archive's") as refused:
        check(store, policy, OTHERS)
    assert OTHERS not in str(refused.value)
    one, other = (add_tag(store, 30 * DAY_MS, NOW_MS) for _ in range(2))
    assert one != other
    assert check(store, policy, one, other) == []
    assert len(check(store, policy, one, "")) == 1
    with pytest.raises(ConfigError, match="is not the store that the archive writes into"):
        check(store, policy, one, OTHERS)


def test_a_copy_lacks_the_tag_of_the_next_start_and_of_the_next_sweep(store: Store, policy: Policy) -> None:
    """What an archive says is new each time, and all that it ever said of its store stays true."""
    said = []
    for _ in range(2):
        target = StoreTarget(store, policy, lambda: NOW_MS)
        said.append(target.tag)
        target.sweep()
        said.append(target.tag)
    assert len(set(said)) == 4
    assert has_tags(store, said)


def test_tags_are_swept_with_content(store: Store, policy: Policy) -> None:
    """An offset that still says one is of an archive that has not run for as long."""
    old = add_tag(store, 30 * DAY_MS, NOW_MS - 31 * DAY_MS)
    StoreTarget(store, policy, lambda: NOW_MS).sweep()
    assert not has_tags(store, [old])


@pytest.mark.parametrize(
    "text", [None, "", "store:", "0" * 32, f"store:{OTHERS}0", f"store:{OTHERS[1:]}F", f"Xstore:{OTHERS}"]
)
def test_what_others_commit_is_no_tag(text: str | None) -> None:
    """A group that was set back by hand, or that an older version wrote, says nothing of a store."""
    assert from_metadata(text) == ""
    assert from_metadata(to_metadata(OTHERS)) == OTHERS
    assert to_metadata("") == ""
