"""The place of each document within its cluster, for `mix.priority = "diverse"`: the best of each cluster has rank 0, the next 1.

    offer_ranks   of each cluster, the keys of a shard's best documents       ->  by partition of the cluster
    choose_ranks  the ranks of all documents of the clusters of a partition   ->  by shard
    write_ranks   the ranks of a shard's documents, in a file of 2 bytes a document

Human and other documents are ranked apart, since the mix chooses among them apart. Ranks from `MOST_RANK` on are one, so a shard offers at
most `MOST_RANK` documents of a cluster and kind, however many it holds; and no worker holds more than a partition of such offers, 24 bytes each.
A document without a cluster is one by itself: rank 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decisions import read_decisions
from transforms.document_keys import NEAR_CLUSTER, read_keys
from transforms.human_rows import counts_as_human
from transforms.mix_settings import RANK_FIELD, MixSettings
from transforms.near_clusters import read_near_clusters
from transforms.order_keys import MOST_RANK, rank_keys
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.records import DecidedShard, make_addresses, rows_of, shards_of
from transforms.spill_bytes import Spilled, load_bytes, spill_bytes
from transforms.storage import join_path, write_whole
from transforms.worker_pool import run_on_pool

_COLUMNS = ("reason", "origin", "row_key", "quality")
_KIND = np.uint64(1 << 63)
Keyed = tuple[int, bytes | Spilled]


def rank_within(clusters: np.ndarray, keys: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """int64: how many of the given documents of the same cluster (uint64) have a smaller (key, address), kinds (the top bit of a key) apart.

    Does not depend on the order of the rows.
    """
    order = np.lexsort((addresses, keys, clusters))
    of_cluster, of_kind = clusters[order], keys[order] >= _KIND
    is_first = np.ones(len(order), bool)
    is_first[1:] = (of_cluster[1:] != of_cluster[:-1]) | (of_kind[1:] != of_kind[:-1])
    starts = np.flatnonzero(is_first)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return ranks


def order_within(row_keys: np.ndarray, qualities: np.ndarray, origins: np.ndarray, settings: MixSettings) -> np.ndarray:
    """uint64: the keys by which documents of a cluster are ranked: the kind (human or not) in the top bit, then best first as for `quality`."""
    return (rank_keys(row_keys, qualities, settings) >> np.uint64(1)) | np.where(counts_as_human(origins, settings), np.uint64(0), _KIND)


def read_clusters(decided: DecidedShard, key: str, near_clusters: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The cluster (uint64[n]) of each document of a shard by `key`, and which documents have one (bool[n]); `near_cluster` from the folder of these."""
    if key == NEAR_CLUSTER and near_clusters is not None:
        return read_near_clusters(decided, near_clusters)
    return read_keys(decided, key)


def offer_ranks(
    decided: DecidedShard, settings: MixSettings, near_clusters: str | None, num_partitions: int, spill_folder: str | None
) -> list[Keyed]:
    """(cluster, key, address) of a shard's best living documents of each cluster and kind, packed by partition of the cluster; a pool task."""
    rows, clusters = _clustered(decided, settings, near_clusters)
    decisions = read_decisions(decided, _COLUMNS)
    columns = (decisions[name].to_numpy()[rows] for name in ("row_key", "quality", "origin"))
    keys, addresses = order_within(*columns, settings), make_addresses(decided.shard.index, rows)
    is_best = rank_within(clusters, keys, addresses) < MOST_RANK
    clusters, keys, addresses = clusters[is_best], keys[is_best], addresses[is_best]
    # Mixed first: a cluster's id need not look random.
    parts = ((clusters * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) % np.uint64(num_partitions)
    packed = [(part, pack_arrays(clusters[held], keys[held], addresses[held])) for part, held in split_by_key(parts)]
    return spill_bytes(packed, spill_folder, f"offers-{decided.shard.index:06d}")


def choose_ranks(group: tuple[int, Iterable[bytes | Spilled]], spill_folder: str | None) -> list[Keyed]:
    """(address, rank) of all documents of a partition with a rank below `MOST_RANK`, packed by shard; a pool task."""
    unpacked = [unpack_arrays(value, "<u8", "<u8", "<u8") for value in load_bytes(group[1])]
    clusters, keys, addresses = (np.concatenate(column) for column in zip(*unpacked, strict=True))
    ranks = rank_within(clusters, keys, addresses)
    is_told = ranks < MOST_RANK
    addresses, ranks = addresses[is_told], ranks[is_told].astype("<u2")
    packed = [(shard, pack_arrays(addresses[held], ranks[held])) for shard, held in split_by_key(shards_of(addresses))]
    return spill_bytes(packed, spill_folder, f"ranks-{group[0]:06d}")


def write_ranks(group: tuple[int, Iterable], settings: MixSettings, near_clusters: str | None, folder: str) -> list[DecidedShard]:
    """Writes the ranks of a shard's documents under `folder`; `group` holds its `DecidedShard` and what `choose_ranks` found; a pool task."""
    values = list(group[1])
    (decided,) = [value for value in values if isinstance(value, DecidedShard)]
    ranks = np.zeros(decided.shard.num_rows, "<u2")
    ranks[_clustered(decided, settings, near_clusters)[0]] = MOST_RANK
    for value in load_bytes(value for value in values if not isinstance(value, DecidedShard)):
        addresses, told = unpack_arrays(value, "<u8", "<u2")
        ranks[rows_of(addresses)] = told
    path = join_path(folder, f"{decided.shard.index:06d}.ranks")
    with write_whole(path, durable=False) as file:
        file.write(ranks.tobytes())
    return [replace(decided, ranks_path=path)]


def cluster_column(key: str) -> str:
    """The column of a table in memory that holds the clusters by `key`."""
    return f"clusters:{key}"


def rank_table(alive: pa.Table, settings: MixSettings) -> pa.Table:
    """Living documents, all there are and with their clusters in `cluster_column` (null: none), with the column of ranks."""
    column = alive[cluster_column(settings.diverse_by)]
    rows = np.flatnonzero(column.is_valid().to_numpy())
    row_keys, qualities, origins, addresses = (alive[name].to_numpy()[rows] for name in ("row_key", "quality", "origin", "address"))
    ranks = np.zeros(alive.num_rows, np.uint16)
    clusters = pc.fill_null(column, 0).to_numpy()[rows]
    ranks[rows] = np.minimum(rank_within(clusters, order_within(row_keys, qualities, origins, settings), addresses), MOST_RANK)
    return alive.append_column(RANK_FIELD, pa.array(ranks))


def rank_here(
    decided: Sequence[DecidedShard], settings: MixSettings, near_clusters: str | None, num_partitions: int, folder: str
) -> list[DecidedShard]:
    """The decided shards with their ranks, without Beam; `folder` is a local one. In memory: a few numbers for each shard and partition."""
    offers, ranks = defaultdict(list), defaultdict(list)
    for part, value in run_on_pool("rank", offer_ranks, decided, settings, near_clusters, num_partitions, folder):
        offers[part].append(value)
    for shard, value in run_on_pool("rank", choose_ranks, sorted(offers.items()), folder):
        ranks[shard].append(value)
    groups = [(one.shard.index, [one, *ranks[one.shard.index]]) for one in decided]
    return list(run_on_pool("rank", write_ranks, groups, settings, near_clusters, folder))


def _clustered(decided: DecidedShard, settings: MixSettings, near_clusters: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows (int64) and clusters (uint64) of the living documents that have a cluster."""
    clusters, valid = read_clusters(decided, settings.diverse_by, near_clusters)
    rows = np.flatnonzero(read_decisions(decided, ["reason"])["reason"].is_null().to_numpy() & valid)
    return rows, clusters[rows]
