"""A stock Presidio AnalyzerEngine over the recognizers of the table: what lethe's findings must equal.

It loads no model: its tokens are words as the detector sees them, so that context words are the same for both.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.detect.context import WORD
from pipeline.detect.recognizer import Recognizer
from pipeline.detect.spans import Span


class Stock:
    """A stock AnalyzerEngine over the table's Presidio classes, and the table's rules of what counts."""

    def __init__(self, recognizers: Sequence[Recognizer], made_otherwise: Sequence[Any] | None = None) -> None:
        """Build the engine over the classes of these recognizers; patterns of our own are left out.

        Args:
            recognizers: lethe's.
            made_otherwise: Presidio's own objects for them, where they are of no class by their name.
        """
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers  # noqa: PLC0415
        from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer  # noqa: PLC0415

        self.judges = {judge.rule.name: judge for judge in recognizers if not judge.rule.regex}
        self.names = set(self.judges)
        made: list[Any] = list(made_otherwise or ())
        for rule in [judge.rule for judge in self.judges.values() if made_otherwise is None]:
            recognizer = getattr(predefined_recognizers, rule.name)
            context = list(rule.context_words) or None
            made.append(recognizer(context=context, supported_language="en", **rule.options))
            if rule.without:
                made[-1].patterns = [item for item in made[-1].patterns if item.name not in rule.without]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it takes our engine for one without tokens
            self.engine = AnalyzerEngine(
                registry=RecognizerRegistry(recognizers=made),
                nlp_engine=words_engine(),
                context_aware_enhancer=LemmaContextAwareEnhancer(context_matching_mode="whole_word"),
            )

    def analyze(self, text: str) -> list[Any]:
        """Return what the engine finds."""
        found: list[Any] = self.engine.analyze(text, "en", return_decision_process=True)
        return found

    def find(self, text: str) -> Iterator[Span]:
        """Yield what the engine finds and the table's rules count."""
        for found in self.analyze(text):
            name = found.recognition_metadata["recognizer_name"]
            judge, start, end = self.judges[name], found.start, found.end
            has_context = bool(found.analysis_explanation.supportive_context_word)
            if found.score >= judge.score_min and judge._counts(text, start, end, has_context):
                yield Span(start, end, judge.rule.entity, float(found.score), name)


def words_engine() -> Any:
    """Return an NLP engine without a model, whose tokens are those of the detector."""
    import regex  # type: ignore[import-untyped] # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NlpArtifacts, NoOpNlpEngine  # noqa: PLC0415

    class Words(NoOpNlpEngine):
        def is_punct(self, word: str, language: str) -> bool:  # noqa: ARG002
            return not word[0].isalnum()

        def process_text(self, text: str, language: str) -> Any:
            matches = list(regex.finditer(WORD, text))
            tokens: Any = [match.group() for match in matches]
            lemmas = [token.lower() for token in tokens]
            return NlpArtifacts([], tokens, [match.start() for match in matches], lemmas, self, language)

    return Words([{"lang_code": "en", "model_name": ""}])
