"""Receipts: what was erased, what remains, why and until when, signed so that anyone can check it (policy §8)."""
