"""Claims about who is of which group: what predicates see of decisions, scores and records, and how slips are said."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.mix_documents import CODES, decisions_of, make_documents
from transforms.group_members import add_members, check_group_fields, decided_fields, known_fields, read_cells, with_members
from transforms.mix_settings import MixSettings
from transforms.records import DecidedShard, Origin, ScoredShard

KNOWN = known_fields([pa.field("language", pa.string()), pa.field("perplexity", pa.float32()), pa.field("vector", pa.list_(pa.float32()))])


def table_of(**columns) -> pa.Table:
    """Decisions with these columns."""
    count = len(next(iter(columns.values())))
    return decisions_of(
        [{**document, **{name: values[row] for name, values in columns.items()}} for row, document in enumerate(make_documents(count, "mixed", 1))]
    )


def members(where: str, table: pa.Table, scored: pa.Table | None = None) -> list[bool]:
    return add_members(table, MixSettings(groups={"a": {"where": where}}).groups, scored)[f"in:{where}"].to_pylist()


def test_origin_is_the_verified_one_and_generation_the_derived_one_where_there_is_one():
    table = table_of(origin=[CODES[Origin.HUMAN], CODES[Origin.PRESUMED_HUMAN], CODES[Origin.SYNTHETIC]], declared=[3, 3, 2], generation=[None, 0, 2])
    assert members('origin == "presumed_human"', table) == [False, True, False]
    assert members('declared_origin == "unknown"', table) == [True, True, False]
    assert members("generation >= 2", table, pa.table({"generation": pa.array([5, 5, 5], pa.int16())})) == [True, False, True]


def test_fields_of_records_are_read_by_type_and_where_they_are():
    records = [{"domain": "a.org", "meta": {"stars": 5}}, {"domain": 7}, {"meta": {"stars": "5"}}, {"däne": "x"}, None, {"quality": "good"}]
    scored = pa.table({"extra": [None if one is None else json.dumps(one) for one in records]})
    table = table_of(reason=[None] * 6)
    assert members('domain == "a.org"', table, scored) == [True, *[False] * 5]
    assert members("domain == 7", table, scored) == [False, True, *[False] * 4]
    assert members("meta.stars > 4.5", table, scored) == [True, *[False] * 5]
    assert members("domain is not none", table, scored) == [True, True, *[False] * 4]
    assert members('field("däne") == "x"', table, scored) == [*[False] * 3, True, False, False]
    assert members('extra.quality == "good"', table, scored) == [*[False] * 5, True]


def test_records_of_documents_that_are_out_are_not_parsed():
    table = table_of(reason=[None, "too_short"])
    scored = pa.table({"extra": ['{"domain": "a"}', "{domain: no JSON at all"]})
    assert members('domain == "a"', table, scored) == [True, False]


def test_nested_groups_hold_only_documents_of_their_parents_and_reserves_have_bits_of_their_own():
    groups = {"german": {"where": "in_german"}, "poems": {"where": "poem", "within": "german"}}
    mix = MixSettings(groups=groups, reserve={"task.a": 1}, min_fresh_human=0.5)
    alive = pa.table({"in:in_german": [True, True, False, False], "in:poem": [True, False, True, False]})
    is_human, is_stale = np.array([True, False, True, True]), np.array([True, False, False, True])
    cells = read_cells(alive, is_human, is_stale, np.array([[False, True, False, False]]), mix)
    assert cells.tolist() == [0b01101, 0b10100, 0b00011, 0b00001]


def test_a_shard_is_read_for_what_its_groups_name(tmp_path):
    pq.write_table(pa.table({"language": ["de", "en"], "extra": ['{"domain": "a"}', None]}), tmp_path / "scored.parquet")
    decided = DecidedShard(ScoredShard("s", str(tmp_path / "scored.parquet"), 2), "", 2)
    mix = MixSettings(
        groups={"a": {"where": 'language == "de" and domain == "a" and verified and origin != "synthetic"'}, "b": {"where": 'domain == "b"'}}
    )
    table = with_members(table_of(reason=[None, None], verified=[True, True], origin=[0, 0]), decided, mix.groups)
    assert table[f"in:{mix.groups[0].where}"].to_pylist() == [True, False] and table['in:domain == "b"'].to_pylist() == [False, False]
    assert "has:domain" in table.column_names and table["has:domain"].to_pylist() == [True, False]
    assert decided_fields(mix.groups) == ("verified", "origin")
    assert with_members(table, decided, ()) is table


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            'langauge == "de"',
            "groups.a.where: langauge: no such column; did you mean 'language'? For a field of the records that is named so, write extra.langauge",
        ),
        ("language > 3", "groups.a.where: language: is text, and is compared with a number"),
        ('quality == "good"', "groups.a.where: quality: is a number, and is compared with text"),
        ("language", "groups.a.where: language: is text, and is compared with true or false"),
        ("vector is not none", "groups.a.where: vector: is no single value"),
        ('text == "a"', "groups.a.where: text: cannot be compared"),
        ('created_at > "yesterday"', "Invalid isoformat string: 'yesterday'"),
    ],
)
def test_a_slip_is_said_before_anything_is_read(where, said):
    with pytest.raises(ValueError) as raised:
        check_group_fields(MixSettings(groups={"a": {"where": where}}).groups, KNOWN)
    assert said in str(raised.value)


def test_fields_of_the_records_and_every_kind_of_column_are_accepted():
    where = 'domain == "a" and extra.language == "x" and created_at > "2020-01-01" and perplexity < 5 and generation in [1, 2] and fresh and source != "a"'
    check_group_fields(MixSettings(groups={"a": {"where": where}}).groups, KNOWN)
