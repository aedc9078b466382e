"""The end of DECIDE: every row is published or rejected, and what is written is what was decided."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.decisions import read_decisions, write_decisions
from transforms.dispose_documents import REJECTED_SCHEMA, SPILL_SCHEMA, count_dispositions, dispose_shard
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import MixSettings
from transforms.records import DECISION_SCHEMA, DOCUMENT_SCHEMA, ORIGIN_CODES, ScoredShard, make_addresses

N = 40


@pytest.fixture
def decided(tmp_path):
    """40 documents, the first four rejected by a rule; of the others every third is synthetic."""
    rng = np.random.default_rng(1)
    scored = {
        "id": [f"d{n}" for n in range(N)],
        "text": [f"text number {n}" for n in range(N)],
        "origin": ["synthetic" if n % 3 == 0 else "human" for n in range(N)],
        "source": ["s"] * N,
        "location": [f"f:{n + 1}" for n in range(N)],
        "extra": [f'{{"n":{n}}}' for n in range(N)],
        "tokens": [n + 1 for n in range(N)],
        "bytes": [10] * N,
        "words": [3] * N,
    }
    fields = [field for field in DOCUMENT_SCHEMA if field.name in scored] + [("tokens", pa.int32()), ("bytes", pa.int32()), ("words", pa.int32())]
    path = str(tmp_path / "scored.parquet")
    schema = pa.schema(fields)
    pq.write_table(pa.table({name: pa.array(scored[name], schema.field(name).type) for name in schema.names}, schema=schema), path)
    codes = [ORIGIN_CODES[origin] for origin in scored["origin"]]
    columns = {
        "address": make_addresses(5, np.arange(N)),
        "id": scored["id"],
        "source": scored["source"],
        "declared": codes,
        "origin": codes,
        "verified": [True] * N,
        "row_key": rng.integers(0, 2**63, N).astype(np.uint64),
        "content_hash": [b"0" * 16] * N,
        "quality": [0.5] * N,
        "words": scored["words"],
        "tokens": scored["tokens"],
        "bytes": scored["bytes"],
        "stage": ["rules"] * 4 + [None] * (N - 4),
        "reason": ["too_short"] * 4 + [None] * (N - 4),
        "value": [3.0] * 4 + [None] * (N - 4),
        "limit": [50.0] * 4 + [None] * (N - 4),
        "partner_id": [None] * N,
        "similarity": [None] * N,
        "partner_cycle": [None] * N,
        "generation": [None] * N,
        "fresh": [None] * N,
        "semantic_cluster": [None] * N,
    }
    table = pa.table({field.name: pa.array(columns[field.name], field.type) for field in DECISION_SCHEMA}, schema=DECISION_SCHEMA)
    return write_decisions(table, ScoredShard("scored.parquet", path, N, 5), str(tmp_path / "near"))


SETTINGS = MixSettings(human_quota="0.75", num_shards=3)


def dispose(decided, tmp_path, write=True):
    cuts = cuts_of_tables([read_decisions(decided)], SETTINGS)
    folders = (str(tmp_path / "kept"), str(tmp_path / "rejected")) if write else (None, None)
    (disposed,) = dispose_shard(decided, cuts, SETTINGS, *folders)
    return disposed, cuts


def test_every_row_is_published_or_rejected(decided, tmp_path):
    disposed, cuts = dispose(decided, tmp_path)
    counts = {key[3:]: units for key, units in disposed.counts if key[1] == "human"} | {}
    assert sum(units[0] for _, units in disposed.counts) == N == disposed.num_rows
    assert sum(units[1] for _, units in disposed.counts) == sum(range(1, N + 1))
    published = sum(units[0] for key, units in disposed.counts if key[3] == "published")
    assert published == cuts.plan.selected.documents == sum(rows.num_rows for _, rows in disposed.spilled)
    assert ("published", "") in counts


def test_the_rejected_file_says_what_decided(decided, tmp_path):
    dispose(decided, tmp_path)
    table = pq.read_table(tmp_path / "rejected" / "000005.parquet")
    assert table.schema.names == REJECTED_SCHEMA.names
    rows = table.to_pylist()
    assert [row["id"] for row in rows[:4]] == ["d0", "d1", "d2", "d3"]
    assert rows[1] == {
        **rows[1],
        "location": "f:2",
        "declared_origin": "human",
        "stage": "rules",
        "reason": "too_short",
        "value": 3.0,
        "limit": 50.0,
    }
    over = [row for row in rows if row["reason"] == "over_quota"]
    assert over and all(row["stage"] == "mix" and row["limit"] == 0.75 and row["origin"] == "synthetic" for row in over)


def test_spilled_batches_hold_the_rows_of_their_output_shard(decided, tmp_path):
    disposed, _ = dispose(decided, tmp_path)
    ids = Counter()
    with pa.OSFile(str(tmp_path / "kept" / "000005.arrow")) as file:
        reader = pa.ipc.open_file(file)
        assert reader.schema == SPILL_SCHEMA
        for _, rows in disposed.spilled:
            batch = reader.get_batch(rows.batch)
            assert batch.num_rows == rows.num_rows
            ids.update(batch["id"].to_pylist())
            for row in batch.to_pylist():
                n = int(row["id"][1:])
                assert row["text"] == f"text number {n}" and row["extra"] == f'{{"n":{n}}}' and row["tokens"] == n + 1
                assert row["declared_origin"] == row["origin"] and row["quality"] is None
    rejected = pq.read_table(tmp_path / "rejected" / "000005.parquet")["id"].to_pylist()
    assert ids + Counter(rejected) == Counter(f"d{n}" for n in range(N))
    assert [shard for shard, _ in disposed.spilled] == [0, 1, 2]


def test_a_plan_counts_the_same_and_writes_nothing(decided, tmp_path):
    planned, _ = dispose(decided, tmp_path, write=False)
    assert not (tmp_path / "kept").exists() and not (tmp_path / "rejected").exists()
    assert planned.counts == dispose(decided, tmp_path)[0].counts
    assert planned.spilled == ()


def test_counts_are_by_source_declared_origin_and_reason(decided):
    counts = dict(count_dispositions(read_decisions(decided)))
    assert counts["s", "human", "human", "rules", "too_short"] == (2, 2 + 3, 20)
    assert counts["s", "synthetic", "synthetic", "rules", "too_short"] == (2, 1 + 4, 20)
