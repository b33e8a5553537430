"""What stands before a finding and raises its score, by Presidio's enhancer. Pure.

Presidio's objects come in as arguments: `pipeline.detect.presidio` alone imports them.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

CONTEXT_CHARS = 256
"""How far before a finding a context word may stand, in characters (and within Presidio's five words)."""
LANGUAGE = "en"
WORD = r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+|\S"
"""Tokens of a context: words as written, parted at camel case, digits and underscores."""
_CONTEXT_WORDS = 5  # before a finding, of Presidio's enhancer
_CONTEXT_WORDS_MAX = 12  # among so many words it nearly always finds five
_NO_WORD = "be"  # of Presidio's artifacts


class _Words:
    """What Presidio asks of an NLP engine to find context: every token with a letter or digit is a keyword."""

    @staticmethod
    def is_stopword(word: str, language: str) -> bool:  # noqa: ARG004 - Presidio's interface
        return False

    @staticmethod
    def is_punct(word: str, language: str) -> bool:  # noqa: ARG004 - Presidio's interface
        return not word[0].isalnum()


class _Ours(list[Any]):
    """Results that the enhancer may change in place: copying them deeply, as it does, is most of its time."""

    def __deepcopy__(self, memo: object) -> "_Ours":
        return self


@dataclass(frozen=True, slots=True)
class Context:
    """Raises the score of findings that have a context word before them, by Presidio's enhancer."""

    enhancer: Any
    artifacts: Any
    word: Any

    def enhance(self, text: str, result: Any, recognizer: Any) -> Any:
        """Return the result with the score that its context gives it."""
        tokens, indices = self._tokens(text, result)
        artifacts = self.artifacts(
            entities=[],
            tokens=tokens,
            tokens_indices=indices,
            lemmas=[token.lower() for token in tokens],
            nlp_engine=_Words(),
            language=LANGUAGE,
        )
        return self.enhancer.enhance_using_context(text, _Ours([result]), artifacts, [recognizer])[0]

    def _tokens(self, text: str, result: Any) -> tuple[list[str], list[int]]:
        """Return the tokens before a finding and of it, and where they start.

        The enhancer looks at five words. So the tokens begin at a space with more words behind it, if there is one.
        """
        first = max(0, result.start - CONTEXT_CHARS)
        parts = text[first : result.start].rsplit(None, _CONTEXT_WORDS_MAX)
        near = first + len(parts[0]) if len(parts) > _CONTEXT_WORDS_MAX else first
        for start in dict.fromkeys((near, first)):
            matches = list(self.word.finditer(text, start, min(len(text), result.end + 1)))
            tokens = [match.group() for match in matches]
            indices = [match.start() for match in matches]
            before = tokens[: bisect_left(indices, result.start)]
            if sum(token[0].isalnum() and token.lower() != _NO_WORD for token in before) > _CONTEXT_WORDS:
                break
        return tokens, indices
