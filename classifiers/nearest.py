"""Names the nearest word there is, for messages about one that there is not."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'WORD'?` for the nearest of `known`, as difflib measures; empty where none is near."""
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
