"""What was spilled is read back as it was, or the run fails."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.spill_bytes import count_bytes, load_bytes, spill_bytes


@given(st.lists(st.tuples(st.integers(), st.binary(max_size=20))))
def test_values_come_back_under_their_keys_in_any_order(tmp_path_factory, keyed):
    folder = str(tmp_path_factory.getbasetemp() / "folder")
    spilled = spill_bytes(keyed, folder, "values.bin")
    assert [key for key, _ in spilled] == [key for key, _ in keyed]
    assert load_bytes([value for _, value in reversed(spilled)]) == [value for _, value in reversed(keyed)]
    assert [count_bytes(value) for _, value in spilled] == [len(value) for _, value in keyed]
    assert not keyed or os.listdir(folder) == ["values.bin"]


def test_without_a_folder_values_stay_as_they_are():
    assert spill_bytes([(1, b"value")], None, "values.bin") == [(1, b"value")]
    assert count_bytes(b"value") == 5


def test_values_that_were_not_spilled_pass_through(tmp_path):
    ((_, spilled),) = spill_bytes([(1, b"there")], str(tmp_path), "values.bin")
    assert load_bytes([b"here", spilled]) == [b"here", b"there"]


def test_a_file_cut_short_is_an_error(tmp_path):
    ((_, spilled),) = spill_bytes([(1, b"values")], str(tmp_path), "values.bin")
    os.truncate(tmp_path / "values.bin", 3)
    with pytest.raises(OSError, match=r"values\.bin: 3 bytes at 0 where 6 were spilled"):
        load_bytes([spilled])


def test_a_place_that_workers_may_not_share_is_an_error():
    with pytest.raises(ValueError, match=r"gs://bucket: values are spilled to a local disk only"):
        spill_bytes([(1, b"value")], "gs://bucket", "values.bin")
