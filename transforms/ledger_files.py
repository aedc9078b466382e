"""The rows of the ledger, one a published document, and the Parquet files that hold them.

A file holds rows of one run, one kind (text of humans, of models, or withdrawn) and one of `PARTS` parts by the first bits of the content hash, in
the order of that hash. So whoever asks about the text of models reads no row of a human's, and whoever asks for one text reads one
part. About 270 bytes a row on disk: the signature (112) and band hashes (80) are random and do not compress.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.fixed_columns import binary_rows
from transforms.ledger_storage import open_ledger_file, write_ledger_whole
from transforms.records import Origin

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.binary(), nullable=False),
        ("bands", pa.binary()),
        ("signature", pa.binary()),
        pa.field("id", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("generator", pa.string()),
        ("generation", pa.int16()),
        ("parents", pa.list_(pa.string())),
        ("task", pa.string()),
        ("licence", pa.string()),
        ("consent", pa.string()),
        pa.field("cycle", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_digest", pa.string(), nullable=False),
        pa.field("published_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
    ]
)
"""One published document. `bands`: `NUM_KEYS - 1` little-endian uint32, by `cut_bands`; `signature`: one byte a MinHash; both null where the text
has no word. `origin` is the verified one, `shard` and `shard_digest` the published file and its SHA-256. `kind` and `part` are the
partition columns, which stand in the path of a file and not in it."""
ADDED_COLUMNS = ("licence", "consent")
"""Columns that older ledgers lack: files written before are read as if they were null there."""
FILE_SCHEMA = pa.schema([field for field in LEDGER_SCHEMA if field.name not in ("kind", "part")])
"""What a file itself holds."""

HUMAN, SYNTHETIC, WITHDRAWN = "human", "synthetic", "withdrawn"
KINDS = (HUMAN, SYNTHETIC, WITHDRAWN)
"""Values of `kind`: published text that counts or may count as human, other published text, and withdrawals (copies of rows that were withdrawn)."""
PARTS = 16
"""Parts by content hash; `part` is the first hexadecimal digit of the hash."""
EXTRA_BANDS = 6
"""Bands cut across those of the signature: the same as when near-duplicates are sought within a run."""
ROW_GROUP_ROWS = 1 << 16
"""Rows in a row group: what is read at a time when one row of it is needed."""
_GOLDEN = 0x9E3779B97F4A7C15
_WORDLIKE = ["origin", "source", "generator", "task", "licence", "consent", "cycle", "run_id", "shard", "shard_digest"]


@dataclass(frozen=True, order=True)
class LedgerFile:
    """One Parquet file of the ledger."""

    path: str
    """Relative to the ledger."""
    kind: str
    """One of `KINDS`."""
    part: str
    """First hexadecimal digit of its content hashes."""
    num_rows: int
    """Rows in it."""
    num_bytes: int
    """Its size."""


def cut_bands(signatures: np.ndarray, bands: int, extra_bands: int = EXTRA_BANDS) -> np.ndarray:
    """uint32[n, bands + extra_bands]: hashes of parts of each signature (uint8[n, bands * rows]): what is looked up to find near-duplicates.

    The r-th byte of hash e is row r of band (e + r * step) mod bands, with step 0 for the first `bands` hashes, then 1 and so on: first
    the bands themselves, then as many bytes cut across them. Where eight minima agree so do their low bytes, so whatever shares a scored band shares
    a hash here, and by chance hardly anything else does.
    """
    rows = signatures.shape[1] // bands
    number = np.arange(bands + extra_bands)[:, None]
    row = np.arange(rows)
    places = (number + row * (number // bands)) % bands * rows + row
    hashes = np.broadcast_to(number[:, 0].astype(np.uint64), (len(signatures), len(number))).copy()
    for place in places.T:
        hashes = (hashes ^ signatures[:, place]) * np.uint64(_GOLDEN)
        hashes ^= hashes >> np.uint64(32)
    # The high bits of a product are the mixed ones.
    return ((hashes * np.uint64(_GOLDEN)) >> np.uint64(32)).astype("<u4")


def lookup_keys(content_hashes: np.ndarray, band_hashes: np.ndarray, has_bands: np.ndarray) -> np.ndarray:
    """uint32[n, 1 + bands]: the keys under which a document is looked up: four bytes of its content hash (uint8[n, 16]), then its bands.

    A document without bands has its first key in all places.
    """
    first = np.ascontiguousarray(content_hashes[:, 4:8]).view("<u4")
    return np.concatenate([first, np.where(has_bands[:, None], band_hashes, first)], axis=1)


def kind_of(origins: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """`HUMAN` for verified origins human and presumed human, else `SYNTHETIC`."""
    human = pc.is_in(origins, value_set=pa.array([Origin.HUMAN.value, Origin.PRESUMED_HUMAN.value]))
    return pc.if_else(human, HUMAN, SYNTHETIC)


def make_rows(published: pa.Table, bands: int, *, cycle: str, run_id: str, shard: str, shard_digest: str, published_at: str) -> pa.Table:
    """The ledger's rows (`LEDGER_SCHEMA`) of the documents of one published file, in their order.

    `published` has `content_hash` (16 bytes, no nulls), `signature` (or null) and the columns of the same names as the ledger's; those that
    it lacks (`generator`, `generation`, `parents`, `task`, `licence`, `consent`) are null. `published_at` is UTC, ISO 8601.
    """
    n = published.num_rows
    signatures, valid = binary_rows(published["signature"])
    hashes = binary_rows(published["content_hash"])[0]
    made = {
        "content_hash": binary_array(hashes),
        "bands": binary_array(np.ascontiguousarray(cut_bands(signatures, bands)).view(np.uint8), valid),
        "signature": binary_array(signatures, valid),
        "cycle": _constant(cycle, n),
        "run_id": _constant(run_id, n),
        "shard": _constant(shard, n),
        "shard_digest": _constant(shard_digest, n),
        "published_at": pc.cast(_constant(published_at, n), pa.timestamp("us", tz="UTC")),
        "kind": kind_of(published["origin"]),
        "part": part_of(hashes),
    }
    present = set(published.schema.names)
    columns = [made[name] if name in made else published[name] if name in present else pa.nulls(n, kind) for name, kind in _fields()]
    return pa.table([column.cast(kind) for column, (_, kind) in zip(columns, _fields(), strict=True)], schema=LEDGER_SCHEMA)


def part_of(content_hashes: np.ndarray) -> pa.Array:
    """Part of each content hash (uint8[n, 16])."""
    return pa.array([f"{part:x}" for part in range(PARTS)]).take(pa.array(content_hashes[:, 0] >> 4))


def split_rows(rows: pa.Table) -> list[tuple[str, str, pa.Table]]:
    """(kind, part, rows) of each kind and part among `rows`, in order of both."""
    key = pc.binary_join_element_wise(rows["kind"], rows["part"], "/")
    found = []
    for value in sorted(pc.unique(key).to_pylist()):
        kind, part = value.split("/")
        found.append((kind, part, rows.filter(pc.equal(key, value))))
    return found


def write_ledger_file(rows: pa.Table, folder: str, kind: str, part: str, name: str) -> LedgerFile:
    """Writes `rows`, all of this kind and part, to `kind=.../part=.../NAME.parquet` under `folder`, whole or not at all.

    The file's bytes do not depend on the order of `rows`. It belongs to the ledger only once it is committed.
    """
    order = pc.sort_indices(
        pa.table({"h": rows["content_hash"], "s": rows["source"], "i": rows["id"], "d": rows["shard"]}),
        sort_keys=[(key, "ascending") for key in "hsid"],
    )
    path = f"kind={kind}/part={part}/{name}.parquet"
    table = rows.select(FILE_SCHEMA.names).take(order).combine_chunks()
    with write_ledger_whole(folder, path) as file:
        writer = pq.ParquetWriter(
            file, FILE_SCHEMA, compression="zstd", compression_level=3, use_dictionary=_WORDLIKE, write_statistics=["content_hash"], store_schema=True
        )
        with writer:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    with open_ledger_file(folder, path) as file:
        return LedgerFile(path, kind, part, rows.num_rows, file.size())


def read_ledger_file(folder: str, file: LedgerFile, columns: Sequence[str], rows: np.ndarray | None = None) -> pa.Table:
    """Columns of one file, with `kind` and `part` if asked for. `rows` (ascending, int64) asks for those alone, and reads only their row groups.

    One of `ADDED_COLUMNS` that the file was written without is null.
    Raises ValueError if the file does not hold as many rows as the ledger says.
    """
    with open_ledger_file(folder, file.path) as source, pq.ParquetFile(source) as parquet:
        if parquet.metadata.num_rows != file.num_rows:
            raise ValueError(
                f"{file.path} in {folder}: holds {parquet.metadata.num_rows:,} rows where the ledger counts {file.num_rows:,}; restore the file"
            )
        absent = set(ADDED_COLUMNS) - set(parquet.schema_arrow.names)
        stored = [name for name in columns if name not in ("kind", "part", *absent)]
        if rows is None:
            table = parquet.read(columns=stored, use_threads=False)
        else:
            table = _read_rows(parquet, stored, rows)
    for name in ("kind", "part"):
        if name in columns:
            table = table.append_column(name, pa.repeat(pa.scalar(getattr(file, name)), table.num_rows))
    for name in absent & set(columns):
        table = table.append_column(name, pa.nulls(table.num_rows, LEDGER_SCHEMA.field(name).type))
    # Other writers of Delta tables (compaction) keep neither the exact types nor what may be null.
    return table.select(list(columns)).cast(pa.schema([LEDGER_SCHEMA.field(name) for name in columns]))


def find_rows(folder: str, files: Iterable[LedgerFile], column: str, values: pa.Array, columns: Sequence[str]) -> pa.Table:
    """The rows of these files whose `column` is among `values`, with `columns`. Cost: that column of every file, and the row groups that hold one."""
    found = [pa.schema([LEDGER_SCHEMA.field(name) for name in columns]).empty_table()]
    for file in files if len(values) else ():
        held = read_ledger_file(folder, file, [column])[column]
        rows = pc.indices_nonzero(pc.is_in(held, value_set=values)).to_numpy().astype(np.int64)
        if len(rows):
            found.append(read_ledger_file(folder, file, columns, rows))
    return pa.concat_tables(found)


def binary_array(rows: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """The rows (uint8[n, width]) as binary, null where `valid` says no."""
    n, width = rows.shape
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), n, [None, pa.py_buffer(np.ascontiguousarray(rows).tobytes())]).cast(pa.binary())
    return fixed if valid is None or valid.all() else pc.if_else(pa.array(valid), fixed, None)


def matrix_of(column: pa.ChunkedArray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A binary column as uint8[n, width] (null rows are zeros) and which rows are not null. Raises ValueError if a value has another width."""
    try:
        return binary_rows(column.cast(pa.binary(width)))
    except pa.ArrowInvalid as error:
        raise ValueError(f"the ledger holds values that are not {width} bytes wide: it was made with other settings, or is damaged") from error


def _read_rows(parquet: pq.ParquetFile, columns: list[str], rows: np.ndarray) -> pa.Table:
    starts = np.cumsum([0] + [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)])
    parts = [parquet.schema_arrow.empty_table().select(columns)]
    for group in range(parquet.num_row_groups):
        wanted = rows[np.searchsorted(rows, starts[group]) : np.searchsorted(rows, starts[group + 1])] - starts[group]
        if len(wanted):
            parts.append(parquet.read_row_group(group, columns=columns, use_threads=False).take(pa.array(wanted)))
    return pa.concat_tables(parts)


def _constant(value: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), n)


def _fields() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in LEDGER_SCHEMA]
