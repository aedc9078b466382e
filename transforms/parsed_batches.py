"""Documents and dead letters gathered into batches: what every reader yields.

A record is either added or lost, so that what was read is always the sum of the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from transforms.dead_letters import DeadLetter, quote_start
from transforms.map_records import RecordMapper, Row, Unreadable
from transforms.records import BATCH_BYTES, BATCH_DOCUMENTS, DOCUMENT_SCHEMA


@dataclass(frozen=True)
class ParsedBatch:
    """Documents and dead letters of consecutive records."""

    documents: pa.RecordBatch
    """`DOCUMENT_SCHEMA`, in the order read: at most `BATCH_DOCUMENTS`, and `BATCH_BYTES` of text unless one document has more."""
    dead: list[DeadLetter]
    """The records that became no document, in the order read."""
    num_read: int
    """Records read: rows of `documents` plus the counts of `dead`."""
    origin_conflicts: int
    """Documents declared human that their own record calls machine-written, and so are declared synthetic here."""


@dataclass
class BatchBuilder:
    """Gathers documents and dead letters. `add` and `lose` return the batch that is full, if one is."""

    mapper: RecordMapper
    """Knows the input, and counts the conflicts."""
    _texts: list[bytes | memoryview] = field(default_factory=list)
    _rows: list[Row] = field(default_factory=list)
    _locations: list[str] = field(default_factory=list)
    _dead: list[DeadLetter] = field(default_factory=list)
    _num_bytes: int = 0
    _num_conflicts: int = 0

    def add(self, utf8: bytes | memoryview, row: Row, location: str) -> ParsedBatch | None:
        """Takes one document; a batch that has no room for it is returned first."""
        full = None
        if len(self._rows) >= BATCH_DOCUMENTS or (self._num_bytes + len(utf8) > BATCH_BYTES and self._rows):
            full = self.take()
        self._num_bytes += len(utf8)
        self._texts.append(utf8)
        self._rows.append(row)
        self._locations.append(location)
        return full

    def lose(self, location: str, error: Unreadable, first_bytes: bytes | str = b"", count: int = 1) -> ParsedBatch | None:
        """Takes one record that cannot be read, or `count` of them."""
        origin = self.mapper.default_origin if error.origin is None else error.origin
        self._dead.append(DeadLetter(location, origin, self.mapper.source, error.reason, error.detail, quote_start(first_bytes), count=count))
        return self.take() if len(self._dead) >= BATCH_DOCUMENTS else None

    def rest(self) -> Iterator[ParsedBatch]:
        """The last batch, if anything is left for it."""
        if (last := self.take()) is not None:
            yield last

    def take(self) -> ParsedBatch | None:
        """What has been gathered, if anything; the builder is empty afterwards."""
        if not self._rows and not self._dead:
            return None
        batch = ParsedBatch(
            _build_documents(self._texts, self._rows, self._locations, self.mapper.source),
            self._dead,
            len(self._rows) + sum(letter.count for letter in self._dead),
            self.mapper.num_conflicts - self._num_conflicts,
        )
        self._num_conflicts = self.mapper.num_conflicts
        self._texts, self._rows, self._locations, self._dead, self._num_bytes = [], [], [], [], 0
        return batch


def _build_documents(texts: list[bytes | memoryview], rows: list[Row], locations: list[str], source: str) -> pa.RecordBatch:
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=offsets[1:])
    text = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))
    columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(Row._fields, ())
    arrays = {name: pa.array(columns[name], DOCUMENT_SCHEMA.field(name).type) for name in Row._fields}
    arrays |= {"text": text, "source": pa.repeat(pa.scalar(source), len(texts)), "location": pa.array(locations, pa.string())}
    return pa.RecordBatch.from_arrays([arrays[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA)
