"""Decides which members of a group of duplicates stay, and names for each of the others the survivor that it lost to.

Survivors come by origin (human, presumed human, synthetic, ...), then higher quality, then smaller id. In a group of
near-duplicates a member is removed only if it is itself similar to a survivor, so that a chain of small changes keeps its far ends.
"""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.signature import estimate_jaccard
from transforms.decisions import read_decisions
from transforms.find_partners import find_partners
from transforms.fixed_columns import binary_rows, fixed_binary_array, read_fixed_binary, read_signatures
from transforms.packed_arrays import join_pairs, split_by_key
from transforms.pool_steps import Group, GroupOnPool, part_shard
from transforms.records import DUPLICATE_SCHEMA, rows_of, shards_of

SURVIVOR_ORDER = [
    ("group", "ascending"),
    ("origin", "ascending"),
    ("quality", "descending"),
    ("id", "ascending"),
    ("row_key", "ascending"),
    ("address", "ascending"),
]
"""Members of one group, the best first. `quality` null or NaN comes last; ids compare as UTF-8 bytes."""

SIGNATURE = "signature"
"""The column that near-duplicates are compared by."""

_DETAILS = ["origin", "quality", "id", "row_key"]
KeyedBatch = tuple[int, pa.RecordBatch]


def attach_members(group: Group, num_partitions: int, compared: str | None) -> list[KeyedBatch]:
    """What the choice needs of each (address, group) of a shard, keyed by partition of the group; a pool task.

    `compared` is the column that members are compared by (`signature`, `embedding`); None: they are equal.
    """
    decided, values = part_shard(group)
    if decided is None:
        return []
    members = join_pairs(values)
    members = members[np.argsort(members[:, 0])]
    rows = rows_of(members[:, 0])
    columns = {"address": pa.array(members[:, 0]), "group": pa.array(members[:, 1])}
    details = read_decisions(decided, _DETAILS).take(pa.array(rows)).combine_chunks()
    columns |= {name: details[name].combine_chunks() for name in _DETAILS}
    if compared == SIGNATURE:
        columns[SIGNATURE] = fixed_binary_array(read_signatures(decided, rows))
    elif compared:
        columns[compared] = fixed_binary_array(read_fixed_binary(decided.shard, compared, rows)[0])
    batch = pa.RecordBatch.from_pydict(columns)
    partitions = (members[:, 1] % np.uint64(num_partitions)).astype(np.int64)
    return [(partition, batch.take(pa.array(positions))) for partition, positions in split_by_key(partitions)]


def choose_survivors(members: pa.Table, min_similarity: float | None) -> pa.Table:
    """The removed members (`DUPLICATE_SCHEMA`), by group in survivor order; the members that it does not name survive.

    `members` has `group`, `address`, the columns of `SURVIVOR_ORDER` and, unless `min_similarity` is None, `signature` or `embedding` (int8
    vectors, whose similarity is their cosine). None means that members of a group are equal: the first stays, the others lose to it with
    similarity 1. Otherwise a member is removed if its estimated similarity to a member that stays is at least `min_similarity`; its partner is
    the most similar one, of equals the first. So survivors of one group are pairwise less similar than that. Does not depend on the order of `members`.
    Cost: members times survivors of their group, about 12 ns each; linear in groups so large that `find_partners` says otherwise, in which a
    few survivors may yet be alike.
    """
    order = pc.sort_indices(members, sort_keys=SURVIVOR_ORDER)
    compared = None
    if min_similarity is not None:
        # Of a group of a million, what is compared is most of the memory: sorted apart, it is held twice and not four times.
        name = "embedding" if "embedding" in members.column_names else SIGNATURE
        compared = binary_rows(members[name])[0][order.to_numpy()]
    members = members.select(["group", "address", "id"]).take(order)
    groups = members["group"].to_numpy()
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.empty(0, np.int64)
    if min_similarity is None:
        partners = np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
        removed = np.flatnonzero(partners != np.arange(len(groups)))
        similarities = np.ones(len(removed), np.float32)
    elif name == "embedding":
        # Imported here: its kernel is compiled for runs that compare vectors alone.
        from transforms.cosines import find_alike_partners

        partners, cosines = find_alike_partners(compared.view(np.int8), np.r_[starts, len(groups)], min_similarity)
        removed = np.flatnonzero(partners >= 0)
        similarities = cosines[removed]
    else:
        estimates = estimate_by_agreeing(compared.shape[1])
        needed = int(np.searchsorted(estimates, np.float32(min_similarity)))
        partners, agreeing = find_partners(compared, np.r_[starts, len(groups)], needed)
        removed = np.flatnonzero(partners >= 0)
        similarities = estimates[agreeing[removed]]
    partners = partners[removed]
    address = members["address"].to_numpy()
    ids = members["id"].take(pa.array(partners))
    return pa.table([address[removed], address[partners], ids, similarities], schema=DUPLICATE_SCHEMA)


def estimate_by_agreeing(num_hashes: int) -> np.ndarray:
    """Estimated similarity (float32[num_hashes + 1], ascending) of two signatures that agree in 0 to `num_hashes` bytes."""
    agreeing = np.tri(num_hashes + 1, num_hashes, -1, dtype=np.uint8)
    return estimate_jaccard(agreeing, np.ones_like(agreeing))


class ChooseSurvivors(beam.PTransform):
    """(decided shards, (address, group) as bytes), both keyed by shard index -> PCollection[tuple[int, RecordBatch]].

    Gives removed documents, as batches of `DUPLICATE_SCHEMA` keyed by the index of their shard. Memory of a worker: the members of one of
    `num_partitions` partitions, about 200 bytes each with the signature; a group cannot be divided. `compared` is the column of the scored
    shards that says how alike members are, `signature` or `embedding`.
    """

    def __init__(self, num_partitions: int, min_similarity: float | None, compared: str = SIGNATURE):
        super().__init__()
        self._num_partitions, self._min_similarity = num_partitions, min_similarity
        self._compared = None if min_similarity is None else compared

    def expand(self, inputs):
        attached = inputs | "AttachMembers" >> GroupOnPool(attach_members, self._num_partitions, self._compared, output=KeyedBatch)
        return attached | "Choose" >> GroupOnPool(_choose_by_shard, self._min_similarity, output=KeyedBatch)


def _choose_by_shard(group: Group, min_similarity: float | None) -> list[KeyedBatch]:
    removed = choose_survivors(pa.Table.from_batches(list(group[1])), min_similarity).combine_chunks()
    shards = shards_of(removed["address"].to_numpy())
    return [(shard, removed.take(pa.array(positions)).combine_chunks().to_batches()[0]) for shard, positions in split_by_key(shards)]
