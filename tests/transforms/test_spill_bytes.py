"""What was spilled is read back as it was, or the run fails."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.spill_bytes import load_bytes, spill_bytes


@given(st.lists(st.tuples(st.integers(), st.binary(max_size=20))))
def test_values_come_back_under_their_keys_in_any_order(tmp_path_factory, keyed):
    path = str(tmp_path_factory.getbasetemp() / "folder" / "values.bin")
    spilled = spill_bytes(keyed, path)
    assert [key for key, _ in spilled] == [key for key, _ in keyed]
    assert load_bytes([value for _, value in reversed(spilled)]) == [value for _, value in reversed(keyed)]
    assert os.listdir(os.path.dirname(path)) == ["values.bin"]


def test_values_that_were_not_spilled_pass_through(tmp_path):
    ((_, spilled),) = spill_bytes([(1, b"there")], str(tmp_path / "values.bin"))
    assert load_bytes([b"here", spilled]) == [b"here", b"there"]


def test_a_file_cut_short_is_an_error(tmp_path):
    ((_, spilled),) = spill_bytes([(1, b"values")], str(tmp_path / "values.bin"))
    os.truncate(tmp_path / "values.bin", 3)
    with pytest.raises(OSError, match=r"values\.bin: 3 bytes at 0 where 6 were spilled"):
        load_bytes([spilled])


def test_a_place_that_workers_may_not_share_is_an_error():
    with pytest.raises(ValueError, match=r"gs://bucket/values\.bin: values are spilled to a local disk only"):
        spill_bytes([(1, b"value")], "gs://bucket/values.bin")
