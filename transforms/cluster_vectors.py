"""Clusters of documents that mean about the same: k-means on a sample, then each document to its nearest centroid.

Only documents of one cluster are ever compared. The centroids are fitted on documents whose row key falls below a bound, some
`SAMPLE_PER_CLUSTER` for each cluster: the same sample for any order of files and any number of workers. Vectors and centroids are int8 and
every sum is a sum of whole numbers, so the clusters are the same on every machine.

*Source:* Abbas et al. 2023, "SemDeDup" (arXiv 2303.09540), section 3: k-means first, pairs within clusters only. Spherical k-means:
Dhillon and Modha 2001, "Concept Decompositions for Large Sparse Text Data".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from transforms.decisions import read_decisions, write_decisions
from transforms.fixed_columns import read_fixed_binary
from transforms.packed_arrays import pack_arrays, unpack_arrays
from transforms.pool_steps import PoolDo
from transforms.records import DECISION_SCHEMA, DecidedShard

SAMPLE_PER_CLUSTER = 32
"""Documents of the sample for each centroid."""
MIN_SAMPLE = 4_096
"""Documents of the sample, at least."""
MAX_CLUSTERS = 4_096
"""Clusters, at most: the sample then holds 131,072 documents (50 MB at 384 dimensions). Larger corpora have larger clusters, compared in blocks."""
ROUNDS = 10
"""Rounds of k-means, at most; it stops where nothing moves."""
TILE_ROWS = 2_048
"""Documents compared with all centroids at a time."""
CLUSTER_FIELD = "semantic_cluster"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ClusterPlan:
    """How many clusters there are, and who is in the sample."""

    num_clusters: int
    """Centroids asked for, at least 1."""
    sample_below: int
    """Documents whose `sample_hashes` lie below it are in the sample, 0 to 2**64."""


@dataclass(frozen=True)
class Clusters:
    """Fitted centroids."""

    centroids: bytes
    """int8, `num_clusters` rows."""
    num_dimensions: int
    """Length of a vector; 0 where no document has one."""

    @property
    def num_clusters(self) -> int:
        """Rows of `centroids`."""
        return len(self.centroids) // max(self.num_dimensions, 1)

    def array(self) -> np.ndarray:
        """int8[num_clusters, num_dimensions]."""
        return np.frombuffer(self.centroids, np.int8).reshape(self.num_clusters, self.num_dimensions)


def plan_clusters(num_documents: int, cluster_documents: int) -> ClusterPlan:
    """A cluster for each `cluster_documents` of `num_documents`, and the sample that they are fitted on."""
    clusters = min(max(1, -(-num_documents // cluster_documents)), MAX_CLUSTERS)
    sample = max(SAMPLE_PER_CLUSTER * clusters, MIN_SAMPLE)
    return ClusterPlan(clusters, 1 << 64 if sample >= num_documents else (sample << 64) // num_documents)


def sample_hashes(row_keys: np.ndarray) -> np.ndarray:
    """uint64 that decide who is in the sample, one to one with the row keys (uint64): not these themselves, which other choices are made from."""
    mixed = (row_keys ^ np.uint64(0x73656D616E746963)) * _GOLDEN
    return (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN


def read_vectors(decided: DecidedShard) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (int64, ascending), row keys (uint64) and vectors (int8[n, d]) of a shard's living documents that have a vector."""
    decisions = read_decisions(decided, ["row_key", "reason"])
    alive = np.flatnonzero(decisions["reason"].is_null().to_numpy())
    vectors, valid = read_fixed_binary(decided.shard, "embedding", alive)
    rows = alive[valid]
    return rows, decisions["row_key"].to_numpy()[rows], vectors[valid].view(np.int8)


def sample_shard(decided: DecidedShard, plan: ClusterPlan) -> list[bytes]:
    """Row keys and vectors of a shard's documents that are in the sample, packed; a pool task."""
    _, row_keys, vectors = read_vectors(decided)
    chosen = sample_hashes(row_keys) <= np.uint64(plan.sample_below - 1) if plan.sample_below else np.zeros(len(row_keys), bool)
    width = np.array([vectors.shape[1]], "<u8")
    return [pack_arrays(width, row_keys[chosen], vectors[chosen].ravel())]


def fit_clusters(samples: Iterable[bytes], plan: ClusterPlan) -> Clusters:
    """The centroids of all `sample_shard` gave. Does not depend on its order. Memory: the sample, five bytes a component."""
    unpacked = [unpack_arrays(packed, "<u8", "<u8", "i1") for packed in samples]
    width = max((int(one[0]) for one, _, _ in unpacked), default=0)
    if not width:
        return Clusters(b"", 0)
    row_keys = np.concatenate([keys for _, keys, _ in unpacked])
    vectors = np.concatenate([held.reshape(-1, width) for _, _, held in unpacked])
    # Equal row keys are equal documents: their vectors are equal, so that any order of them is one.
    vectors = vectors[np.argsort(sample_hashes(row_keys), kind="stable")]
    return Clusters(fit_centroids(vectors, plan.num_clusters).tobytes(), width)


def fit_centroids(vectors: np.ndarray, num_clusters: int, rounds: int = ROUNDS) -> np.ndarray:
    """int8[k, d]: centroids of `vectors` (int8[n, d]) by spherical k-means, k at most `num_clusters` and the number of distinct vectors.

    Starts from the first distinct vectors, so their order should be random. A cluster that loses its last member is dropped. Without
    vectors there is one centroid, of zeros. Cost: n x k x d x `rounds` multiplications.
    """
    if not len(vectors):
        return np.zeros((1, vectors.shape[1]), np.int8)
    if num_clusters == 1:
        return _round_sums(vectors.sum(axis=0, dtype=np.int64)[None, :])
    _, first = np.unique(vectors, axis=0, return_index=True)
    centroids = vectors[np.sort(first)[:num_clusters]]
    units = unit_rows(vectors)
    assigned = None
    for _ in range(rounds):
        nearest = nearest_centroids(vectors, centroids, 1)[:, 0]
        if assigned is not None and np.array_equal(nearest, assigned):
            break
        assigned = nearest
        sums = np.zeros((len(centroids), vectors.shape[1]), np.int64)
        np.add.at(sums, nearest, units)
        held = np.bincount(nearest, minlength=len(centroids)) > 0
        centroids = _round_sums(sums[held])
        if not held.all():
            assigned = None
    return centroids


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """int64 of the shape of `vectors` (int8): each row at a length of about 2**20, so that a sum of rows weighs all of them alike."""
    lengths = np.sqrt(square_lengths(vectors))
    return np.rint(np.divide(vectors * float(1 << 20), lengths[:, None], out=np.zeros(vectors.shape), where=lengths[:, None] > 0)).astype(np.int64)


def square_lengths(vectors: np.ndarray) -> np.ndarray:
    """float64[n], whole numbers: squared length of each row of int8[n, d]."""
    wide = vectors.astype(np.int32)
    return np.einsum("nd,nd->n", wide, wide, dtype=np.int64).astype(np.float64)


def exact_floats(vectors: np.ndarray) -> np.ndarray:
    """`vectors` (int8[n, d]) in the narrowest kind of float in which a product of two of them is exact, whatever the order of its sum."""
    return vectors.astype(np.float32 if vectors.shape[1] * 127 * 127 < 1 << 24 else np.float64)


def nearest_centroids(vectors: np.ndarray, centroids: np.ndarray, count: int) -> np.ndarray:
    """int64[n, min(count, k)]: the centroids (int8[k, d]) of largest cosine to each of `vectors` (int8[n, d]), the nearest first; of equal ones the
    first."""
    count = min(count, len(centroids))
    columns, lengths = exact_floats(centroids).T, np.sqrt(square_lengths(centroids))
    nearest = np.zeros((len(vectors), count), np.int64)
    for start in range(0, len(vectors), TILE_ROWS):
        tile = slice(start, start + TILE_ROWS)
        cosines = (exact_floats(vectors[tile]) @ columns).astype(np.float64)
        cosines = np.divide(cosines, lengths, out=np.full_like(cosines, -np.inf), where=lengths > 0)
        for place in range(count):
            nearest[tile, place] = cosines.argmax(axis=1)
            cosines[np.arange(len(cosines)), nearest[tile, place]] = -np.inf
    return nearest


def assign_shard(decided: DecidedShard, clusters: Clusters, probes: int, folder: str) -> list[tuple[DecidedShard, bytes]]:
    """Writes each living document's cluster into its shard's decisions, and counts members of every cluster, guests included; a pool task.

    Documents without a vector have no cluster. The counts are int64[num_clusters] as bytes.
    """
    rows, _, vectors = read_vectors(decided)
    decisions = read_decisions(decided)
    held = np.full(decisions.num_rows, -1, np.int64)
    counts = np.zeros(clusters.num_clusters, np.int64)
    if len(rows):
        nearest = nearest_centroids(vectors, clusters.array(), probes)
        held[rows] = nearest[:, 0]
        counts = np.bincount(nearest.ravel(), minlength=clusters.num_clusters)
    place = DECISION_SCHEMA.get_field_index(CLUSTER_FIELD)
    decisions = decisions.set_column(place, DECISION_SCHEMA.field(place), pa.array(held.astype(np.int32), mask=held < 0))
    return [(write_decisions(decisions, decided.shard, folder), counts.astype("<i8").tobytes())]


def add_cluster_counts(counts: Iterable[bytes]) -> bytes:
    """The sum of int64 arrays in bytes; empty for none."""
    total: np.ndarray | None = None
    for one in counts:
        values = np.frombuffer(one, "<i8")
        total = values if total is None or not len(total) else total + values if len(values) else total
    return b"" if total is None else total.tobytes()


class ClusterDocuments(beam.PTransform):
    """PCollection[DecidedShard] -> (decided shards with `semantic_cluster`, the `Clusters`, their counts of members): the last two of one element.

    `cluster_documents`: documents of a cluster, on average. `probes`: clusters in which a document is looked for, the nearest ones.
    Memory of a worker: a shard's vectors, or the sample (five bytes a component).
    """

    def __init__(self, cluster_documents: int, probes: int, folder: str):
        super().__init__()
        self._cluster_documents, self._probes, self._folder = cluster_documents, probes, folder

    def expand(self, decided):
        alive = decided | "CountAlive" >> beam.Map(lambda one: one.num_alive) | "SumAlive" >> beam.CombineGlobally(sum)
        plan = alive | "PlanClusters" >> beam.Map(plan_clusters, self._cluster_documents)
        sample = decided | "SampleVectors" >> beam.ParDo(PoolDo("sample", sample_shard), AsSingleton(plan)).with_output_types(bytes)
        listed = sample | "ListSamples" >> beam.combiners.ToList()
        fit = PoolDo("cluster", _fit)
        clusters = listed | "FitClusters" >> beam.ParDo(fit, AsSingleton(plan)).with_output_types(Clusters)
        assign = PoolDo("cluster", assign_shard, self._probes, self._folder)
        assigned = decided | "AssignClusters" >> beam.ParDo(assign, AsSingleton(clusters)).with_output_types(tuple[DecidedShard, bytes])
        counts = assigned | "Counts" >> beam.Map(lambda one: one[1]) | "SumCounts" >> beam.CombineGlobally(add_cluster_counts)
        return assigned | "Clustered" >> beam.Map(lambda one: one[0]).with_output_types(DecidedShard), clusters, counts


def _fit(samples: list[bytes], plan: ClusterPlan) -> list[Clusters]:
    return [fit_clusters(samples, plan)]


def _round_sums(sums: np.ndarray) -> np.ndarray:
    """int8: the rows of int64[k, d], each scaled to a largest component of +-127."""
    largest = np.abs(sums).max(axis=1, keepdims=True)
    return np.rint(np.divide(sums * 127.0, largest, out=np.zeros(sums.shape), where=largest > 0)).astype(np.int8)
