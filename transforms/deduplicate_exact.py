"""Finds documents with the same content: one survives of each group, by origin, quality and id."""

import apache_beam as beam
import numpy as np

from transforms.band_hashes import partition_of
from transforms.choose_survivors import ChooseSurvivors
from transforms.decisions import read_decisions
from transforms.fixed_columns import binary_rows
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import Group, GroupOnPool, Keyed, PoolDo, key_by_shard
from transforms.records import DecidedShard, make_addresses, shards_of

_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u4")])


def emit_content_hashes(decided: DecidedShard, num_partitions: int) -> list[Keyed]:
    """Content hash (128 bits) and row of the living documents of a shard, packed by partition of the hash; a pool task."""
    decisions = read_decisions(decided, ["content_hash", "reason"])
    rows = np.flatnonzero(decisions["reason"].is_null().to_numpy())
    hashes = binary_rows(decisions["content_hash"])[0].view("<u8")[rows]
    entries = np.empty(len(rows), _ENTRY)
    entries["high"], entries["low"], entries["row"] = hashes[:, 0], hashes[:, 1], rows
    shard = np.array([decided.shard.index], "<u8")
    parts = split_by_key(partition_of(hashes[:, 0], num_partitions))
    return [(partition, pack_arrays(shard, entries[positions])) for partition, positions in parts]


def group_equal(high: np.ndarray, low: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """(address, group) (uint64[n, 2]) of documents whose both halves of the hash another shares; the group is its smallest address."""
    order = np.lexsort((addresses, low, high))
    high, low, addresses = high[order], low[order], addresses[order]
    same = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    starts = np.flatnonzero(np.r_[len(addresses) > 0, ~same])
    sizes = np.diff(np.r_[starts, len(addresses)])
    groups = np.repeat(addresses[starts], sizes)
    shared = np.repeat(sizes > 1, sizes)
    return np.stack([addresses[shared], groups[shared]], axis=1)


class FindExactDuplicates(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, RecordBatch]]: removed documents (`DUPLICATE_SCHEMA`) by shard index.

    Of the living documents with one `content_hash`, the first in `SURVIVOR_ORDER` survives; the others lose to it with similarity 1.
    Shuffles 20 bytes a document, and what the choice needs of those that have an equal.
    Memory of a worker: one of `num_partitions` partitions, about 80 bytes a document of it.
    """

    def __init__(self, num_partitions: int = 16):
        super().__init__()
        if num_partitions < 1:
            raise ValueError(f"num_partitions must be at least 1, not {num_partitions}")
        self._num_partitions = num_partitions

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        emit = PoolDo("EmitContentHashes", emit_content_hashes, self._num_partitions)
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        members = decided | "EmitContentHashes" >> beam.ParDo(emit).with_output_types(Keyed) | "GroupEqual" >> GroupOnPool(_group_equal)
        return (shards, members) | "ChooseSurvivors" >> ChooseSurvivors(self._num_partitions, None)


def _group_equal(group: Group) -> list[Keyed]:
    unpacked = [unpack_arrays(value, "<u8", _ENTRY) for value in group[1]]
    entries = np.concatenate([held for _, held in unpacked])
    addresses = np.concatenate([make_addresses(shard[0], held["row"]) for shard, held in unpacked])
    members = group_equal(entries["high"], entries["low"], addresses)
    return [(shard, members[positions].tobytes()) for shard, positions in split_by_key(shards_of(members[:, 0]))]
