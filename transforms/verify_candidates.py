"""Turns candidate pairs into edges where the signatures of both documents agree: chance and weak links end here.

Without it, a chain of documents each a little like the next would merge a whole source. The signatures come from the
scored shards, read once for each side of the pairs, and only one side is shuffled, once for each pair of shards.
"""

import apache_beam as beam
import numpy as np

from classifiers.signature import estimate_jaccard
from transforms.fixed_columns import read_signatures
from transforms.packed_arrays import join_pairs, pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import CountItems, Group, GroupOnPool, Keyed, part_shard
from transforms.records import rows_of, shards_of
from transforms.spill_bytes import spill_bytes

BLOCK_PAIRS = 1 << 15
"""Pairs compared at a time: bounds what is gathered to 7 MB."""


def attach_first(group: Group, spill_folder: str | None = None) -> list[Keyed]:
    """Drops pairs found in several bands and attaches the first document's signature; keyed by the second's shard; a pool task.

    Each signature goes to each other shard once, however many pairs it has there.
    """
    decided, values = part_shard(group)
    if decided is None:
        return []
    pairs = distinct_pairs(join_pairs(values))
    first, position = np.unique(pairs[:, 0], return_inverse=True)
    signatures = read_signatures(decided, rows_of(first))
    attached = []
    for shard, positions in split_by_key(shards_of(pairs[:, 1])):
        used, left = np.unique(position[positions], return_inverse=True)
        attached.append((shard, pack_arrays(first[used], signatures[used].ravel(), left.astype("<u4"), pairs[positions, 1])))
    return spill_bytes(attached, spill_folder, f"signatures-{group[0]:06d}.bin")


def distinct_pairs(pairs: np.ndarray) -> np.ndarray:
    """uint64[n, 2] sorted, each row once."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return pairs[np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)]] if len(pairs) else pairs


def keep_similar(group: Group, min_similarity: float) -> list[Keyed]:
    """The pairs whose estimated similarity is at least `min_similarity`, as edges under the second's shard; a pool task."""
    decided, values = part_shard(group)
    if decided is None:
        return []
    unpacked = [unpack_arrays(value, "<u8", "u1", "<u4", "<u8") for value in values]
    second = np.unique(np.concatenate([right for *_, right in unpacked]))
    signatures = read_signatures(decided, rows_of(second))
    edges = []
    for first, first_signatures, left, right in unpacked:
        for start in range(0, len(left), BLOCK_PAIRS):
            block = slice(start, start + BLOCK_PAIRS)
            ours = first_signatures.reshape(len(first), -1)[left[block]]
            estimates = estimate_jaccard(ours, signatures[np.searchsorted(second, right[block])])
            similar = estimates >= np.float32(min_similarity)
            edges.append(np.stack([first[left[block]], right[block]], axis=1)[similar])
    found = np.concatenate(edges)
    return [(group[0], found.tobytes())] if len(found) else []


class VerifyCandidates(beam.PTransform):
    """(decided shards, pairs), both keyed by shard index -> PCollection[tuple[int, bytes]]: edges under any int.

    Counts `verified-edges`. Memory of a worker: the pairs of one shard (16 bytes each, as often as bands found them) and the
    signatures in them; on the second side also one signature for each document elsewhere that pairs with the shard.
    """

    def __init__(self, min_similarity: float, spill_folder: str | None = None):
        super().__init__()
        self._min_similarity, self._spill_folder = min_similarity, spill_folder

    def expand(self, inputs):
        shards, pairs = inputs
        attached = (shards, pairs) | "AttachFirst" >> GroupOnPool(attach_first, self._spill_folder)
        edges = (shards, attached) | "KeepSimilar" >> GroupOnPool(keep_similar, self._min_similarity)
        return edges | "CountEdges" >> beam.ParDo(CountItems("verified-edges", 16)).with_output_types(Keyed)
