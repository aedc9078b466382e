"""Which pairs are compared: all that share a band while these are few, and never more than linearly many."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.shard_files import BANDS, Document, hash_id, random_signature, vary, write_shards
from transforms.band_hashes import cut_across, partition_of
from transforms.find_candidates import LEADERS, SMALL_RUN_DOCUMENTS, emit_bands, link_candidates, pair_runs
from transforms.packed_arrays import join_pairs
from transforms.verify_candidates import distinct_pairs


def pairs_of(hashes, row_keys, addresses, salt=0):
    columns = (np.array(hashes, np.uint32), np.array(row_keys, np.uint64), np.array(addresses, np.uint64))
    return [tuple(pair) for pair in pair_runs(*columns, salt).tolist()]


def candidates_of(shards, extra_bands=0, num_partitions=3):
    """All candidate pairs of addresses, by way of the two pool tasks."""
    emitted = sorted(itertools.chain.from_iterable(emit_bands(shard, [], BANDS, extra_bands, num_partitions) for shard in shards))
    found = []
    for key, values in itertools.groupby(emitted, key=lambda item: item[0]):
        for shard, pairs in link_candidates((key, [value for _, value in values]), num_partitions):
            held = join_pairs([pairs])
            assert (held[:, 0] >> np.uint64(32) == shard).all()
            found += [tuple(pair) for pair in held.tolist()]
    return found


@given(st.lists(st.integers(0, 6), max_size=SMALL_RUN_DOCUMENTS), st.integers(0, 20))
def test_few_equal_hashes_give_every_pair_once(hashes, salt):
    expected = [(a, b) for a, b in itertools.combinations(range(len(hashes)), 2) if hashes[a] == hashes[b]]
    assert sorted(pairs_of(hashes, [hash_id(str(place)) for place in range(len(hashes))], range(len(hashes)), salt)) == expected


@given(st.lists(st.integers(0, 3), max_size=120), st.randoms(use_true_random=False))
def test_order_and_addresses_do_not_change_which_documents_are_paired(hashes, random):
    n = len(hashes)
    row_keys = [hash_id(str(document)) for document in range(n)]
    order, addresses = random.sample(range(n), n), random.sample(range(1 << 40), n)
    documents = dict(zip(addresses, order, strict=True))
    shuffled = pairs_of([hashes[place] for place in order], [row_keys[place] for place in order], addresses)
    plain = pairs_of(hashes, row_keys, range(n))
    assert {frozenset((documents[a], documents[b])) for a, b in shuffled} == {frozenset(pair) for pair in plain}
    assert all(a < b for a, b in shuffled)


@pytest.mark.parametrize("documents", [SMALL_RUN_DOCUMENTS + 1, 1_000, 100_000])
def test_a_hot_band_gives_linearly_many_pairs_that_connect_it(documents):
    row_keys = np.random.default_rng(0).integers(0, 1 << 64, documents, np.uint64)
    pairs = pair_runs(np.zeros(documents, np.uint32), row_keys, np.arange(documents, dtype=np.uint64), salt=0)
    assert len(pairs) < (LEADERS + 1) * documents
    assert len(distinct_pairs(pairs)) == len(pairs)
    assert len(np.unique(pairs)) == documents
    linked_to = np.bincount(pairs.ravel().astype(np.int64), minlength=documents)
    assert (linked_to >= documents - 1).sum() == LEADERS


def test_each_band_has_leaders_of_its_own():
    row_keys = np.random.default_rng(0).integers(0, 1 << 64, 1_000, np.uint64)
    leaders = set()
    for band in range(BANDS):
        pairs = pair_runs(np.zeros(1_000, np.uint32), row_keys, np.arange(1_000, dtype=np.uint64), salt=band)
        leaders |= set(np.flatnonzero(np.bincount(pairs.ravel().astype(np.int64)) >= 999).tolist())
    assert len(leaders) == BANDS


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1), st.integers(1, 1000))
def test_partitions_lie_in_range_and_grow_with_the_hash(hashes, num_partitions):
    partitions = partition_of(np.array(sorted(hashes), np.uint64), num_partitions)
    assert partitions.min() >= 0
    assert partitions.max() < num_partitions
    assert (np.diff(partitions) >= 0).all()


@pytest.mark.parametrize("num_partitions", [1, 3, 64])
def test_documents_are_paired_where_they_share_a_band(tmp_path, num_partitions):
    random = np.random.default_rng(1)
    base = random_signature(random)
    only_band_3 = vary(base, [place for place in range(112) if place // 8 != 3])
    shards = [[Document("a", base), Document("far", random_signature(random))], [Document("b", only_band_3)]]
    assert candidates_of(write_shards(tmp_path, shards), num_partitions=num_partitions) == [(0, 1 << 32)]


def test_rejected_documents_and_those_without_words_take_no_part(tmp_path):
    signature = random_signature(np.random.default_rng(2))
    shards = [[Document("a", signature), Document("rejected", signature, reason="too_short"), Document("null", None), Document("null2", None)]]
    assert candidates_of(write_shards(tmp_path, shards), extra_bands=6) == []


def test_a_pair_is_found_once_for_each_band_it_shares(tmp_path):
    signature = random_signature(np.random.default_rng(3))
    shards = write_shards(tmp_path, [[Document("a", signature), Document("b", signature)]])
    assert candidates_of(shards, extra_bands=6) == [(0, 1)] * (BANDS + 6)


def test_another_number_of_bands_than_was_scored_is_an_error(tmp_path):
    (shard,) = write_shards(tmp_path, [[Document("a", random_signature(np.random.default_rng(4)))]])
    with pytest.raises(ValueError, match="holds 14 hashes, not 20"):
        emit_bands(shard, [], 20, 0, 4)


@given(st.integers(2, 16), st.integers(1, 12), st.data())
def test_the_first_extra_bands_use_every_byte_once(bands, rows, data):
    place = data.draw(st.integers(0, bands * rows - 1))
    signature = np.zeros((2, bands * rows), np.uint8)
    signature[1, place] = 1
    hashes = cut_across(signature, bands, bands)
    assert (hashes[0] != hashes[1]).sum() == 1
    assert len(set(hashes[0].tolist())) == bands


def test_extra_bands_propose_pairs_that_the_scored_ones_miss():
    random = np.random.default_rng(5)
    before = random.integers(0, 256, (20_000, 112), np.uint8)
    changed = random.random(before.shape) < 0.2
    after = before + changed.astype(np.uint8)
    scored = (before.view("<u8") == after.view("<u8")).any(axis=1)
    extra = (cut_across(before, 14, 6) == cut_across(after, 14, 6)).any(axis=1)
    assert 0.91 < scored.mean() < 0.935
    assert 0.955 < (scored | extra).mean() < 0.97
