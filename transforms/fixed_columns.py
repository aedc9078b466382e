"""Reads the narrow fixed-size columns of a scored shard, `bands` and `signature`, straight into numpy."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.records import DecidedShard, ScoredShard
from transforms.storage import open_arrow


def read_fixed_binary(shard: ScoredShard, column: str, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A fixed-size binary column as bytes (uint8[n, width]) and which of the rows are not null (bool[n]; null ones read as zeros).

    `rows` (ascending, int64) asks for those rows alone, and reads only the row groups that hold one of them. Memory: the
    row groups read, `width` bytes a document. Raises ValueError if the file has no such column, or not the shard's number of rows.
    """
    with open_arrow(shard.path) as source, pq.ParquetFile(source) as file:
        field = file.schema_arrow.field(column) if column in file.schema_arrow.names else None
        if field is None or not pa.types.is_fixed_size_binary(field.type):
            raise ValueError(f"{shard.path}: no fixed-size binary column {column!r}, but {field or 'columns ' + ', '.join(file.schema_arrow.names)}")
        if file.metadata.num_rows != shard.num_rows:
            raise ValueError(f"{shard.path}: {file.metadata.num_rows} rows where {shard.num_rows} were scored: another file lies in its place")
        width = field.type.byte_width
        starts = np.cumsum([0] + [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
        parts = [(np.empty((0, width), np.uint8), np.empty(0, bool))]
        for group, (start, end) in enumerate(itertools.pairwise(starts)):
            wanted = None if rows is None else rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
            if wanted is None or len(wanted):
                values, valid = binary_rows(file.read_row_group(group, columns=[column], use_threads=False)[column])
                parts.append((values, valid) if wanted is None else (values[wanted], valid[wanted]))
    return np.concatenate([values for values, _ in parts]), np.concatenate([valid for _, valid in parts])


def read_signatures(decided: DecidedShard, rows: np.ndarray) -> np.ndarray:
    """Signatures (uint8[n, hashes]) of `rows` (ascending). Raises ValueError if one is null."""
    signatures, valid = read_fixed_binary(decided.shard, "signature", rows)
    if not valid.all():
        raise ValueError(f"{decided.shard.path}: row {rows[np.argmin(valid)]} has bands but no signature")
    return signatures


def fixed_binary_array(rows: np.ndarray) -> pa.FixedSizeBinaryArray:
    """The rows (uint8[n, width]) as fixed-size binary without nulls."""
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(rows.tobytes())])


def binary_rows(array: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A fixed-size binary array as bytes (uint8[n, width], a copy; null rows are zeros) and which rows are not null (bool[n])."""
    width = array.type.byte_width
    values, valid = np.zeros((len(array), width), np.uint8), np.zeros(len(array), bool)
    filled = 0
    for chunk in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        rows = slice(filled, filled + len(chunk))
        valid[rows] = chunk.is_valid().to_numpy(zero_copy_only=False)
        if valid[rows].any():
            held = np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
            values[rows] = held.reshape(-1, width)
        filled += len(chunk)
    values[~valid] = 0
    return values, valid
