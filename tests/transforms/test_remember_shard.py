"""What memory decides of one shard: withdrawals first, then the reuse limit, then depth; human text may return and may be fresh."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.decisions import read_decisions, write_decisions
from transforms.find_earlier import EARLIER_SCHEMA
from transforms.memory_settings import MemorySettings, read_date
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, ScoredShard, make_addresses
from transforms.remember_shard import Remembered, gather_remembered, remember_shard

ORIGINS = ["human", "human", "synthetic", "synthetic", "presumed_human", "disputed", "synthetic"]
DAY = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)


@pytest.fixture
def decided(tmp_path):
    """Seven documents of shard 3; the last was rejected before."""
    n = len(ORIGINS)
    scored = {
        "generation": pa.array([None, 2, 5, None, None, 0, 9], pa.int16()),
        "created_at": pa.array([DAY, DAY - datetime.timedelta(days=1), None, None, None, None, None], pa.timestamp("us", tz="UTC")),
    }
    path = str(tmp_path / "scored.parquet")
    pq.write_table(pa.table(scored), path)
    columns = {field.name: pa.nulls(n, field.type) for field in DECISION_SCHEMA}
    columns["address"] = pa.array(make_addresses(3, np.arange(n)))
    columns["id"] = pa.array([f"d{row}" for row in range(n)])
    columns["origin"] = pa.array([ORIGIN_CODES[name] for name in ORIGINS], pa.uint8())
    columns["reason"] = pa.array([None] * (n - 1) + ["near_duplicate"], pa.string())
    return write_decisions(pa.table(columns, schema=DECISION_SCHEMA), ScoredShard("scored.parquet", path, n, 3), str(tmp_path / "before"))


def found(*rows):
    """(row, cycle, id) of each earlier publication."""
    columns = zip(*((int(make_addresses(3, np.array([row]))[0]), cycle, name, "run", 0.9) for row, cycle, name in rows), strict=True)
    return tuple(
        pa.table([pa.array(held, field.type) for held, field in zip(columns, EARLIER_SCHEMA, strict=True)], schema=EARLIER_SCHEMA).to_batches()
    )


def remembered(decided, tmp_path, derived=None, settings=MemorySettings(), **held):
    (after,) = remember_shard((decided, Remembered(**held)), derived, settings, str(tmp_path / "after"))
    table = read_decisions(after)
    assert table.schema == DECISION_SCHEMA and after.num_alive == table["reason"].null_count and after.shard == decided.shard
    return table


def test_with_an_empty_ledger_all_human_text_is_fresh_and_nothing_is_rejected(decided, tmp_path):
    table = remembered(decided, tmp_path)
    assert table["reason"].to_pylist() == [None] * 6 + ["near_duplicate"]
    assert table["fresh"].to_pylist() == [True, True, False, False, True, False, False]


def test_reused_text_is_rejected_with_its_cycle_and_id(decided, tmp_path):
    table = remembered(decided, tmp_path, reused=found((2, "c1", "old")))
    row = table.to_pylist()[2]
    assert (row["stage"], row["reason"], row["value"], row["limit"]) == ("ledger", "reused", 1, 1)
    assert (row["partner_id"], row["partner_cycle"]) == ("old", "c1") and row["similarity"] == pytest.approx(0.9)


def test_below_the_limit_text_may_be_used_again(decided, tmp_path):
    reused = found((2, "c1", "old"), (3, "c1", "a"), (3, "c2", "b"))
    table = remembered(decided, tmp_path, settings=MemorySettings(max_synthetic_uses=2), reused=reused)
    assert table["reason"].to_pylist()[2:4] == [None, "reused"]


def test_human_text_that_was_published_returns_but_is_not_fresh(decided, tmp_path):
    table = remembered(decided, tmp_path, published=found((0, "c1", "same"), (0, "c2", "same")))
    assert table["reason"].to_pylist()[0] is None
    assert table["fresh"].to_pylist()[:2] == [False, True]


def test_withdrawn_text_is_rejected_whoever_wrote_it_and_before_reuse(decided, tmp_path):
    table = remembered(decided, tmp_path, withdrawn=found((0, "c1", "h"), (2, "c1", "s")), reused=found((2, "c1", "s")))
    assert table["reason"].to_pylist()[:3] == ["withdrawn", None, "withdrawn"]


def test_generations_are_those_of_parents_or_declared_and_at_least_one_for_machines(decided, tmp_path):
    derived = pa.table({"id": ["d3", "d5", "elsewhere"], "generation": pa.array([4, 2, 7], pa.int16())})
    assert remembered(decided, tmp_path)["generation"].to_pylist() == [0, 2, 5, 1, 0, 1, 9]
    assert remembered(decided, tmp_path, derived)["generation"].to_pylist() == [0, 2, 5, 4, 0, 2, 9]


def test_what_is_deeper_than_the_limit_is_rejected_with_its_depth(decided, tmp_path):
    table = remembered(decided, tmp_path, settings=MemorySettings(max_generation=1))
    assert table["reason"].to_pylist() == [None, "too_deep", "too_deep", None, None, None, "near_duplicate"]
    row = table.to_pylist()[2]
    assert (row["stage"], row["value"], row["limit"]) == ("ledger", 5, 1)


def test_what_is_reused_is_not_too_deep_besides(decided, tmp_path):
    table = remembered(decided, tmp_path, settings=MemorySettings(max_generation=1), reused=found((2, "c1", "old")))
    assert table["reason"].to_pylist()[2] == "reused"


def test_with_a_date_only_text_from_then_on_is_fresh(decided, tmp_path):
    table = remembered(decided, tmp_path, settings=MemorySettings(fresh_after="2025-06-01"))
    assert table["fresh"].to_pylist() == [True, False, False, False, False, False, False]


def test_batches_are_gathered_by_what_they_answer():
    batch = found((0, "c1", "x"))[0]
    assert gather_remembered([("reused", batch), ("withdrawn", batch), ("reused", batch)]) == Remembered((batch, batch), (), (batch,))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"max_synthetic_uses": 0}, "at least 1"), ({"max_generation": -1}, "at least 0"), ({"fresh_after": "soon"}, "must be a date such as")],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        MemorySettings(**settings)


def test_dates_are_read_as_utc():
    assert read_date("2025-06-01") == DAY
    assert read_date("2025-06-01T02:00:00+02:00") == DAY
