"""Finding what identifies a person: spans of text, by entity type."""
