"""Judging: origin first, then rules; every rejection carries what decided."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.calibration import LengthThresholds
from transforms.apply_rules import Rule
from transforms.decisions import read_decisions
from transforms.judge_documents import judge_documents, judge_shard
from transforms.records import DECISION_SCHEMA, DUPLICATE_SCHEMA, ORIGIN_CODES, Reason, ScoredShard, Stage, make_addresses
from transforms.reject_duplicates import reject_duplicates

THRESHOLDS = LengthThresholds(0.01, (50, 100), (0.9, math.nan), "digest")
RULES = (Rule("too_short", "words", min=20),)


def columns(**given):
    n = len(given["words"])
    defaults = {
        "id": [f"d{i}" for i in range(n)],
        "source": ["s"] * n,
        "origin": ["human"] * n,
        "row_key": np.arange(n, dtype=np.uint64),
        "content_hash": [bytes([i]) * 16 for i in range(n)],
        "tokens": given["words"],
        "bytes": given["words"],
        "quality": [0.5] * n,
        "ai_probability": [0.1] * n,
    }
    values = defaults | given
    types = {"row_key": pa.uint64(), "content_hash": pa.binary(16), "quality": pa.float32(), "ai_probability": pa.float32()}
    types |= dict.fromkeys(("words", "tokens", "bytes"), pa.int32()) | dict.fromkeys(("id", "source", "origin"), pa.string())
    return pa.table({name: pa.array(value, types.get(name)) for name, value in values.items()})


def judged(**given):
    return judge_documents(columns(**given), 7, RULES, THRESHOLDS, True)


def test_every_row_gets_an_address_and_keeps_its_order():
    table = judged(words=[60, 60, 60])
    assert table.schema == DECISION_SCHEMA
    assert table["address"].to_pylist() == make_addresses(7, np.arange(3)).tolist()
    assert table["id"].to_pylist() == ["d0", "d1", "d2"]


def test_human_text_above_the_threshold_of_its_length_is_disputed():
    rows = judged(words=[60, 60, 120, 30], ai_probability=[0.95, 0.85, 0.99, 0.99]).to_pylist()
    assert [row["reason"] for row in rows] == [Reason.DISPUTED_ORIGIN.value, None, None, None]
    assert rows[0]["stage"] == Stage.ORIGIN.value
    assert rows[0]["value"] == pytest.approx(0.95) and rows[0]["limit"] == pytest.approx(0.9)
    # The group from 100 words cannot be judged, and 30 words are fewer than any group has.
    assert [row["verified"] for row in rows] == [True, True, False, False]
    assert all(row["origin"] == ORIGIN_CODES["human"] for row in rows[1:])


def test_disputed_text_may_be_kept_outside_the_human_share():
    table = judge_documents(columns(words=[60], ai_probability=[0.95]), 0, RULES, THRESHOLDS, False)
    assert table["reason"].to_pylist() == [None]
    assert table["origin"].to_pylist() == [ORIGIN_CODES["disputed"]]


def test_a_disputed_origin_comes_before_any_rule():
    rules = (Rule("always", "words", max=1),)
    rows = judge_documents(columns(words=[60, 60], ai_probability=[0.95, 0.1]), 0, rules, THRESHOLDS, True).to_pylist()
    assert [row["reason"] for row in rows] == ["disputed_origin", "always"]
    assert rows[1]["value"] == 60 and rows[1]["limit"] == 1


def test_an_abstaining_detector_disputes_nothing():
    rows = judged(words=[60, 60], ai_probability=[None, 0.1], origin=["human", "unknown"]).to_pylist()
    assert [row["origin"] for row in rows] == [ORIGIN_CODES["human"], ORIGIN_CODES["presumed_human"]]
    assert [row["verified"] for row in rows] == [False, True]


def test_without_a_detector_declared_origins_stand():
    rows = judge_documents(columns(words=[60, 60], ai_probability=[0.99, 0.99]), 0, RULES, None, True).to_pylist()
    assert [row["reason"] for row in rows] == [None, None]
    assert not any(row["verified"] for row in rows)


def test_a_shard_on_disk_is_judged_without_its_text(tmp_path):
    table = columns(words=[60, 10]).append_column("text", pa.array(["never read", "either"]))
    path = str(tmp_path / "a.parquet")
    pq.write_table(table, path)
    shard = ScoredShard("a.parquet", path, 2, 3)
    (decided,) = judge_shard(shard, RULES, THRESHOLDS, True, str(tmp_path / "judged"))
    assert decided.num_alive == 1 and decided.shard == shard
    assert read_decisions(decided)["reason"].to_pylist() == [None, "too_short"]
    assert read_decisions(decided, ["id", "origin"]).column_names == ["id", "origin"]


def test_an_empty_shard_is_judged_too(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(columns(words=[]), path)
    (decided,) = judge_shard(ScoredShard("a", path, 0, 0), RULES, THRESHOLDS, True, str(tmp_path / "judged"))
    assert decided.num_alive == 0 and read_decisions(decided).num_rows == 0


@pytest.fixture
def decided(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(columns(words=[60, 10, 60]), path)
    (decided,) = judge_shard(ScoredShard("a", path, 3, 3), RULES, THRESHOLDS, True, str(tmp_path / "judged"))
    return decided


def duplicates(*rows):
    return pa.RecordBatch.from_pylist([dict(zip(DUPLICATE_SCHEMA.names, row, strict=True)) for row in rows], DUPLICATE_SCHEMA)


def test_duplicates_are_rejected_with_partner_and_similarity(decided, tmp_path):
    found = duplicates((int(make_addresses(3, np.array([2]))[0]), 9, "survivor", 0.875))
    (after,) = reject_duplicates((decided, [found]), Stage.NEAR, Reason.NEAR_DUPLICATE, 0.7, str(tmp_path / "near"))
    rows = read_decisions(after).to_pylist()
    assert [row["reason"] for row in rows] == [None, "too_short", "near_duplicate"]
    assert rows[2]["value"] == 0.875 and rows[2]["limit"] == pytest.approx(0.7)
    assert rows[2]["partner_id"] == "survivor" and rows[2]["similarity"] == 0.875 and rows[2]["stage"] == "near_duplicates"
    assert after.num_alive == 1


def test_no_duplicates_leave_the_decisions_as_they_were(decided, tmp_path):
    (after,) = reject_duplicates((decided, []), Stage.NEAR, Reason.NEAR_DUPLICATE, 0.7, str(tmp_path / "near"))
    assert read_decisions(after) == read_decisions(decided)


def test_rejecting_what_is_already_rejected_is_a_defect(decided, tmp_path):
    found = duplicates((int(make_addresses(3, np.array([1]))[0]), 9, "survivor", 1.0))
    with pytest.raises(AssertionError, match="already rejected"):
        reject_duplicates((decided, [found]), Stage.NEAR, Reason.NEAR_DUPLICATE, 0.7, str(tmp_path / "near"))
