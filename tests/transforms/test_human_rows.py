"""Human text that is published several times: no more than is needed, all once before any twice, and every promise counts rows for what they are."""

import itertools
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import CODES, SCORED, make_documents, priorities_of
from transforms import survey_mix
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.human_rows import copy_rows, counts_as_human, repeat_human
from transforms.mix_settings import PRIORITIES, UNITS, MixSettings
from transforms.place_mix import MixCuts
from transforms.records import DECISION_SCHEMA, Origin

SCHEMA = pa.unify_schemas([DECISION_SCHEMA, SCORED, pa.schema([("task", pa.string())])])


@st.composite
def mixes(draw) -> MixSettings:
    return MixSettings(
        human_quota=draw(st.sampled_from(["0", "1/3", "0.5", "0.9", "1"])),
        quota_unit=draw(st.sampled_from(UNITS)),
        max_documents=draw(st.integers(1, 120)),
        max_tokens=draw(st.none() | st.integers(1, 3_000)),
        min_fresh_human=draw(st.sampled_from(["0", "0", "0.3", "0.8"])),
        fresh_share_of=draw(st.sampled_from(["human", "all"])),
        reserve=draw(st.sampled_from([{}, {}, {"task.a": 3}, {"task.a": 2, "task.b": 9}])),
        max_human_repeats=draw(st.sampled_from([2, 3, 5])),
        priority=draw(st.sampled_from(PRIORITIES)),
        num_shards=draw(st.none() | st.integers(1, 5)),
        on_shortage="shrink",
        seed=draw(st.integers(0, 3)),
    )


def table_of(count: int, kind: str, seed: int) -> pa.Table:
    documents = make_documents(count, kind, seed)
    for number, document in enumerate(documents):
        document.update(fresh=number % 3 == 0, task="ab c"[number % 4], address=number, reason="gone" if number % 11 == 10 else None)
    return pa.Table.from_pylist(documents, schema=SCHEMA)


def mix_rows(table: pa.Table, parts: int, mix: MixSettings) -> tuple[list[dict], MixCuts]:
    """The published rows as (address, copy, shard), and the cuts, with the documents parted."""
    tables = [table.take(pa.array(np.arange(part, table.num_rows, parts))) for part in range(parts)]
    cuts = cuts_of_tables(tables, mix)
    rows = []
    for one in tables:
        repeated = repeat_human(one, mix)
        outcome = apply_mix(repeated, cuts, mix)
        kept = outcome.output_shard >= 0
        copies = repeated["copy"].to_numpy() if "copy" in repeated.column_names else np.zeros(repeated.num_rows)
        for row, copy, shard in zip(repeated.filter(pa.array(kept)).to_pylist(), copies[kept], outcome.output_shard[kept], strict=True):
            rows.append({**row, "copy": int(copy), "shard": int(shard)})
    return sorted(rows, key=lambda row: (row["address"], row["copy"])), cuts


@given(
    st.integers(0, 60), st.sampled_from(["mixed", "all human", "no human", "mostly other", "ties"]), st.integers(0, 99), mixes(), st.integers(1, 4)
)
@settings(max_examples=60)
def test_every_promise_holds_for_rows_and_none_is_repeated_before_all_are_published(count, kind, seed, mix, parts):
    table = table_of(count, kind, seed)
    with mock.patch.object(survey_mix, "BIN_BITS", 8), mock.patch("transforms.reserve_places.BIN_BITS", 8):
        rows, cuts = mix_rows(table, parts, mix)
    whole, again = mix_rows(table, 1, mix)
    assert rows == whole and cuts.plan == again.plan
    human = [row for row in rows if row["origin"] == CODES[Origin.HUMAN]]
    others = [row for row in rows if row["origin"] != CODES[Origin.HUMAN]]
    assert all(row["copy"] == 0 for row in others)

    def size(some: list[dict], unit: str) -> int:
        return sum({"documents": 1, **row}[unit] for row in some)

    for shard in (None, *range(cuts.plan.num_shards)):
        held = [row for row in rows if shard in (None, row["shard"])]
        assert size([row for row in held if row in human], mix.quota_unit) >= mix.human_quota * size(held, mix.quota_unit)
    assert len(rows) <= mix.max_documents and (mix.max_tokens is None or size(rows, "tokens") <= mix.max_tokens)
    # A copy is no fresh text.
    fresh = [row for row in human if row["copy"] == 0 and row["fresh"]]
    assert size(fresh, mix.quota_unit) >= mix.min_fresh_human * size(rows if mix.fresh_share_of == "all" else human, mix.quota_unit)

    alive = [row for row in table.to_pylist() if row["reason"] is None and row["origin"] == CODES[Origin.HUMAN]]
    plan = cuts.plan
    assert plan.human_available.documents == len(alive) and plan.selected.documents == len(rows)
    assert plan.repeated.documents == sum(row["copy"] > 0 for row in human)
    for group, reserve in zip(plan.reserved, mix.reserve, strict=True):
        assert group.published == sum(row["task"] == reserve.value and row["copy"] == 0 for row in rows)
    copies = [{row["address"] for row in human if row["copy"] == copy} for copy in range(mix.max_human_repeats)]
    keys = dict(zip([row["address"] for row in alive], priorities_of(alive, mix).tolist(), strict=True)) if alive else {}
    for before, after in itertools.pairwise(copies):
        assert after <= before and (not after or len(before) == len(alive))
        left = [(keys[address] >> mix.copy_bits, address) for address in before - after]
        assert not after or not left or max((keys[address] >> mix.copy_bits, address) for address in after) <= min(left)


@given(st.integers(1, 80), st.integers(0, 99), st.sampled_from(["1/4", "0.5", "0.8"]), st.integers(1, 60), st.sampled_from([1, 3]))
@settings(max_examples=60)
def test_where_the_size_is_reached_without_them_nothing_is_repeated(count, seed, quota, size, shards):
    table = table_of(count, "mixed", seed)
    once = MixSettings(human_quota=quota, max_documents=size, num_shards=shards, on_shortage="shrink")
    rows, cuts = mix_rows(table, 2, once)
    repeated, again = mix_rows(table, 2, MixSettings(**{**vars(once), "max_human_repeats": 4}))
    if cuts.plan.selected.documents == size:
        assert [{**row, "copy": 0} for row in repeated] == rows and again.plan.repeated.documents == 0
    else:
        assert again.plan.selected.documents >= cuts.plan.selected.documents


def test_repeats_carry_other_text_up_to_the_wanted_size():
    documents = [
        {**one, "origin": CODES[Origin.HUMAN if number < 10 else Origin.SYNTHETIC], "address": number}
        for number, one in enumerate(make_documents(60, "mixed", 1))
    ]
    table = pa.Table.from_pylist(documents, schema=SCHEMA)
    mix = MixSettings(human_quota="1/2", max_documents=50, max_human_repeats=4, num_shards=1)
    rows, cuts = mix_rows(table, 3, mix)
    assert not cuts.plan.is_unmet and len(rows) == 50
    assert cuts.plan.human_selected.documents == 25 and cuts.plan.repeated.documents == 15
    assert "human documents published more than once: 10, up to 4 times each; rows from repeats: 15 documents" in " ".join(cuts.plan.sentences())
    _, cuts = mix_rows(table, 1, MixSettings(**{**vars(mix), "max_human_repeats": 2}))
    assert cuts.plan.is_unmet and "20 are there, each text 2 times" in cuts.plan.shortages[0]


def test_copies_stand_behind_the_documents_and_know_their_rows():
    table = table_of(30, "mixed", 4)
    mix = MixSettings(max_documents=10, max_human_repeats=3)
    repeated, (rows, copies) = repeat_human(table, mix), copy_rows(table, mix)
    human = sum(row["reason"] is None and row["origin"] == CODES[Origin.HUMAN] for row in table.to_pylist())
    assert repeated.num_rows == 30 + 2 * human == len(rows) and repeated.slice(0, 30).drop_columns("copy") == table
    assert repeated["address"].to_pylist() == table["address"].take(pa.array(rows)).to_pylist() and repeated["copy"].to_pylist() == copies.tolist()
    assert repeat_human(table, MixSettings()) is table


def test_presumed_human_text_is_repeated_where_it_counts():
    origins = np.array([CODES[name] for name in (Origin.HUMAN, Origin.PRESUMED_HUMAN, Origin.SYNTHETIC, Origin.DISPUTED)])
    assert counts_as_human(origins, MixSettings()).tolist() == [True, False, False, False]
    assert counts_as_human(origins, MixSettings(count_presumed_human=True)).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("given_settings", "said"),
    [
        ({"max_human_repeats": 0, "max_documents": 5}, "a whole number in 1..64"),
        ({"max_human_repeats": 65, "max_documents": 5}, "a whole number in 1..64"),
        ({"max_human_repeats": 2}, "set max_documents or max_tokens too"),
        (
            {"max_human_repeats": 2, "max_documents": 5, "groups": {"web": {"where": 'source == "web"', "min_share": "1/2"}}},
            "cannot be had with groups",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(given_settings, said):
    with pytest.raises(ValueError, match=said):
        MixSettings(**given_settings)
