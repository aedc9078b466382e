"""What is packed comes back as it was, and nothing else does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from transforms.packed_arrays import join_pairs, pack_arrays, split_by_key, unpack_arrays

words = stn.arrays("<u8", st.integers(0, 20))
entries = stn.arrays(np.dtype([("hash", "<u4"), ("row", "<u4")]), st.integers(0, 20))


@settings(max_examples=30)
@given(words, entries, words)
def test_arrays_come_back_as_they_were(first, second, third):
    unpacked = unpack_arrays(pack_arrays(first, second, third), first.dtype, second.dtype, third.dtype)
    for before, after in zip((first, second, third), unpacked, strict=True):
        assert after.dtype == before.dtype
        assert np.array_equal(after, before)


def test_a_strided_array_is_packed_by_its_items():
    array = np.arange(12, dtype="<u8").reshape(6, 2)[:, 1]
    assert unpack_arrays(pack_arrays(array), "<u8")[0].tolist() == [1, 3, 5, 7, 9, 11]


def test_other_types_than_were_packed_are_an_error():
    with pytest.raises(ValueError, match="take 44"):
        unpack_arrays(pack_arrays(np.zeros(5, "<u8"), np.zeros(2, "<u4")), "<u4", "<u4")


@settings(max_examples=30)
@given(st.lists(stn.arrays("<u8", st.tuples(st.integers(0, 5), st.just(2)))))
def test_pairs_of_several_values_follow_each_other(parts):
    joined = join_pairs(part.tobytes() for part in parts)
    assert joined.tolist() == [pair for part in parts for pair in part.tolist()]


@settings(max_examples=30)
@given(stn.arrays(np.int64, st.integers(0, 50), elements=st.integers(-3, 3)))
def test_each_position_is_under_its_key_once_and_in_order(keys):
    split = split_by_key(keys)
    assert [key for key, _ in split] == sorted(set(keys.tolist()))
    for key, positions in split:
        assert positions.tolist() == np.flatnonzero(keys == key).tolist()
