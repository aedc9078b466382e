"""Documents of one content lose to the best of them, wherever they lie."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.shard_files import Document, by_id, run_on, without, write_shards
from transforms.deduplicate_exact import FindExactDuplicates, emit_content_hashes, group_equal
from transforms.records import ORIGIN_CODES, Origin

SAME, OTHER = b"same content 16b", b"other content 16"
HALF = SAME[:8] + OTHER[8:]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_documents_are_grouped_by_both_halves_of_the_hash(hashes):
    addresses = np.arange(len(hashes), dtype=np.uint64)[::-1] + np.uint64(7)
    high, low = (np.array([pair[half] for pair in hashes], np.uint64) for half in (0, 1))
    grouped = {int(address): int(group) for address, group in group_equal(high, low, addresses)}
    by_hash = {}
    for pair, address in zip(hashes, addresses.tolist(), strict=True):
        by_hash.setdefault(pair, []).append(address)
    assert grouped == {address: min(held) for held in by_hash.values() if len(held) > 1 for address in held}


@pytest.mark.parametrize("num_partitions", [1, 16])
def test_copies_lose_to_the_best_of_them(tmp_path, num_partitions):
    shards = [
        [Document("a", None, origin=ORIGIN_CODES[Origin.SYNTHETIC], quality=1.0, content=SAME), Document("half", None, content=HALF)],
        [Document("c", None, quality=0.4, content=SAME), Document("z", None, quality=0.6, content=SAME)],
        [Document("x", None, content=OTHER), Document("w", None, content=OTHER), Document("alone", None)],
        [],
    ]
    found, _ = run_on(FindExactDuplicates(num_partitions), write_shards(tmp_path / "first", shards))
    removed = by_id(found, shards)
    assert removed == {"a": ("z", 1.0), "c": ("z", 1.0), "x": ("w", 1.0)}
    again, _ = run_on(FindExactDuplicates(num_partitions), write_shards(tmp_path / "second", without(shards, removed)))
    assert again.num_rows == 0


def test_a_rejected_document_never_suppresses_its_twin(tmp_path):
    shards = [[Document("best", None, quality=1.0, content=SAME, reason="too_short"), Document("twin", None, content=SAME)]]
    found, _ = run_on(FindExactDuplicates(), write_shards(tmp_path, shards))
    assert found.num_rows == 0


def test_shuffled_shards_and_rows_give_the_same_survivors(tmp_path):
    random = np.random.default_rng(0)
    contents = [random.bytes(16) for _ in range(40)]
    documents = [
        Document(f"{n:03}", None, int(random.integers(3)), float(random.integers(4)) / 4, content=contents[random.integers(40)]) for n in range(150)
    ]
    removed = []
    for order in (range(150), random.permutation(150)):
        arranged = [documents[place] for place in order]
        shards = [arranged[:20], arranged[20:110], arranged[110:]]
        found, _ = run_on(FindExactDuplicates(), write_shards(tmp_path / str(len(removed)), shards))
        removed.append(by_id(found, shards))
    assert removed[0] == removed[1]
    assert len(removed[0]) == 150 - len({held.content for held in documents})
    rank = {held.id: (held.origin, -held.quality, held.id) for held in documents}
    assert all(rank[partner] < rank[name] for name, (partner, _) in removed[0].items())


def test_no_shards_have_no_duplicates():
    found, _ = run_on(FindExactDuplicates(), [])
    assert found.num_rows == 0


def test_an_empty_shard_emits_nothing(tmp_path):
    (shard,) = write_shards(tmp_path, [[]])
    assert emit_content_hashes(shard, 16) == []


def test_two_shards_of_one_index_are_an_error(tmp_path):
    first, second = write_shards(tmp_path, [[Document("a", None, content=SAME)], [Document("b", None, content=SAME)]])
    same_index = dataclasses.replace(second, shard=dataclasses.replace(second.shard, index=0))
    with pytest.raises(Exception, match="each needs its own"):
        run_on(FindExactDuplicates(), [first, same_index])


def test_no_partitions_are_an_error():
    with pytest.raises(ValueError, match="num_partitions must be at least 1"):
        FindExactDuplicates(0)
