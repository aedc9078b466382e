"""Claims about reserved places: they are kept, as many as can be, the best first, and neither quota nor size is given up for them."""

import re
from fractions import Fraction
from itertools import product
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import Create, Pipeline
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import CODES, SCORED, decisions_of, make_documents, priorities_of
from transforms import survey_mix
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import PRIORITIES, UNITS, MixSettings, Reserve
from transforms.mix_to_quota import PlanMix
from transforms.records import DECISION_SCHEMA, DecidedShard, Origin, Reason, ScoredShard

QUOTAS = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(3, 4), Fraction(1)])
FRESH = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(4, 5), Fraction(1)])
SIZES = st.none() | st.integers(1, 14)
TASKS = ("support", "code", None)
IN_MEMORY = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=3), QUOTAS, SIZES)
@settings(max_examples=50)
def test_if_any_mix_meets_all_reserves_of_separate_groups_this_one_does(groups, quota, size):
    """Groups of (human, other, reserved) documents; the last stands for the documents of no group."""
    groups = [*groups[:-1], (*groups[-1][:2], 0)]
    documents = []
    for number, (human, other, _) in enumerate(groups):
        documents += [(f"g{number}", Origin.HUMAN)] * human + [(f"g{number}", Origin.SYNTHETIC)] * other
    mix = MixSettings(
        human_quota=quota,
        max_documents=size,
        num_shards=1,
        on_shortage="shrink",
        reserve={f"task.g{number}": reserved for number, (_, _, reserved) in enumerate(groups)},
    )
    made = [
        {**document, "origin": CODES[origin], "task": task}
        for document, (task, origin) in zip(make_documents(len(documents), "mixed", 3), documents, strict=True)
    ]
    plan = cuts_of_tables([table_of(made)], mix).plan
    feasible = set()
    for taken in product(*(product(range(human + 1), range(other + 1)) for human, other, _ in groups)):
        total, human = sum(map(sum, taken)), sum(pair[0] for pair in taken)
        meets = all(
            sum(pair) >= min(reserved, group[0] + group[1]) for pair, group, reserved in zip(taken, groups, [g[2] for g in groups], strict=True)
        )
        if meets and human >= quota * total and (size is None or total <= size):
            feasible.add(total)
    if feasible and max(feasible):
        assert plan.selected.documents == max(feasible)
        assert all(group.published >= min(group.reserved, group.available) for group in plan.reserved)


# Over all documents


def table_of(documents: list[dict]) -> pa.Table:
    """Decisions with the columns that reserves are made of."""
    table = decisions_of(
        [{key: value for key, value in document.items() if key in (*DECISION_SCHEMA.names, *SCORED.names)} for document in documents]
    )
    for name in ("task", "generator"):
        table = table.append_column(name, pa.array([document.get(name) for document in documents], pa.string()))
    return table


def grouped(count: int, kind: str, seed: int) -> list[dict]:
    chance = np.random.default_rng(seed)
    documents = make_documents(count, kind, seed)
    for document in documents:
        document["task"] = TASKS[chance.integers(3)]
        document["generator"] = ("m1", "m2")[chance.integers(2)]
        document["fresh"] = bool(chance.integers(2))
    return documents


@st.composite
def mixes(draw) -> MixSettings:
    return MixSettings(
        human_quota=draw(QUOTAS),
        min_fresh_human=draw(FRESH),
        fresh_share_of=draw(st.sampled_from(["human", "all"])),
        quota_unit=draw(st.sampled_from(UNITS)),
        max_documents=draw(st.none() | st.integers(1, 60)),
        max_tokens=draw(st.none() | st.integers(1, 900)),
        on_shortage="shrink",
        priority=draw(st.sampled_from(PRIORITIES)),
        count_presumed_human=draw(st.booleans()),
        num_shards=draw(st.integers(1, 5)),
        reserve=draw(st.dictionaries(st.sampled_from(["task.support", "task.code", "generator.m1", "task.none"]), st.integers(0, 30), min_size=1)),
    )


def slow_reserved(documents: list[dict], mix: MixSettings) -> set[int]:
    """Addresses with a reserved place, by sorting each group."""
    keys = priorities_of(documents, mix)
    human = {CODES[Origin.HUMAN]} | ({CODES[Origin.PRESUMED_HUMAN]} if mix.count_presumed_human else set())

    def order(pair: tuple[dict, int]) -> tuple:
        document, key = pair
        is_human = document["origin"] in human
        return (2 if not is_human else 1 if mix.min_fresh_human and not document["fresh"] else 0, key, document["address"])

    found = set()
    for reserve in mix.reserve:
        members = [pair for pair in zip(documents, keys.tolist(), strict=True) if pair[0][reserve.field] == reserve.value]
        found |= {document["address"] for document, _ in sorted(members, key=order)[: reserve.documents]}
    return found


@given(st.integers(0, 70), st.sampled_from(["mixed", "mostly other", "all human", "ties"]), st.integers(0, 99), mixes(), st.sampled_from([2, 4, 20]))
@settings(max_examples=50)
def test_however_the_documents_are_parted_the_same_are_chosen_and_every_promise_is_counted(count, kind, seed, mix, bin_bits):
    documents = grouped(count, kind, seed)
    whole = table_of(documents)
    expected = cuts_of_tables([whole], mix)
    outcome = apply_mix(whole, expected, mix)
    with mock.patch.object(survey_mix, "BIN_BITS", bin_bits), mock.patch("transforms.reserve_places.BIN_BITS", bin_bits):
        parts = [whole.take(pa.array(np.arange(count)[start::3], pa.int64())) for start in range(3)]
        cuts = cuts_of_tables(parts[::-1], mix)
        assert cuts.plan == expected.plan
        for start, part in enumerate(parts):
            there = apply_mix(part, cuts, mix)
            assert there.output_shard.tolist() == outcome.output_shard[start::3].tolist()
            assert there.reason.to_pylist() == outcome.reason.to_pylist()[start::3]
    kept = [document for document, shard in zip(documents, outcome.output_shard, strict=True) if shard >= 0]
    assert expected.plan.selected.documents == len(kept)
    for group in expected.plan.reserved:
        field, _, value = group.name.partition(".")
        assert group.published == sum(one[field] == value for one in kept)
        assert group.available == sum(one[field] == value for one in documents)
    check_promises(kept, expected, mix)


def check_promises(kept: list[dict], cuts, mix: MixSettings) -> None:
    human = {CODES[Origin.HUMAN]} | ({CODES[Origin.PRESUMED_HUMAN]} if mix.count_presumed_human else set())

    def size(documents) -> int:
        return sum(1 if mix.quota_unit == "documents" else one[mix.quota_unit] for one in documents)

    of_human = [one for one in kept if one["origin"] in human]
    fresh = size(one for one in of_human if one["fresh"])
    assert size(of_human) >= mix.human_quota * size(kept)
    # Placing may reject other documents, which leaves a larger share of the whole fresh.
    assert not mix.min_fresh_human or fresh >= mix.min_fresh_human * size(kept if mix.fresh_share_of == "all" else of_human)
    assert mix.max_documents is None or len(kept) <= mix.max_documents
    assert mix.max_tokens is None or sum(one["tokens"] for one in kept) <= mix.max_tokens
    totals = cuts.human_units[:, UNITS.index(mix.quota_unit)] + cuts.other_units
    if mix.human_quota:
        assert all(
            Fraction(int(h)) >= mix.human_quota * int(t) for h, t in zip(cuts.human_units[:, UNITS.index(mix.quota_unit)], totals, strict=True)
        )


@given(st.integers(1, 70), st.sampled_from(["mixed", "mostly other", "ties"]), st.integers(0, 99), mixes())
@settings(max_examples=40)
def test_the_best_of_each_group_have_the_places_and_are_published_before_any_other(count, kind, seed, mix):
    documents = grouped(count, kind, seed)
    table = table_of(documents)
    cuts = cuts_of_tables([table], mix)
    reserved = slow_reserved(documents, mix)
    alive = survey_mix.read_alive(table, mix, cuts.selection.reserved)
    assert set(alive.addresses[alive.is_reserved].tolist()) == reserved
    chosen = alive.chosen(cuts.selection)
    for stratum in (alive.is_human, ~alive.is_human):
        left_out = stratum & alive.is_reserved & ~chosen & ~alive.is_uncarried(cuts.selection)
        # What fresh text does not carry waits for fresh text; nothing else goes before a reserved place.
        ahead = stratum & ~alive.is_reserved & chosen
        assert not (left_out.any() and ahead.any())


def test_without_a_reserve_nothing_changes():
    documents = grouped(200, "mixed", 5)
    plain, zero = MixSettings(human_quota="0.6"), MixSettings(human_quota="0.6", reserve={"task.support": 0})
    assert plain == zero
    one = apply_mix(decisions_of(make_documents(200, "mixed", 5)), cuts_of_tables([decisions_of(make_documents(200, "mixed", 5))], plain), plain)
    other = apply_mix(table_of(documents), cuts_of_tables([table_of(documents)], zero), zero)
    assert one.output_shard.tolist() == other.output_shard.tolist()


def test_a_reserve_takes_other_documents_before_better_ones_and_says_so():
    documents = grouped(300, "mostly other", 7)
    plain = MixSettings(human_quota="0.5", priority="quality", num_shards=2)
    human = sum(one["origin"] == CODES[Origin.HUMAN] for one in documents)
    support = sum(one["task"] == "support" and one["origin"] == CODES[Origin.HUMAN] for one in documents)
    before = cuts_of_tables([table_of(documents)], plain).plan
    assert before.other_selected.documents == human and before.reserved == ()
    mix = MixSettings(human_quota="0.5", priority="quality", num_shards=2, reserve={"task.support": support + human})
    plan = cuts_of_tables([table_of(documents)], mix).plan
    (group,) = plan.reserved
    assert group.is_met and group.published == group.reserved and not plan.is_unmet
    assert (
        f"reserved for task.support: {group.published:,} documents, at least {group.reserved:,} promised, of {group.available:,}" in plan.sentences()
    )


@pytest.mark.parametrize("on_shortage", ["fail", "shrink"])
def test_a_reserve_that_cannot_be_met_is_a_shortage(on_shortage):
    documents = grouped(100, "mostly other", 7)
    available = sum(one["task"] == "support" for one in documents)
    for quota, reserved, said in (
        ("0", available + 1, f"only {available} such documents are left to choose from"),
        ("1", available, f"quota, size and fresh share let in .* of {available} such documents"),
    ):
        mix = MixSettings(human_quota=quota, on_shortage=on_shortage, num_shards=1, reserve={"task.support": reserved})
        plan = cuts_of_tables([table_of(documents)], mix).plan
        assert plan.is_unmet == (on_shortage == "fail") and plan.selected.documents
        (sentence,) = plan.shortages
        assert sentence.startswith(f"{reserved} places are reserved for task.support, and ") and sentence in plan.sentences()
        assert re.search(said, sentence)


def test_what_no_fresh_text_carries_is_rejected_as_not_fresh():
    documents = make_documents(60, "all human", 4)
    for index, document in enumerate(documents):
        document.update(fresh=index < 10, task="support" if index >= 10 else None)
    mix = MixSettings(human_quota=1, min_fresh_human="0.5", num_shards=1, on_shortage="shrink", reserve={"task.support": 50})
    table = table_of(documents)
    cuts = cuts_of_tables([table], mix)
    reasons = apply_mix(table, cuts, mix).reason.to_pylist()
    assert reasons.count(Reason.NOT_FRESH) == 40 and reasons.count(None) == 20
    assert cuts.plan.reserved[0].published == 10 and "50 places are reserved for task.support" in cuts.plan.shortages[-1]


def test_reserved_documents_are_the_first_to_find_a_place_in_a_shard():
    mix = MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2, on_shortage="shrink", reserve={"task.support": 1})
    documents = make_documents(6, "all human", 1)
    for index, (document, tokens) in enumerate(zip(documents, [10, 10, 8, 8, 4, 0], strict=True)):
        document.update(tokens=tokens, origin=CODES[Origin.HUMAN if index < 2 else Origin.SYNTHETIC], task="support" if index == 2 else None)
    cuts = cuts_of_tables([table_of(documents)], mix)
    assert cuts.plan.reserved[0].published == 1


def test_pipeline_finds_the_places_that_memory_finds(tmp_path):
    documents = grouped(300, "mostly other", 8)
    mix = MixSettings(
        human_quota="0.4",
        min_fresh_human="0.7",
        max_documents=90,
        num_shards=3,
        on_shortage="shrink",
        reserve={"task.support": 30, "generator.m1": 20},
    )
    whole = table_of(documents)
    expected = cuts_of_tables([whole], mix)
    shards = []
    for index in range(3):
        part = whole.take(pa.array(np.arange(300)[index::3]))
        pq.write_table(part.select(["task", "generator"]), tmp_path / f"{index}.parquet")
        with pa.OSFile(str(tmp_path / f"{index}.arrow"), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
            writer.write_table(part.select(DECISION_SCHEMA.names))
        shards.append(DecidedShard(ScoredShard(f"{index}", str(tmp_path / f"{index}.parquet"), 100, index), str(tmp_path / f"{index}.arrow"), 100))

    def check(found: list) -> None:
        (cuts,) = found
        assert cuts.plan == expected.plan and len(cuts.plan.reserved) == 2
        assert apply_mix(whole, cuts, mix).output_shard.tolist() == apply_mix(whole, expected, mix).output_shard.tolist()

    bits = mock.patch.object(survey_mix, "BIN_BITS", 6), mock.patch("transforms.reserve_places.BIN_BITS", 6)
    with bits[0], bits[1], Pipeline(runner=IN_MEMORY) as pipeline:
        assert_that(pipeline | Create(shards, reshuffle=False) | PlanMix(mix), check)


@pytest.mark.parametrize(
    ("field", "value", "documents"), [("tusk", "a", 1), ("task", "", 1), ("task", "a", -1), ("task", "a", 1.5), ("task", "a", True)]
)
def test_a_reserve_names_its_field_and_what_is_allowed(field, value, documents):
    with pytest.raises(ValueError, match=r"reserve\.\w+\."):
        Reserve(field, value, documents)


def test_the_order_in_which_reserves_are_named_means_nothing():
    one = MixSettings(reserve={"task.b": 2, "source.a.b": 1})
    assert one == MixSettings(reserve={"source.a.b": 1, "task.b": 2}) and one.reserve[0].value == "a.b"
    assert one.reserve_fields == ("source", "task")
