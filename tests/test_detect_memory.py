"""What the detector remembers of texts that come again, and what it does not load."""

import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from test_engine import CODINGS, MAIL, OWN

from pipeline.detect.allow import AllowList
from pipeline.detect.budget import Allowance
from pipeline.detect.detector import make_engine
from pipeline.detect.engine import Engine
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.memory import Found, Memory, key_of
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span

ROOT = Path(__file__).resolve().parent.parent


class Counting:
    """Finds digits, counts how often it is asked, and fails while it is told to."""

    gate = (Alternative(ScanPattern(r"\d")),)

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,
        found: Collection[Span] = (),
        allowance: Allowance | None = None,
    ) -> Iterator[Span]:
        """Yield the first character."""
        del text, parts, found, allowance
        self.asked += 1
        if self.fails:
            raise ValueError
        yield Span(0, 1, "SECRET", 1.0, "counting")


def test_a_text_that_comes_again_is_not_looked_at_again() -> None:
    """The spans are the same, the finder is asked once; after `forget` it is asked again."""
    finder = Counting()
    engine = make_engine([finder], AllowList({}))
    text = "7 is a digit, and this text is long enough to be read alone"
    first = engine.find_spans([text])
    assert engine.find_spans([text]) == first == [[Span(0, 1, "SECRET", 1.0, "counting")]]
    assert finder.asked == 1
    engine.forget()
    assert engine.find_spans([text]) == first
    assert finder.asked == 2


def test_a_failure_is_not_remembered() -> None:
    """A text that could not be read is redacted whole, and read the next time."""
    finder = Counting()
    engine = make_engine([finder], AllowList({}))
    finder.fails = True
    assert engine.find_spans(["7 is a digit"]) == [None]
    finder.fails = False
    assert engine.find_spans(["7 is a digit"]) != [None]


def test_own_identifiers_in_a_remembered_text_are_those_of_its_event(detector: Engine) -> None:
    """What one account's event left in memory hides nothing of the next account's."""
    detector.forget()
    text = "this is what was logged then: " + CODINGS["base64"](OWN[4].value)
    assert detector.find_spans([text]) == detector.find_spans([text]) == [[]]
    for _ in range(2):
        (spans,) = detector.find_spans([text], OWN)
        assert [span.entity for span in spans or ()] == ["ORGANIZATION"]
    assert detector.find_spans([text]) == [[]]
    assert detector.find_spans([text], OWN[:1]) == [[]]


def test_memory_has_a_bound_and_keeps_what_is_asked_for() -> None:
    """Two generations at most; what is asked for now and then outlives them."""
    memory = Memory(10)
    often = key_of("often")
    memory.put(often, Found((), ()))
    for number in range(100):
        memory.put(key_of(f"text {number}"), Found((), ()))
        assert memory.get(often) is not None
    assert sum(memory.get(key_of(f"text {number}")) is not None for number in range(100)) <= 2 * 10


def test_much_is_not_remembered() -> None:
    """A text with hundreds of findings is looked at again rather than kept."""
    memory = Memory()
    memory.put(key_of("much"), Found((Span(0, 1, "SECRET", 1.0, "counting"),) * 100, ()))
    assert memory.get(key_of("much")) is None


def test_no_text_is_kept(detector: Engine) -> None:
    """Digests, places and names of rules are kept; a canary is in none of them."""
    detector.forget()
    (spans,) = detector.find_spans([f"please write to {MAIL}, my dear friend, before the weekend"])
    assert spans
    assert MAIL not in repr(vars(detector._memory))
    assert MAIL.encode() not in b"".join([*detector._memory._new, *detector._memory._old])
    assert key_of("a") != key_of("b")
    assert key_of("\ud800") != key_of("\ud801")


def test_the_detector_loads_no_model_library_and_spacy_can_be_imported_after_it() -> None:
    """Presidio's recognizers come without spaCy, which is there for whoever wants it."""
    program = """
import sys
from pipeline.detect.entities import EntityTable
from pipeline.detect.presidio import make_recognizers
from pipeline.policy.load import load_policy
make_recognizers(EntityTable.from_json(load_policy().entities))
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"spacy", "thinc", "numpy", "httpx", "torch"}, loaded & {"spacy", "thinc", "numpy", "httpx"}
import spacy
assert spacy.blank("en")("a text")[1].text == "text"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)  # noqa: S603 - this interpreter
