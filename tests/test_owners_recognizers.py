"""Recognizers that the policy's owner wrote in Presidio's YAML: read, counted in the digest, gated, and refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from presidio_analyzer import RecognizerRegistry
from stock_presidio import Stock

from pipeline.detect.allow import AllowList
from pipeline.detect.detector import make_detector, make_engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.presidio import make_owners_recognizers
from pipeline.errors import PolicyError
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import Policy, load_policy

YAML = """
global_regex_flags: 26
recognizers:
  - name: Badge
    supported_entity: ACCOUNT_ID
    patterns:
      - {name: badge, regex: '\\bBDG-[0-9]{6}\\b', score: 0.9}
      - {name: bare, regex: '\\b[0-9]{6}\\b', score: 0.2}
    context: [badge, gate]
  - name: Ships
    supported_language: en
    context: [ship]
    supported_entity: ACCOUNT_ID
    deny_list: [MS Sturmvogel, "MS M\u00f6we"]
  - name: Unused
    enabled: false
    supported_entity: ACCOUNT_ID
    patterns: [{name: unused, regex: 'x+', score: 1.0}]
"""
ENTITY = {"placeholder": "ACCOUNT", "enabled": True, "score_min": 0.5, "why": "x"}
TABLE = {"entities": {"ACCOUNT_ID": ENTITY}}
TEXTS = [
    "badge BDG-123456 and bdg-654321",
    "my badge is 123456, the order 654321",
    "order 123456",
    "on MS Sturmvogel and MS M\u00f6we today, MS Meise not",
    "BDG-12345",
]


def document(**change: Any) -> dict[str, Any]:
    """Return the file with its first recognizer changed; None takes a field out."""
    parsed: dict[str, Any] = yaml.safe_load(YAML)
    entry = {**parsed["recognizers"][0], **change}
    parsed["recognizers"][0] = {key: value for key, value in entry.items() if value is not None}
    return parsed


def test_findings_equal_stock_presidios(tmp_path: Path) -> None:
    """What they find is what a stock AnalyzerEngine finds that read the file, and each is asked where it may find."""
    recognizers = make_owners_recognizers(EntityTable.from_json(TABLE), document())
    assert [(r.rule.name, r.rule.lines) for r in recognizers] == [("Badge", True), ("Ships", False)]
    (tmp_path / "recognizers.yaml").write_text(YAML.partition("  - name: Unused")[0], "utf-8")
    registry = RecognizerRegistry()
    registry.add_recognizers_from_yaml(tmp_path / "recognizers.yaml")
    engine, stock = make_engine(recognizers, AllowList({})), Stock(recognizers, list(registry.recognizers))
    assert engine._sieve.always == []
    assert [engine._sieve.finders(text) for text in TEXTS] == [[0], [0], [], [1], []]
    for text, spans in zip(TEXTS, engine.find_spans(TEXTS), strict=True):
        found = {(span.start, span.end) for span in spans or ()}
        assert (text, found) == (text, {(span.start, span.end) for span in stock.find(text)})


def test_context_of_every_language_counts() -> None:
    """The words of all languages are context: texts say no language."""
    languages = [{"language": "de", "context": ["ausweis"]}, {"language": "es", "context": ["pase"]}, "it"]
    badge, _ = make_owners_recognizers(EntityTable.from_json(TABLE), document(supported_languages=languages))
    assert badge.recognizer.context == ["badge", "gate", "ausweis", "pase"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": None}, "number 1 has no name"),
        ({"supported_entity": "BADGE"}, "Badge: its supported_entity is not declared; add it to entities.json"),
        ({"type": "predefined"}, "Badge: enable Presidio's own in entities.json"),
        ({"name": "Ships"}, "Ships: there is another one of this name"),
        ({"patterns": None}, "Badge: Presidio cannot read it"),
        ({"patterns": [{"name": "x", "regex": "(zqsecret", "score": 0.9}]}, "Badge: Presidio cannot read it"),
        ({"patterns": [{"name": "x", "regex": "x", "score": 7}]}, "Badge: Presidio cannot read it"),
    ],
)
def test_what_presidio_cannot_read_is_refused(change: dict[str, Any], said: str) -> None:
    """The error names the recognizer and the fix, and quotes no pattern."""
    with pytest.raises(PolicyError) as error:
        make_owners_recognizers(EntityTable.from_json(TABLE), document(**change))
    assert said in str(error.value)
    assert "zqsecret" not in str(error.value)
    assert error.value.__context__ is None


def test_the_policy_names_the_file(tmp_path: Path) -> None:
    """policy.json names it; its content is in the policy's digest, its order and comments are not."""
    folder = tmp_path / "schemas"
    shutil.copytree(default_schemas_dir(), folder)
    main = orjson.loads((folder / "policy.json").read_bytes())
    (folder / "policy.json").write_bytes(orjson.dumps(main | {"recognizers": "detection/recognizers.yaml"}))
    digests = []
    for text in (YAML, f"# a comment\n{YAML}", YAML.replace("0.9", "0.8")):
        (folder / "detection" / "recognizers.yaml").write_text(text, "utf-8")
        policy = load_policy(folder)
        digests.append(policy.digest)
    assert [entry["name"] for entry in policy.recognizers["recognizers"]] == ["Badge", "Ships", "Unused"]
    assert (digests[0] == digests[1], digests[0] == digests[2]) == (True, False)
    for text in ("a: [", "- a\n", "a: !!python/object:os.system x", "? [a]\n: b\n"):
        (folder / "detection" / "recognizers.yaml").write_text(text, "utf-8")
        with pytest.raises(PolicyError, match=r"recognizers\.yaml: "):
            load_policy(folder)


def test_the_detector_has_them(policy: Policy) -> None:
    """A detector of a policy with such a file finds what they find."""
    off = {name: {**entity, "enabled": name == "ACCOUNT_ID"} for name, entity in policy.entities["entities"].items()}
    entities = {**policy.entities, "entities": off, "recognizers": {}, "patterns": {}}
    detector = make_detector(replace(policy, rules={}, entities=entities, recognizers=document()))
    (spans,) = detector.find_spans(["badge BDG-123456"])
    assert [(span.entity, span.rule) for span in spans or ()] == [("ACCOUNT_ID", "Badge")]
