"""Keeps of the documents that share a key at most N, the best ones: one for each URL, two answers to each prompt, one of each cluster.

    count            ->  full                ->  offer              ->  choose         ->  remove
    documents of each    keys of more than       of each full key       the best N of      all others that
    key in a shard       N documents             a shard's best N       what is offered    have the key

No worker holds all keys or all documents: keys are parted by hash, and a key costs at most N documents a shard, however many have it.
"""

from collections.abc import Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.band_hashes import partition_of
from transforms.choose_survivors import SURVIVOR_ORDER
from transforms.decisions import read_decisions
from transforms.document_keys import read_keys
from transforms.near_clusters import read_near_clusters, write_near_clusters
from transforms.packed_arrays import join_pairs, pack_arrays, split_by_key, unpack_arrays
from transforms.packed_tables import pack_table, unpack_tables
from transforms.pool_steps import Group, GroupOnPool, Keyed, PoolDo, key_by_shard, part_shard
from transforms.records import ORIGIN_CODES, REMOVED_SCHEMA, DecidedShard, make_addresses

KEY_ORDER = tuple(key for key in SURVIVOR_ORDER if key[0] != "group")
"""The survivor of one key: origin, quality, id."""
CAP_ORDER = tuple(key for key in KEY_ORDER if key[0] != "id")
"""Who stays under a cap: origin, quality, and of equals whose row key is smallest, a hash: names must not favour one generator over another."""

_DETAILS = ["origin", "quality", "id", "row_key"]
OFFER_SCHEMA = pa.schema(
    [
        ("key", pa.uint64()),
        ("shard", pa.uint32()),
        ("documents", pa.int64()),
        ("address", pa.uint64()),
        ("origin", pa.uint8()),
        ("quality", pa.float32()),
        ("id", pa.string()),
        ("row_key", pa.uint64()),
    ]
)
"""One of the best documents of a full key in one shard; `documents` have the key in all shards."""
VERDICT_SCHEMA = pa.schema(
    [("key", pa.uint64()), ("documents", pa.int64()), ("partner", pa.uint64()), ("partner_id", pa.string()), ("kept", pa.uint64())]
)
"""For one shard: a full key, how many documents have it, the best of them, and one that is kept in this shard, or null where none is."""


def living_keys(decided: DecidedShard, key: str, origins: Sequence[str], clusters: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Row (int64) and hash (uint64) of the living documents of `origins` (none: any) that have the key; of `near_cluster` from the folder `clusters`."""
    decisions = read_decisions(decided, ["reason", "origin"])
    taken = decisions["reason"].is_null().to_numpy()
    if origins:
        taken &= np.isin(decisions["origin"].to_numpy(), [ORIGIN_CODES[name] for name in origins])
    if clusters is None:
        hashes, valid = read_keys(decided, key)
    else:
        hashes, valid = read_near_clusters(decided, clusters)
    rows = np.flatnonzero(taken & valid)
    return rows, hashes[rows]


def count_keys(shard: int, hashes: np.ndarray, num_partitions: int) -> list[Keyed]:
    """The distinct keys of a shard and their documents, packed by partition of the hash."""
    keys, counts = np.unique(hashes, return_counts=True)
    index = np.array([shard], "<u8")
    return [(part, pack_arrays(index, keys[held], counts[held].astype("<u8"))) for part, held in split_by_key(_partition(keys, num_partitions))]


def find_full(values: Sequence[bytes], limit: int) -> list[Keyed]:
    """(key, documents) pairs of the keys that more than `limit` documents have, for each shard that holds them."""
    unpacked = [unpack_arrays(value, "<u8", "<u8", "<u8") for value in values]
    keys, number = np.unique(np.concatenate([held for _, held, _ in unpacked]), return_inverse=True)
    totals = np.zeros(len(keys), np.uint64)
    np.add.at(totals, number, np.concatenate([counts for *_, counts in unpacked]))
    found, start = [], 0
    for shard, held, _ in unpacked:
        of_shard = totals[number[start : start + len(held)]]
        start += len(held)
        full = of_shard > limit
        if full.any():
            found.append((int(shard[0]), np.stack([held[full], of_shard[full]], axis=1).tobytes()))
    return found


def offer_best(documents: pa.Table, limit: int, order: Sequence[tuple[str, str]]) -> pa.Table:
    """Of each `key` the first `limit` rows of `documents`, by key and in `order`."""
    ordered = documents.take(pc.sort_indices(documents, sort_keys=[("key", "ascending"), *order]))
    return ordered.filter(pa.array(_place_in_run(ordered["key"].to_numpy()) < limit))


def choose_kept(offers: pa.Table, limit: int, order: Sequence[tuple[str, str]]) -> dict[int, pa.Table]:
    """`VERDICT_SCHEMA` for each shard that offers a key: the best `limit` documents of each key are kept. Does not depend on the order of `offers`."""
    kept = offer_best(offers, limit, order)
    keys = kept["key"].to_numpy()
    starts = np.flatnonzero(np.r_[len(keys) > 0, keys[1:] != keys[:-1]])
    best = kept.take(pa.array(starts)) if len(starts) else kept.slice(0, 0)
    partner = np.searchsorted(best["key"].to_numpy(), np.concatenate([keys, offers["key"].to_numpy()]))
    shards = np.concatenate([kept["shard"].to_numpy(), offers["shard"].to_numpy()])
    # Each shard hears of each of its keys at least once, also where all of its documents go.
    stays = pa.concat_arrays([kept["address"].combine_chunks(), pa.nulls(offers.num_rows, pa.uint64())])
    verdicts = {}
    for shard, rows in split_by_key(shards):
        of_key = best.take(pa.array(partner[rows]))
        columns = [of_key["key"], of_key["documents"], of_key["address"], of_key["id"], stays.take(pa.array(rows))]
        verdicts[shard] = pa.table(columns, schema=VERDICT_SCHEMA).group_by(VERDICT_SCHEMA.names, use_threads=False).aggregate([])
    return verdicts


def list_over(rows: np.ndarray, hashes: np.ndarray, shard: int, verdicts: pa.Table) -> pa.Table:
    """`REMOVED_SCHEMA`: documents (row, key) of a shard that have a key of `verdicts` and are not kept; `value` is how many documents have the key."""
    verdicts = verdicts.take(pc.sort_indices(verdicts, sort_keys=[("key", "ascending")]))
    keys = verdicts["key"].to_numpy()
    place = np.minimum(np.searchsorted(keys, hashes), max(len(keys) - 1, 0))
    addresses = make_addresses(shard, rows)
    kept = pc.drop_null(verdicts["kept"]).to_numpy()
    removed = np.flatnonzero((keys[place] == hashes) & ~np.isin(addresses, kept)) if len(keys) else np.empty(0, np.int64)
    of_key = verdicts.take(pa.array(place[removed]))
    columns = [pa.array(addresses[removed]), of_key["partner"], of_key["partner_id"], of_key["documents"].cast(pa.float32(), safe=False)]
    return pa.table(columns, schema=REMOVED_SCHEMA)


class CapKeys(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, RecordBatch]]: removed documents (`REMOVED_SCHEMA`) by shard index.

    Of the living documents of `origins` (none: of any) with one `key` the first `limit` in `order` stay; the others lose to the very first. Documents without
    the key, and those of other origins, take no part. The result depends on neither the order of rows and files nor `num_partitions`.
    Shuffles 16 bytes for each distinct key of a shard, then some 70 for each document among the best `limit` of a full key in its shard.
    Memory of a worker: the keys of one shard, or one of `num_partitions` partitions of them; a key that a million documents have takes
    `limit` rows for each shard that they lie in. `clusters`: where `CapClusters` left the key.
    """

    def __init__(
        self,
        key: str,
        limit: int,
        origins: Sequence[str] = (),
        order: Sequence[tuple[str, str]] = CAP_ORDER,
        num_partitions: int = 16,
        clusters: str | None = None,
    ):
        super().__init__()
        if limit < 1 or num_partitions < 1:
            raise ValueError(f"limit and num_partitions must be at least 1, not {limit} and {num_partitions}")
        self._source = (key, tuple(origins), clusters)
        self._limit, self._order, self._partitions = limit, tuple(order), num_partitions

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        count = PoolDo("CountKeys", _count, *self._source, self._partitions)
        full = decided | "CountKeys" >> beam.ParDo(count).with_output_types(Keyed) | "FindFull" >> GroupOnPool(_find_full, self._limit)
        offers = (shards, full) | "OfferBest" >> GroupOnPool(_offer, *self._source, self._limit, self._order, self._partitions)
        verdicts = offers | "ChooseKept" >> GroupOnPool(_choose, self._limit, self._order)
        return (shards, verdicts) | "ListOver" >> GroupOnPool(_list_over, *self._source, output=tuple[int, pa.RecordBatch])


class WriteClusters(beam.PTransform):
    """(decided shards, (address, cluster) pairs as bytes), both keyed by shard index -> the decided shards, each cluster's id kept under `folder`.

    The key `near_cluster` of `CapKeys`: 16 bytes of disk a document that has a cluster.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, inputs):
        return inputs | "WriteClusters" >> GroupOnPool(write_clusters, self._folder, output=DecidedShard)


def write_clusters(group: Group, folder: str) -> list[DecidedShard]:
    """Keeps the (address, cluster) pairs of a shard; a pool task."""
    values = list(group[1])
    (decided,) = [value for value in values if isinstance(value, DecidedShard)]
    _, pairs = part_shard((group[0], values))
    write_near_clusters(decided, pairs, folder)
    return [decided]


def _count(decided: DecidedShard, key: str, origins: Sequence[str], clusters: str | None, num_partitions: int) -> list[Keyed]:
    return count_keys(decided.shard.index, living_keys(decided, key, origins, clusters)[1], num_partitions)


def _find_full(group: Group, limit: int) -> list[Keyed]:
    return find_full(list(group[1]), limit)


def _offer(
    group: Group, key: str, origins: Sequence[str], clusters: str | None, limit: int, order: Sequence[tuple[str, str]], num_partitions: int
) -> list[Keyed]:
    decided, values = part_shard(group)
    if decided is None:
        return []
    full = join_pairs(values)
    full = full[np.argsort(full[:, 0])]
    rows, hashes = living_keys(decided, key, origins, clusters)
    place = np.minimum(np.searchsorted(full[:, 0], hashes), len(full) - 1)
    held = full[place, 0] == hashes
    rows, place = rows[held], place[held]
    details = read_decisions(decided, _DETAILS).take(pa.array(rows)).combine_chunks()
    columns = {"key": pa.array(full[place, 0]), "documents": pa.array(full[place, 1].astype(np.int64))}
    columns |= {"shard": pa.array(np.full(len(rows), decided.shard.index, np.uint32)), "address": pa.array(make_addresses(decided.shard.index, rows))}
    columns |= {name: details[name] for name in _DETAILS}
    offers = offer_best(pa.table(columns, schema=OFFER_SCHEMA), limit, order)
    parts = split_by_key(_partition(offers["key"].to_numpy(), num_partitions))
    return [(partition, pack_table(offers.take(pa.array(positions)))) for partition, positions in parts]


def _choose(group: Group, limit: int, order: Sequence[tuple[str, str]]) -> list[Keyed]:
    verdicts = choose_kept(unpack_tables(list(group[1]), OFFER_SCHEMA), limit, order)
    return [(shard, pack_table(table)) for shard, table in verdicts.items()]


def _list_over(group: Group, key: str, origins: Sequence[str], clusters: str | None) -> list[tuple[int, pa.RecordBatch]]:
    decided, values = part_shard(group)
    if decided is None:
        return []
    rows, hashes = living_keys(decided, key, origins, clusters)
    removed = list_over(rows, hashes, decided.shard.index, unpack_tables(values, VERDICT_SCHEMA)).combine_chunks()
    return [(decided.shard.index, batch) for batch in removed.to_batches()]


def _partition(keys: np.ndarray, num_partitions: int) -> np.ndarray:
    # Mixed first: a cluster's id need not look random.
    return partition_of(keys * np.uint64(0x9E3779B97F4A7C15), num_partitions)


def _place_in_run(keys: np.ndarray) -> np.ndarray:
    """0, 1, 2 ... within each run of equal keys."""
    starts = np.flatnonzero(np.r_[len(keys) > 0, keys[1:] != keys[:-1]])
    return np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)]))
