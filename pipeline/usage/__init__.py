"""Aggregates (policy §4): usage per hour and day, without identifiers and without small groups."""
