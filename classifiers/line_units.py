"""What the scorer `line_hashes` can hash: a file of its own, since settings name it and must not load its kernels."""

LINE_UNITS = ("line", "paragraph", "sentences")
"""Lines as `str.splitlines` has them, paragraphs as blank lines part them, spans of three sentences."""
