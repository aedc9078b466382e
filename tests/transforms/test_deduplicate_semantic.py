"""Semantic duplicates from vectors to removals: what `ClusterDocuments` and `FindSemanticDuplicates` state."""

import itertools
import uuid

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.transforms.meanings import DIMENSIONS, Meant, arrange, direction, exact_cosine, meanings, write_meant
from transforms import deduplicate_semantic
from transforms.cluster_vectors import ClusterDocuments, Clusters, fit_centroids, read_vectors
from transforms.decisions import read_decisions
from transforms.deduplicate_semantic import FindSemanticDuplicates, block_counts, compare_block, emit_vectors
from transforms.packed_arrays import join_pairs
from transforms.records import DUPLICATE_SCHEMA

_SEEN: dict[str, list] = {}


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
