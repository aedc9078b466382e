"""Output shards: every spilled row once, in the order of its placement key, counted from the file."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import write_shards
from transforms.dispose_documents import PUBLISHED_SCHEMA, SPILL_SCHEMA, SpilledRows
from transforms.write_shards import count_shard, human_origins, row_groups, shard_name, write_shard


def spill(path, keys, origin="human", text="some text"):
    """One spill file with one batch: a row for each placement key."""
    n = len(keys)
    columns = {
        "id": [f"id-{key}" for key in keys],
        "text": [f"{text} {key}" for key in keys],
        "origin": [origin] * n,
        "declared_origin": [origin] * n,
        "verified": [True] * n,
        "source": ["s"] * n,
        "tokens": [3] * n,
        "bytes": [len(f"{text} {key}") for key in keys],
        "placement_key": keys,
        "row_key": keys,
    }
    arrays = [pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(n, field.type) for field in SPILL_SCHEMA]
    batch = pa.RecordBatch.from_arrays(arrays, schema=SPILL_SCHEMA)
    with pa.ipc.new_file(str(path), SPILL_SCHEMA) as writer:
        writer.write_batch(batch)
    return SpilledRows(str(path), 0, n)


def test_rows_stand_in_placement_order_whatever_order_they_come_in(tmp_path):
    one = spill(tmp_path / "1.arrow", [5, 1, 9])
    two = spill(tmp_path / "2.arrow", [2, 2**63 + 1, 7], origin="synthetic")
    (first,) = write_shard((0, [one, two]), 1, ("human",), str(tmp_path / "a"), 100, 3)
    (second,) = write_shard((0, [two, one]), 1, ("human",), str(tmp_path / "b"), 100, 3)
    table = pq.read_table(tmp_path / "a" / shard_name(0, 1))
    assert table["id"].to_pylist() == [f"id-{key}" for key in (1, 2, 5, 7, 9, 2**63 + 1)]
    assert table.schema.names == PUBLISHED_SCHEMA.names
    assert first.sha256 == second.sha256
    assert first.of_unit("documents") == (3, 6) and first.of_unit("tokens") == (9, 18)
    assert first.origins == (("human", 3), ("synthetic", 3))


def test_the_count_comes_from_the_file(tmp_path):
    (written,) = write_shard((0, [spill(tmp_path / "1.arrow", [1, 2, 3])]), 1, ("human",), str(tmp_path), 100, 3)
    path = tmp_path / written.name
    assert written.file_bytes == path.stat().st_size
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert count_shard(str(path), ("synthetic",)).of_unit("documents") == (0, 3)


def test_row_groups_hold_at_most_the_documents_asked_for(tmp_path):
    (written,) = write_shard((0, [spill(tmp_path / "1.arrow", list(range(10)))]), 1, ("human",), str(tmp_path), 4, 3)
    file = pq.ParquetFile(tmp_path / written.name)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 4, 2]


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 20))
def test_row_groups_cover_every_row_once_within_bounds(sizes, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_shards, "ROW_GROUP_BYTES", 500)
        groups = row_groups(np.array(sizes, np.int32), most)
    assert [row for begin, end in groups for row in range(begin, end)] == list(range(len(sizes)))
    for begin, end in groups:
        assert 1 <= end - begin <= most
        assert end - begin == 1 or sum(sizes[begin:end]) <= 500


def test_names_are_those_that_load_dataset_knows():
    assert shard_name(3, 12) == "train-00003-of-00012.parquet"


def test_presumed_human_counts_only_when_asked_for():
    assert human_origins(False) == ("human",)
    assert human_origins(True) == ("human", "presumed_human")
