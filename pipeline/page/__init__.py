"""The policy as a page for people, and a playground beside it that shows what becomes of an event."""
