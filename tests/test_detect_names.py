"""Names of people: each cue holds its examples, public knowledge stays, and evidence decides in between."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.gates import Range
from pipeline.detect.gazetteer import key, load_tables
from pipeline.detect.names import CUES_MIN, Names
from pipeline.detect.sieve import Sieve
from pipeline.errors import DetectionFailed, PolicyError
from pipeline.policy.files import default_schemas_dir

FOLDER = default_schemas_dir() / "detection"
DATA: dict[str, Any] = json.loads((FOLDER / "names.json").read_text("utf-8"))
COMMON = frozenset(json.loads((FOLDER / "common_words.json").read_text("utf-8"))["words"])
# Says how many modules of faker reading the tables leaves, and whether faker as it is has the same ones.
TABLES = """
import sys
from pipeline.detect.gazetteer import load_tables
tables = load_tables()
print(sum(name.startswith("faker") for name in sys.modules))
import faker
print(load_tables() == tables)
"""
NAMES = Names.from_json(DATA, COMMON)
CUES = {cue.name: cue for cue in NAMES.cues}


def found(text: str) -> list[str]:
    """Return the distinct names found in a text, in order."""
    return list(dict.fromkeys(text[span.start : span.end] for span in sorted(NAMES.find(text))))


@pytest.mark.parametrize("name", CUES)
def test_a_cue_holds_its_examples_and_leaves_its_counterexamples(name: str) -> None:
    """Every example has a finding and no counterexample has any."""
    cue = CUES[name]
    assert [text for text in cue.examples if not found(text)] == []
    assert [(text, found(text)) for text in cue.counterexamples if found(text)] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("My name is Zzyra van der Vorhaus, hello", ["Zzyra van der Vorhaus"]),
        ("Bonjour, je m'appelle Nadia Rossi.", ["Nadia Rossi"]),
        ("id,first_name,last_name\n1,Zzyra,Qorv\n2,Blixa,Thornell", ["Zzyra", "Qorv", "Blixa", "Thornell"]),
        ("INSERT INTO t (id, full_name) VALUES (1, 'Zzyra Qorv'), (2, 'Blixa Vorn');", ["Zzyra Qorv", "Blixa Vorn"]),
        ("[10:02] Nadia Rossi: hello", ["Nadia Rossi"]),
        ("Nadia: hello\nTammy: yes\nNadia: fine\nTammy: bye", ["Nadia", "Tammy"]),
        ("Write to nadia.rossi@example.com. Rossi knows.", ["Rossi"]),
        ("\u6c0f\u540d\uff1a\u7530\u4e2d\u592a\u90ce\n", ["\u7530\u4e2d\u592a\u90ce"]),
    ],
)  # fmt: skip
def test_names_are_found_whole(text: str, names: list[str]) -> None:
    """Particles, table cells, speakers, mailboxes and scripts without spaces give the whole name."""
    assert found(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Albert Einstein was born in Ulm. According to Marie Curie, radium glows.",
        "Will May be in San Diego, or by the Jordan River? Mark my words.",
        "Dear customer,\n\nHi there, hello World.\n\nBest regards,\nThe Support Team",
        "class Dear(ImGui): name: str\n    @Override\n    user = Test(Rose)",
        "Niklas Luhmann left ninety thousand cards.",
    ],
)
def test_public_knowledge_and_code_stay(text: str) -> None:
    """Without a cue, and without evidence that it speaks of somebody, a text keeps its names."""
    assert found(text) == []


def test_evidence_nearby_makes_a_known_name_count() -> None:
    """The same sentence has a finding beside a telephone number, and none far away from it."""
    sentence = "Niklas Zzyrowicz left ninety thousand cards."
    assert found(f"{sentence} Call +49 30 901820 000.") == ["Niklas Zzyrowicz"]
    assert found(f"{sentence}{' .' * 400} Call +49 30 901820 000.") == []


def test_what_is_found_is_found_again() -> None:
    """Surname and given name are found wherever the text repeats them in capitals, but not in lower case."""
    text = "My name is Zzyra Qorv. Tell Qorv that Zzyra called; qorv is a word."
    assert [text[span.start : span.end] for span in NAMES.find(text) if span.rule == "name_again"] == [
        "Zzyra Qorv",
        "Qorv",
        "Zzyra",
    ]


def test_a_common_word_needs_a_cue() -> None:
    """Will is a name where somebody says so, and a word elsewhere in the same text."""
    text = "My name is Will. Will it rain?"
    assert [(span.start, span.end) for span in NAMES.find(text)] == [(11, 15)]


def test_parts_limit_where_cues_are_looked_for() -> None:
    """A cue outside the parts is not looked at, one inside is."""
    text = "My name is Zzyra Qorv." + " ." * 500 + " My name is Blixa Thornell."
    spans = NAMES.find(text, [Range(1000, len(text))])
    assert {text[span.start : span.end] for span in spans} == {"Blixa Thornell"}


def test_too_many_cues_fail() -> None:
    """A text with more cues than the budget raises, so that it is redacted whole; one with fewer does not."""
    assert list(NAMES.find("Dear x. " * (CUES_MIN - 1))) == []
    with pytest.raises(DetectionFailed):
        list(NAMES.find("Dear x. " * (CUES_MIN * 10)))


NEAR_MISSES = [
    *(
        "my name i ",
        "Dea r Nadi ",
        "a@b ",
        "Aa Bb-",
        "+1 2 3 ",
        "\n\n- ",
        "name ,",
        "'s pho ",
        "nadia@x.y ",
        "1234567890 ",
    ),
    *("name,b\n", "name,\n", "(a,name,b)\n", "(name,a) values (", "name|", "(", "Aaaa Bbbb ", "\n10:02 Aa: "),
    "\u3055\u3093 ",
]


@pytest.mark.parametrize("unit", NEAR_MISSES)
def test_near_misses_are_linear(unit: str) -> None:
    """Sixteen times as much of a near-miss takes at most forty times as long; squared would be 256 times."""

    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            with suppress(DetectionFailed):
                list(NAMES.find(text))
            best = min(best, time.process_time() - start)
        return best

    assert seconds(400_000) <= 40 * max(seconds(25_000), 0.003)


@given(st.text(max_size=300))
def test_spans_lie_in_the_text_and_do_not_vary(text: str) -> None:
    """Whatever the text, spans are not empty, lie in it, and are the same the second time."""
    spans = list(NAMES.find(text))
    assert [span for span in spans if not 0 <= span.start < span.end <= len(text)] == []
    assert spans == list(NAMES.find(text))


@given(st.text(alphabet="\u0130Ii \u0131sS", max_size=12), st.sampled_from(["My name is Zzyra Qorv.", "Dear Nadia,"]))
def test_lower_case_of_another_length_moves_no_span(before: str, sentence: str) -> None:
    """A dotted capital I, whose lower case is longer, leaves the spans where the names are."""
    wanted = found(sentence)
    assert [name for name in wanted if name not in found(f"{before}. {sentence}")] == []


def test_the_scan_can_stand_in_for_the_cues() -> None:
    """No way through the gate makes the finder look at every text."""
    assert Sieve([NAMES.gate]).always == []


def test_the_gazetteer_reads_tables_and_leaves_faker_alone() -> None:
    """Names of several scripts are there under their plain spelling, all that faker has, and no module of it stays."""
    first, last, _ = load_tables()
    assert {key("Zo\u00eb"), key("\u0141ukasz"), key("\u041d\u0430\u0434\u0435\u0436\u0434\u0430")} <= first
    assert {key("Kowalska"), key("\u4f50\u85e4"), key("M\u00fcller")} <= last
    done = subprocess.run([sys.executable, "-c", TABLES], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert done.stdout.split() == ["0", "True"]


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the data with one thing wrong."""
    data = deepcopy(DATA)
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda data: data.update(surprise=1), "surprise"),
        (lambda data: data["cues"]["name_after_title"].update(kind="odd"), "name_after_title/kind"),
        (lambda data: data["cues"]["name_after_title"].update(need="odd"), "name_after_title/need"),
        (lambda data: data["cues"]["name_after_title"].update(phrases=["(mr)"]), "name_after_title/phrases"),
        (lambda data: data["cues"]["name_after_title"].update(phrases=["\\w+"]), "name_after_title/phrases"),
        (lambda data: data["cues"]["name_after_title"].update(examples=[]), "name_after_title/examples"),
    ],
)
def test_wrong_data_is_refused(change: Callable[[dict[str, Any]], object], field: str) -> None:
    """An error names the field of the file that is wrong."""
    with pytest.raises(PolicyError, match=field):
        Names.from_json(broken(change), COMMON)
