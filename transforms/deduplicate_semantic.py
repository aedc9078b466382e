"""Finds semantic duplicates: documents whose vectors are alike, compared within clusters only; of each group the unlike ones survive.

    EmitVectors  ->  CompareBlocks  ->  ConnectComponents  ->  ChooseSurvivors
    by cluster       pairs of large     groups of documents    who stays, and to
                     enough cosine      linked by these        whom the others lost

A document is compared in its nearest clusters (`probes`). A cluster of more than `BLOCK_DOCUMENTS` is cut into blocks by row key; the
documents of the first block are also compared with those of every other, so that cost stays linear and a mass of equal vectors is still one
group. With one cluster of one block every pair is compared.

*Source:* Abbas et al. 2023, "SemDeDup" (arXiv 2303.09540), section 3 and algorithm A.1; who survives is decided as for near-duplicates.
"""

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from transforms.choose_survivors import ChooseSurvivors
from transforms.cluster_vectors import Clusters, nearest_centroids, read_vectors, sample_hashes
from transforms.connect_components import ConnectComponents
from transforms.cosines import link_alike
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import CountItems, Group, GroupOnPool, Keyed, PoolDo, key_by_shard
from transforms.records import DecidedShard, make_addresses
from transforms.spill_bytes import load_bytes, spill_bytes

BLOCK_DOCUMENTS = 16_384
"""Documents of a cluster that are all compared with each other; a larger cluster is cut into blocks of about so many."""


def block_counts(counts: np.ndarray) -> np.ndarray:
    """int64: blocks that each cluster of so many members is cut into, at least 1."""
    return np.maximum(1, -(-counts // BLOCK_DOCUMENTS))


def emit_vectors(decided: DecidedShard, clusters: Clusters, counts: bytes, probes: int, spill_folder: str | None = None) -> list[Keyed]:
    """The vectors of a shard's living documents, packed by block of a cluster; a pool task.

    A document goes to one block of each of its `probes` nearest clusters; one of a cluster's first block also, as a guest, to its other blocks.
    Keys number the blocks of all clusters. Values go to a file in `spill_folder` if one is given.
    """
    rows, row_keys, vectors = read_vectors(decided)
    if not len(rows):
        return []
    blocks = block_counts(np.frombuffer(counts, "<i8"))
    first = np.r_[0, np.cumsum(blocks)]
    hashes = sample_hashes(row_keys) >> np.uint64(32)
    places, keys, guests = [], [], []
    for nearest in nearest_centroids(vectors, clusters.array(), probes).T:
        block = ((hashes * blocks[nearest].astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
        places.append(np.arange(len(rows)))
        keys.append(first[nearest] + block)
        guests.append(np.zeros(len(rows), bool))
        leads = np.flatnonzero((block == 0) & (blocks[nearest] > 1))
        others = blocks[nearest[leads]] - 1
        places.append(np.repeat(leads, others))
        keys.append(np.repeat(first[nearest[leads]] + 1, others) + np.arange(others.sum()) - np.repeat(np.cumsum(others) - others, others))
        guests.append(np.ones(others.sum(), bool))
    place, key, guest = np.concatenate(places), np.concatenate(keys), np.concatenate(guests)
    shard = np.array([decided.shard.index, vectors.shape[1]], "<u8")
    emitted = [
        (number, pack_arrays(shard, rows[place[held]].astype("<u4"), guest[held], vectors[place[held]].ravel()))
        for number, held in split_by_key(key)
    ]  # fmt: skip
    return spill_bytes(emitted, spill_folder, f"vectors-{decided.shard.index:06d}.bin")


def compare_block(group: Group, min_similarity: float) -> list[Keyed]:
    """Edges (pairs of addresses) that connect what the alike pairs of one block connect; a pool task.

    Memory: the block and as many guests, 5 bytes a component, and a tile of products.
    """
    addresses, guests, vectors = [], [], []
    for value in load_bytes(group[1]):
        (shard, width), rows, guest, held = unpack_arrays(value, "<u8", "<u4", "?", "i1")
        addresses.append(make_addresses(int(shard), rows))
        guests.append(guest)
        vectors.append(held.reshape(-1, int(width)))
    guest = np.concatenate(guests)
    order = np.argsort(guest, kind="stable")
    edges = link_alike(np.concatenate(vectors)[order], int((~guest).sum()), min_similarity)
    if not len(edges):
        return []
    ends = np.concatenate(addresses)[order][edges]
    return [(group[0], np.sort(ends, axis=1).astype("<u8").tobytes())]


class FindSemanticDuplicates(beam.PTransform):
    """(decided shards, clusters, counts), as `ClusterDocuments` gives them -> PCollection[tuple[int, RecordBatch]]: removed documents
    (`DUPLICATE_SCHEMA`) by shard index.

    Every removed document names a survivor whose cosine to it, given in its row, is at least `min_similarity`; survivors of one group are
    pairwise less alike. Alike documents that no common cluster holds are not found; with one cluster all are. Does not depend on the order of
    rows and files, the number of partitions or the machine. Shuffles a vector and five bytes for each document and probe.
    Memory of a worker: two blocks of vectors (63 MB at 384 dimensions), one of `num_partitions` parts of the edges, or the members of the
    groups of one (200 bytes and a vector each). `spill_folder`: as for `FindNearDuplicates`. Counts `semantic-edges` and `residue-edges`.
    """

    def __init__(self, min_similarity: float, probes: int, num_partitions: int = 8, component_rounds: int = 2, spill_folder: str | None = None):
        super().__init__()
        if not 0 < min_similarity <= 1:
            raise ValueError(f"min_similarity must lie in 0 (exclusive) to 1, not {min_similarity}")
        if probes < 1 or num_partitions < 1:
            raise ValueError(f"probes and num_partitions must be at least 1, not {probes} and {num_partitions}")
        self._min_similarity, self._probes, self._spill_folder = min_similarity, probes, spill_folder
        self._num_partitions, self._component_rounds = num_partitions, component_rounds

    def expand(self, inputs):
        decided, clusters, counts = inputs
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        emit = PoolDo("EmitVectors", emit_vectors, self._probes, self._spill_folder)
        vectors = decided | "EmitVectors" >> beam.ParDo(emit, AsSingleton(clusters), AsSingleton(counts)).with_output_types(Keyed)
        edges = vectors | "CompareBlocks" >> GroupOnPool(compare_block, self._min_similarity)
        counted = edges | "CountEdges" >> beam.ParDo(CountItems("semantic-edges", 16)).with_output_types(Keyed)
        members = counted | "ConnectComponents" >> ConnectComponents(self._num_partitions, self._component_rounds)
        return (shards, members) | "ChooseSurvivors" >> ChooseSurvivors(self._num_partitions, self._min_similarity, "embedding")
