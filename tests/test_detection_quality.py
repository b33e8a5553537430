"""Recall and over-redaction on the corpus: as docs/detection.md says, and within what was promised."""

import re

import pytest
from accuracy import FORMATTED, Score, score
from corpus_loader import BENIGN, load_labelled
from test_architecture import ROOT

from pipeline.detect.engine import Engine

DOC = (ROOT / "docs" / "detection.md").read_text("utf-8")
RECALL_FORMATTED_MIN = 0.965
RECALL_PERSON_MIN = 0.79
SPURIOUS_MAX = 0.2
ROW = re.compile(r"^\| `([A-Z_]+)` \| (\d+) \| (\d+) \| [\d.]+ \| [\d.]+ \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def labelled(detector: Engine) -> Score:
    """Return the score on the labelled corpus."""
    return score(load_labelled(), lambda text: detector.find_spans([text])[0])


@pytest.fixture(scope="module")
def benign(detector: Engine) -> Score:
    """Return the score on the benign corpus."""
    return score(load_labelled(BENIGN), lambda text: detector.find_spans([text])[0])


def test_recall_is_what_the_document_says(labelled: Score) -> None:
    """Every type is found as often as docs/detection.md says, or oftener: bench/recall.py makes the table."""
    written = {entity: int(found) for entity, _, found in ROW.findall(DOC)}
    assert set(written) == set(labelled.labelled)
    assert {entity: labelled.found[entity] for entity in written if labelled.found[entity] < written[entity]} == {}


def test_every_document_is_read(labelled: Score, benign: Score) -> None:
    """A text that is redacted whole has every label covered: figures with such a one would flatter."""
    assert (labelled.unread, benign.unread) == ([], [])


def test_identifiers_with_a_format_are_found(labelled: Score) -> None:
    """Of what a format tells, most is found, and of names nearly four in five without a model."""
    assert labelled.recall(*FORMATTED) >= RECALL_FORMATTED_MIN
    assert labelled.recall("PERSON") >= RECALL_PERSON_MIN


def test_benign_text_survives(benign: Score) -> None:
    """At most one redaction in 50,000 characters of text that holds no identifier."""
    assert benign.spurious_per_10k() <= SPURIOUS_MAX, benign.spurious


def test_redactions_outside_labels_are_few(labelled: Score) -> None:
    """Text that does hold identifiers keeps the rest."""
    assert labelled.spurious_per_10k() <= 3
