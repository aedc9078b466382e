"""Semantic duplicates from vectors to removals: what `ClusterDocuments` and `FindSemanticDuplicates` state."""

import itertools
import uuid
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.transforms.shard_files import hash_id
from transforms import deduplicate_semantic
from transforms.cluster_vectors import (
    MAX_CLUSTERS,
    MIN_SAMPLE,
    ClusterDocuments,
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
from transforms.cosines import cosine, find_alike_partners, link_alike
from transforms.decisions import read_decisions
from transforms.deduplicate_semantic import FindSemanticDuplicates, block_counts, compare_block, emit_vectors
from transforms.packed_arrays import join_pairs
from transforms.records import DECISION_SCHEMA, DUPLICATE_SCHEMA, DecidedShard, ScoredShard, make_addresses

DIMENSIONS = 16
_SEEN: dict[str, list] = {}


@dataclass(frozen=True)
class Meant:
    """A document as its meaning."""

    id: str
    vector: np.ndarray | None
    origin: int = 0
    quality: float = 0.5
    reason: str | None = None


def write_meant(folder, shards):
    """One scored Parquet file and one decision file for each list of documents."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder, index, documents) for index, documents in enumerate(shards)]


def _write(folder, index, documents):
    n, scored, path = len(documents), folder / f"{index:04d}.parquet", folder / f"{index:04d}.arrow"
    vectors = pa.array([None if one.vector is None else one.vector.astype(np.int8).tobytes() for one in documents], pa.binary(DIMENSIONS))
    pq.write_table(pa.table({"embedding": vectors}), scored, row_group_size=7)
    columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns["address"] = pa.array(make_addresses(index, np.arange(n)))
    columns["id"], columns["reason"] = (pa.array([getattr(one, name) for one in documents], pa.string()) for name in ("id", "reason"))
    columns["origin"] = pa.array([one.origin for one in documents], pa.uint8())
    columns["quality"] = pa.array([one.quality for one in documents], pa.float32())
    columns["row_key"] = pa.array([hash_id(one.id) for one in documents], pa.uint64())
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
    return DecidedShard(ScoredShard(scored.name, str(scored), n, index), str(path), sum(one.reason is None for one in documents))


def find(folder, shards, min_similarity=0.9, cluster_documents=1_000, probes=2, **how):
    """Removed id -> (partner's id, cosine), and each document's cluster by id, as the two steps find them in a pipeline in memory."""
    run = uuid.uuid4().hex
    pipeline = beam.Pipeline(FnApiRunner())
    created = pipeline | "Shards" >> beam.Create(write_meant(folder, shards), reshuffle=False)
    clustered, clusters, counts = created | "Cluster" >> ClusterDocuments(cluster_documents, probes, str(folder / "clustered"))
    found = (clustered, clusters, counts) | "Find" >> FindSemanticDuplicates(min_similarity, probes, **how)
    _ = found | "SeeFound" >> beam.Map(_see_found, run)
    _ = clustered | "SeeShards" >> beam.Map(_see_shard, run + "s")
    pipeline.run().wait_until_finish()
    removed, assigned = {}, {}
    for row in pa.Table.from_batches(_SEEN.pop(run, []), DUPLICATE_SCHEMA).to_pylist():
        one, partner = (shards[row[name] >> 32][row[name] & 0xFFFFFFFF] for name in ("address", "partner_address"))
        assert partner.id == row["partner_id"] and one.id not in removed
        removed[one.id] = (partner.id, row["similarity"])
    for decided in _SEEN.pop(run + "s", []):
        table = read_decisions(decided, ["id", "semantic_cluster"])
        assigned |= dict(zip(table["id"].to_pylist(), table["semantic_cluster"].to_pylist(), strict=True))
    return removed, assigned


def _see_found(keyed, run):
    _SEEN.setdefault(run, []).append(keyed[1])


def _see_shard(decided, run):
    _SEEN.setdefault(run, []).append(decided)


def direction(generator, near=None, spread=0.0):
    base = generator.standard_normal(DIMENSIONS) if near is None else near + spread * generator.standard_normal(DIMENSIONS) * np.linalg.norm(near) / 4
    return np.rint(base / np.abs(base).max() * 127)


def meanings(seed=0, subjects=30, members=4):
    """Documents about `subjects`, some nearly alike, and as many others."""
    generator, documents = np.random.default_rng(seed), []
    for subject in range(subjects):
        base = direction(generator)
        for member in range(members):
            details = {"origin": int(generator.integers(3)), "quality": float(generator.integers(3)) / 4}
            documents.append(Meant(f"{subject:03}-{member}", direction(generator, base, 0.2 * member), **details))
        documents.append(Meant(f"{subject:03}-else", direction(generator)))
    return documents


def arrange(documents, order, cuts):
    arranged = [documents[place] for place in order]
    return [arranged[start:end] for start, end in itertools.pairwise([0, *cuts, len(arranged)])]


def exact_cosine(a, b):
    a, b = a.astype(int), b.astype(int)
    return np.float32(min(float(a @ b) / (np.sqrt(float(a @ a)) * np.sqrt(float(b @ b))), 1))


def brute_force(documents, min_similarity):
    """Greedy survivors within connected groups, in plain Python: what one cluster must give."""
    living = [one for one in documents if one.reason is None and one.vector is not None]
    parents = {one.id: one.id for one in living}

    def root(name):
        while parents[name] != name:
            name = parents[name]
        return name

    for a, b in itertools.combinations(living, 2):
        if exact_cosine(a.vector, b.vector) >= np.float32(min_similarity):
            parents[root(a.id)] = root(b.id)
    removed, survivors = {}, {}
    for one in sorted(living, key=lambda held: (held.origin, -held.quality, held.id)):
        held = survivors.setdefault(root(one.id), [])
        alike = [(exact_cosine(one.vector, other.vector), -place) for place, other in enumerate(held)]
        best = max(alike, default=(np.float32(-2), 0))
        if best[0] >= np.float32(min_similarity):
            removed[one.id] = (held[-best[1]].id, float(best[0]))
        else:
            held.append(one)
    return removed


# --- the whole ---------------------------------------------------------------------------------------------------------


def test_one_cluster_finds_exactly_what_comparing_every_pair_finds(tmp_path):
    documents = meanings()
    removed, assigned = find(tmp_path, arrange(documents, range(len(documents)), [40, 41]))
    assert removed == brute_force(documents, 0.9)
    assert len(removed) > 30
    assert set(assigned.values()) == {0}


def test_shuffled_shards_other_partitions_and_spilling_give_the_same_removals_and_clusters(tmp_path):
    documents, runs = meanings(seed=1, subjects=20), []
    for order, cuts, how in [
        (range(len(documents)), [50], {}),
        (np.random.default_rng(1).permutation(len(documents)), [3, 4, 80], {"num_partitions": 3, "component_rounds": 0}),
        (reversed(range(len(documents))), [], {"num_partitions": 1, "spill_folder": str(tmp_path / "spilled")}),
    ]:
        runs.append(find(tmp_path / str(len(runs)), arrange(documents, order, cuts), cluster_documents=20, **how))
    assert runs[0] == runs[1] == runs[2]
    removed, assigned = runs[0]
    assert len(removed) > 15 and 1 < len(set(assigned.values())) <= 5
    named = {one.id: one for one in documents}
    for name, (partner, stated) in removed.items():
        assert partner not in removed
        assert stated == exact_cosine(named[name].vector, named[partner].vector) >= np.float32(0.9)


def test_rejected_documents_and_those_without_a_vector_take_no_part(tmp_path):
    base = direction(np.random.default_rng(2))
    documents = [Meant("dead", base, quality=1.0, reason="too_short"), Meant("none", None), Meant("a", base), Meant("b", base, origin=2, quality=0.9)]
    removed, assigned = find(tmp_path, [documents[:2], documents[2:]])
    assert removed == {"b": ("a", 1.0)}
    assert assigned == {"dead": None, "none": None, "a": 0, "b": 0}


def test_a_run_without_any_vector_finds_nothing(tmp_path):
    removed, assigned = find(tmp_path, [[Meant("a", None)], [], [Meant("b", None, reason="x")]])
    assert removed == {} and assigned == {"a": None, "b": None}


def test_a_chain_of_small_shifts_keeps_its_far_ends(tmp_path):
    angles = np.linspace(0, np.pi / 2, 40)
    vectors = np.rint(127 * np.stack([np.cos(angles), np.sin(angles), *np.zeros((DIMENSIONS - 2, 40))], axis=1))
    removed, _ = find(tmp_path, [[Meant(f"{place:02}", vector) for place, vector in enumerate(vectors)]])
    assert 20 < len(removed) < 39
    assert {"00", "39"} - set(removed)


def test_large_clusters_are_cut_into_blocks_and_a_mass_of_equal_vectors_is_one_group(tmp_path, monkeypatch):
    monkeypatch.setattr(deduplicate_semantic, "BLOCK_DOCUMENTS", 20)
    generator = np.random.default_rng(3)
    base = direction(generator)
    documents = [Meant(f"same-{place:03}", base) for place in range(150)] + [Meant(f"other-{place}", direction(generator)) for place in range(30)]
    removed, _ = find(tmp_path, arrange(documents, generator.permutation(180), [70]), min_similarity=0.99)
    assert removed == {f"same-{place:03}": ("same-000", 1.0) for place in range(1, 150)}


# --- clusters ----------------------------------------------------------------------------------------------------------


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
    from transforms.cluster_vectors import ClusterPlan
    from transforms.packed_arrays import pack_arrays

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
    from transforms.cluster_vectors import ClusterPlan
    from transforms.packed_arrays import unpack_arrays

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


# --- blocks and cosines ------------------------------------------------------------------------------------------------

VECTORS = arrays.arrays(np.int8, st.tuples(st.integers(1, 30), st.just(5)), elements=st.integers(-3, 3)).map(
    lambda found: np.where(found.any(axis=1, keepdims=True), found, 1).astype(np.int8)
)


def roots_of(count, edges):
    parents = list(range(count))
    for a, b in edges:
        a, b = (min(_root(parents, one), _root(parents, other)) for one, other in ((a, a), (b, b)))
        parents[max(a, b)] = min(a, b)
    return [_root(parents, one) for one in range(count)]


def _root(parents, one):
    while parents[one] != one:
        one = parents[one]
    return one


@given(VECTORS, st.floats(0.5, 1), st.integers(0, 30))
def test_linked_is_what_pairs_of_owned_rows_connect(vectors, least, own):
    own = min(own, len(vectors))
    edges = link_alike(vectors, own, least)
    alike = [
        (a, b)
        for a in range(own)
        for b in range(len(vectors))
        if a != b and exact_cosine(vectors[a], vectors[b]) >= np.float32(least)
    ]  # fmt: skip
    assert roots_of(len(vectors), edges.tolist()) == roots_of(len(vectors), alike)
    assert len(edges) < len(vectors)


@given(VECTORS, st.floats(0.5, 1), st.data())
def test_partners_are_those_of_the_plain_definition(vectors, least, data):
    cut = data.draw(st.integers(0, len(vectors)))
    partners, similarities = find_alike_partners(vectors, np.array([0, cut, len(vectors)]), least)
    for start, end in ((0, cut), (cut, len(vectors))):
        survivors = []
        for row in range(start, end):
            cosines = [exact_cosine(vectors[row], vectors[one]) for one in survivors]
            best = max(cosines, default=np.float32(-2))
            if best >= np.float32(least):
                assert (partners[row], similarities[row]) == (survivors[cosines.index(best)], best)
            else:
                assert partners[row] == -1
                survivors.append(row)


def test_long_vectors_are_multiplied_exactly():
    vectors = np.full((3, 2_000), 127, np.int8)
    vectors[1, :20] = 0
    assert link_alike(vectors, 3, 1.0).tolist() == [[0, 2]]
    assert cosine(np.array([2.0]), np.array([1.0]), np.array([1.0])) == 1


def test_every_document_meets_every_other_of_its_block_and_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr(deduplicate_semantic, "BLOCK_DOCUMENTS", 10)
    documents = [Meant(f"{place:02}", direction(np.random.default_rng(7), None)) for place in range(35)]
    shards = write_meant(tmp_path, [documents])
    clusters = Clusters(fit_centroids(read_vectors(shards[0])[2], 1).tobytes(), DIMENSIONS)
    counts = np.array([35], "<i8").tobytes()
    assert block_counts(np.array([0, 10, 11, 35])).tolist() == [1, 1, 2, 4]
    emitted = emit_vectors(shards[0], clusters, counts, 1)
    assert sorted(key for key, _ in emitted) == [0, 1, 2, 3]
    linked = np.concatenate([join_pairs([value]) for key, value in emitted for _, value in compare_block((key, [value]), 0.9)])
    assert len(set(linked.ravel().tolist())) == 35
    spilled = emit_vectors(shards[0], clusters, counts, 1, str(tmp_path / "spill"))
    assert [compare_block((key, [value]), 0.9) for key, value in spilled] == [compare_block((key, [value]), 0.9) for key, value in emitted]


@pytest.mark.parametrize(("wrong", "message"), [({"min_similarity": 0}, "min_similarity must lie"), ({"probes": 0}, "at least 1")])
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FindSemanticDuplicates(**({"min_similarity": 0.9, "probes": 1} | wrong))
