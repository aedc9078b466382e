"""Groups of linked near-duplicates, as files: 16 bytes of disk for each document that is in one."""

import numpy as np

from transforms.packed_arrays import join_pairs
from transforms.records import DecidedShard, rows_of
from transforms.storage import join_path, open_binary, write_whole


def write_near_clusters(decided: DecidedShard, pairs: list[bytes], folder: str) -> None:
    """Keeps the (address, cluster) pairs (uint64[n, 2] as bytes) of a shard under `folder`."""
    with write_whole(_file(decided, folder), durable=False) as file:
        file.write(b"".join(pairs))


def read_near_clusters(decided: DecidedShard, folder: str) -> tuple[np.ndarray, np.ndarray]:
    """The group (uint64[n]) of each document of a shard, and which documents are in one (bool[n])."""
    with open_binary(_file(decided, folder)) as file:
        pairs = join_pairs([file.read()])
    clusters, valid = np.zeros(decided.shard.num_rows, np.uint64), np.zeros(decided.shard.num_rows, bool)
    rows = rows_of(pairs[:, 0])
    clusters[rows], valid[rows] = pairs[:, 1], True
    return clusters, valid


def _file(decided: DecidedShard, folder: str) -> str:
    return join_path(folder, f"{decided.shard.index:06d}.clusters")
