"""Synthetic traffic: raw request events with planted canaries, the same bytes for the same seed."""

from pipeline.synth.generate import generate_events
from pipeline.synth.manifest import read_manifest, write_manifest
from pipeline.synth.model import Canary, Expect, SyntheticEvent

__all__ = ["Canary", "Expect", "SyntheticEvent", "generate_events", "read_manifest", "write_manifest"]
