"""Cuts what can only be read from its start (compressed files, CSV, Hugging Face streams) into chunks that all cores can read.

A pool task: one input file is streamed once, in flat memory, and leaves chunks of whole records of about `chunk_bytes` each. A chunk
knows the file it came from and where, so that dead letters and locations name the original.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import zstandard

from transforms.dead_letters import DeadLetter
from transforms.inputs import Format, Split
from transforms.map_records import Unreadable
from transforms.parse_csv import iter_csv_rows, read_header
from transforms.read_lines import SplitLines
from transforms.records import DeadReason, Origin
from transforms.storage import join_path, open_binary, write_whole
from transforms.stream_hugging_face import stream_rows

CHUNK_LEVEL = -5
"""zstd level of a chunk, which is read once and thrown away: a quarter faster than level 1, and still less than half the text's size."""
DELIMITERS = {Format.CSV: ",", Format.TSV: "\t"}


class Piece(NamedTuple):
    """What may not be torn: lines that belong in one chunk, one CSV row of several lines, or one batch of rows."""

    position: int
    """Line (from 1) or row (from 0) of its first record."""
    items: list[Any]
    """Lines without their newlines, or one record batch."""
    num_bytes: int
    """Its size before compression."""
    heading: Any = ()
    """What all of a chunk must have in common: the columns of a CSV file, or an Arrow schema."""


def spill_unsplittable(split: Split, folder: str) -> list[Split]:
    """Writes the records of `split` to chunks in `folder`; returns a split for each, in order. Deterministic, names included.

    What breaks off is kept up to its last whole record, and the last split carries the dead letter; a file that cannot be opened gives
    one split without records, with its letter. Raises OSError when reading or writing fails, InputError when a dataset is gone.
    """
    if split.format is Format.HUGGING_FACE:
        return _write_chunks(_row_pieces(split), split, folder)
    try:
        file = open_binary(split.path)
    except OSError as error:
        return [_lost(split, split.path, DeadReason.BROKEN_FILE, f"the file cannot be opened: {error}")]
    with contextlib.closing(file):
        lines = SplitLines(file, split)
        try:
            pieces = _csv_pieces(lines, DELIMITERS[split.format]) if split.format in DELIMITERS else _line_pieces(lines, split.chunk_bytes)
            chunks = _write_chunks(pieces, split, folder)
        except Unreadable as error:
            return [_lost(split, split.path, error.reason, error.detail)]
    if lines.damage is not None:
        lost = _lost(split, f"{lines.prefix}{lines.position}", DeadReason.TRUNCATED_FILE, lines.damage)
        return [*chunks[:-1], replace(chunks[-1], trouble=lost.trouble)] if chunks else [lost]
    return chunks


def _line_pieces(lines: SplitLines, chunk_bytes: int) -> Iterator[Piece]:
    """Runs of lines that end where a chunk is full, so that chunks are the same however the file's blocks fall."""
    room = chunk_bytes
    for positions, some in lines:
        begin = 0
        for end, line in enumerate(some, 1):
            room -= len(line) + 1
            if room <= 0:
                yield _line_piece(positions[begin], some[begin:end])
                begin, room = end, chunk_bytes
        if begin < len(some):
            yield _line_piece(positions[begin], some[begin:])


def _line_piece(position: int, lines: list[bytes]) -> Piece:
    return Piece(position, lines, sum(map(len, lines)) + len(lines))


def _csv_pieces(lines: SplitLines, delimiter: str) -> Iterator[Piece]:
    """Rows as they lie in the file, blank lines kept so that line numbers stay true. Raises `Unreadable` without a header."""
    columns: tuple[str, ...] = ()
    next_position = 1
    for row in iter_csv_rows(lines, delimiter):
        if columns:
            blanks = row.position - next_position
            yield _line_piece(next_position, [b""] * blanks + row.lines)._replace(heading=columns)
        else:
            columns = read_header(row)
        next_position = row.position + len(row.lines)


def _row_pieces(split: Split) -> Iterator[Piece]:
    row = split.first_position or 0
    for batch in stream_rows(split.path):
        yield Piece(row, [batch], batch.nbytes, batch.schema)
        row += len(batch)


def _write_chunks(pieces: Iterable[Piece], split: Split, folder: str) -> list[Split]:
    """A chunk for every run of pieces that reaches `chunk_bytes`, and for each heading."""
    chunks: list[Split] = []
    sizes: list[int] = []
    gathered: list[Piece] = []
    num_bytes = 0
    for piece in itertools.chain(pieces, [None]):
        if gathered and (piece is None or num_bytes >= split.chunk_bytes or piece.heading != gathered[0].heading):
            chunks.append(_write_chunk(gathered, num_bytes, len(chunks), split, folder))
            sizes.append(num_bytes)
            gathered, num_bytes = [], 0
        if piece is not None:
            gathered.append(piece)
            num_bytes += piece.num_bytes
    ends = [split.num_bytes * end // max(1, sum(sizes)) for end in itertools.accumulate(sizes, initial=0)]
    return [replace(chunk, num_bytes=end - begin) for chunk, (begin, end) in zip(chunks, itertools.pairwise(ends), strict=True)]


def _write_chunk(pieces: list[Piece], num_bytes: int, number: int, split: Split, folder: str) -> Split:
    name = f"{split.name}-c{number:05d}"
    items = [item for piece in pieces for item in piece.items]
    if split.format is Format.HUGGING_FACE:
        path = join_path(folder, f"{name}.arrow")
        with write_whole(path) as file, pa.ipc.new_file(file, pieces[0].heading, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            for batch in items:
                writer.write_batch(batch)
    else:
        path = join_path(folder, f"{name}.{split.format}.zst")
        with write_whole(path) as file:
            file.write(zstandard.ZstdCompressor(level=CHUNK_LEVEL).compress(b"\n".join([*items, b""])))
    return replace(
        split,
        name=name,
        begin=0,
        end=num_bytes,
        compression=None if split.format is Format.HUGGING_FACE else "zstd",
        chunk_bytes=0,
        first_position=pieces[0].position,
        columns=pieces[0].heading if split.format in DELIMITERS else (),
        stored_at=path,
    )


def _lost(split: Split, location: str, reason: DeadReason, detail: str) -> Split:
    """`split` without records, but with the dead letter of what could not be read."""
    letter = DeadLetter(location, Origin.UNKNOWN if split.origin is None else split.origin, split.source, reason, detail)
    return replace(split, begin=0, end=0, compression=None, chunk_bytes=0, trouble=letter)
