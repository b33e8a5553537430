"""A process that holds a model: loads it through Presidio, and reads the texts that come through a socket.

It says nothing anywhere else: its standard streams lead nowhere, and of an exception it tells type and place alone. It
holds no key and no event, and ends when its parent does, because the socket does.
"""

import logging
import signal
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from pipeline.detect.nermodel import Model, find_model
from pipeline.errors import PipelineError, describe
from pipeline.hardening import harden_process

Found = list[list[tuple[int, int, str, float]]]
"""For each text its findings: start, end, entity type and score."""


class Setup(NamedTuple):
    """What a process is told first.

    Attributes:
        model: the one to load.
        labels: the model's labels that count, and the entity type of each.
        ignored: its labels that do not.
        score: confidence of its findings, 0 to 1.
    """

    model: Model
    labels: dict[str, str]
    ignored: list[str]
    score: float


class Ready(NamedTuple):
    """What a process answers first.

    Attributes:
        identity: of the model that it has loaded, "" when it has none.
        problem: why it has none, "" when it has one.
    """

    identity: str
    problem: str


class Reader:
    """A loaded model."""

    def __init__(self, setup: Setup) -> None:
        """Load it.

        Raises:
            PipelineError: it finds no entities, or has a label that the policy does not know.
        """
        # Imported here because it takes seconds, and the parent imports this module for its types.
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine  # noqa: PLC0415

        source, self._language, _ = setup.model
        self._entities = frozenset(setup.labels.values())
        configuration = NerModelConfiguration(
            model_to_presidio_entity_mapping=setup.labels, labels_to_ignore=setup.ignored, default_score=setup.score
        )
        models = [{"lang_code": self._language, "model_name": source}]
        self._engine = SpacyNlpEngine(models=models, ner_model_configuration=configuration)
        self._engine.load()
        self._nlp: Any = self._engine.get_nlp(self._language)
        _check_labels(self._nlp, setup)

    def read(self, texts: Sequence[str]) -> Found:
        """Return what it finds in each text. What it learns of words while it reads is forgotten again.

        Raises:
            PipelineError: it found something with a label that it had not declared.
            Exception: whatever a pipeline raises.
        """
        with self._nlp.memory_zone():
            batch: Any = self._engine.process_batch(list(texts), self._language, batch_size=len(texts))
            return [self._findings(text, artifacts) for text, artifacts in batch]

    def _findings(self, text: str, artifacts: Any) -> list[tuple[int, int, str, float]]:
        found = []
        for entity, score in zip(artifacts.entities, artifacts.scores, strict=True):
            if entity.label_ not in self._entities:  # Presidio keeps what is in neither list
                raise PipelineError("a finding has a label that the model had not declared")
            held = text[entity.start_char : entity.end_char]
            start = entity.start_char + len(held) - len(held.lstrip())
            end = start + len(held.strip())
            if start < end:
                found.append((start, end, str(entity.label_), float(score)))
        return found


def _check_labels(nlp: Any, setup: Setup) -> None:
    """Refuse a model of which the policy does not say what each of its labels is."""
    finders = [name for name in nlp.pipe_names if "doc.ents" in nlp.get_pipe_meta(name).assigns]
    labels = {label for name in finders for label in nlp.pipe_labels.get(name, ())}
    unknown = sorted(labels - setup.labels.keys() - set(setup.ignored))
    if unknown:
        raise PipelineError(
            f"the model has labels that the policy does not know: {', '.join(unknown)}; put each into labels or into "
            "ignored of detection/ner.json"
        )
    if not labels & setup.labels.keys():
        raise PipelineError(
            "the model finds none of the labels that the policy's detection/ner.json maps to an entity type; use "
            "another model, or change labels there"
        )


def main(fd: int) -> None:
    """Load the model that the socket tells of, say so, and read texts until the socket ends.

    Args:
        fd: of the socket. In come a `Setup` and then lists of texts; out go a `Ready` and then, for each list, its
            `Found` or None where the model failed.
    """
    harden_process()
    # Ctrl-C and SIGTERM are for the parent alone, which drains with this process's help.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with Connection(fd) as connection:
        try:
            reader, ready = _load(connection.recv())
            connection.send(ready)
            while reader is not None:
                connection.send(_read(reader, connection.recv()))
        except (EOFError, OSError):  # the parent is gone
            return


def _load(setup: Setup) -> tuple[Reader | None, Ready]:
    try:
        reader = Reader(setup)
        return reader, Ready(find_model(setup.model.source).identity, "")
    except PipelineError as error:
        return None, Ready("", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a model's code raises; there is no text yet, nor is its message told
        return None, Ready("", f"the model cannot be loaded: {describe(error)}; it may be made for another spaCy")


def _read(reader: Reader, texts: Sequence[str]) -> Found | None:
    try:
        return reader.read(texts)
    except Exception:  # noqa: BLE001 - whatever a model's code raises, its texts must not pass unread
        return None
