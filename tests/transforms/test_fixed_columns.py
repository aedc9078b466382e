"""Fixed-size columns are read as they were written, and only where they are wanted."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.shard_files import Document, random_signature, write_shards
from transforms.fixed_columns import binary_rows, fixed_binary_array, read_fixed_binary, read_signatures
from transforms.records import ScoredShard

WIDTH = 5


@pytest.fixture
def shard(tmp_path):
    """Twenty rows in row groups of three; every fourth is null."""
    values = [bytes([row] * WIDTH) if row % 4 else None for row in range(20)]
    path = tmp_path / "shard.parquet"
    pq.write_table(pa.table({"bytes": pa.array(values, pa.binary(WIDTH)), "other": range(20)}), path, row_group_size=3)
    return ScoredShard("shard.parquet", str(path), 20, 0)


def test_a_column_is_read_whole(shard):
    values, valid = read_fixed_binary(shard, "bytes")
    assert values.shape == (20, WIDTH)
    assert valid.tolist() == [row % 4 > 0 for row in range(20)]
    assert values[:, 0].tolist() == [row if row % 4 else 0 for row in range(20)]


@given(rows=st.sets(st.integers(0, 19)))
def test_wanted_rows_are_those_of_the_whole_column(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "wanted.parquet"
    if not path.exists():
        pq.write_table(pa.table({"bytes": fixed_binary_array(np.arange(100, dtype=np.uint8).reshape(20, WIDTH))}), path, row_group_size=3)
    wanted = np.array(sorted(rows), np.int64)
    values, valid = read_fixed_binary(ScoredShard("wanted.parquet", str(path), 20, 0), "bytes", wanted)
    assert np.array_equal(values, np.arange(100, dtype=np.uint8).reshape(20, WIDTH)[wanted])
    assert valid.all()


@pytest.mark.parametrize("column", ["missing", "other"])
def test_a_column_of_another_kind_is_an_error_that_names_file_and_columns(shard, column):
    with pytest.raises(ValueError, match=r"shard\.parquet: no fixed-size binary column"):
        read_fixed_binary(shard, column)


def test_a_file_of_another_length_is_an_error(shard):
    with pytest.raises(ValueError, match="20 rows where 21 were scored"):
        read_fixed_binary(ScoredShard(shard.name, shard.path, 21, 0), "bytes")


def test_a_slice_is_read_from_its_own_start():
    array = fixed_binary_array(np.arange(30, dtype=np.uint8).reshape(6, WIDTH))
    values, valid = binary_rows(pa.chunked_array([array.slice(4, 2), array.slice(0, 0), array.slice(1, 1)]))
    assert values[:, 0].tolist() == [20, 25, 5]
    assert valid.all()


def test_nulls_alone_are_read_as_zeros():
    values, valid = binary_rows(pa.nulls(3, pa.binary(WIDTH)))
    assert not values.any()
    assert not valid.any()
    assert values.shape == (3, WIDTH)


def test_a_missing_signature_is_an_error_that_names_the_row(tmp_path):
    random = np.random.default_rng(0)
    (decided,) = write_shards(tmp_path, [[Document("a", random_signature(random)), Document("b", None)]])
    assert read_signatures(decided, np.array([0])).shape == (1, 112)
    with pytest.raises(ValueError, match="row 1 has bands but no signature"):
        read_signatures(decided, np.array([0, 1]))
