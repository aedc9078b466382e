"""The generations of documents that name parents: gathered from all shards, looked up in the ledger, derived together.

list_children     each decided shard: its documents that name parents                      (a pool task)
list_named        each decided shard: its documents that others name, and have no parents    (a pool task)
derive_lineage    all of these: their generations
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.decisions import read_decisions
from transforms.derive_generations import derive_generations, named_parents
from transforms.ledger_files import LedgerFile, find_rows
from transforms.records import ORIGIN_NAMES, DecidedShard
from transforms.storage import open_arrow

RELATED_SCHEMA = pa.schema([("id", pa.string()), ("origin", pa.string()), ("generation", pa.int16()), ("parents", pa.list_(pa.string()))])
"""A document as `derive_generations` sees it."""


@dataclass(frozen=True, eq=False)
class Lineage:
    """What came of all documents that name parents."""

    generations: pa.Table
    """`id`, `generation`: of each of these documents."""
    raised: int = 0
    """Documents that declared less than their parents allow."""
    raised_examples: tuple[str, ...] = ()
    """Ids of some."""
    unknown_parents: int = 0
    """Parents that neither the run nor the ledger knows."""
    circular: int = 0
    """Documents in a circle of parents."""

    def stated(self) -> dict[str, object]:
        """As a report states it."""
        counts = {"raised": self.raised, "unknown_parents": self.unknown_parents, "circular": self.circular}
        return {**counts, "raised_examples": list(self.raised_examples)}


NO_LINEAGE = Lineage(pa.table({"id": pa.array([], pa.string()), "generation": pa.array([], pa.int16())}))


def list_children(decided: DecidedShard) -> list[pa.RecordBatch]:
    """The documents of a shard that name parents (`RELATED_SCHEMA`), rejected ones too; a pool task."""
    related = _related(decided)
    return related.filter(pc.greater(pc.fill_null(pc.list_value_length(related["parents"]), 0), 0)).combine_chunks().to_batches()


def list_named(decided: DecidedShard, children: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The documents of a shard that `children` name as parents and that name none themselves (`RELATED_SCHEMA`); a pool task."""
    names = named_parents(pa.Table.from_batches(list(children), RELATED_SCHEMA))
    if not len(names):
        return []
    related = _related(decided)
    childless = pc.equal(pc.fill_null(pc.list_value_length(related["parents"]), 0), 0)
    return related.filter(pc.and_(childless, pc.is_in(related["id"], value_set=names))).combine_chunks().to_batches()


def derive_lineage(children: Iterable[pa.RecordBatch], named: Iterable[pa.RecordBatch], ledger: str, files: Iterable[LedgerFile]) -> Lineage:
    """The generations of `children`, whose parents are among these, `named` and the publications in `files` of the ledger.

    Memory: these documents and what of them is found. Cost in the ledger: its column of ids, unless there are no children.
    """
    offspring = pa.Table.from_batches(list(children), RELATED_SCHEMA)
    if not offspring.num_rows:
        return NO_LINEAGE
    known = find_rows(ledger, files, "id", named_parents(offspring), ["id", "generation", "kind"])
    together = pa.concat_tables([offspring, pa.Table.from_batches(list(named), RELATED_SCHEMA)])
    found = derive_generations(together, known)
    generations = pa.table({"id": offspring["id"], "generation": found.generation.slice(0, offspring.num_rows)})
    deepest = generations.group_by("id", use_threads=False).aggregate([("generation", "max")]).rename_columns(["id", "generation"])
    return Lineage(deepest, found.raised, found.raised_examples, found.unknown_parents, found.circular)


def _related(decided: DecidedShard) -> pa.Table:
    with open_arrow(decided.shard.path) as file:
        scored = pq.read_table(file, columns=["generation", "parents"], use_threads=False)
    decisions = read_decisions(decided, ["id", "origin"])
    origin = pa.array(np.array(ORIGIN_NAMES, object)[decisions["origin"].to_numpy()], pa.string())
    return pa.table([decisions["id"], origin, scored["generation"], scored["parents"]], schema=RELATED_SCHEMA)
