"""Near-duplicates from files to removals: the guarantees that `FindNearDuplicates` states."""

import itertools
from math import comb

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tests.transforms.shard_files import (
    BANDS,
    HASHES,
    Document,
    by_id,
    fast_shard,
    random_signature,
    run_on,
    similarity,
    vary,
    without,
    write_shards,
)
from transforms.choose_survivors import estimate_by_agreeing
from transforms.deduplicate_near import MIN_SIMILARITY, FindNearDuplicates
from transforms.records import ORIGIN_CODES, Origin


def families(seed=0, num_families=40, members=5):
    """Documents that vary `num_families` texts by up to a quarter of their signature, and as many without relatives."""
    random = np.random.default_rng(seed)
    documents = []
    for family in range(num_families):
        base = random_signature(random)
        for member in range(members):
            changed = random.permutation(HASHES)[: random.integers(28)]
            details = {"origin": int(random.integers(3)), "quality": float(random.integers(3)) / 4}
            documents.append(Document(f"{family:03}-{member}", vary(base, changed, 1 + member), **details))
        documents.append(Document(f"{family:03}-alone", random_signature(random)))
    return documents


def arrange(documents, order, cuts):
    arranged = [documents[place] for place in order]
    return [arranged[start:end] for start, end in itertools.pairwise([0, *cuts, len(arranged)])]


def check_promises(removed, documents):
    """Every removal names a survivor that is really like it and comes before it in survivor order."""
    named = {held.id: held for held in documents}
    for name, (partner, stated) in removed.items():
        assert partner not in removed
        assert stated == similarity(named[name], named[partner]) >= np.float32(MIN_SIMILARITY)
        rank = {held.id: (held.origin, -held.quality, held.id) for held in (named[name], named[partner])}
        assert rank[partner] < rank[name]


def test_shuffled_shards_and_rows_other_partitions_and_spilling_give_the_same_removals(tmp_path):
    documents = families()
    runs = []
    for order, cuts, settings in [
        (range(len(documents)), [100, 150], {}),
        (np.random.default_rng(1).permutation(len(documents)), [10, 11, 90, 200], {"num_partitions": 3, "component_rounds": 0}),
        (reversed(range(len(documents))), [], {"num_partitions": 1, "component_rounds": 1, "spill_folder": str(tmp_path / "spilled")}),
    ]:
        shards = arrange(documents, order, cuts)
        found, counters = run_on(FindNearDuplicates(**settings), write_shards(tmp_path / str(len(runs)), shards))
        runs.append(by_id(found, shards))
        assert counters["candidate-pairs"] >= counters["verified-edges"] >= len(runs[0])
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 100
    check_promises(runs[0], documents)
    assert all(name[:3] == partner[:3] for name, (partner, _) in runs[0].items())
    # The removals gone, nothing more is found.
    shards = without(arrange(documents, range(len(documents)), [100, 150]), runs[0])
    again, _ = run_on(FindNearDuplicates(), write_shards(tmp_path / "again", shards))
    assert again.num_rows == 0


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One run over documents of several kinds that have nothing in common: what it removed, its counters, all documents.

    `link`: a chain of 200, each .91 like its neighbours and unlike those four further on. `weak`: unlike ones that share two bands.
    `origin`: four alike of several origins. `null`: without a word. `twin` is like `rejected`, a better but rejected document.
    """
    random = np.random.default_rng(2)
    signature, chain = random_signature(random), []
    for link in range(200):
        chain.append(Document(f"link-{link:03}", signature))
        signature = vary(signature, (np.arange(10) + 10 * link) % HASHES)
    weak = [Document(f"weak-{number}", random_signature(random), shared_bands={0: 7, 9: 7}) for number in range(40)]
    base = random_signature(random)
    origins = [
        Document("origin-a", base, ORIGIN_CODES[Origin.SYNTHETIC], 1.0),
        Document("origin-b", vary(base, [0]), ORIGIN_CODES[Origin.PRESUMED_HUMAN], 0.9),
        Document("origin-c", vary(base, [40]), ORIGIN_CODES[Origin.HUMAN], 0.1),
        Document("origin-d", vary(base, [80]), ORIGIN_CODES[Origin.HUMAN], 0.2),
    ]
    base = random_signature(random)
    others = [Document("null-1", None), Document("null-2", None), Document("rejected", base, quality=1.0, reason="too_short"), Document("twin", base)]
    shards = [chain[:90] + weak[:20] + origins[::2] + others[:3], [], weak[20:] + chain[90:] + origins[1::2] + others[3:], [Document("null-3", None)]]
    found, counters = run_on(FindNearDuplicates(), write_shards(tmp_path_factory.mktemp("mixed"), shards))
    return by_id(found, shards), counters, [held for shard in shards for held in shard]


def test_every_removed_document_names_a_survivor_that_is_like_it(mixed):
    removed, counters, documents = mixed
    check_promises(removed, documents)
    assert counters["candidate-pairs"] > counters["verified-edges"] >= len(removed)


def test_a_chain_of_weak_links_is_not_swallowed(mixed):
    removed, _, _ = mixed
    assert 80 < sum(name.startswith("link") for name in removed) < 160


def test_documents_alike_in_a_few_bands_alone_all_stay(mixed):
    removed, _, _ = mixed
    assert not any(name.startswith("weak") for name in removed)


def test_the_human_copy_survives_then_the_better_one(mixed):
    removed, _, _ = mixed
    partners = {name: partner for name, (partner, _) in removed.items() if name.startswith("origin")}
    assert partners == {"origin-a": "origin-d", "origin-b": "origin-d", "origin-c": "origin-d"}


def test_rejected_documents_and_those_without_words_are_left_alone(mixed):
    removed, _, _ = mixed
    assert not {"rejected", "twin", "null-1", "null-2", "null-3"} & set(removed)


def test_a_band_that_all_share_costs_linearly_many_pairs(tmp_path):
    """20,000 documents share a band; 1,000 are near-copies of others, which the other bands find."""
    n = 20_000
    random = np.random.default_rng(5)
    signatures = random.integers(0, 256, (n, HASHES), np.uint8)
    signatures[n - 1_000 :] = signatures[:1_000]
    signatures[n - 1_000 :, :8] += 1
    bands = signatures.view("<u8") * np.uint64(0x9E3779B97F4A7C15)
    bands[:, 5] = 12345
    ids = [f"{place:05}" for place in range(n)]
    shards = [
        fast_shard(tmp_path, 0, ids[:12_000], signatures[:12_000], bands[:12_000]),
        fast_shard(tmp_path, 1, ids[12_000:], signatures[12_000:], bands[12_000:]),
    ]
    found, counters = run_on(FindNearDuplicates(), shards)
    assert counters["candidate-pairs"] < 3 * n + 20 * 1_000
    assert counters["verified-edges"] == 1_000
    assert sorted(zip(found["partner_id"].to_pylist(), found["address"].to_pylist(), strict=True)) == [
        (ids[place], (1 << 32) | (n - 1_000 - 12_000 + place)) for place in range(1_000)
    ]


def test_one_shard_without_pairs_has_no_duplicates(tmp_path):
    found, _ = run_on(FindNearDuplicates(), write_shards(tmp_path, [[Document("a", bytes(HASHES)), Document("b", None)]]))
    assert found.num_rows == 0


def test_no_shards_have_no_duplicates():
    found, _ = run_on(FindNearDuplicates(), [])
    assert found.num_rows == 0


def test_the_portable_runner_finds_the_same(tmp_path):
    documents = families(seed=6, num_families=10)
    shards = arrange(documents, range(len(documents)), [13, 40])
    decided = write_shards(tmp_path, shards)
    options = PipelineOptions(["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"])
    portable, _ = run_on(FindNearDuplicates(), decided, beam.Pipeline(options=options))
    in_memory, _ = run_on(FindNearDuplicates(), decided)
    assert in_memory.num_rows > 20
    assert portable.equals(in_memory)


@pytest.mark.parametrize(("jaccard", "least", "most"), [(0.85, 0.9999, 1), (0.8, 0.994, 1), (0.6, 0, 0.015), (0.55, 0, 0.0007), (0.5, 0, 0.000011)])
def test_the_default_keeps_real_duplicates_and_refuses_weak_ones_as_often_as_stated(jaccard, least, most):
    needed = int(np.searchsorted(estimate_by_agreeing(HASHES), np.float32(MIN_SIMILARITY)))
    agree = jaccard + (1 - jaccard) / 256
    taken = sum(comb(HASHES, count) * agree**count * (1 - agree) ** (HASHES - count) for count in range(needed, HASHES + 1))
    assert least <= taken <= most


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "bands and num_partitions must be at least 1"),
        ({"num_partitions": 0}, "bands and num_partitions must be at least 1"),
        ({"min_similarity": 0}, "min_similarity must lie in 0"),
        ({"min_similarity": 1.5}, "min_similarity must lie in 0"),
        ({"extra_bands": -1}, "extra_bands must lie in 0 to 182"),
        ({"bands": 1}, "extra_bands must lie in 0 to 0"),
    ],
)
def test_impossible_settings_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        FindNearDuplicates(**settings)


def test_bands_of_another_number_fail_the_run_and_name_the_file(tmp_path):
    decided = write_shards(tmp_path, [[Document("a", random_signature(np.random.default_rng(7)))]])
    with pytest.raises(Exception, match=rf"0000\.parquet: `bands` holds {BANDS} hashes, not 20"):
        run_on(FindNearDuplicates(bands=20), decided)
