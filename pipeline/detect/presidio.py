"""Presidio's pattern recognizers as finders: the door to presidio_analyzer and tldextract.

A model of the operator's own is loaded behind another door, `pipeline.detect.nerchild`, in other processes.

What is used of Presidio: the recognizers' own ``analyze`` (patterns, checksums, libphonenumber) and its
`LemmaContextAwareEnhancer` in whole-word mode. What is not: `AnalyzerEngine` with its registry and NLP pipeline (no
model is loaded; context words are matched on words as written), and the decision trace. Findings equal those of a
stock `AnalyzerEngine` over the same recognizers; the gates, pieces, shapes and exceptions are data in
schemas/detection/entities.json.

Importing Presidio takes seconds, so the factory does it, not this module.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.detect.budget import StrictRegex
from pipeline.detect.context import WORD, Context
from pipeline.detect.entities import EntityTable, RecognizerRule
from pipeline.detect.gates import Alternative
from pipeline.detect.phones import Plans
from pipeline.detect.recognizer import PlusFirst, Recognizer
from pipeline.detect.scan import ScanPattern
from pipeline.detect.standins import unchecked_patterns, without
from pipeline.detect.traits import stays_in_line
from pipeline.errors import PolicyError


class _Silence(logging.Filter):
    """Drops every record: Presidio's debug lines and validation errors quote the text."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the interface of logging
        return False


_NO_SESSION: Any = object()
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
_SILENCE = _Silence()
_SILENCED = ("presidio-analyzer", "decision_process", "tldextract", "tldextract.cache")


def make_recognizers(table: EntityTable, *, regex_timeout_s: float = 10.0) -> list[Recognizer]:
    """Build the table's recognizers, as finders.

    Args:
        table: entity types and recognizers.
        regex_timeout_s: a pattern that takes longer on one text makes that text None, in seconds. A backstop against
            catastrophic patterns; budgets proper count characters.

    Raises:
        PolicyError: the table names a recognizer that Presidio does not have, or options that it refuses.
    """
    # Imported here because it takes seconds, and most commands never detect anything.
    import regex  # type: ignore[import-untyped] # noqa: PLC0415

    _silence_and_unplug()
    context = _make_context()
    recognizers = []
    for rule in table.recognizers:
        score_min = table.entities[rule.entity].score_min
        if not table.entities[rule.entity].enabled:
            continue
        compiled = [
            regex.compile(pattern) if pattern else None
            for pattern in (rule.gate, rule.gate_alone, rule.piece, rule.piece and f"(?r){rule.piece}")
        ]
        recognizer = _make_recognizer(rule, regex_timeout_s)
        kept = rule if rule.lines else replace(rule, lines=_stays_in_line(recognizer))
        recognizers.append(
            Recognizer(kept, score_min, recognizer, context, _gate(rule, recognizer, score_min), *compiled)
        )
    return recognizers


def _make_context() -> Context:
    import regex  # noqa: PLC0415 - as in the factory
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer  # noqa: PLC0415 - as in the factory
    from presidio_analyzer.nlp_engine import NlpArtifacts  # noqa: PLC0415 - as in the factory

    return Context(LemmaContextAwareEnhancer(context_matching_mode="whole_word"), NlpArtifacts, regex.compile(WORD))


def make_owners_recognizers(
    table: EntityTable, document: Mapping[str, Any], *, regex_timeout_s: float = 10.0
) -> list[Recognizer]:
    """Build the recognizers that the policy's owner wrote, in Presidio's own YAML.

    Args:
        table: entity types.
        document: the file, parsed: ``recognizers``, each with ``name``, ``supported_entity``, ``patterns`` or
            ``deny_list``, and ``context``; perhaps ``global_regex_flags`` and ``enabled``. One finds in every language.
        regex_timeout_s: as for `make_recognizers`.

    Raises:
        PolicyError: one of them is not as Presidio wants it, its entity type is not declared, or its name is taken.
    """
    from presidio_analyzer import PatternRecognizer  # noqa: PLC0415 - as above

    context = _make_context()
    taken = {rule.name for rule in table.recognizers}
    recognizers = []
    for number, entry in enumerate(document.get("recognizers") or ()):
        name, entity, options = _owners_options(entry, number, document, table)
        if name in taken:
            raise PolicyError(f"recognizers: {name}: there is another one of this name; give it its own")
        taken.add(name)
        if not entry.get("enabled", True) or not table.entities[entity].enabled:
            continue
        made: Any = None
        with suppress(Exception):  # whatever Presidio makes of what it does not expect
            made = PatternRecognizer.from_dict(options)
            _make_strict(made, regex_timeout_s)
        if made is None or not made.patterns:
            raise PolicyError(f"recognizers: {name}: Presidio cannot read it; it needs patterns, or a deny_list")
        rule = RecognizerRule(name, entity, "of the policy's owner", lines=_stays_in_line(made))
        score_min = table.entities[entity].score_min
        recognizers.append(Recognizer(rule, score_min, made, context, _gate(rule, made, score_min)))
    return recognizers


def _owners_options(
    entry: Any, number: int, document: Mapping[str, Any], table: EntityTable
) -> tuple[str, str, dict[str, Any]]:
    """Return the name, the entity type, and what `PatternRecognizer.from_dict` is to be given."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise PolicyError(f"recognizers: number {number + 1} has no name")
    name: str = entry["name"]
    if entry.get("type", "custom") != "custom":
        raise PolicyError(f"recognizers: {name}: enable Presidio's own in entities.json; only custom ones stand here")
    entity = str(entry.get("supported_entity"))
    if entity not in table.entities:
        raise PolicyError(f"recognizers: {name}: its supported_entity is not declared; add it to entities.json")
    languages = [one for one in entry.get("supported_languages") or () if isinstance(one, dict)]
    words = [word for one in (entry, *languages) for word in one.get("context") or ()]
    kept = {key: entry[key] for key in ("patterns", "deny_list", "deny_list_score") if key in entry}
    flags = entry.get("global_regex_flags", document.get("global_regex_flags"))
    more = {} if flags is None else {"global_regex_flags": flags}
    return name, entity, {"name": name, "supported_entity": entity, "context": words or None, **kept, **more}


def _gate(rule: RecognizerRule, recognizer: Any, score_min: float) -> tuple[Alternative, ...]:
    """Return what a finding needs: one of the patterns, and a context word where that alone would not count."""
    from presidio_analyzer import PatternRecognizer  # noqa: PLC0415 - as in the factory

    words = tuple(word.lower() for word in recognizer.context or ())
    if rule.scan or not isinstance(recognizer, PatternRecognizer):
        alone = rule.scan or tuple(filter(None, (rule.gate_alone or rule.gate,)))
        near = [Alternative(ScanPattern(rule.gate), words, None, rule.name)] if rule.gate_alone and words else ()
        return (*(Alternative(ScanPattern(regex), (), None, rule.name) for regex in alone), *near)
    made: Any = recognizer
    is_validated = type(made).validate_result is not PatternRecognizer.validate_result
    flags = "".join(name for name, flag in _FLAGS.items() if made.global_regex_flags & flag)
    gate = []
    for pattern in made.patterns:
        counts_alone = not rule.context_required and (is_validated or pattern.score >= score_min)
        if counts_alone or words:
            near_words = () if counts_alone else words
            gate.append(Alternative(ScanPattern(pattern.regex, flags), near_words, None, rule.name))
    return tuple(gate)


def _stays_in_line(recognizer: Any) -> bool:
    """Say whether what it finds never holds a line break, nor depends on one."""
    return hasattr(recognizer, "patterns") and all(
        stays_in_line(pattern.regex, dot_is_any=bool(recognizer.global_regex_flags & re.DOTALL))
        for pattern in recognizer.patterns
    )


def _make_recognizer(rule: RecognizerRule, regex_timeout_s: float) -> Any:
    import regex  # noqa: PLC0415 - as in the factory
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
        _leave_out(recognizer, rule)
        _make_strict(recognizer, regex_timeout_s)
    if regions := rule.options.get("supported_regions"):
        recognizer = PlusFirst(recognizer, Plans(regions, regex.compile).regions_for)
    return recognizer


def _leave_out(recognizer: Any, rule: RecognizerRule) -> None:
    unknown = set(rule.without) - {item.name for item in recognizer.patterns}
    if unknown:
        raise PolicyError(f"recognizers/{rule.name}/without: it has no pattern {', '.join(sorted(unknown))}")
    recognizer.patterns = [item for item in recognizer.patterns if item.name not in rule.without]


def _make_strict(recognizer: Any, regex_timeout_s: float) -> None:
    """Give the recognizer patterns of its own (the class's are shared by the process) that never skip.

    Presidio, or its pattern's author, has seen that each is one; it is compiled when a text comes for it.
    """
    import regex  # noqa: PLC0415 - as in the factory

    flags = recognizer.global_regex_flags
    recognizer.patterns = [copy(item) for item in recognizer.patterns]
    for item in recognizer.patterns:
        item.compiled_regex = StrictRegex(partial(regex.compile, item.regex, flags=flags), regex_timeout_s)
        item.compiled_with_flags = flags


def _forget_private_suffixes(extract: Any) -> None:
    """Let go of a second table of all suffixes, with private ones, which Presidio never asks for: 4 MB."""
    made = getattr(extract, "_extractor", None)
    for name in ("tlds_incl_private", "tlds_incl_private_trie"):
        if hasattr(made, name):  # another release may keep them elsewhere: it then takes more memory, and no harm
            setattr(made, name, getattr(made, name.replace("incl", "excl")))


def _silence_and_unplug() -> None:
    """Keep Presidio's logs quiet, its domain check offline, and its IBAN pattern from being skipped.

    `EmailRecognizer` calls the module's ``extract``, which fetches a list at first use (policy §6 allows no such
    call); an extractor over the bundled snapshot takes its place. `IbanRecognizer` searches with a time limit of its
    own and goes on without the findings; its pattern has bounded repetitions only, so it needs none.
    """
    with without("requests", "requests_file"):
        import tldextract  # noqa: PLC0415 - as in the factory
    with without("spacy", "thinc"), unchecked_patterns():
        from presidio_analyzer.predefined_recognizers.generic import iban_recognizer  # noqa: PLC0415

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True)
    extract("example.com", session=_NO_SESSION)  # reads the snapshot now, not with the first event
    _forget_private_suffixes(extract)
    tldextract.extract = extract  # type: ignore[assignment]
    iban_recognizer.REGEX_TIMEOUT_SECONDS = None  # type: ignore[assignment]
    for name in _SILENCED:
        logging.getLogger(name).addFilter(_SILENCE)
