"""Presidio's pattern recognizers as a `Detector`: the only module that imports presidio_analyzer and tldextract.

What is used of Presidio: the recognizers' own ``analyze`` (patterns, checksums, libphonenumber) and its
`LemmaContextAwareEnhancer` in whole-word mode. What is not: `AnalyzerEngine` with its registry and NLP pipeline (no
model is loaded; context words are matched on words as written), and the decision trace. Findings equal those of a
stock `AnalyzerEngine` over the same recognizers; the gates, pieces, shapes and exceptions are data in
schemas/detection/entities.json.

Importing Presidio takes seconds, so the factory does it, not this module.
"""

import logging
from collections.abc import Sequence
from typing import Any

from pipeline.detect.entities import EntityTable, RecognizerRule
from pipeline.detect.recognizer import WORD, Context, PlusFirst, Recognizer, StrictRegex
from pipeline.detect.spans import Span
from pipeline.errors import PolicyError


class _Silence(logging.Filter):
    """Drops every record: Presidio's debug lines and validation errors quote the text."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the interface of logging
        return False


_SILENCE = _Silence()
_SILENCED = ("presidio-analyzer", "decision_process", "tldextract", "tldextract.cache")


class PresidioDetector:
    """Runs each recognizer on the texts that its gate lets through. Deterministic; no I/O."""

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        self._recognizers = tuple(recognizers)
        self._words = tuple(_needed_words(recognizer.rule) for recognizer in recognizers)

    def find_spans(self, texts: Sequence[str]) -> list[Sequence[Span] | None]:
        """Find the spans of each text; None where a recognizer failed, ran out of time or out of budget."""
        return [self._find(text) for text in texts]

    def _find(self, text: str) -> Sequence[Span] | None:
        spans: set[Span] = set()
        passed: dict[Any, bool] = {None: True}
        lowered = ""
        try:
            for recognizer, words in zip(self._recognizers, self._words, strict=True):
                gate = recognizer.gate
                if gate not in passed:
                    passed[gate] = gate.search(text) is not None
                if not passed[gate]:
                    continue
                lowered = lowered or text.lower()
                if not words or any(word in lowered for word in words):
                    spans.update(recognizer.find(text))
        except Exception:  # noqa: BLE001 - whatever a third party's recognizer raises, its text must not pass unread
            return None
        return sorted(spans)


def _needed_words(rule: RecognizerRule) -> tuple[str, ...]:
    """Words without which a text cannot have a finding: one of them, when context is required."""
    return rule.context_words if rule.context_required and not rule.alone else ()


def make_presidio_detector(table: EntityTable, *, regex_timeout_s: float = 10.0) -> PresidioDetector:
    """Build the detector of the table's recognizers.

    Args:
        table: entity types and recognizers.
        regex_timeout_s: a pattern that takes longer on one text makes that text None, in seconds. A backstop against
            catastrophic patterns; budgets proper count characters.

    Raises:
        PolicyError: the table names a recognizer that Presidio does not have, or options that it refuses.
    """
    # Imported here because it takes seconds, and most commands never detect anything.
    import regex  # type: ignore[import-untyped] # noqa: PLC0415
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NlpArtifacts  # noqa: PLC0415

    _silence_and_unplug()
    enhancer = LemmaContextAwareEnhancer(context_matching_mode="whole_word")
    context = Context(enhancer, NlpArtifacts, regex.compile(WORD))
    compiled: dict[str, Any] = {"": None}  # one object a gate, so that recognizers share its answer
    recognizers = []
    for rule in table.recognizers:
        entity = table.entities[rule.entity]
        if not entity.enabled:
            continue
        gates = []
        for pattern in (rule.gate, rule.gate_alone, rule.piece, rule.piece and f"(?r){rule.piece}"):
            if pattern not in compiled:
                compiled[pattern] = regex.compile(pattern)
            gates.append(compiled[pattern])
        recognizer = _make_recognizer(rule, regex_timeout_s)
        recognizers.append(Recognizer(rule, entity.score_min, recognizer, context, *gates))
    return PresidioDetector(recognizers)


def _make_recognizer(rule: RecognizerRule, regex_timeout_s: float) -> Any:
    from presidio_analyzer import Pattern, PatternRecognizer, predefined_recognizers  # noqa: PLC0415 - as in the factory

    context = list(rule.context_words) or None
    recognizer: Any
    predefined: Any = getattr(predefined_recognizers, rule.name, None)
    if rule.regex:
        custom: Any = PatternRecognizer
        pattern = Pattern(rule.name, rule.regex, rule.score)
        recognizer = custom(rule.entity, name=rule.name, patterns=[pattern], context=context)
    else:
        if predefined is None:
            raise PolicyError(f"recognizers/{rule.name}: Presidio has no recognizer of this name")
        recognizer = predefined(context=context, **rule.options)
    if hasattr(recognizer, "patterns"):
        _make_strict(recognizer, Pattern, regex_timeout_s)
    if regions := rule.options.get("supported_regions"):
        first = predefined(context=context, **{**rule.options, "supported_regions": regions[:1]})
        recognizer = PlusFirst(first, recognizer)
    return recognizer


def _make_strict(recognizer: Any, pattern_class: Any, regex_timeout_s: float) -> None:
    """Give the recognizer patterns of its own (the class's are shared by the process) that never skip."""
    import regex  # noqa: PLC0415 - as in the factory

    flags = recognizer.global_regex_flags
    recognizer.patterns = [pattern_class(item.name, item.regex, item.score) for item in recognizer.patterns]
    for item in recognizer.patterns:
        item.compiled_regex = StrictRegex(regex.compile(item.regex, flags=flags), regex_timeout_s)
        item.compiled_with_flags = flags


def _silence_and_unplug() -> None:
    """Keep Presidio's logs quiet, its domain check offline, and its IBAN pattern from being skipped.

    `EmailRecognizer` calls the module's ``extract``, which fetches a list at first use (policy §6 allows no such
    call); an extractor over the bundled snapshot takes its place. `IbanRecognizer` searches with a time limit of its
    own and goes on without the findings; its pattern has bounded repetitions only, so it needs none.
    """
    import tldextract  # noqa: PLC0415 - as in the factory
    from presidio_analyzer.predefined_recognizers.generic import iban_recognizer  # noqa: PLC0415

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True)
    tldextract.extract = extract  # type: ignore[assignment]
    iban_recognizer.REGEX_TIMEOUT_SECONDS = None  # type: ignore[assignment]
    for name in _SILENCED:
        logging.getLogger(name).addFilter(_SILENCE)
