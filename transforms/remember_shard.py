"""What memory decides about one decided shard: withdrawn and reused documents are rejected, generations derived, fresh human text marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.decisions import read_decisions, write_decisions
from transforms.derive_generations import find_too_deep
from transforms.memory_settings import MemorySettings, read_date
from transforms.records import ORIGIN_CODES, DecidedShard, Origin, Reason, Stage
from transforms.reject_reused import count_uses, find_reused, mark_fresh, reject_reused
from transforms.storage import open_arrow

HUMAN_ORIGINS = (ORIGIN_CODES[Origin.HUMAN], ORIGIN_CODES[Origin.PRESUMED_HUMAN])
"""Codes of origins whose text may return, and may be fresh."""
OTHER_ORIGINS = tuple(code for code in ORIGIN_CODES.values() if code not in HUMAN_ORIGINS)
"""Codes of origins to which the reuse limit applies."""


@dataclass(frozen=True)
class Remembered:
    """What the ledger holds of one shard's documents: batches of `EARLIER_SCHEMA`."""

    reused: tuple[pa.RecordBatch, ...] = field(default=())
    """Earlier publications of those that are not human."""
    published: tuple[pa.RecordBatch, ...] = field(default=())
    """Earlier publications of those that are."""
    withdrawn: tuple[pa.RecordBatch, ...] = field(default=())
    """Withdrawals of any."""


def remember_shard(joined: tuple[DecidedShard, Remembered], derived: pa.Table | None, settings: MemorySettings, folder: str) -> list[DecidedShard]:
    """Rejects, derives and marks one shard's documents, and writes its decisions under `folder`; a pool task.

    A withdrawn text is rejected whoever wrote it; then a document that is not human if its text, or a near-duplicate, was published in
    `max_synthetic_uses` cycles; then one that is too deep. `derived` has `id` and `generation` of documents that name parents.
    """
    decided, remembered = joined
    decisions = read_decisions(decided)
    withdrawn = find_reused(remembered.withdrawn, 1)
    decisions = reject_reused(decisions, withdrawn, Stage.LEDGER.value, Reason.WITHDRAWN.value, 0)
    reused = find_reused(remembered.reused, settings.max_synthetic_uses)
    reused = reused.filter(pc.invert(pc.is_in(reused["address"], value_set=withdrawn["address"].combine_chunks())))
    decisions = reject_reused(decisions, reused, Stage.LEDGER.value, Reason.REUSED.value, settings.max_synthetic_uses)

    with open_arrow(decided.shard.path) as file:
        scored = pq.read_table(file, columns=["generation", "created_at"], use_threads=False)
    generation = _generations(decisions, scored["generation"], derived)
    decisions = _set(decisions, "generation", generation)
    if settings.max_generation is not None:
        decisions = _reject_deep(decisions, generation, settings.max_generation)
    published = count_uses(pa.Table.from_batches(remembered.published)) if remembered.published else find_reused((), 0)
    after = None if settings.fresh_after is None else read_date(settings.fresh_after)
    decisions = _set(decisions, "fresh", mark_fresh(decisions, published, HUMAN_ORIGINS, scored["created_at"], after))
    return [write_decisions(decisions, decided.shard, folder)]


def _generations(decisions: pa.Table, declared: pa.ChunkedArray, derived: pa.Table | None) -> pa.Array:
    """int16 of each document: what its parents make it, else what it declares, at least 1 unless it is human."""
    least = np.where(np.isin(decisions["origin"].to_numpy(), HUMAN_ORIGINS), 0, 1).astype(np.int16)
    own = np.maximum(pc.fill_null(declared, 0).to_numpy(), least)
    if derived is not None and derived.num_rows:
        place = pc.index_in(decisions["id"], value_set=derived["id"].combine_chunks())
        own = np.maximum(own, pc.fill_null(derived["generation"].take(place), 0).to_numpy())
    return pa.array(own.astype(np.int16))


def _reject_deep(decisions: pa.Table, generation: pa.Array, max_generation: int) -> pa.Table:
    deep = pc.and_(find_too_deep(generation, max_generation), decisions["reason"].is_null())
    made = {
        "stage": pa.scalar(Stage.LEDGER.value),
        "reason": pa.scalar(Reason.TOO_DEEP.value),
        "value": generation.cast(pa.float32()),
        "limit": pa.scalar(float(max_generation), pa.float32()),
    }
    for name, column in made.items():
        decisions = _set(decisions, name, pc.if_else(deep, column, decisions[name]))
    return decisions


def _set(decisions: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    index = decisions.schema.get_field_index(name)
    return decisions.set_column(index, decisions.schema.field(index), column)


def gather_remembered(batches: Iterable[tuple[str, pa.RecordBatch]]) -> Remembered:
    """Batches tagged `reused`, `published` or `withdrawn` as one `Remembered`."""
    held: dict[str, list[pa.RecordBatch]] = {"reused": [], "published": [], "withdrawn": []}
    for name, batch in batches:
        held[name].append(batch)
    return Remembered(**{name: tuple(found) for name, found in held.items()})
