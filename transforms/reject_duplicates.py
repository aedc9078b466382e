"""Writes the duplicates that were found into the decision files of their shards."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decisions import read_decisions, write_decisions
from transforms.records import DECISION_SCHEMA, DecidedShard, Reason, Stage, rows_of


def reject_duplicates(
    joined: tuple[DecidedShard, Iterable[pa.RecordBatch]], stage: Stage, reason: Reason, limit: float, folder: str
) -> list[DecidedShard]:
    """Marks the rows that duplicates (batches of `DUPLICATE_SCHEMA`, or of `REMOVED_SCHEMA`, for this shard) name as rejected; a pool task.

    `limit` is the similarity, or the value, from which they are: what their rejection states beside their own.
    """
    decided, duplicates = joined
    removed = [batch for batch in duplicates if batch.num_rows]
    decisions = read_decisions(decided)
    if not removed:
        return [write_decisions(decisions, decided.shard, folder)]
    found = pa.Table.from_batches(removed)
    measure = "similarity" if "similarity" in found.schema.names else "value"
    rows = rows_of(found["address"].to_numpy())
    n = decisions.num_rows
    place = np.full(n, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    alive = decisions["reason"].is_null().to_numpy()
    if not alive[rows].all():
        raise AssertionError(f"{decided.shard.name}: a document already rejected was found to be a duplicate")
    hit = pa.array(place >= 0)
    take = pa.array(place, mask=place < 0)
    replaced = {
        "stage": pc.if_else(hit, pa.scalar(stage.value), decisions["stage"]),
        "reason": pc.if_else(hit, pa.scalar(reason.value), decisions["reason"]),
        "partner_id": pc.if_else(hit, found["partner_id"].take(take), decisions["partner_id"]),
        "value": pc.if_else(hit, found[measure].take(take), decisions["value"]),
        "limit": pc.if_else(hit, pa.scalar(limit, pa.float32()), decisions["limit"]),
    }
    if measure == "similarity":
        replaced["similarity"] = pc.if_else(hit, found["similarity"].take(take), decisions["similarity"])
    for name, column in replaced.items():
        decisions = decisions.set_column(DECISION_SCHEMA.get_field_index(name), DECISION_SCHEMA.field(name), column)
    return [write_decisions(decisions, decided.shard, folder)]
