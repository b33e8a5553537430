"""The content walk: every string leaf and key of a body, in whatever coding it comes."""
