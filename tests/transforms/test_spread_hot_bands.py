"""A band that very many documents share is cut into ranges by the documents alone, and its ranges stay linked."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.shard_files import BANDS, HASHES, Document, fast_shard, hash_id, random_signature, run_on, write_shards
from transforms import spread_hot_bands
from transforms.band_hashes import places_in_run
from transforms.connect_components import contract_forest
from transforms.deduplicate_near import FindNearDuplicates
from transforms.find_candidates import emit_bands, link_candidates
from transforms.packed_arrays import join_pairs, unpack_arrays
from transforms.spread_hot_bands import HOT_DTYPE, HOT_SAMPLES, SAMPLED_EVERY, count_sampled, find_hot, is_sampled, join_hot, spread_hot

ALL = 1 << 64


@pytest.fixture
def small_ranges(monkeypatch):
    """Bands are hot from about 64 documents on, and cut into ranges of as many."""
    monkeypatch.setattr(spread_hot_bands, "SAMPLED_EVERY", 4)
    monkeypatch.setattr(spread_hot_bands, "HOT_SAMPLES", 16)


def keys_of(n, seed=0):
    return np.random.default_rng(seed).integers(0, ALL, n, np.uint64)


def hot_band(band, value, ranges):
    return np.array([(band, ranges, value)], HOT_DTYPE)


def hot_of(shards, extra_bands=0, num_partitions=3):
    """What the two pool tasks find in shards."""
    emitted = sorted(itertools.chain.from_iterable(count_sampled(shard, BANDS, extra_bands, num_partitions) for shard in shards))
    found = [find_hot([value for _, value in values]) for _, values in itertools.groupby(emitted, key=lambda item: item[0])]
    return sorted(np.concatenate(found).tolist()) if found else []


def test_one_document_in_so_many_is_sampled_whatever_its_neighbours():
    row_keys = keys_of(1_000_000)
    sampled = is_sampled(row_keys)
    assert abs(sampled.sum() - 1_000_000 / SAMPLED_EVERY) < 5 * (1_000_000 / SAMPLED_EVERY) ** 0.5
    assert (is_sampled(row_keys[::7]) == sampled[::7]).all()


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 1 << 32))
@settings(max_examples=30)
def test_every_document_keeps_one_place_and_lies_in_one_range(ranges, band, seed):
    n = 3_000
    row_keys = keys_of(n, seed)
    hashes = np.where(np.arange(n) % 3 == 0, np.uint64(5), np.arange(n, dtype=np.uint64) + 100)
    spread, documents = spread_hot(hashes, row_keys, band, hot_band(band, 5, ranges))
    assert (documents[:n] == np.arange(n)).all()
    assert (spread[:n][hashes != 5] == hashes[hashes != 5]).all()
    shared = np.flatnonzero(hashes == 5)
    assert 1 <= len(np.unique(spread[shared])) <= ranges
    # Ranges follow one another in the order in which the documents of a band are linked.
    ordered = spread[shared][np.argsort(places_in_run(row_keys[shared], band))]
    assert (ordered[1:] != ordered[:-1]).sum() == len(np.unique(ordered)) - 1
    # The documents that come again share one hash, which no other has.
    assert len(np.unique(spread[n:])) <= 1
    assert not np.isin(spread[n:], spread[:n]).any()


def test_ranges_are_of_about_the_same_size_and_their_leaders_link_them():
    n = 40 * HOT_SAMPLES * SAMPLED_EVERY // 10
    row_keys = keys_of(n)
    spread, documents = spread_hot(np.full(n, 5, np.uint64), row_keys, 3, hot_band(3, 5, 4))
    ranges, sizes = np.unique(spread[:n], return_counts=True)
    assert len(ranges) == 4
    assert sizes.max() < 1.05 * n / 4
    linking = documents[n:]
    assert 0 < len(linking) < 4 * 32
    places = places_in_run(row_keys, 3)
    for one in ranges:
        held = np.flatnonzero(spread[:n] == one)
        assert held[np.argmin(places[held])] in linking


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1 << 40)), max_size=50))
def test_without_a_hot_band_nothing_changes(entries):
    hashes, row_keys = (np.array([entry[place] for entry in entries], np.uint64) for place in (0, 1))
    for hot in (np.empty(0, HOT_DTYPE), hot_band(1, 2, 8), hot_band(0, 77, 8)):
        spread, documents = spread_hot(hashes, row_keys, 0, hot)
        assert (spread == hashes).all()
        assert (documents == np.arange(len(hashes))).all()


def hot_documents(n=700):
    """Documents that share bands 2 and 9; the rest of their signatures is their own."""
    random = np.random.default_rng(1)
    return [Document(f"hot-{number}", random_signature(random), shared_bands={2: 7, 9: 70}) for number in range(n)]


def test_what_is_hot_depends_on_the_documents_that_share_a_band_alone(tmp_path, small_ranges):
    documents = hot_documents()
    sampled = sum(is_sampled(np.array([hash_id(held.id) for held in documents], np.uint64)))
    expected = [(2, -(-sampled // 16), 7), (9, -(-sampled // 16), 70)]
    random = np.random.default_rng(2)
    cold = [Document(f"cold-{number}", random_signature(random), shared_bands={4: 9}) for number in range(30)]
    for number, (cuts, partitions) in enumerate([([], 1), ([1, 350], 3), (range(10, 700, 10), 16)]):
        order = random.permutation(len(documents) + len(cold))
        mixed = [(documents + cold)[place] for place in order]
        shards = [mixed[start:end] for start, end in itertools.pairwise([0, *cuts, len(mixed)])]
        assert hot_of(write_shards(tmp_path / str(number), shards, 50), num_partitions=partitions) == expected


def test_rejected_documents_make_nothing_hot(tmp_path, small_ranges):
    random = np.random.default_rng(3)
    documents = [Document(f"hot-{number}", random_signature(random), reason="too_short", shared_bands={2: 7}) for number in range(400)]
    assert hot_of(write_shards(tmp_path, [documents, []])) == []


def test_the_ranges_of_a_hot_band_hang_together_and_no_worker_gets_all(tmp_path, small_ranges):
    documents = hot_documents()
    pairs = {}
    for number, (cuts, partitions) in enumerate([([], 1), ([1, 350], 5)]):
        shards = [documents[start:end] for start, end in itertools.pairwise([0, *cuts, len(documents)])]
        decided = write_shards(tmp_path / str(number), shards, 50)
        hot = np.array(hot_of(decided, extra_bands=6), HOT_DTYPE)
        emitted = sorted(itertools.chain.from_iterable(emit_bands(shard, [hot.tobytes()], BANDS, 6, partitions) for shard in decided))
        found = set()
        for key, group in itertools.groupby(emitted, key=lambda item: item[0]):
            values = [value for _, value in group]
            entries = np.concatenate(
                [unpack_arrays(value, "<u8", np.dtype([("hash", "<u4"), ("row", "<u4"), ("row_key", "<u8")]))[1] for value in values]
            )
            assert np.unique(entries["hash"], return_counts=True)[1].max() < 200
            for _, held in link_candidates((key, values), partitions):
                ends = join_pairs([held])
                found |= {frozenset(shards[end >> 32][end & 0xFFFFFFFF].id for end in map(int, pair)) for pair in ends}
        pairs[number] = found
    assert pairs[0] == pairs[1]
    names = {held.id: place for place, held in enumerate(documents)}
    edges = np.array([sorted(names[name] for name in pair) for pair in pairs[0]], np.uint64)
    assert len(contract_forest(edges)) == len(documents) - 1
    assert len(edges) < 2 * 2 * 1.5 * len(documents)


def test_near_duplicates_among_documents_of_a_hot_band_are_found_all_the_same(tmp_path, small_ranges):
    """2,000 documents share a band; 100 are near-copies of others, and 300 copies of one text but for two bytes."""
    n, random = 2_000, np.random.default_rng(5)
    signatures = random.integers(0, 256, (n, HASHES), np.uint8)
    signatures[n - 100 :] = signatures[:100]
    signatures[n - 100 :, :8] += 1
    signatures[1_000:1_300] = signatures[1_000]
    signatures[np.arange(1_001, 1_300)[:, None], random.integers(8, HASHES, (299, 2))] += 1
    bands = signatures.view("<u8") * np.uint64(0x9E3779B97F4A7C15)
    bands[:, 5] = 12345
    ids = [f"{place:05}" for place in range(n)]
    found = []
    for number, (cut, partitions) in enumerate([(1_200, 8), (700, 1)]):
        shards = [
            fast_shard(tmp_path / str(number), index, ids[rows], signatures[rows], bands[rows])
            for index, rows in enumerate([slice(cut), slice(cut, n)])
        ]
        table, _ = run_on(FindNearDuplicates(num_partitions=partitions), shards)
        places = [cut * (address >> 32) + (address & 0xFFFFFFFF) for address in table["address"].to_pylist()]
        found.append(dict(zip(places, table["partner_id"].to_pylist(), strict=True)))
    assert found[0] == found[1] == {place: ids[place - (n - 100)] for place in range(n - 100, n)} | dict.fromkeys(range(1001, 1300), ids[1000])


def test_hot_bands_travel_as_bytes():
    hot = np.array([(1, 2, 3), (4, 5, 6)], HOT_DTYPE)
    assert join_hot([hot[:1].tobytes(), hot[1:].tobytes()]).tolist() == hot.tolist()
    assert len(join_hot([])) == 0
