"""Rows of an Arrow table (Parquet, Hugging Face datasets) become documents without their text ever becoming Python strings."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.dead_letters import MAX_FIRST_CHARS
from transforms.map_records import MAX_TEXT_BYTES, RecordMapper, Roles, Row, Unreadable, dump_extra
from transforms.parsed_batches import BatchBuilder, ParsedBatch
from transforms.records import DeadReason


def parse_table(batch: pa.RecordBatch, mapper: RecordMapper, builder: BatchBuilder, prefix: str, first_row: int) -> Iterator[ParsedBatch]:
    """Each row of `batch` as a record. The text stays in Arrow's buffers: its checks are kernels, and one copy moves it.

    Yields the batches that fill up; what remains is in `builder`.
    """
    roles = mapper.roles_of(tuple(batch.schema.names))
    lost: dict[int, Unreadable] = {}
    texts: list[memoryview | None] | None = None
    others = batch.schema.names
    if roles.text is not None and _holds_text(batch.schema.field(roles.text).type):
        texts = _check_texts(batch.column(roles.text), roles.text, lost)
        others = [name for name in others if name != roles.text]
    columns = [_to_values(batch.column(name), name, lost) for name in others]
    for row, values in enumerate(zip(*columns, strict=True) if columns else [()] * len(batch)):
        record = dict(zip(others, values, strict=True))
        utf8 = None if texts is None else texts[row]
        if utf8 is None and texts is not None:
            record[roles.text] = None
        location = f"{prefix}{first_row + row}"
        try:
            full = builder.add(*_map_row(record, mapper, roles, utf8, lost.get(row)), location)
        except Unreadable as error:
            full = builder.lose(location, error, _quote_record(record) if utf8 is None else bytes(utf8[:MAX_FIRST_CHARS]))
        if full is not None:
            yield full


def _map_row(
    record: dict[str, Any], mapper: RecordMapper, roles: Roles, utf8: memoryview | None, trouble: Unreadable | None
) -> tuple[bytes | memoryview, Row]:
    if utf8 is None and trouble is None:
        return mapper.map_record(record)
    origin = mapper.origin_of(record, roles)
    if trouble is not None:
        trouble.origin = origin
        raise trouble
    return utf8, mapper.map_rest(record, roles, origin, utf8, None)


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())


def _check_texts(column: pa.Array, name: str, lost: dict[int, Unreadable]) -> list[memoryview | None]:
    """The bytes of each text where they lie, None for a null; rows whose text is blank or no UTF-8 go to `lost`."""
    binary = column.cast(pa.large_binary())
    _, offset_buffer, data = binary.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[binary.offset : binary.offset + len(binary) + 1].tolist()
    view = memoryview(b"" if data is None else data)
    nulls = binary.is_null().to_numpy(zero_copy_only=False) if binary.null_count else None
    texts = [view[begin:end] for begin, end in itertools.pairwise(offsets)]
    for row in () if nulls is None else np.flatnonzero(nulls).tolist():
        texts[row] = None
    try:
        strings = binary.cast(pa.large_string())
    except pa.ArrowInvalid:
        for row, text in enumerate(texts):
            if text is not None and not _decodes(text):
                lost[row] = Unreadable(DeadReason.NOT_UTF8, f"column {name!r} is not UTF-8")
        known_bad = pa.array([row in lost for row in range(len(texts))])
        strings = pc.if_else(known_bad, pa.scalar(b"x", pa.large_binary()), binary).cast(pa.large_string())
    blank = pc.or_(pc.utf8_is_space(strings), pc.equal(pc.binary_length(strings), 0))
    for row in np.flatnonzero(blank.fill_null(False).to_numpy(zero_copy_only=False)).tolist():
        lost[row] = Unreadable(DeadReason.EMPTY_TEXT, f"column {name!r} holds no text")
    for row in np.flatnonzero(np.diff(offsets) > MAX_TEXT_BYTES).tolist():
        lost[row] = Unreadable(DeadReason.WRONG_TYPE, f"text of over {MAX_TEXT_BYTES:,} bytes does not fit one document")
    return texts


def _decodes(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _to_values(column: pa.Array, name: str, lost: dict[int, Unreadable]) -> list[Any]:
    """`column` as Python values; a value that Python cannot hold loses its row."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_to_value(scalar.as_py, row, name, lost) for row, scalar in enumerate(column)]


def _to_value(read: Callable[[], Any], row: int, name: str, lost: dict[int, Unreadable]) -> Any:
    try:
        return read()
    except UnicodeDecodeError:
        lost[row] = Unreadable(DeadReason.NOT_UTF8, f"column {name!r} is not UTF-8")
    except (ValueError, OverflowError) as error:
        lost[row] = Unreadable(DeadReason.WRONG_TYPE, f"column {name!r} holds a value out of range: {error}")
    return None


def _quote_record(record: dict[str, Any]) -> bytes:
    try:
        return dump_extra(record)
    except Unreadable:
        return b""
