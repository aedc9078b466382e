"""The reuse limit counts cycles, names the earlier publication, and leaves human text alone; fresh text is text nobody published."""

import datetime

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from transforms.find_earlier import EARLIER_SCHEMA
from transforms.records import DECISION_SCHEMA
from transforms.reject_reused import REUSED_SCHEMA, count_uses, find_reused, mark_fresh, reject_reused


def earlier(*rows):
    """(address, cycle, id, similarity) of each publication."""
    columns = zip(*((address, cycle, name, f"run-{cycle}", similarity) for address, cycle, name, similarity in rows), strict=True)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, EARLIER_SCHEMA, strict=True)], schema=EARLIER_SCHEMA)


def decisions(n, origins=None, reasons=None):
    columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns["address"] = pa.array(np.arange(n, dtype=np.uint64))
    columns["origin"] = pa.array(origins or [2] * n, pa.uint8())
    columns["reason"] = pa.array(reasons or [None] * n, pa.string())
    return pa.table(columns, schema=DECISION_SCHEMA)


publications = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["c1", "c2", "c3"]), st.sampled_from("abc"), st.sampled_from([0.7, 0.8, 1.0])),
    min_size=1,
    max_size=30,
)


@given(publications, st.randoms())
def test_uses_are_distinct_cycles_and_the_partner_is_the_most_similar(rows, random):
    expected = {}
    for address in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == address]
        _, cycle, name, similarity = min(own, key=lambda row: (-row[3], row[1], row[2]))
        expected[address] = (len({row[1] for row in own}), name, cycle, np.float32(similarity))
    random.shuffle(rows)
    counted = count_uses(earlier(*rows))
    assert counted.schema == REUSED_SCHEMA
    assert {
        row["address"]: (row["uses"], row["partner_id"], row["partner_cycle"], np.float32(row["similarity"])) for row in counted.to_pylist()
    } == expected
    assert counted["address"].to_pylist() == sorted(expected)


@given(publications, st.integers(1, 4))
def test_the_limit_names_exactly_the_documents_used_so_often(rows, limit):
    named = find_reused(earlier(*rows).to_batches(), limit)["address"].to_pylist()
    assert named == [address for address in sorted({row[0] for row in rows}) if len({row[1] for row in rows if row[0] == address}) >= limit]


def test_twice_in_one_cycle_is_one_use():
    found = find_reused(earlier((0, "c1", "a", 1.0), (0, "c1", "b", 0.8)).to_batches(), 2)
    assert found.num_rows == 0


def test_a_limit_of_zero_names_everything_published_and_a_negative_one_is_refused():
    assert find_reused(earlier((3, "c1", "a", 0.7)).to_batches(), 0)["address"].to_pylist() == [3]
    assert find_reused([], 1).num_rows == 0
    with pytest.raises(ValueError, match="must be at least 0, not -1"):
        find_reused([], -1)


def test_a_rejection_names_the_earlier_publication_and_leaves_the_others():
    reused = find_reused(earlier((1, "c1", "old", 0.9), (1, "c2", "older", 0.8)).to_batches(), 2)
    rejected = reject_reused(decisions(3), reused, "reuse", "reused", 2)
    assert rejected.schema == DECISION_SCHEMA
    assert rejected["reason"].to_pylist() == [None, "reused", None]
    row = rejected.to_pylist()[1]
    assert (row["stage"], row["value"], row["limit"], row["partner_id"]) == ("reuse", 2, 2, "old")
    assert row["similarity"] == pytest.approx(0.9)


def test_where_there_is_a_column_for_it_the_cycle_is_named():
    table = decisions(2).append_column("partner_cycle", pa.nulls(2, pa.string())) if "partner_cycle" not in DECISION_SCHEMA.names else decisions(2)
    reused = find_reused(earlier((1, "c1", "old", 1.0)).to_batches(), 1)
    assert reject_reused(table, reused, "reuse", "reused", 1)["partner_cycle"].to_pylist() == [None, "c1"]


def test_nothing_reused_changes_nothing():
    before = decisions(3)
    assert reject_reused(before, find_reused([], 1), "reuse", "reused", 1).equals(before)


def test_a_document_rejected_before_or_unknown_is_refused():
    reused = find_reused(earlier((1, "c1", "old", 1.0)).to_batches(), 1)
    with pytest.raises(ValueError, match="already rejected"):
        reject_reused(decisions(2, reasons=[None, "near_duplicate"]), reused, "reuse", "reused", 1)
    with pytest.raises(ValueError, match="1 documents found in the ledger are not among the decisions"):
        reject_reused(decisions(1), reused, "reuse", "reused", 1)


# Fresh

DAY = datetime.datetime(2025, 3, 1, tzinfo=datetime.UTC)


def dates(*values):
    return pa.chunked_array([pa.array(values, pa.timestamp("us", tz="UTC"))])


def test_fresh_is_human_and_never_published():
    held = decisions(4, origins=[0, 0, 2, 1])
    published = find_reused(earlier((1, "c1", "old", 1.0)).to_batches(), 0)
    assert mark_fresh(held, published, (0,), dates(None, None, None, None), None).to_pylist() == [True, False, False, False]
    assert mark_fresh(held, published, (0, 1), dates(None, None, None, None), None).to_pylist() == [True, False, False, True]


def test_with_a_date_fresh_text_must_be_dated_on_it_or_later():
    held = decisions(4, origins=[0] * 4)
    created = dates(DAY, DAY - datetime.timedelta(seconds=1), None, DAY + datetime.timedelta(days=1))
    assert mark_fresh(held, find_reused([], 0), (0,), created, DAY).to_pylist() == [True, False, False, True]
