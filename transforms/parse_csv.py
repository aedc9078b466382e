"""Rows of CSV become documents; a row that does not fit its header, or a quote left open, becomes a dead letter.

A quoted cell may span lines, so only a reading from the start tells where rows begin: `spill_unsplittable` cuts with the same reader.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from transforms.map_records import RecordMapper, Unreadable
from transforms.parsed_batches import BatchBuilder, ParsedBatch
from transforms.read_lines import SplitLines
from transforms.records import DeadReason

MAX_CELL_CHARS = 1 << 28
"""Characters in one cell: bounds what a quote that is never closed can swallow."""
END_OF_CSV = "\0end of file\0"
"""Given to the CSV reader after the last line: if it comes back inside a cell, a quote was left open."""


@dataclass(frozen=True)
class CsvRow:
    """One row of a CSV file, which may span lines."""

    position: int
    """Of its first line."""
    lines: list[bytes]
    """The lines it was read from, without their newlines."""
    cells: list[str]
    """Empty when there is an error."""
    error: Unreadable | None
    """Why it cannot be read."""


def parse_csv(numbered: SplitLines, mapper: RecordMapper, prefix: str, delimiter: str, columns: tuple[str, ...] = ()) -> Iterator[ParsedBatch]:
    """Each row as a record of text cells; the first row names the columns unless `columns` does. Its location names its first line."""
    builder = BatchBuilder(mapper)
    for row in iter_csv_rows(numbered, delimiter):
        location = f"{prefix}{row.position}"
        try:
            if not columns:
                columns = read_header(row)
                continue
            if row.error is not None:
                raise row.error
            if len(row.cells) != len(columns):
                raise Unreadable(DeadReason.MALFORMED, f"{len(row.cells)} cells where the header has {len(columns)}")
            full = builder.add(*mapper.map_record(dict(zip(columns, row.cells, strict=True))), location)
        except Unreadable as error:
            full = builder.lose(location, error, b"\n".join(row.lines))
            if not columns:
                break
        if full is not None:
            yield full
    yield from builder.rest()


def read_header(row: CsvRow) -> tuple[str, ...]:
    """Names of the columns. Raises `Unreadable`: without a header nothing in the file can be read."""
    if row.error is not None:
        raise Unreadable(DeadReason.BROKEN_FILE, f"no header: {row.error.detail}")
    twice = next((name for name in row.cells if row.cells.count(name) > 1), None)
    if twice is not None:
        raise Unreadable(DeadReason.BROKEN_FILE, f"two columns of the header are named {twice!r}; rename one of them")
    return tuple(row.cells)


def iter_csv_rows(numbered: SplitLines, delimiter: str) -> Iterator[CsvRow]:
    """Rows of a CSV file, blank lines left out. *Source:* RFC 4180, leniently: a quote matters only at the start of a cell."""
    lines: list[bytes] = []
    positions: list[int] = []
    not_utf8: list[int] = []

    def feed() -> Iterator[str]:
        for line_positions, more in numbered:
            for position, line in zip(line_positions, more, strict=True):
                lines.append(line)
                positions.append(position)
                try:
                    text = line.decode()
                except UnicodeDecodeError:
                    not_utf8.append(position)
                    text = line.decode("latin-1")
                yield text + "\n"
        yield END_OF_CSV

    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(feed(), delimiter=delimiter)
    while True:
        error = None
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            error = Unreadable(DeadReason.MALFORMED, f"not CSV: {failure}")
        if cells == [END_OF_CSV]:
            return
        if cells and END_OF_CSV in cells[-1]:
            if numbered.damage is not None:
                return  # the row at which the file breaks off: its reader reports that
            error = Unreadable(DeadReason.MALFORMED, "a quote that opens in this row is never closed")
        elif not_utf8:
            error = Unreadable(DeadReason.NOT_UTF8, f"line {not_utf8[0]} is not UTF-8")
        if cells or error:
            yield CsvRow(positions[0], lines.copy(), [] if error else cells, error)
        lines.clear()
        positions.clear()
        not_utf8.clear()
