"""Only pairs whose signatures agree become edges, whatever bands proposed them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.shard_files import Document, random_signature, similarity, vary, write_shards
from transforms.packed_arrays import join_pairs
from transforms.pool_steps import part_shard
from transforms.verify_candidates import attach_first, distinct_pairs, keep_similar


def verify(shards, pairs, min_similarity):
    """Edges among `pairs` (of addresses), by way of the two pool tasks."""
    pairs = np.array(pairs, "<u8").reshape(-1, 2)
    attached, edges = [], []
    for shard in shards:
        own = pairs[pairs[:, 0] >> np.uint64(32) == shard.shard.index]
        attached += attach_first((shard.shard.index, [own[::2].tobytes(), shard, own[1::2].tobytes()]))
    for shard in shards:
        values = [value for index, value in attached if index == shard.shard.index]
        edges += [
            tuple(edge) for _, value in keep_similar((shard.shard.index, [*values, shard]), min_similarity) for edge in join_pairs([value]).tolist()
        ]
    return edges


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three shards of variations of five signatures."""
    random = np.random.default_rng(0)
    bases = [random_signature(random) for _ in range(5)]
    shards = [
        [Document(f"{shard}-{row}", vary(bases[random.integers(5)], random.permutation(112)[: random.integers(30)])) for row in range(12)]
        for shard in range(3)
    ]
    return shards, write_shards(tmp_path_factory.mktemp("verify"), shards)


@pytest.mark.parametrize("min_similarity", [0.3, 0.7, 0.9, 1.0])
def test_edges_are_the_pairs_that_are_similar_enough(corpus, min_similarity):
    documents, shards = corpus
    addresses = [(shard << 32) | row for shard in range(3) for row in range(12)]
    pairs = list(itertools.combinations(addresses, 2))

    def alike(pair):
        a, b = (documents[address >> 32][address & 0xFFFFFFFF] for address in pair)
        return similarity(a, b) >= np.float32(min_similarity)

    found = verify(shards, pairs * 3, min_similarity)
    assert sorted(found) == [pair for pair in pairs if alike(pair)]


def test_no_pairs_give_no_edges(corpus):
    assert verify(corpus[1], [], 0.7) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_distinct_pairs_are_the_set_of_pairs(pairs):
    found = distinct_pairs(np.array(pairs, "<u8").reshape(-1, 2))
    assert [tuple(pair) for pair in found.tolist()] == sorted(set(pairs))


def test_two_shards_of_one_index_are_an_error(corpus):
    shard = corpus[1][0]
    with pytest.raises(ValueError, match=r"index 0 stands for 2 scored shards .*0000\.parquet.*needs its own"):
        part_shard((0, [shard, b"pairs", shard]))


def test_values_without_their_shard_are_an_error():
    with pytest.raises(ValueError, match="index 7 stands for 0 scored shards"):
        part_shard((7, [b"pairs"]))


def test_a_shard_that_nothing_concerns_is_not_read(corpus):
    assert part_shard((0, [corpus[1][0]])) == (None, [])
