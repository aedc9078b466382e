"""Parents are found in any shard of the run and in the ledger; what nobody needs is not read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.ledger_rows import rows_of_documents, write_rows
from tests.transforms.shard_files import Document, random_signature
from transforms.decisions import write_decisions
from transforms.find_parents import NO_LINEAGE, derive_lineage, list_children, list_named
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, ScoredShard, make_addresses


def shard(folder, index, *documents):
    """(id, origin, declared generation, parents) of each document."""
    n = len(documents)
    ids, origins, declared, parents = zip(*documents, strict=True)
    path = str(folder / f"scored-{index}.parquet")
    pq.write_table(pa.table({"generation": pa.array(declared, pa.int16()), "parents": pa.array(parents, pa.list_(pa.string()))}), path)
    columns = {field.name: pa.nulls(n, field.type) for field in DECISION_SCHEMA}
    columns |= {"address": pa.array(make_addresses(index, np.arange(n))), "id": pa.array(ids, pa.string())}
    columns["origin"] = pa.array([ORIGIN_CODES[name] for name in origins], pa.uint8())
    return write_decisions(pa.table(columns, schema=DECISION_SCHEMA), ScoredShard(f"s{index}", path, n, index), str(folder / "decided"))


def lineage(shards, ledger="", files=()):
    children = [batch for one in shards for batch in list_children(one)]
    named = [batch for one in shards for batch in list_named(one, children)]
    return derive_lineage(children, named, ledger, files)


@pytest.fixture
def shards(tmp_path):
    return [
        shard(tmp_path, 0, ("a", "synthetic", None, ["h"]), ("b", "synthetic", 1, ["a", "old"]), ("c", "synthetic", None, None)),
        shard(tmp_path, 1, ("h", "human", None, None), ("d", "synthetic", None, ["b", "gone"]), ("e", "human", None, [])),
    ]


def test_generations_cross_shards(shards):
    found = lineage(shards)
    assert dict(zip(*(found.generations[name].to_pylist() for name in ("id", "generation")), strict=True)) == {"a": 1, "b": 2, "d": 3}
    assert (found.raised, found.raised_examples, found.unknown_parents) == (1, ("b",), 2)


def test_parents_of_earlier_cycles_are_found_in_the_ledger(shards, tmp_path):
    random = np.random.default_rng(0)
    rows = rows_of_documents([Document("old", random_signature(random), origin=2)], "c1", "r1", generation=pa.array([6], pa.int16()))
    found = lineage(shards, str(tmp_path / "ledger"), write_rows(tmp_path / "ledger", rows, "r1"))
    assert dict(zip(*(found.generations[name].to_pylist() for name in ("id", "generation")), strict=True)) == {"a": 1, "b": 7, "d": 8}
    assert found.unknown_parents == 1
    assert found.stated() == {"raised": 1, "unknown_parents": 1, "circular": 0, "raised_examples": ["b"]}


def test_only_documents_that_others_name_are_gathered_besides(shards):
    children = [batch for one in shards for batch in list_children(one)]
    assert [row["id"] for batch in children for row in batch.to_pylist()] == ["a", "b", "d"]
    assert [row["id"] for one in shards for batch in list_named(one, children) for row in batch.to_pylist()] == ["h"]


def test_without_parents_the_ledger_is_not_read(tmp_path):
    only = shard(tmp_path, 0, ("a", "synthetic", None, None), ("b", "human", None, []))
    assert list_children(only) == [] and list_named(only, []) == []
    assert derive_lineage([], [], "nowhere", None) is NO_LINEAGE
