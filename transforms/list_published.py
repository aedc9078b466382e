"""The ledger's rows of what a run publishes: one pass over decisions and narrow columns, no text.

list_shard     each decided shard: rows of its kept documents, in a file, one batch a kind and part    (a pool task)
write_part     each kind and part: its rows of all shards, as one file of the ledger                   (a pool task)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.apply_mix import apply_mix
from transforms.ledger_files import LEDGER_SCHEMA, LedgerFile, make_rows, split_rows, write_ledger_file
from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts
from transforms.records import ORIGIN_NAMES, DecidedShard
from transforms.storage import join_path, open_arrow, write_whole
from transforms.survey_mix import read_for_mix
from transforms.write_shards import ShardWritten, shard_name

_SCORED = ["generator", "parents", "task", "licence", "consent", "signature"]
_DECIDED = ["id", "source", "content_hash", "generation"]
CountKey = tuple[str, str, str, str, int, bool]
"""(source, generator, origin, declared origin, generation, fresh); generation -1: not stated; generator empty: none."""


@dataclass(frozen=True)
class PublishedRun:
    """What all rows of a run share."""

    cycle: str
    """The training cycle that it publishes for."""
    run_id: str
    """Names the run."""
    published_at: str
    """UTC, ISO 8601."""
    bands: int
    """Bands of a signature."""


@dataclass(frozen=True, order=True)
class ListedRows:
    """Rows of one scored shard that are of one kind and part."""

    kind: str
    """Kind of row."""
    part: str
    """First digit of the content hashes."""
    path: str
    """Arrow IPC file of `LEDGER_SCHEMA`."""
    batch: int
    """Which of its batches."""
    num_rows: int
    """Rows in it."""


@dataclass(frozen=True)
class ShardListed:
    """What was listed of one decided shard."""

    rows: tuple[ListedRows, ...]
    """Where its rows lie."""
    counts: Mapping[CountKey, tuple[int, int, int]]
    """Documents, tokens and bytes that it publishes."""


def list_shard(
    decided: DecidedShard, cuts: MixCuts, written: Sequence[ShardWritten], settings: MixSettings, run: PublishedRun, folder: str
) -> list[ShardListed]:
    """Lists the documents of `decided` that `cuts` publish, under `folder`; a pool task. `written` are the published files.

    Raises ValueError if a document goes to a file that was not written.
    """
    decisions = read_for_mix(decided, settings)
    output_shard = apply_mix(decisions, cuts, settings).output_shard
    kept = np.flatnonzero(output_shard >= 0)
    if not len(kept):
        return []
    with open_arrow(decided.shard.path) as file:
        parquet = pq.ParquetFile(file)
        present = [name for name in _SCORED if name in parquet.schema_arrow.names]
        scored = parquet.read(columns=present, use_threads=False).take(pa.array(kept))
    rows = decisions.take(pa.array(kept))
    columns = {name: scored[name] for name in present} | {name: rows[name] for name in _DECIDED}
    names = np.array(ORIGIN_NAMES, object)
    columns["origin"] = pa.array(names[rows["origin"].to_numpy()], pa.string())
    digests = {shard.name: shard.sha256 for shard in written}
    listed = []
    for number in np.unique(output_shard[kept]).tolist():
        name = shard_name(number, cuts.plan.num_shards)
        if name not in digests:
            raise ValueError(f"documents of {decided.shard.name} go to {name}, which was not written")
        published = pa.table(columns).take(pa.array(np.flatnonzero(output_shard[kept] == number)))
        about = {"cycle": run.cycle, "run_id": run.run_id, "published_at": run.published_at}
        listed.append(make_rows(published, run.bands, shard=name, shard_digest=digests[name], **about))
    declared = pa.array(names[rows["declared"].to_numpy()], pa.string())
    counts = _count(rows, scored["generator"], columns["origin"], declared)
    return [ShardListed(_write_rows(pa.concat_tables(listed), join_path(folder, f"rows-{decided.shard.index:06d}.arrow")), counts)]


def write_part(keyed: tuple[tuple[str, str], Iterable[ListedRows]], ledger: str, run_id: str) -> list[LedgerFile]:
    """Writes the rows of one kind and part as one file in the folder of the ledger; a pool task. Memory: 300 bytes a row of them."""
    (kind, part), listed = keyed
    batches = []
    for rows in sorted(listed):
        with open_arrow(rows.path) as file:
            batches.append(pa.ipc.open_file(file).get_batch(rows.batch))
    return [write_ledger_file(pa.Table.from_batches(batches, LEDGER_SCHEMA), ledger, kind, part, run_id)]


def rows_by_part(listed: Iterable[ShardListed]) -> list[tuple[tuple[str, str], list[ListedRows]]]:
    """((kind, part), rows) of all shards, sorted: what `write_part` takes."""
    found: dict[tuple[str, str], list[ListedRows]] = {}
    for shard in listed:
        for rows in shard.rows:
            found.setdefault((rows.kind, rows.part), []).append(rows)
    return [(key, sorted(rows)) for key, rows in sorted(found.items())]


def add_listed(listed: Iterable[ShardListed]) -> dict[CountKey, tuple[int, int, int]]:
    """Documents, tokens and bytes of all shards."""
    total: dict[CountKey, tuple[int, int, int]] = {}
    for shard in listed:
        for key, units in shard.counts.items():
            held = total.get(key, (0, 0, 0))
            total[key] = (held[0] + units[0], held[1] + units[1], held[2] + units[2])
    return dict(sorted(total.items()))


def _write_rows(rows: pa.Table, path: str) -> tuple[ListedRows, ...]:
    listed = []
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with write_whole(path, durable=False) as file, pa.ipc.new_file(file, LEDGER_SCHEMA, options=options) as writer:
        for number, (kind, part, held) in enumerate(split_rows(rows)):
            (batch,) = held.combine_chunks().to_batches()
            writer.write_batch(batch)
            listed.append(ListedRows(kind, part, path, number, held.num_rows))
    return tuple(listed)


def _count(rows: pa.Table, generator: pa.ChunkedArray, origin: pa.Array, declared: pa.Array) -> dict[CountKey, tuple[int, int, int]]:
    by = ["source", "generator", "origin", "declared", "generation", "fresh"]
    columns = {"source": rows["source"], "generator": generator.fill_null(""), "origin": origin, "declared": declared}
    columns |= {
        "generation": rows["generation"].fill_null(-1),
        "fresh": rows["fresh"].fill_null(False),
        "tokens": rows["tokens"],
        "bytes": rows["bytes"],
    }
    grouped = pa.table(columns).group_by(by, use_threads=False).aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
    counts = {}
    for row in grouped.to_pylist():
        counts[tuple(row[name] for name in by)] = (row["tokens_count"], row["tokens_sum"] or 0, row["bytes_sum"] or 0)
    return counts
