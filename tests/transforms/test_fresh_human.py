"""Claims about the least share of fresh human text: it holds exactly, fresh text goes first, and what is left out says why."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import decisions_of, make_documents
from transforms.apply_mix import apply_mix
from transforms.bound_mix import HumanOrder, bound_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Steps
from transforms.plan_mix import plan_mix
from transforms.records import ORIGIN_CODES, Origin, Reason
from transforms.survey_mix import FRESH_END, read_alive

SHARES = st.sampled_from([Fraction(0), Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10), Fraction(1)])
SIZES = st.lists(st.sampled_from([0, 1, 2, 5, 40]), max_size=25)


def units(sizes: list[int]) -> np.ndarray:
    return np.array([(1, size, 3 * size + 1) for size in sizes], np.int64).reshape(-1, 3)


@given(SIZES, SIZES, SIZES, SHARES, SHARES, st.sampled_from(UNITS), st.none() | st.integers(1, 40))
def test_the_fresh_share_and_the_quota_hold_and_no_longer_human_prefix_would_hold_them(fresh, stale, other, least, quota, unit, size):
    mix = MixSettings(human_quota=quota, min_fresh_human=least, quota_unit=unit, max_documents=size, on_shortage="shrink", num_shards=1)
    human = units(fresh + stale)
    plan = plan_mix(human, units(other), mix, len(fresh))
    taken, total = plan.human_selected, plan.selected
    of_fresh = units(fresh)[: taken.documents].sum(axis=0)[UNITS.index(unit)]
    assert of_fresh >= least * taken.count(unit)
    assert taken.count(unit) >= quota * total.count(unit)
    assert size is None or total.documents <= size
    if least:
        assert plan.fresh_selected.documents == min(len(fresh), taken.documents)
    if taken.documents < len(human) and (size is None or total.documents < size):
        longer = human[: taken.documents + 1].sum(axis=0)[UNITS.index(unit)]
        all_fresh = units(fresh)[: taken.documents + 1].sum(axis=0)[UNITS.index(unit)]
        assert all_fresh < least * longer


@given(SIZES, SIZES, SIZES, st.sampled_from(UNITS), st.none() | st.integers(1, 40))
def test_without_a_least_share_nothing_changes(fresh, stale, other, unit, size):
    mix = MixSettings(quota_unit=unit, max_documents=size, num_shards=2)
    one, two = (plan_mix(units(fresh + stale), units(other), mix, count) for count in (0, len(fresh)))
    assert one == two and one.fresh_selected is None


@given(SIZES, SIZES, SIZES, SHARES, st.lists(st.integers(1, 6), max_size=12))
def test_lumps_opened_where_the_bounds_say_give_the_same_plan(fresh, stale, other, least, lengths):
    mix = MixSettings(human_quota=Fraction(1, 2), min_fresh_human=least, quota_unit="tokens", max_documents=20, num_shards=1)
    human, others = units(fresh + stale), Steps(units(other))
    # A lump never holds fresh and other human documents: the bit that parts them is the highest of their keys.
    groups = cut_up(0, len(fresh), lengths) + cut_up(len(fresh), len(human), lengths)
    while True:
        lumped = np.array([human[begin:end].sum(axis=0) for begin, end in groups], np.int64).reshape(-1, 3)
        steps = sum(begin < len(fresh) for begin, _ in groups)
        bounds = bound_mix(Steps(lumped), others, mix, HumanOrder(steps))
        opened = {index for cut in bounds.human_cuts for index in range(cut.low, cut.high) if groups[index][1] - groups[index][0] > 1}
        if not opened:
            break
        groups = [
            part
            for index, (begin, end) in enumerate(groups)
            for part in ([(at, at + 1) for at in range(begin, end)] if index in opened else [(begin, end)])
        ]
    exact = bound_mix(Steps(human), others, mix, HumanOrder(len(fresh)))
    assert bounds.is_exact
    for found, expected in zip(bounds.human_cuts, exact.human_cuts, strict=True):
        assert Steps(lumped).amount(found.low) == Steps(human).amount(expected.low)


def cut_up(begin: int, end: int, lengths: list[int]) -> list[tuple[int, int]]:
    groups = []
    for length in lengths:
        if begin + length <= end:
            groups.append((begin, begin + length))
            begin += length
    return groups + [(at, at + 1) for at in range(begin, end)]


def marked(count: int, seed: int, share: float) -> list[dict]:
    """Documents of which every human one is fresh, not fresh or of unknown freshness."""
    chance = np.random.default_rng(seed)
    documents = make_documents(count, "mixed", seed)
    for document in documents:
        document["fresh"] = [True, False, None][chance.choice(3, p=[share, (1 - share) / 2, (1 - share) / 2])]
    return documents


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.5, 1.0]), SHARES, st.sampled_from(UNITS), st.sampled_from(["random", "quality"]))
def test_over_all_documents_the_share_holds_and_fresh_ones_go_first(seed, share, least, unit, priority):
    documents = marked(120, seed, share)
    mix = MixSettings(human_quota=Fraction(1, 2), min_fresh_human=least, quota_unit=unit, priority=priority, on_shortage="shrink", num_shards=3)
    tables = [decisions_of(documents[:50]), decisions_of(documents[50:])]
    cuts = cuts_of_tables(tables, mix)
    found = {True: [], False: []}
    for table in tables:
        outcome = apply_mix(table, cuts, mix)
        for row, reason in zip(table.to_pylist(), outcome.reason.to_pylist(), strict=True):
            if row["origin"] == ORIGIN_CODES[Origin.HUMAN]:
                found[row["fresh"] is True].append((row, reason))
    kept = {fresh: sum(1 if unit == "documents" else row[unit] for row, reason in rows if reason is None) for fresh, rows in found.items()}
    assert kept[True] >= least * (kept[True] + kept[False])
    if any(reason is None for _, reason in found[False]) and least:
        assert all(reason is None for _, reason in found[True])
    assert {reason for rows in found.values() for _, reason in rows} <= {None, Reason.NOT_FRESH}
    if not least:
        assert all(reason is None for rows in found.values() for _, reason in rows)


def test_what_is_left_out_for_not_being_fresh_says_the_share_and_the_limit():
    documents = marked(60, 4, 0.0)
    human = [document for document in documents if document["origin"] == ORIGIN_CODES[Origin.HUMAN]]
    for document in documents:
        document["fresh"] = document in human[:2]
    mix = MixSettings(human_quota=Fraction(1, 2), min_fresh_human=Fraction(1, 2), num_shards=1)
    table = decisions_of(documents)
    outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
    left = [row for row, reason in enumerate(outcome.reason.to_pylist()) if reason == Reason.NOT_FRESH]
    assert len(left) == len(human) - 4
    assert outcome.value[left[0]].as_py() == pytest.approx(2 / len(human)) and outcome.limit[left[0]].as_py() == 0.5


@pytest.mark.parametrize(
    ("fresh", "size", "said"), [(0, None, "too little fresh human text"), (3, 20, "too little fresh human text"), (3, 6, None), (3, None, None)]
)
def test_too_little_fresh_text_is_a_shortage_where_a_size_was_asked_for_or_nothing_is_left(fresh, size, said):
    mix = MixSettings(human_quota=1, min_fresh_human=Fraction(1, 2), max_documents=size)
    plan = plan_mix(units([1] * 30), units([]), mix, fresh)
    assert (plan.shortage is None) == (said is None)
    if said:
        assert plan.is_unmet and plan.shortage.sentence.startswith(said) and f"{fresh} are there" in plan.shortage.sentence
    assert plan.human_selected.documents == min(2 * fresh, size or 30)


def test_the_plan_states_the_fresh_share():
    plan = plan_mix(units([1] * 30), units([1] * 9), MixSettings(min_fresh_human="1/4"), 10)
    assert "fresh share of human documents: 0.3333, at least 0.25 promised" in plan.sentences()


def test_freshness_is_the_highest_bit_of_a_human_key_and_of_no_other():
    documents = marked(40, 1, 0.5)
    table = decisions_of(documents)
    alive, plain = read_alive(table, MixSettings(min_fresh_human="0.1")), read_alive(table, MixSettings())
    is_fresh = np.array([document["fresh"] is True for document in documents])
    assert ((alive.priority < FRESH_END) == is_fresh)[alive.is_human].all()
    assert np.array_equal(alive.priority[~alive.is_human], plain.priority[~alive.is_human])
    within = alive.is_human & is_fresh
    assert np.array_equal(np.argsort(alive.priority[within], kind="stable"), np.argsort(plain.priority[within], kind="stable"))


@pytest.mark.parametrize("value", [-0.1, 1.5, "half", None])
def test_a_share_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=r"min_fresh_human=.*0\.\.1"):
        MixSettings(min_fresh_human=value)
