"""Writes one output shard: its spilled rows, in shuffled order, as one Parquet file, and counts it again as written.

Memory: one output shard's text, about `target_shard_bytes`, in each worker that writes.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.dispose_documents import CELL_FIELD, OPTIONAL_FIELDS, PUBLISHED_SCHEMA, SpilledRows
from transforms.records import Origin
from transforms.storage import is_local, join_path, open_arrow, open_binary, write_whole

ROW_GROUP_BYTES = 128 << 20
"""Bytes of text in a Parquet row group, at most (a single longer document makes one of its own)."""
PAGE_BYTES = 256 << 10
"""Bytes of a Parquet page, about: what zstd works on stays in the core's cache, which takes a fifth less time than pages of 1 MiB."""
_WORDLIKE = ["origin", "declared_origin", "source", "generator", "task", "licence", "consent", "declared_language", "language"]


@dataclass(frozen=True)
class ShardWritten:
    """One published file, counted from the file itself."""

    name: str
    """File name, such as `train-00000-of-00004.parquet`."""
    units: tuple[tuple[str, int, int], ...]
    """(unit, human, all) for documents, tokens and bytes."""
    origins: tuple[tuple[str, int], ...]
    """(verified origin, documents), sorted."""
    file_bytes: int
    """Size of the file."""
    sha256: str
    """Digest of the file."""
    cells: tuple[tuple[int, int, int, int], ...] = ()
    """(cell, documents, tokens, bytes) where groups are asked for, sorted: rows of the file by what they count as."""

    def of_unit(self, unit: str) -> tuple[int, int]:
        """(human, all) in documents, tokens or bytes."""
        return next((human, total) for name, human, total in self.units if name == unit)


def shard_name(number: int, num_shards: int) -> str:
    """`train-00000-of-00004.parquet`: the form that `datasets.load_dataset` recognises as the train split."""
    return f"train-{number:05d}-of-{num_shards:05d}.parquet"


def write_shard(
    keyed: tuple[int, Iterable[SpilledRows]],
    num_shards: int,
    human_origins: tuple[str, ...],
    folder: str,
    row_group_documents: int,
    zstd_level: int,
) -> list[ShardWritten]:
    """Writes output shard `keyed[0]` of `num_shards` from its spilled rows; a pool task.

    Rows stand in the order of their placement key, so the file is the same whatever the order in which they come.
    `human_origins` are the verified origins that count as human.
    """
    number, spilled = keyed
    rows = _read_spilled(sorted(spilled, key=lambda part: (part.path, part.batch)))
    order = np.lexsort((rows["row_key"].to_numpy(), rows["placement_key"].to_numpy()))
    path = join_path(folder, shard_name(number, num_shards))
    schema = pa.schema([*PUBLISHED_SCHEMA, *(field for field in OPTIONAL_FIELDS if field.name in rows.schema.names)])
    with write_whole(path) as file:
        writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=zstd_level,
            use_dictionary=_WORDLIKE,
            write_statistics=_WORDLIKE,
            data_page_size=PAGE_BYTES,
        )
        with writer:
            for begin, end in row_groups(rows["bytes"].to_numpy()[order], row_group_documents):
                group = rows.take(pa.array(order[begin:end])).select(schema.names).cast(schema)
                writer.write_table(group, row_group_size=end - begin)
    return [replace(count_shard(path, human_origins), cells=_count_cells(rows))]


def _count_cells(rows: pa.Table) -> tuple[tuple[int, int, int, int], ...]:
    if CELL_FIELD.name not in rows.column_names:
        return ()
    counted = rows.group_by(CELL_FIELD.name, use_threads=False).aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
    return tuple(sorted((row[CELL_FIELD.name], row["tokens_count"], row["tokens_sum"], row["bytes_sum"]) for row in counted.to_pylist()))


def row_groups(text_bytes: np.ndarray, max_documents: int) -> list[tuple[int, int]]:
    """(begin, end) rows of each row group: at most `max_documents` and `ROW_GROUP_BYTES`, at least one document."""
    groups, begin = [], 0
    total = np.concatenate(([0], np.cumsum(text_bytes, dtype=np.int64)))
    while begin < len(text_bytes):
        fits = int(np.searchsorted(total, total[begin] + ROW_GROUP_BYTES, side="right")) - 1
        end = min(max(fits, begin + 1), begin + max_documents)
        groups.append((begin, end))
        begin = end
    return groups


def count_shard(path: str, human_origins: tuple[str, ...]) -> ShardWritten:
    """Counts a published file from what stands in it: the quota is checked on this, not on what was meant to be written."""
    with open_arrow(path) as file:
        table = pq.read_table(file, columns=["origin", "tokens", "bytes"], use_threads=False)
    human = pc.is_in(table["origin"], value_set=pa.array(human_origins, pa.string()))
    units = [("documents", int(pc.sum(human).as_py() or 0), table.num_rows)]
    for unit in ("tokens", "bytes"):
        units.append((unit, int(pc.sum(table[unit].filter(human)).as_py() or 0), int(pc.sum(table[unit]).as_py() or 0)))
    digest, size = hashlib.sha256(), 0
    with open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    origins = tuple(sorted((entry["values"], entry["counts"]) for entry in pc.value_counts(table["origin"]).to_pylist()))
    return ShardWritten(path.rstrip("/").rsplit("/", 1)[-1], tuple(units), origins, size, digest.hexdigest())


def human_origins(count_presumed_human: bool) -> tuple[str, ...]:
    """The verified origins that count as human."""
    return (Origin.HUMAN.value, Origin.PRESUMED_HUMAN.value) if count_presumed_human else (Origin.HUMAN.value,)


def _read_spilled(spilled: list[SpilledRows]) -> pa.Table:
    batches = []
    for part in spilled:
        # Mapped, where the file is local: rows are copied once, straight out of the page cache.
        with pa.memory_map(part.path) if is_local(part.path) else open_arrow(part.path) as file:
            batches.append(pa.ipc.open_file(file).get_batch(part.batch))
    table = pa.Table.from_batches(batches)
    # 64-bit offsets: more than 2 GiB of text would overflow the 32-bit ones. One chunk: taking rows joins the chunks of a column
    # again at every call.
    return table.set_column(table.schema.get_field_index("text"), "text", table["text"].cast(pa.large_string())).combine_chunks()
