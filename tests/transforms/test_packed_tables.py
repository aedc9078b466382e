"""Tables that travel as bytes come back as they went, and a slice travels without its parent."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.packed_tables import pack_table, unpack_tables

SCHEMA = pa.schema([("id", pa.string()), ("count", pa.int64()), ("named", pa.list_(pa.string()))])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            "count": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
            "named": st.none() | st.lists(st.none() | st.sampled_from(["", "a", "\U0001f600"]), max_size=3),
        }
    ),
    max_size=6,
)


@given(st.lists(st.tuples(ROWS, st.integers(0, 6), st.integers(0, 6)), max_size=4))
def test_slices_come_back_one_after_the_other(parts):
    tables = [pa.Table.from_pylist(rows, SCHEMA).slice(begin, length) for rows, begin, length in parts]
    found = unpack_tables([pack_table(table) for table in tables], SCHEMA)
    assert found.schema == SCHEMA and all(column.num_chunks <= 1 for column in found.columns)
    assert found.to_pylist() == [row for rows, begin, length in parts for row in rows[begin : begin + length]]


@given(ROWS, st.integers(1, 3))
def test_how_a_table_is_cut_into_chunks_means_nothing(rows, size):
    chunks = [pa.Table.from_pylist(rows[begin : begin + size], SCHEMA) for begin in range(0, len(rows), size)]
    assert unpack_tables([pack_table(pa.concat_tables([SCHEMA.empty_table(), *chunks]))], SCHEMA).to_pylist() == rows


def test_a_slice_travels_without_its_parent():
    parent = pa.table({"id": pa.array(["x" * 1_000] * 1_000)})
    assert len(pack_table(parent.slice(500, 1))) < 3_000 < len(pack_table(parent)) // 100


def test_a_table_of_another_schema_is_refused():
    with pytest.raises(pa.ArrowInvalid, match="Schema at index 1 was different"):
        unpack_tables([pack_table(pa.table({"id": pa.array([1], pa.int64())}))], SCHEMA)
