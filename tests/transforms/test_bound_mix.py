"""Claims about the planner with reserved places and a fresh share: every promise holds, nothing larger does, and lumps change nothing."""

from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.bound_mix import HumanOrder, bound_carried, bound_mix
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Steps
from transforms.plan_mix import plan_mix, without_uncarried

QUOTAS = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(3, 4), Fraction(1)])
FRESH = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(4, 5), Fraction(1)])
SIZES = st.none() | st.integers(1, 14)


def ones(count: int) -> np.ndarray:
    return np.ones((count, 3), np.int64)


@given(st.tuples(*[st.integers(0, 4)] * 6), QUOTAS, FRESH, st.sampled_from(["human", "all"]), SIZES)
@settings(max_examples=120)
def test_no_mix_with_all_reserved_documents_holds_more_documents(counts, quota, least, share_of, size):
    """Against every mix of documents, by how many of each class it holds."""
    fresh_kept, stale_kept, fresh, stale, other_kept, other = counts
    mix = MixSettings(human_quota=quota, min_fresh_human=least, fresh_share_of=share_of, max_documents=size, on_shortage="shrink", num_shards=1)
    if not least:
        fresh_kept, stale_kept, fresh, stale = fresh_kept + stale_kept, 0, fresh + stale, 0
    human = ones(fresh_kept + stale_kept + fresh + stale)
    plan = plan_mix(human, ones(other_kept + other), mix, fresh_kept + fresh, (fresh_kept, stale_kept))
    largest = -1
    for all_fresh, all_stale, others in product(
        range(fresh_kept, fresh_kept + fresh + 1), range(stale_kept, stale_kept + stale + 1), range(other_kept, other_kept + other + 1)
    ):
        total = all_fresh + all_stale + others
        whole = total if share_of == "all" else all_fresh + all_stale
        if all_fresh + all_stale >= quota * total and all_fresh >= least * whole and (size is None or total <= size):
            largest = max(largest, total)
    got, total = plan.human_selected.documents, plan.selected.documents
    assert got >= quota * total and (size is None or total <= size)
    if least:
        assert plan.fresh_selected.documents >= least * (total if share_of == "all" else got)
    if largest > 0 or (largest == 0 and total):
        assert total == largest
        assert got >= fresh_kept + stale_kept and plan.other_selected.documents >= other_kept


@st.composite
def classes(draw, most: int = 8) -> list[np.ndarray]:
    """Units of reserved fresh, reserved stale, fresh, stale and other documents."""
    rows = st.lists(st.tuples(st.just(1), st.sampled_from([0, 1, 2, 5]), st.sampled_from([1, 3, 9])), max_size=most)
    return [np.array(draw(rows), np.int64).reshape(-1, 3) for _ in range(5)]


@given(classes(), QUOTAS, FRESH.filter(bool), st.sampled_from(["human", "all"]), st.sampled_from(UNITS), SIZES, st.none() | st.integers(1, 40))
@settings(max_examples=120)
def test_in_every_unit_quota_sizes_and_fresh_share_hold_whatever_is_reserved(parts, quota, least, share_of, unit, documents, tokens):
    mix = MixSettings(
        human_quota=quota, min_fresh_human=least, fresh_share_of=share_of, quota_unit=unit, max_documents=documents, max_tokens=tokens, num_shards=1
    )
    plan = plan_mix(np.concatenate(parts[:4]), parts[4], mix, len(parts[0]) + len(parts[2]), (len(parts[0]), len(parts[1])))
    human, total = plan.human_selected, plan.selected
    assert human.count(unit) >= quota * total.count(unit)
    assert plan.fresh_selected.count(unit) >= least * (total if share_of == "all" else human).count(unit)
    assert documents is None or total.documents <= documents
    assert tokens is None or total.tokens <= tokens


def test_a_reserved_document_that_no_size_lets_in_carries_no_other_text():
    mix = MixSettings(human_quota=Fraction(0), min_fresh_human=Fraction(1, 3), fresh_share_of="all", max_tokens=1, num_shards=1, on_shortage="shrink")
    two_tokens, none = np.array([[1, 2, 1]]), np.array([[1, 0, 1]])
    assert plan_mix(two_tokens, none, mix, 1, (1, 0)).selected.documents == 0
    assert plan_mix(np.concatenate([none, two_tokens]), none, mix, 2, (2, 0)).selected.documents == 2


@given(
    classes(), QUOTAS, FRESH.filter(bool), st.sampled_from(["human", "all"]), st.sampled_from(UNITS), SIZES, st.lists(st.integers(1, 4), min_size=1)
)
@settings(max_examples=80)
def test_lumps_opened_where_the_bounds_say_give_the_same_plan(parts, quota, least, share_of, unit, documents, lengths):
    mix = MixSettings(human_quota=quota, min_fresh_human=least, fresh_share_of=share_of, quota_unit=unit, max_documents=documents, num_shards=1)
    groups = [cut_up(part, lengths) for part in parts]
    # Two rounds, as in `find_cuts`: first what is carried, then the cuts.
    order = order_of(groups)
    carried = bound_carried(steps_of(groups[:4]), mix, order)
    start = order.reserved_fresh
    groups[:4] = opened(groups[:4], set(range(start + carried[0].low, start + carried[0].high)) | set(range(carried[1].low, carried[1].high)))
    order = order_of(groups)
    again, carriers = bound_carried(steps_of(groups[:4]), mix, order)
    assert again.low == again.high and carriers.low == carriers.high
    human, reordered = without_uncarried(steps_of(groups[:4]), order, again.low)
    groups[1] = groups[1][: again.low]
    bounds = bound_mix(human, steps_of(groups[4:]), mix, reordered)
    groups[:4] = opened(groups[:4], {index for cut in bounds.human_cuts for index in range(cut.low, cut.high)})
    groups[4:] = opened(groups[4:], {index for cut in bounds.other_cuts for index in range(cut.low, cut.high)})
    lumped = np.concatenate([np.empty((0, 3), np.int64), *(one.sum(axis=0, keepdims=True) for group in groups[:4] for one in group)])
    others = np.concatenate([np.empty((0, 3), np.int64), *(one.sum(axis=0, keepdims=True) for one in groups[4])])
    order = order_of(groups)
    found = plan_mix(lumped, others, mix, order.fresh, (order.reserved_fresh, order.reserved_stale))
    exact = plan_mix(np.concatenate(parts[:4]), parts[4], mix, len(parts[0]) + len(parts[2]), (len(parts[0]), len(parts[1])))
    assert (found.human_selected, found.other_selected, found.fresh_selected) == (exact.human_selected, exact.other_selected, exact.fresh_selected)


def cut_up(units: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    groups, start = [], 0
    while start < len(units):
        length = lengths[len(groups) % len(lengths)]
        groups.append(units[start : start + length])
        start += length
    return groups


def opened(groups: list[list[np.ndarray]], wanted: set[int]) -> list[list[np.ndarray]]:
    result, index = [], 0
    for group in groups:
        result.append([])
        for lump in group:
            result[-1] += [lump[row : row + 1] for row in range(len(lump))] if index in wanted else [lump]
            index += 1
    return result


def steps_of(groups: list[list[np.ndarray]]) -> Steps:
    return Steps(np.concatenate([np.empty((0, 3), np.int64), *(lump.sum(axis=0, keepdims=True) for group in groups for lump in group)]))


def order_of(groups: list[list[np.ndarray]]) -> HumanOrder:
    return HumanOrder(len(groups[0]) + len(groups[2]), len(groups[0]), len(groups[1]))


def test_stale_documents_with_a_reserved_place_are_carried_by_fresh_ones_within_the_size():
    """60 fresh and 40 stale human documents, 10 of these reserved: at a size of 50 and a fresh share of .8 all 10 are published."""
    mix = MixSettings(human_quota=1, min_fresh_human="0.8", max_documents=50, num_shards=1)
    plan = plan_mix(ones(100), ones(0), mix, 60, (0, 10))
    assert (plan.human_selected.documents, plan.fresh_selected.documents) == (50, 40) and plan.shortage is None
    # Of 20, only 10 can be; that is a reserve unmet, and the fresh share holds.
    plan = plan_mix(ones(100), ones(0), mix, 60, (0, 20))
    assert (plan.human_selected.documents, plan.fresh_selected.documents) == (50, 40)
