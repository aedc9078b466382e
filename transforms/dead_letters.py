"""Records that could not be read or scored: where they were, why, and how they begin.

Exceptions become dead letters; decisions become rejections. Every record that is read ends as a document or in a dead letter.
"""

from dataclasses import dataclass

from transforms.records import DeadReason, Origin, Stage

MAX_FIRST_CHARS = 200
"""Characters of a lost record that its dead letter quotes."""


@dataclass(frozen=True)
class DeadLetter:
    """One lost record, or `count` records lost together."""

    location: str
    """`file:line`, `file@byte`, `file#row`, or the file itself."""
    origin: Origin
    """Declared origin of the record; `unknown` where only the record could have told."""
    source: str
    """Name of the input."""
    reason: DeadReason
    """Why, as a word to count by."""
    detail: str
    """Why, in a sentence."""
    first_bytes: str = ""
    """How the record begins: at most 200 characters, everything unprintable escaped."""
    stage: Stage = Stage.READ
    """Where it was lost."""
    count: int = 1
    """Records lost: more than one where a Parquet row group does not decode."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"dead letter for {self.location}: count {self.count}, must be at least 1")
        if len(self.first_bytes) > MAX_FIRST_CHARS:
            raise ValueError(f"dead letter for {self.location}: {len(self.first_bytes)} characters quoted, at most {MAX_FIRST_CHARS}")


def quote_start(data: bytes | str) -> str:
    """The beginning of `data`, printable: at most `MAX_FIRST_CHARS` characters, bytes that are no UTF-8 as `\\xff`."""
    start = data[:MAX_FIRST_CHARS]
    text = start.decode("utf-8", "backslashreplace") if isinstance(start, bytes) else start
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)[:MAX_FIRST_CHARS]
