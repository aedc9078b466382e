"""Clusters of documents: how many, fitted on which sample, and which documents belong to each."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.meanings import DIMENSIONS, arrange, direction, meanings, write_meant
from transforms.cluster_vectors import (
    MAX_CLUSTERS,
    MIN_SAMPLE,
    ClusterPlan,
    Clusters,
    add_cluster_counts,
    assign_shard,
    fit_centroids,
    fit_clusters,
    nearest_centroids,
    plan_clusters,
    read_vectors,
    sample_shard,
)
from transforms.decisions import read_decisions
from transforms.packed_arrays import pack_arrays, unpack_arrays


@given(st.integers(0, 10**10), st.integers(1, 10**6))
def test_there_is_a_cluster_for_so_many_documents_and_a_bounded_sample(documents, wanted):
    plan = plan_clusters(documents, wanted)
    assert 1 <= plan.num_clusters <= MAX_CLUSTERS
    assert plan.num_clusters == MAX_CLUSTERS or plan.num_clusters * wanted >= documents > (plan.num_clusters - 1) * wanted or documents == 0
    expected = documents * plan.sample_below / 2**64
    assert expected <= max(MIN_SAMPLE, 32 * plan.num_clusters) + 1
    assert plan.sample_below == 2**64 or expected >= MIN_SAMPLE - 1


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 8))
@settings(max_examples=40)
def test_clusters_do_not_depend_on_how_the_sample_is_cut(seed, documents, clusters):
    generator = np.random.default_rng(seed)
    vectors = np.stack([direction(generator) for _ in range(documents)]).astype(np.int8)
    keys, plan = generator.integers(0, 2**63, documents).astype("<u8"), ClusterPlan(clusters, 2**64)

    def packed(rows):
        return pack_arrays(np.array([DIMENSIONS], "<u8"), keys[rows], vectors[rows].ravel())

    whole = fit_clusters([packed(np.arange(documents))], plan)
    order, cut = generator.permutation(documents), int(generator.integers(documents + 1))
    assert fit_clusters([packed(order[:cut]), packed(order[cut:])], plan) == whole
    assert 1 <= whole.num_clusters <= clusters
    assert (np.abs(whole.array()).max(axis=1) == 127).all()


def test_clusters_gather_what_was_drawn_around_one_subject():
    generator = np.random.default_rng(4)
    bases = [direction(generator) for _ in range(5)]
    subject = generator.integers(5, size=400)
    vectors = np.stack([direction(generator, bases[one], 0.3) for one in subject]).astype(np.int8)
    nearest = nearest_centroids(vectors, fit_centroids(vectors, 12), 1)[:, 0]
    assert all(len(set(subject[nearest == cluster])) == 1 for cluster in set(nearest))


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=40)
def test_nearest_centroids_are_those_of_largest_cosine(seed, count, probes):
    generator = np.random.default_rng(seed)
    vectors, centroids = (np.stack([direction(generator) for _ in range(n)]).astype(np.int8) for n in (9, count))
    for vector, found in zip(vectors, nearest_centroids(vectors, centroids, probes), strict=True):
        cosines = [float(vector.astype(int) @ one.astype(int)) / np.sqrt(float((one.astype(int) ** 2).sum())) for one in centroids]
        assert found.tolist() == sorted(range(count), key=lambda place: (-cosines[place], place))[:probes]


def test_one_cluster_needs_no_rounds_and_none_without_vectors():
    assert fit_centroids(np.zeros((0, 4), np.int8), 3).tolist() == [[0, 0, 0, 0]]
    assert fit_centroids(np.array([[127, 0], [127, 0], [0, 127]], np.int8), 1).tolist() == [[127, 64]]
    assert fit_clusters([], plan_clusters(0, 10)) == Clusters(b"", 0)


def test_a_sample_is_the_same_for_any_cut_of_the_shards(tmp_path):
    documents, plan = meanings(seed=5, subjects=40), ClusterPlan(2, 2**63)

    def keys(shards):
        return {int(key) for packed in shards for key in unpack_arrays(packed, "<u8", "<u8", "i1")[1]}

    one, two = (
        [sample_shard(shard, plan)[0] for shard in write_meant(tmp_path / str(len(cuts)), arrange(documents, range(200), cuts))]
        for cuts in ([], [30, 31])
    )
    assert keys(one) == keys(two)
    assert 60 < len(keys(one)) < 140


def test_counts_are_of_members_and_guests(tmp_path):
    documents = meanings(seed=6, subjects=6)
    (shard,) = write_meant(tmp_path, [documents])
    _, _, vectors = read_vectors(shard)
    clusters = Clusters(fit_centroids(vectors, 4).tobytes(), DIMENSIONS)
    ((decided, counts),) = assign_shard(shard, clusters, 2, str(tmp_path / "out"))
    assert np.frombuffer(counts, "<i8").sum() == 2 * len(documents)
    assert read_decisions(decided, ["semantic_cluster"])["semantic_cluster"].null_count == 0
    assert np.frombuffer(add_cluster_counts([counts, counts]), "<i8").sum() == 4 * len(documents)
    assert add_cluster_counts([]) == add_cluster_counts([b"", b""]) == b""
    assert add_cluster_counts([b"", counts]) == counts
