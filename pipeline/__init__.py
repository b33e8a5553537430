"""lethe: a streaming anonymization pipeline for LLM API traffic."""

__version__ = "0.1.0"
