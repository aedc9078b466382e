"""The end of DECIDE for one scored shard: the mix is applied, every document has its disposition, and kept text is spilled.

Kept rows are written to one Arrow IPC file, with one batch for each output shard that they go to, in the order that they will have
there. The writer of an output shard then reads only its own batches and merges them: text is moved once, through files, and no
runner's memory holds it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.apply_mix import apply_mix
from transforms.human_rows import COPY_FIELD, copy_rows, counts_as_human, repeat_human
from transforms.mask_columns import MASKED_FIELD, mask_columns
from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts
from transforms.records import DOCUMENT_SCHEMA, ORIGIN_NAMES, DecidedShard
from transforms.sample_weights import WEIGHT_FIELD, SampleWeights
from transforms.storage import is_local, join_path, open_arrow, write_whole
from transforms.survey_mix import read_for_mix

PUBLISHED, REPEATED = "published", "repeated"
"""What stands in the place of a stage for published documents, and for the rows that repeat some of them."""

PUBLISHED_SCHEMA = pa.schema(
    [
        DOCUMENT_SCHEMA.field("id"),
        DOCUMENT_SCHEMA.field("text"),
        DOCUMENT_SCHEMA.field("messages"),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("declared_origin", pa.string(), nullable=False),
        pa.field("verified", pa.bool_(), nullable=False),
        DOCUMENT_SCHEMA.field("source"),
        DOCUMENT_SCHEMA.field("generator"),
        DOCUMENT_SCHEMA.field("generation"),
        DOCUMENT_SCHEMA.field("parents"),
        DOCUMENT_SCHEMA.field("created_at"),
        DOCUMENT_SCHEMA.field("task"),
        DOCUMENT_SCHEMA.field("licence"),
        DOCUMENT_SCHEMA.field("consent"),
        DOCUMENT_SCHEMA.field("declared_language"),
        ("language", pa.string()),
        ("words", pa.int32()),
        ("tokens", pa.int32()),
        ("bytes", pa.int32()),
        ("quality", pa.float32()),
        ("ai_probability", pa.float32()),
        DOCUMENT_SCHEMA.field("extra"),
    ]
)
"""One published document. `origin` is the verified one; a score is null where its scorer did not run or abstained."""

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("location", pa.string(), nullable=False),
        pa.field("declared_origin", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        ("value", pa.float32()),
        ("limit", pa.float32()),
        ("partner_id", pa.string()),
        ("similarity", pa.float32()),
        ("partner_cycle", pa.string()),
    ]
)
"""One rejected document: where it came from, the stage and reason, the score and limit that decided, the duplicate's survivor or the earlier
publication."""

_KEYS = [pa.field("placement_key", pa.uint64()), pa.field("row_key", pa.uint64())]
OPTIONAL_FIELDS = (COPY_FIELD, MASKED_FIELD, WEIGHT_FIELD)
"""Columns that a published file has only where they were asked for, after all others."""
SPILL_SCHEMA = pa.schema([*PUBLISHED_SCHEMA, *_KEYS])
"""A published document on its way to its file; before the keys stand those of `OPTIONAL_FIELDS` that were asked for."""

CELL_FIELD = pa.field("cell", pa.int64())
"""Where groups are asked for, the cell of each row stands beside it, by which the files are counted."""


@dataclass(frozen=True)
class SpilledRows:
    """Kept documents of one scored shard that go to one output shard."""

    path: str
    """Arrow IPC file of `SPILL_SCHEMA`."""
    batch: int
    """Which of its batches."""
    num_rows: int
    """Documents in it."""


@dataclass(frozen=True)
class ShardDisposed:
    """What became of one scored shard's documents."""

    counts: tuple[tuple[tuple[str, str, str, str, str], tuple[int, int, int]], ...]
    """((source, declared origin, origin, stage or `published`, reason), (documents, tokens, bytes)), sorted."""
    spilled: tuple[tuple[int, SpilledRows], ...]
    """(output shard, rows) pairs; empty for a plan."""
    num_rows: int
    """Documents in the scored shard."""


def dispose_shard(
    decided: DecidedShard, cuts: MixCuts, settings: MixSettings, kept_folder: str | None, rejected_folder: str | None, masked: tuple[str, ...] = ()
) -> list[ShardDisposed]:
    """Gives every document of `decided` its disposition and writes the rejected and the kept ones; a pool task.

    With both folders None nothing is written: the plan. `masked` are the kinds of personal data to mask in what is kept. Cost: the text of the
    shard is read once, whole.
    """
    decisions = read_for_mix(decided, settings)
    num_rows, copied = decisions.num_rows, copy_rows(decisions, settings)
    rows, output_shard, keys = _apply(repeat_human(decisions, settings), cuts, settings)
    # A document has one disposition, that of its first copy; further ones that are not published are nothing that was turned down.
    decisions = rows.slice(0, num_rows)
    counts = count_dispositions(decisions)
    if settings.max_human_repeats > 1:
        counts += count_repeats(rows.filter(pa.array((np.arange(rows.num_rows) >= num_rows) & (output_shard >= 0))))
    spilled: tuple[tuple[int, SpilledRows], ...] = ()
    if rejected_folder is not None and kept_folder is not None:
        stem = f"{decided.shard.index:06d}"
        _write_rejected(decisions, decided, join_path(rejected_folder, f"{stem}.parquet"))
        path = join_path(kept_folder, f"{stem}.arrow")
        spilled = _spill_kept(rows, decided, output_shard, keys, path, masked, cuts.weights, settings, copied)
    return [ShardDisposed(counts, spilled, num_rows)]


def count_dispositions(decisions: pa.Table) -> tuple[tuple[tuple[str, str, str, str, str], tuple[int, int, int]], ...]:
    """Documents, tokens and bytes by (source, declared origin, origin, stage, reason); the published have stage `published`, reason ``."""
    grouped = (
        decisions.select(["source", "declared", "origin", "stage", "reason", "tokens", "bytes"])
        .group_by(["source", "declared", "origin", "stage", "reason"], use_threads=False)
        .aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
    )
    counts = []
    for row in grouped.to_pylist():
        key = (row["source"], ORIGIN_NAMES[row["declared"]], ORIGIN_NAMES[row["origin"]], row["stage"] or PUBLISHED, row["reason"] or "")
        counts.append((key, (row["tokens_count"], row["tokens_sum"], row["bytes_sum"])))
    return tuple(sorted(counts))


def count_repeats(copies: pa.Table) -> tuple[tuple[tuple[str, str, str, str, str], tuple[int, int, int]], ...]:
    """Rows, tokens and bytes of published further copies by (source, declared origin, origin, `repeated`, copy)."""
    by = ["source", "declared", "origin", COPY_FIELD.name]
    grouped = (
        copies.select([*by, "tokens", "bytes"]).group_by(by, use_threads=False).aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
    )
    return tuple(
        sorted(
            (
                (row["source"], ORIGIN_NAMES[row["declared"]], ORIGIN_NAMES[row["origin"]], REPEATED, str(row[COPY_FIELD.name])),
                (row["tokens_count"], row["tokens_sum"], row["bytes_sum"]),
            )
            for row in grouped.to_pylist()
        )
    )


def _apply(decisions: pa.Table, cuts: MixCuts, settings: MixSettings) -> tuple[pa.Table, np.ndarray, dict[str, np.ndarray]]:
    """The decisions, with those of the mix; the output shard of each row; and what is spilled beside a row but not published."""
    outcome = apply_mix(decisions, cuts, settings)
    keys = {"placement_key": outcome.placement_key}
    if settings.groups:
        keys[CELL_FIELD.name] = outcome.cells
        partners = pc.coalesce(outcome.group, decisions["partner_id"])
        decisions = decisions.set_column(decisions.schema.get_field_index("partner_id"), "partner_id", partners)
    for name, made in (("stage", outcome.stage), ("reason", outcome.reason), ("value", outcome.value), ("limit", outcome.limit)):
        field = decisions.schema.field(name)
        decisions = decisions.set_column(decisions.schema.get_field_index(name), field, made)
    return decisions, outcome.output_shard, keys


def _write_rejected(decisions: pa.Table, decided: DecidedShard, path: str) -> None:
    rejected = decisions["reason"].is_valid()
    rows = decisions.filter(rejected)
    with open_arrow(decided.shard.path) as file:
        location = pq.read_table(file, columns=["location"], use_threads=False)["location"].filter(rejected)
    columns = {name: rows[name] for name in ("id", "source", "stage", "reason", "value", "limit", "partner_id", "similarity", "partner_cycle")}
    columns |= {"location": location, "declared_origin": _names(rows["declared"]), "origin": _names(rows["origin"])}
    table = pa.Table.from_arrays([columns[name] for name in REJECTED_SCHEMA.names], schema=REJECTED_SCHEMA)
    with write_whole(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=1)


def _spill_kept(
    decisions: pa.Table,
    decided: DecidedShard,
    output_shard: np.ndarray,
    keys: dict[str, np.ndarray],
    path: str,
    masked: tuple[str, ...],
    weights: SampleWeights | None,
    settings: MixSettings,
    copied: tuple[np.ndarray, np.ndarray],
) -> tuple[tuple[int, SpilledRows], ...]:
    kept = np.flatnonzero(output_shard >= 0)
    if not len(kept):
        return ()
    row_key = decisions["row_key"].to_numpy()
    order = kept[np.lexsort((row_key[kept], keys["placement_key"][kept], output_shard[kept]))]
    shards, starts = np.unique(output_shard[order], return_index=True)
    with open_arrow(decided.shard.path) as file:
        source = pq.ParquetFile(file)
        present = set(source.schema_arrow.names)
        columns = [name for name in PUBLISHED_SCHEMA.names if name in present and name != "origin"]
        table = source.read(columns=columns, use_threads=False)
    rows = decisions.select(["origin", "declared", "verified", "row_key", "generation"]).take(pa.array(order))
    sources, copies = copied
    made = dict(zip(columns, table.take(pa.array(sources[order])).columns, strict=True))
    made |= {"origin": _names(rows["origin"]), "declared_origin": _names(rows["declared"]), "verified": rows["verified"]}
    made["generation"] = pc.coalesce(rows["generation"], made["generation"]) if "generation" in made else rows["generation"]
    made |= {"row_key": rows["row_key"], **{name: pa.array(values[order]) for name, values in keys.items()}}
    if settings.max_human_repeats > 1:
        made[COPY_FIELD.name] = pa.array(copies[order])
    if masked:
        made |= mask_columns(made, masked)
    if weights is not None:
        probabilities = pc.fill_null(made["ai_probability"], np.nan).to_numpy() if "ai_probability" in made else None
        made[WEIGHT_FIELD.name] = pa.array(weights.of_rows(counts_as_human(rows["origin"].to_numpy(), settings), probabilities))
    schema = pa.schema(
        [*PUBLISHED_SCHEMA, *(field for field in OPTIONAL_FIELDS if field.name in made), *_KEYS, *([CELL_FIELD] if CELL_FIELD.name in made else ())]
    )
    ordered = pa.Table.from_arrays([_column(made, field, len(order)) for field in schema], schema=schema)
    spilled = []
    compression = None if is_local(path) else "lz4"
    with (
        write_whole(path, durable=False) as file,
        pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)) as writer,
    ):
        for number, (shard, begin, end) in enumerate(zip(shards, starts, [*starts[1:], len(order)], strict=True)):
            batch, *more = ordered.slice(begin, end - begin).to_batches()
            writer.write_batch(pa.concat_batches([batch, *more]) if more else batch)
            spilled.append((int(shard), SpilledRows(path, number, int(end - begin))))
    return tuple(spilled)


def _column(made: dict, field: pa.Field, n: int) -> pa.Array | pa.ChunkedArray:
    return made.get(field.name, pa.nulls(n, field.type))


def _names(codes: pa.ChunkedArray) -> pa.Array:
    return pa.array(np.array(ORIGIN_NAMES, dtype=object)[codes.to_numpy()], pa.string())
