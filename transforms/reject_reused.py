"""Rejects synthetic documents that earlier cycles have published often enough, and whatever was withdrawn; says which human ones are fresh."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.find_earlier import EARLIER_SCHEMA, sort_earlier

REUSED_SCHEMA = pa.schema(
    [
        ("address", pa.uint64()),
        ("uses", pa.int32()),
        ("partner_id", pa.string()),
        ("partner_cycle", pa.string()),
        ("similarity", pa.float32()),
    ]
)
"""One document that was published before: in how many cycles, and id, cycle and similarity of the publication most like it."""


def count_uses(earlier: pa.Table) -> pa.Table:
    """One row of `REUSED_SCHEMA` for each document of `earlier` (`EARLIER_SCHEMA`, in any order), by address.

    A use is a cycle, however many of its runs and documents match. Of publications that are equally similar the partner is that of the
    first cycle by name, then id.
    """
    earlier = sort_earlier(earlier)
    if not earlier.num_rows:
        return REUSED_SCHEMA.empty_table()
    addresses = earlier["address"].to_numpy()
    first = earlier.take(pa.array(np.flatnonzero(np.r_[True, addresses[1:] != addresses[:-1]])))
    uses = earlier.group_by("address", use_threads=False).aggregate([("cycle", "count_distinct")]).sort_by("address")
    return pa.table(
        [first["address"], uses["cycle_count_distinct"].cast(pa.int32()), first["id"], first["cycle"], first["similarity"]], schema=REUSED_SCHEMA
    )


def find_reused(earlier: Iterable[pa.RecordBatch], max_uses: int) -> pa.Table:
    """The documents (`REUSED_SCHEMA`) that at least `max_uses` cycles published: those that may not be published again.

    `max_uses` 0 names every document that was published at all. Raises ValueError if it is negative.
    """
    if max_uses < 0:
        raise ValueError(f"max_synthetic_uses must be at least 0, not {max_uses}")
    counted = count_uses(pa.Table.from_batches(list(earlier), EARLIER_SCHEMA))
    return counted.filter(pc.greater_equal(counted["uses"], max(max_uses, 1)))


def reject_reused(decisions: pa.Table, reused: pa.Table, stage: str, reason: str, limit: int) -> pa.Table:
    """`decisions` with the documents of `reused` rejected: stage, reason, uses as `value`, `limit`, and the earlier publication.

    The partner's id stands in `partner_id`, its cycle in `partner_cycle` where the decisions have such a column. Raises ValueError if a document
    is not among the decisions or was rejected before.
    """
    place = pc.index_in(decisions["address"], value_set=reused["address"].combine_chunks())
    hit = place.is_valid()
    if pc.sum(hit).as_py() != reused.num_rows and reused.num_rows:
        raise ValueError(
            f"{reused.num_rows - (pc.sum(hit).as_py() or 0)} documents found in the ledger are not among the decisions: stages were mixed up"
        )
    if pc.any(pc.and_(hit, decisions["reason"].is_valid())).as_py():
        raise ValueError("a document already rejected was looked up in the ledger: stages were mixed up")
    made = {
        "stage": pa.scalar(stage),
        "reason": pa.scalar(reason),
        "value": reused["uses"].take(place).cast(pa.float32()),
        "limit": pa.scalar(float(limit), pa.float32()),
        "partner_id": reused["partner_id"].take(place),
        "partner_cycle": reused["partner_cycle"].take(place),
        "similarity": reused["similarity"].take(place),
    }
    for name, column in made.items():
        index = decisions.schema.get_field_index(name)
        if index >= 0:
            decisions = decisions.set_column(index, decisions.schema.field(index), pc.if_else(hit, column, decisions[name]))
    return decisions


def mark_fresh(
    decisions: pa.Table, published: pa.Table, human_origins: tuple[int, ...], created_at: pa.ChunkedArray, fresh_after: object
) -> pa.Array:
    """Whether each document is fresh: of one of these origins (codes), in no cycle published so far, and created on `fresh_after` or later.

    `published` is `REUSED_SCHEMA` (`find_reused` with `max_uses` 0) for the human documents; `fresh_after` is a datetime in UTC, or None for any
    date. With a date, a document without `created_at` is not fresh: nothing shows that it is new. Never null.
    """
    fresh = pc.is_in(decisions["origin"], value_set=pa.array(human_origins, pa.uint8()))
    fresh = pc.and_(fresh, pc.invert(pc.is_in(decisions["address"], value_set=published["address"].combine_chunks())))
    if fresh_after is not None:
        recent = pc.greater_equal(created_at, pa.scalar(fresh_after, pa.timestamp("us", tz="UTC")))
        fresh = pc.and_(fresh, pc.fill_null(recent, False))
    return fresh
