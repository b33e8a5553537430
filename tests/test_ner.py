"""A model beside the detector: what it finds, its budget, its processes, and its place in the policy's digest."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_model
from cli_fixtures import Lethe, make_event, make_lethe, read_lines, write_lines
from conftest import KEYS, OPEN_DOOR, NoDetector, base_event
from test_architecture import ROOT

from pipeline.anonymize import make_core, process
from pipeline.cli import edge
from pipeline.config import Settings
from pipeline.content.scrub import scrub
from pipeline.detect.allow import Allowance, AllowList
from pipeline.detect.detector import add_model
from pipeline.detect.entities import EntityTable
from pipeline.detect.ner import OVERLAP_CHARS, PIECE_CHARS_MAX, TASK_CHARS, WithModel, pieces
from pipeline.detect.nerchild import Found, Reader, Ready, Setup, _load, _read
from pipeline.detect.nermodel import Model, find_model
from pipeline.detect.nerpool import Pool
from pipeline.detect.nerrules import NerRules
from pipeline.detect.spans import Detector, Span
from pipeline.errors import ConfigError, DetectorLost, PolicyError
from pipeline.metrics import WorkerMetrics
from pipeline.policy.load import Policy, load_policy
from pipeline.records import Anonymized, Source
from pipeline.topics.live import LiveTopic
from pipeline.worker.batches import RawBatch
from pipeline.worker.breaker import Breaker
from pipeline.worker.engine import Engine
from pipeline.worker.slices import Slice
from pipeline.worker.vitals import Vitals

BOAT = "Ottilie Brandt repaired the old boat."
ROAD = "The road to Vestrup was closed."
NOBODY = AllowList({})
RULES: dict[str, Any] = {"why": "x", "labels": {"PERSON": "PERSON"}, "ignored": ["GPE"], "score": 0.7}
# A process of the pool without a model: finds Wilma, dies of poison, fails on fog, miscounts what is odd, and babbles.
FAKE = """
import os, sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from pipeline.detect.nerchild import Ready
def main(fd):
    with Connection(fd) as connection:
        identity = connection.recv().model.identity
        starts = Path(__file__).with_name("starts")
        starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
        connection.send(answer_first(identity, len(starts.read_text())))
        while True:
            try:
                texts = connection.recv()
            except EOFError:
                return
            print(texts, flush=True)
            print(texts, file=sys.stderr, flush=True)
            if any("poison" in text for text in texts):
                os._exit(9)
            found = [[(0, 5, "PERSON", 0.9)] if text.startswith("Wilma") else [] for text in texts]
            found = [] if any("odd" in text for text in texts) else found
            connection.send(None if any("fog" in text for text in texts) else found)
def answer_first(identity, start):
    return Ready(identity, "")
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny model."""
    return tiny_model.train(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def model(folder: Path) -> Model:
    """Return the tiny model."""
    return find_model(str(folder))


@pytest.fixture(scope="session")
def setup(model: Model) -> Setup:
    """Return what its processes are told."""
    return Setup(model, {"PERSON": "PERSON"}, ["GPE"], 0.7)


@pytest.fixture(scope="session")
def pool(setup: Setup) -> Iterator[Pool]:
    """Return two processes with the model."""
    pool = Pool(setup, 2)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def reader(setup: Setup) -> Reader:
    """Return the model loaded in this process."""
    return Reader(setup)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pool]]:
    """Return what starts a pool of processes without a model; more code of theirs may be given."""
    made: list[Pool] = []
    monkeypatch.syspath_prepend(tmp_path)

    def start(more: str = "", processes: int = 1) -> Pool:
        (tmp_path / "fake_child.py").write_text(FAKE + more, "utf-8")
        made.append(Pool(Setup(Model("x", "en", "tiny"), {}, [], 0.7), processes, "fake_child"))
        return made[-1]

    yield start
    for pool in made:
        pool.close()


def done(answer: Found | None) -> "Future[Found | None]":
    """Return an answer that is there already."""
    future: Future[Found | None] = Future()
    future.set_result(answer)
    return future


def finding(pattern: str, seen: list[Sequence[str]] | None = None) -> Callable[[Sequence[str]], "Future[Found | None]"]:
    """Return a model's stand-in that finds people by a pattern, and notes what it was shown."""

    def read(texts: Sequence[str]) -> "Future[Found | None]":
        if seen is not None:
            seen.append(texts)
        return done([[(*match.span(), "PERSON", 0.7) for match in re.finditer(pattern, text)] for text in texts])

    return read


def with_model(read: Any, detector: Detector | None = None, allowed: AllowList = NOBODY, chars: int = 1 << 18) -> Any:
    """Return a detector that asks a stand-in."""
    return WithModel(detector or NoDetector(), read, allowed, event_chars_max=chars)


def held(texts: Sequence[str], found: Sequence[Sequence[Span] | None]) -> list[list[str] | None]:
    """Return what was found, as text."""
    return [
        None if spans is None else [text[span.start : span.end] for span in spans]
        for text, spans in zip(texts, found, strict=True)
    ]


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, or is a zombie of whom nobody asks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def await_true(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until something holds; say whether it came to that."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


# What is found


def test_a_name_that_only_the_model_knows_is_redacted(detector: Detector, pool: Pool, model: Model) -> None:
    """Both find in the same text, and the record shows neither's finding; what the policy ignores stays."""
    text = f"{BOAT} {ROAD} Its beacon is 203.0.113.77."
    (alone,) = detector.find_spans([text])
    assert {span.entity for span in alone or ()} == {"IP_ADDRESS"}
    policy = load_policy(model=model.identity)
    event = base_event()
    event["request"]["messages"][0]["content"] = text
    raw = json.dumps(event).encode()
    both = with_model(pool.read, detector)
    fate = process(raw, Source("x", 0, 1, len(raw)), make_core(policy, both, KEYS), OPEN_DOOR)
    assert isinstance(fate, Anonymized)
    assert fate.content is not None
    assert fate.content.fields["redactions"] == {"IP_ADDRESS": 1, "PERSON": 1}
    body = json.loads(fate.content.body.data)
    assert body["request"]["messages"][0]["content"] == (
        f"<PERSON_1> repaired the old boat. {ROAD} Its beacon is <IP_1>."
    )


def test_findings_go_through_the_allow_list() -> None:
    """A value that is nobody's is left, by type, and others are not."""
    allowed = AllowList({"PERSON": (Allowance(re.compile("Ottilie Brandt"), ()),)})
    texts = [BOAT, "Kasimir Wojda left."]
    read = finding("Ottilie Brandt|Kasimir Wojda")
    assert held(texts, with_model(read, allowed=allowed).find_spans(texts)) == [[], ["Kasimir Wojda"]]
    assert held(texts, with_model(read).find_spans(texts)) == [["Ottilie Brandt"], ["Kasimir Wojda"]]


def test_what_either_cannot_read_is_redacted_whole() -> None:
    """None of the other detector stays None, and so does the model's; a text without a letter needs no model."""

    class Half:
        def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
            return [None if "fog" in text else () for text in texts]

    texts = ["fog", BOAT, "12 345", ""]
    assert held(texts, with_model(finding("Ottilie"), Half()).find_spans(texts)) == [None, ["Ottilie"], [], []]
    assert with_model(lambda _: done(None), Half()).find_spans(texts) == [None, None, (), ()]


def test_chunks_of_a_stream_are_read_as_one() -> None:
    """A name that the chunks of an answer divide is found; when that text is not read, none of the chunks is."""
    chunks = ["Ott", "ilie", " Bra", "ndt re", "paired ", "the boat"]
    read = finding("Ottilie Brandt")
    assert held(chunks, with_model(read).find_spans(chunks)) == [["Ott"], ["ilie"], [" Bra"], ["ndt"], [], []]
    size = sum(map(len, chunks))
    assert with_model(read, chars=2 * size - 1).find_spans(chunks) == [None] * 6
    assert None not in with_model(read, chars=2 * size).find_spans(chunks)


# The budget, and long texts


def test_texts_beyond_the_budget_are_redacted_whole_and_never_shown() -> None:
    """Characters count, in order; a smaller text still fits behind one that does not; a repeated one costs nothing."""
    seen: list[Sequence[str]] = []
    texts = ["a" * 60, "b" * 50, "c" * 40, "a" * 60, "d"]
    found = with_model(finding("zz", seen), chars=100).find_spans(texts)
    assert [spans is None for spans in found] == [False, True, False, False, True]
    assert seen == [["a" * 60, "c" * 40]]


@pytest.mark.parametrize("mark", ["\n\n", "\n", ". ", " ", ""])
def test_long_texts_are_cut_where_they_may_be(mark: str) -> None:
    """Pieces cover the text, overlap, are bounded, and end behind a mark where there is one."""
    text = (("word" * 30) + mark) * 10_000
    cut = list(pieces(text))
    assert (cut[0][0], cut[-1][1]) == (0, len(text))
    assert len(text) > 1_000_000
    for (_, before), (start, end) in pairwise(cut):
        assert start == before - OVERLAP_CHARS
        assert before < end <= before + PIECE_CHARS_MAX
        assert text[:before].endswith(mark)


def test_a_name_at_a_cut_is_found_and_tasks_are_bounded() -> None:
    """Wherever a cut goes through a name, the name is found whole; what is read together is bounded."""
    text = "".join(f"{'x' * (4096 + step)}OttilieBrandt{'y' * (4096 - step)}" for step in range(-8, 9)) * 3
    seen: list[Sequence[str]] = []
    (spans,) = with_model(finding("OttilieBrandt", seen), chars=len(text)).find_spans([text])
    starts = [match.start() for match in re.finditer("OttilieBrandt", text)]
    assert [span.start for span in spans] == starts
    assert max(sum(map(len, task)) for task in seen) <= TASK_CHARS + OVERLAP_CHARS
    assert len(seen) > 1


def test_the_model_reads_a_long_text_to_its_end(pool: Pool) -> None:
    """A text of many pieces has its names found in all of them."""
    text = f"{BOAT} {'The harbour was quiet. ' * 2000}{BOAT}"
    (spans,) = with_model(pool.read).find_spans([text])
    ends = {span.end for span in spans}
    assert {len("Ottilie Brandt"), len(text) - len(" repaired the old boat.")} <= ends


# Determinism, and the policy's digest


def test_the_same_texts_give_the_same_spans(pool: Pool, reader: Reader) -> None:
    """Whichever process reads, after whatever it read, and together with whatever other events."""
    texts = [template.format(name) for name in tiny_model.NAMES for template, _ in tiny_model.TEMPLATES] * 20
    texts = [f"{number}: {text}" for number, text in enumerate(texts)]
    once = with_model(lambda some: done(reader.read(some))).find_spans(texts)
    assert sum(len(spans) for spans in once) > len(texts) / 2
    for _ in range(2):
        pool.read(["Please ask Juno Hale about the tides."])
        assert with_model(pool.read).find_spans(texts) == once


def test_the_identity_follows_the_files(folder: Path, model: Model, tmp_path: Path) -> None:
    """A copy is the same model, whatever Python or an orchestrator leaves there; another byte or name is not."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").write_bytes(b"x")
    (copy / ".mount").write_bytes(b"x")
    assert find_model(str(copy)).identity == model.identity
    assert re.fullmatch(r"en_pipeline 0\.0\.0, spaCy [\d.]+, files [0-9a-f]{16}", model.identity)
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in copy.iterdir():
        (linked / path.name).symlink_to(path)
    assert find_model(str(linked)).identity == model.identity
    (copy / "ner" / "more").write_bytes(b"")
    assert find_model(str(copy)).identity != model.identity
    assert find_model(str(linked)).identity != model.identity
    before = find_model(str(copy)).identity
    (copy / "ner" / "more").rename(copy / "ner" / "mord")
    assert find_model(str(copy)).identity != before


def test_the_digest_says_which_model(policy: Policy, model: Model) -> None:
    """With a model the policy has another digest, the same for the same model; the rules for it count, too."""
    digest = load_policy(model=model.identity).digest
    assert load_policy(model=model.identity).digest == digest
    assert len({digest, policy.digest, load_policy(model=f"{model.identity}0").digest}) == 3
    assert (policy.model, load_policy(model=model.identity).model) == ("", model.identity)


def test_the_policy_may_require_a_model(policy: Policy, model: Model) -> None:
    """Without it, or with another one, nothing starts: it would redact less than the policy says."""
    required = replace(policy, ner={**RULES, "model": "de_names 1.0"}, model=model.identity)
    for given, named in ((None, "it names none"), (model, f"it names {model.identity}")):
        with pytest.raises(ConfigError, match="LETHE_NER_MODEL must name the model") as error:
            add_model(NoDetector(), required, given)
        assert named in str(error.value)
        assert "de_names 1.0" in str(error.value)
    with pytest.raises(ConfigError, match="loaded for another model"):
        add_model(NoDetector(), replace(policy, ner=RULES), model)
    with pytest.raises(PolicyError, match='"ner" is missing'):
        add_model(NoDetector(), replace(policy, ner={}, model=model.identity), model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": {}}, "labels: must be an object that gives at least one label"),
        ({"labels": {"PERSON": "HERO"}}, "labels/PERSON: is no entity type"),
        ({"labels": {"PERSON": "PERSON", "GPE": "ORGANIZATION"}}, "ignored: holds GPE"),
        ({"labels": {"PER": "PERSON"}, "ignored": ["PERSON"]}, "ignored: holds PERSON"),
        ({"score": 0.4}, "score: is below score_min of PERSON"),
        ({"budget": 1}, "budget: unknown field"),
        ({"event_chars_max": 0}, "event_chars_max: must be a positive integer"),
    ],
)
def test_wrong_rules_are_refused(policy: Policy, change: dict[str, Any], said: str) -> None:
    """The error names the field."""
    with pytest.raises(PolicyError, match=re.escape(said)):
        NerRules.from_json(RULES | change, EntityTable.from_json(policy.entities))


def test_a_type_that_is_not_enabled_is_ignored(policy: Policy) -> None:
    """Its labels are known, and do not count."""
    entities = policy.entities["entities"]
    off = {**policy.entities, "entities": {**entities, "PERSON": {**entities["PERSON"], "enabled": False}}}
    rules = NerRules.from_json(RULES, EntityTable.from_json(off))
    assert not rules.labels
    assert set(rules.ignored) == {"PERSON", "GPE"}
    assert NerRules.from_json(policy.ner, EntityTable.from_json(policy.entities)).labels["PER"] == "PERSON"


def test_every_label_of_a_model_must_be_known(setup: Setup, reader: Reader) -> None:
    """Each is mapped or ignored, by name; a model of which nothing counts is refused; a mapped one is found."""
    _, ready = _load(setup._replace(ignored=[]))
    assert "labels that the policy does not know: GPE; put each into labels or into ignored" in ready.problem
    _, ready = _load(setup._replace(labels={"PER": "PERSON"}, ignored=["GPE", "PERSON"]))
    assert "finds none of the labels" in ready.problem
    places, ready = _load(setup._replace(labels={"PERSON": "PERSON", "GPE": "ORGANIZATION"}, ignored=[]))
    assert (places is not None, ready) == (True, Ready(setup.model.identity, ""))
    assert places is not None
    assert [found[2] for found in places.read([ROAD])[0]] == ["ORGANIZATION"]
    assert reader.read([ROAD]) == [[]]


def test_a_finding_ends_where_its_text_does(reader: Reader) -> None:
    """White space around a name stays, and a finding of white space is none."""
    places = [(1, 8), (9, 11)]
    entities = [SimpleNamespace(start_char=start, end_char=end, label_="PERSON") for start, end in places]
    artifacts = SimpleNamespace(entities=entities, scores=[0.7, 0.7])
    assert reader._findings("x\nOttil \n \n", artifacts) == [(2, 7, "PERSON", 0.7)]


# The processes


def test_a_process_that_was_killed_is_replaced_and_nothing_is_lost(pool: Pool) -> None:
    """The same text gives the same spans before and after; a politer signal changes nothing."""
    detector = with_model(pool.read)
    before, pids = detector.find_spans([BOAT]), pool.pids()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert detector.find_spans([BOAT]) == before
    assert pool.pids() == pids
    os.kill(pids[0], signal.SIGKILL)
    os.kill(pids[1], signal.SIGKILL)
    assert detector.find_spans([BOAT]) == before
    assert held([BOAT], before) == [["Ottilie Brandt"]]
    assert len(set(pool.pids()) - set(pids)) == 1


def test_a_text_that_kills_is_redacted_whole_and_told_to_nobody(
    policy: Policy, fake: Callable[..., Pool], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is tried twice, its event's texts become <REDACTED>, and the events before and after are read."""
    pool = fake()
    detector, table = with_model(pool.read), EntityTable.from_json(policy.entities)

    def scrubbed(text: str) -> str:
        return str(scrub({"request": {"content": text}}, (), policy, table, detector).body["request"]["content"])

    assert scrubbed("Wilma sings") == "<PERSON_1> sings"
    assert scrubbed("Wilma drinks poison") == "<REDACTED>"
    assert (tmp_path / "starts").read_text("utf-8") == "xx"
    assert scrubbed("Wilma in the fog") == "<REDACTED>"
    assert pool.read(["Wilma is odd"]).result() is None
    assert scrubbed("Wilma sings again") == "<PERSON_1> sings again"
    assert (tmp_path / "starts").read_text("utf-8") == "xxx"
    assert capfd.readouterr() == ("", "")


def test_a_model_that_raises_tells_nothing(setup: Setup) -> None:
    """Of an exception that quotes the text, and of spaCy's refusal of long ones, only None comes back."""
    reader = Reader(setup)
    reader._nlp.max_length = 10
    assert _read(reader, [BOAT]) is None
    reader._nlp.max_length = 10**6
    assert _read(reader, [BOAT]) is not None
    reader._entities = frozenset()
    assert _read(reader, [BOAT]) is None


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ('Ready("another", "")', "the model's files have changed since the start"),
        ('Ready("", "no room")', "no room"),
        ("os._exit(9)", "the process that loads the model has died"),
    ],
)
def test_a_process_that_cannot_be_replaced_ends_the_worker(
    policy: Policy, fake: Callable[..., Pool], second: str, said: str
) -> None:
    """The error passes through the core, which would redact every text from there on, and holds nothing of a text."""
    pool = fake(f"def answer_first(identity, start): return Ready(identity, '') if start == 1 else {second}")
    core = make_core(policy, with_model(pool.read), KEYS)
    event = base_event()
    event["request"]["messages"][0]["content"] = "poison for Zebedee"
    raw = json.dumps(event).encode()
    with pytest.raises(DetectorLost, match=said) as error:
        process(raw, Source("x", 0, 1, len(raw)), core, OPEN_DOOR)
    assert (error.value.__context__, error.value.__cause__) == (None, None)
    assert "Zebedee" not in repr(error.value)


def test_a_pool_that_cannot_start_names_the_setting(fake: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and leaves no process behind."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(ConfigError, match=r"^LETHE_NER_MODEL: the model is too odd$") as error:
        fake("def answer_first(identity, start): return Ready('', 'the model is too odd')", 2)
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2
    assert error.value.__context__ is None


def test_the_processes_end_with_a_parent_that_is_killed(fake: Callable[..., Pool], tmp_path: Path) -> None:
    """SIGKILL leaves nobody time to tidy up: the socket ends, and so do they."""
    fake().close()
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:]\n"
        "from pipeline.detect.nerchild import Setup; from pipeline.detect.nermodel import Model\n"
        "from pipeline.detect.nerpool import Pool\n"
        "pool = Pool(Setup(Model('x', 'en', 'tiny'), {}, [], 0.7), 2, 'fake_child')\n"
        "print(*pool.pids(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(ROOT)], stdout=subprocess.PIPE) as parent:  # noqa: S603 - ours
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(map(is_gone, pids))
        parent.kill()
    try:
        assert await_true(lambda: all(map(is_gone, pids)))
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_closing_ends_the_processes(fake: Callable[..., Pool]) -> None:
    """A closed pool has none, and starts none."""
    pool = fake(processes=2)
    pids = pool.pids()
    pool.close()
    assert (len(pids), pool.pids(), [is_gone(pid) for pid in pids]) == (2, [], [True, True])
    with pytest.raises(RuntimeError):
        pool.read(["Wilma"])


# The commands


@pytest.fixture
def lethe(
    folder: Path, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lethe:
    """Return the command with the tiny model, without its other detector."""
    command = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setattr("pipeline.detect.detector.make_detector", lambda *_: NoDetector())
    monkeypatch.setattr("pipeline.detect.nerpool.Pool", lambda *_: pool)
    monkeypatch.setenv("LETHE_NER_MODEL", str(folder))
    return command


def test_scan_uses_the_model(lethe: Lethe) -> None:
    """The setting is all it takes; the pipe shows nothing but results."""
    done = lethe("scan", stdin=json.dumps({"id": 1, "text": BOAT}).encode())
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["text"] == "<PERSON_1> repaired the old boat."


def test_run_uses_the_model(lethe: Lethe, tmp_path: Path, model: Model) -> None:
    """The record has its placeholder, and the digest that says which model."""
    event = make_event(1)
    event["request"]["messages"][0]["content"] = BOAT
    done = lethe("run", write_lines(tmp_path / "in.jsonl", [event]), "--to", f"file:{tmp_path}/out")
    assert (done.code, done.err) == (0, "")
    (record,) = read_lines(tmp_path / "out" / "content.jsonl")
    assert record["body"]["request"]["messages"][0]["content"] == "<PERSON_1> repaired the old boat."
    assert record["policy_digest"] == load_policy(model=model.identity).digest
    assert record["policy_digest"] in lethe("policy", "lint").out


def test_the_worker_s_check_loads_the_model(lethe: Lethe, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which; one that is missing ends it, and the error names the setting and what to do."""
    monkeypatch.setattr("pipeline.worker.process.ready_topics", lambda *_: {"raw": LiveTopic("raw", {})})
    done = lethe("worker", "--check")
    assert (done.code, f"model {model.identity}: loaded\n" in done.out) == (0, True)
    monkeypatch.setenv("LETHE_NER_MODEL", "no/such/folder")
    done = lethe("worker", "--check")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("lethe: LETHE_NER_MODEL names no spaCy pipeline: install its package")


def test_the_edge_makes_every_command_s_detector(folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting there are as many processes as it says, and without it there are none."""
    monkeypatch.setattr("pipeline.detect.detector.make_detector", lambda *_: NoDetector())
    asked: list[Any] = []
    monkeypatch.setattr("pipeline.detect.detector.add_model", lambda *given: asked.append(given))
    chosen = Settings(ner_model=str(folder), ner_processes=3)
    edge.detector_of(chosen, edge.policy_of(chosen))
    assert [given[2:] for given in asked] == [(model, 3)]
    edge.detector_of(Settings(), edge.policy_of(Settings()))
    assert len(asked) == 1
    edge.detector_of(Settings(), replace(edge.policy_of(Settings()), ner={"model": "x"}))
    assert [given[2:] for given in asked[1:]] == [(None, 1)]


@pytest.mark.parametrize("name", ["en_no_such_model", "no/such/folder", "json", "typer", "."])
def test_a_missing_model_names_setting_and_fix(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: what is neither a package of a model nor a folder with one is refused."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^LETHE_NER_MODEL names no spaCy pipeline: install its package"):
        edge.policy_of(Settings(ner_model=name))
    (tmp_path / "meta.json").write_text("[]", "utf-8")
    with pytest.raises(ConfigError, match=r"^LETHE_NER_MODEL: the model's meta\.json"):
        edge.policy_of(Settings(ner_model="."))


def test_a_package_is_found_by_its_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package is what spaCy would load, whatever folder of that name is here; all its files count."""
    package, installed = tmp_path / "site" / "xx_tiny", tmp_path / "site" / "xx_tiny-1.0.dist-info"
    shutil.copytree(folder, package / "xx_tiny-1.0")
    shutil.copy(folder / "meta.json", package)
    (package / "__init__.py").write_text("", "utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ConfigError, match="names no spaCy pipeline"):  # Presidio would look for it in a registry
        find_model("xx_tiny")
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: xx_tiny\nVersion: 1.0\n", "utf-8")
    before = find_model("xx_tiny")
    assert (before.source, before.language) == ("xx_tiny", "en")
    (package / "__init__.py").write_text("pass", "utf-8")
    assert find_model("xx_tiny").identity != before.identity


def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    """No process, and not even the modules that would start one; nor spaCy, as far as lethe decides."""
    code = (
        "import sys; from pipeline.cli import edge; from pipeline.config import Settings\n"
        "import pipeline.detect.detector; pipeline.detect.detector.make_detector = lambda *_: None\n"
        "edge.detector_of(Settings(), edge.policy_of(Settings()))\n"
        "names = 'pipeline.detect.nerpool pipeline.detect.nerchild multiprocessing spacy presidio_analyzer'\n"
        "print([name for name in names.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=120)  # noqa: S603 - ours
    assert done.stdout == b"[]\n"


def test_the_loop_goes_on_while_the_transform_works() -> None:
    """With a thread of its own, the transform waits for a model while deliveries and commits take their turns."""
    turned = threading.Event()

    class Waiting:
        def fill(self, made: Slice, batch: RawBatch, place: int, until_s: float) -> int:
            del made, batch, until_s
            return place + turned.wait(5)

    async def run(aside: Executor) -> int:
        edges: Any = SimpleNamespace(deliver=None, end=None)
        engine = Engine(
            Waiting(), Breaker(1, 1), edges, WorkerMetrics(), Vitals(time.monotonic), slice_s=1, aside=aside
        )
        asyncio.get_running_loop().call_later(0.01, turned.set)
        return await engine._fill(Slice(0, 0, 0), RawBatch(0, 0, 0, []), 0, 0)

    with ThreadPoolExecutor(1) as aside:
        assert asyncio.run(run(aside)) == 1
