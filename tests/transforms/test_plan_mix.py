"""Claims about the planner: it never breaks the quota, is maximal, keeps to the size, and knows its cuts over lumps as over documents."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.bound_mix import bound_mix, count_shards, shard_capacity
from transforms.mix_settings import UNITS, MixSettings, parse_quota
from transforms.mix_steps import Amount, Steps
from transforms.plan_mix import plan_mix

QUOTAS = st.sampled_from(
    [Fraction(0), Fraction(1, 100), Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(7, 10), Fraction(9, 10), Fraction(1)]
)
LIMITS = st.none() | st.integers(1, 60)


@st.composite
def strata(draw, most: int = 30) -> np.ndarray:
    """Units (n, 3) of up to `most` documents, some of them without tokens or far larger than the rest."""
    sizes = st.sampled_from([0, 1, 1, 2, 3, 5, 40])
    rows = draw(st.lists(st.tuples(st.just(1), sizes, sizes), max_size=most))
    return np.array(rows, np.int64).reshape(-1, 3)


@st.composite
def mixes(draw) -> MixSettings:
    return MixSettings(
        human_quota=draw(QUOTAS),
        quota_unit=draw(st.sampled_from(UNITS)),
        max_documents=draw(LIMITS),
        max_tokens=draw(LIMITS),
        on_shortage=draw(st.sampled_from(["fail", "shrink"])),
        num_shards=draw(st.none() | st.integers(1, 8)),
        target_shard_bytes=draw(st.sampled_from([1, 7, 40, 1 << 28])),
    )


def documents(count: int) -> np.ndarray:
    return np.tile(np.array([[1, 10, 50]], np.int64), (count, 1))


def amount(units: np.ndarray, count: int) -> Amount:
    return Amount(*(int(total) for total in units[:count].sum(axis=0)))


def fits(total: Amount, mix: MixSettings, share: Fraction = Fraction(1)) -> bool:
    return all(most is None or size <= share * most for size, most in ((total.documents, mix.max_documents), (total.tokens, mix.max_tokens)))


def slow_plan(human: np.ndarray, other: np.ndarray, mix: MixSettings) -> tuple[int, int, int]:
    """Human documents, other documents and shards by trying every prefix, in fractions."""
    quota = mix.human_quota

    def fill(others: int) -> int:
        return max(count for count in range(len(human) + 1) if count == 0 or fits(amount(other, others) + amount(human, count), mix))

    def holds(others: int) -> bool:
        humans, taken = amount(human, fill(others)), amount(other, others)
        total = humans.count(mix.quota_unit) + taken.count(mix.quota_unit)
        return others == 0 or quota == 0 or (humans.documents > 0 and humans.count(mix.quota_unit) >= quota * total)

    allowed = 0 if quota == 1 else max(count for count in range(len(other) + 1) if fits(amount(other, count), mix, 1 - quota))
    others = max(count for count in range(allowed + 1) if holds(count))
    total = amount(human, fill(others)) + amount(other, others)
    shards = mix.num_shards or max(1, -(-total.bytes // mix.target_shard_bytes))
    shards = min(shards, fill(others) if quota else total.documents)
    if mix.quota_unit == "documents" and 0 < quota < 1 and shards:
        others = max(count for count in range(others + 1) if count <= slow_capacity(fill(count), shards, quota))
    return fill(others), others, shards


def slow_capacity(human: int, shards: int, quota: Fraction) -> int:
    """Other documents that even shards carry, by counting each shard's."""
    held = [sum(1 for rank in range(human) if rank % shards == shard) for shard in range(shards)]
    return sum(int(count * (1 - quota) / quota) for count in held)


@given(strata(), strata(), mixes())
@settings(max_examples=150)
def test_plan_is_what_trying_every_prefix_finds(human, other, mix):
    plan = plan_mix(human, other, mix)
    humans, others, shards = slow_plan(human, other, mix)
    assert plan.human_selected == amount(human, humans)
    assert plan.other_selected == amount(other, others)
    assert plan.num_shards == shards
    assert plan.human_available == amount(human, len(human))
    assert plan.other_available == amount(other, len(other))


@given(strata(), strata(), mixes())
@settings(max_examples=100)
def test_plan_never_breaks_the_quota_nor_the_size(human, other, mix):
    plan = plan_mix(human, other, mix)
    assert plan.human_share >= mix.human_quota
    assert fits(plan.selected, mix)
    if mix.human_quota == 1:
        assert plan.other_selected == Amount()
    if plan.selected.documents:
        assert 1 <= plan.num_shards <= plan.selected.documents


@given(st.integers(0, 25), st.integers(0, 25), QUOTAS, st.none() | st.integers(1, 30), st.integers(1, 6))
@settings(max_examples=100)
def test_no_mix_of_documents_has_more_other_documents(human, other, quota, size, shards):
    mix = MixSettings(human_quota=quota, max_documents=size, num_shards=shards)
    plan = plan_mix(documents(human), documents(other), mix)
    for humans in range(human + 1):
        for others in range(plan.other_selected.documents + 1, other + 1):
            is_in_size = size is None or (humans + others <= size and others <= (1 - quota) * size)
            is_human_enough = quota == 0 or (humans >= plan.num_shards > 0 and others <= slow_capacity(humans, plan.num_shards, quota))
            assert not (is_in_size and is_human_enough)


@given(strata(), strata(), mixes(), st.lists(QUOTAS, min_size=2, max_size=4))
@settings(max_examples=150)
def test_a_higher_quota_never_lets_more_other_documents_in(human, other, mix, quotas):
    counts = []
    for quota in sorted(quotas):
        raised = MixSettings(human_quota=quota, quota_unit=mix.quota_unit, max_documents=mix.max_documents, max_tokens=mix.max_tokens, num_shards=1)
        counts.append(plan_mix(human, other, raised).other_selected.documents)
    assert counts == sorted(counts, reverse=True)


@given(strata(most=60), strata(most=60), mixes(), st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=150)
def test_lumps_opened_where_the_bounds_say_give_the_same_plan(human, other, mix, lengths):
    exact = bound_mix(Steps(human), Steps(other), mix)
    lumped = [cut_up(units, lengths) for units in (human, other)]
    bounds = bound_mix(*(Steps(add_up(units, groups)) for units, groups in zip((human, other), lumped, strict=True)), mix)
    opened = []
    for units, groups, cuts in ((human, lumped[0], bounds.human_cuts), (other, lumped[1], bounds.other_cuts)):
        wanted = {index for cut in cuts for index in range(cut.low, cut.high)}
        opened.append(add_up(units, [part for index, group in enumerate(groups) for part in (split(group) if index in wanted else [group])]))
    refined = bound_mix(Steps(opened[0]), Steps(opened[1]), mix)
    assert refined.is_exact
    assert plan_mix(*opened, mix) == plan_mix(human, other, mix)
    for name, units, steps in (("human", human, opened[0]), ("other", other, opened[1]), ("within_size", other, opened[1])):
        assert amount(steps, getattr(refined, name).low) == amount(units, getattr(exact, name).low)


def cut_up(units: np.ndarray, lengths: list[int]) -> list[range]:
    groups, start = [], 0
    while start < len(units):
        length = lengths[len(groups) % len(lengths)]
        groups.append(range(start, min(start + length, len(units))))
        start += length
    return groups


def split(group: range) -> list[range]:
    return [range(index, index + 1) for index in group]


def add_up(units: np.ndarray, groups: list[range]) -> np.ndarray:
    return np.array([units[list(group)].sum(axis=0) for group in groups], np.int64).reshape(-1, 3)


def test_a_cut_through_a_lump_is_an_error_not_a_guess():
    with pytest.raises(ValueError, match="open the lumps"):
        plan_mix(np.array([[4, 4, 4]]), np.array([[9, 9, 9]]), MixSettings(human_quota="0.5"))


def test_steps_without_a_document_are_refused():
    with pytest.raises(ValueError, match="at least 1 document"):
        plan_mix(np.array([[0, 4, 4]]), documents(1), MixSettings())


def test_without_a_size_limit_capping_is_no_shortage():
    plan = plan_mix(documents(10), documents(100), MixSettings(human_quota="0.5"))
    assert (plan.human_selected.documents, plan.other_selected.documents) == (10, 10)
    assert plan.shortage is None
    assert not plan.is_unmet


def test_size_is_filled_at_the_quota_and_by_whoever_is_there():
    mix = MixSettings(human_quota="0.7", max_documents=100)
    assert sizes(plan_mix(documents(500), documents(500), mix)) == (70, 30)
    assert sizes(plan_mix(documents(500), documents(10), mix)) == (90, 10)
    assert sizes(plan_mix(documents(500), documents(0), mix)) == (100, 0)
    assert sizes(plan_mix(documents(35), documents(500), mix)) == (35, 15)


def sizes(plan) -> tuple[int, int]:
    return plan.human_selected.documents, plan.other_selected.documents


@pytest.mark.parametrize("on_shortage", ["fail", "shrink"])
def test_too_little_human_text_is_told_in_numbers(on_shortage):
    plan = plan_mix(documents(35), documents(500), MixSettings(human_quota="0.7", max_documents=100, on_shortage=on_shortage))
    assert (plan.shortage.human_needed, plan.shortage.human_present, plan.shortage.documents_missing) == (70, 35, 15)
    assert "30 other documents fit the size, which takes 70 human documents at quota 0.7; 35 are there" in plan.shortage.sentence
    assert plan.shortage.sentence in plan.sentences()
    assert plan.is_unmet == (on_shortage == "fail")


def test_a_short_supply_of_both_kinds_is_no_shortage_while_the_quota_holds():
    plan = plan_mix(documents(5), documents(5), MixSettings(human_quota="0.5", max_documents=100))
    assert sizes(plan) == (5, 5)
    assert plan.shortage is None


@pytest.mark.parametrize("on_shortage", ["fail", "shrink"])
@pytest.mark.parametrize(("human", "other", "said"), [(0, 0, "no document is left"), (0, 7, "none of 7 documents left is human")])
def test_nothing_to_publish_is_a_shortage_in_either_mode(on_shortage, human, other, said):
    plan = plan_mix(documents(human), documents(other), MixSettings(human_quota="0.5", on_shortage=on_shortage))
    assert said in plan.shortage.sentence
    assert plan.is_unmet
    assert plan.num_shards == 0


def test_a_size_too_small_for_the_first_document_publishes_nothing_and_says_so():
    plan = plan_mix(documents(3), documents(3), MixSettings(human_quota="0.5", max_tokens=5, on_shortage="shrink"))
    assert "size limits let no document in" in plan.shortage.sentence
    assert plan.is_unmet


def test_without_human_text_and_without_a_quota_the_rest_is_published():
    plan = plan_mix(documents(0), documents(7), MixSettings(human_quota="0"))
    assert sizes(plan) == (0, 7)
    assert plan.shortage is None


def test_shards_never_outnumber_the_human_documents_that_guard_them():
    plan = plan_mix(documents(3), documents(9), MixSettings(human_quota="0.5", num_shards=8))
    assert plan.num_shards == 3
    assert any("num_shards=8: only 3 human documents" in warning for warning in plan.warnings)
    assert plan_mix(documents(3), documents(9), MixSettings(human_quota="0", num_shards=8)).num_shards == 8


def test_more_shards_than_the_floors_allow_cost_other_documents_and_say_so():
    mix = MixSettings(human_quota="0.6", num_shards=3)
    plan = plan_mix(documents(3), documents(9), mix)
    assert sizes(plan) == (3, 0)
    assert any("2 of 2 other documents find no place" in warning for warning in plan.warnings)
    assert sizes(plan_mix(documents(3), documents(9), MixSettings(human_quota="0.6", num_shards=1))) == (3, 2)


def test_target_bytes_set_the_number_of_shards():
    mix = MixSettings(human_quota="0.5", target_shard_bytes=100)
    assert count_shards(Amount(5, 0, 150), Amount(5, 0, 150), mix) == 3
    assert count_shards(Amount(5, 0, 0), Amount(5, 0, 0), mix) == 1
    assert count_shards(Amount(), Amount(5, 0, 900), mix) == 0


@given(st.integers(0, 50), st.integers(1, 12), QUOTAS.filter(bool))
def test_capacity_is_the_sum_of_each_shards_floor(human, shards, quota):
    assert shard_capacity(human, shards, MixSettings(human_quota=quota)) == slow_capacity(human, shards, quota)


def test_arithmetic_is_exact_where_64_bit_products_would_overflow():
    human, other = np.array([[1, 1 << 60, 0]]), np.array([[1, (1 << 60) - 1, 0], [1, 1, 0], [1, 1, 0]])
    assert sizes(plan_mix(human, other, MixSettings(human_quota="0.5", quota_unit="tokens"))) == (1, 2)
    close = MixSettings(human_quota="0.5000000000000000001", quota_unit="tokens")
    assert sizes(plan_mix(human, other, close)) == (1, 1)


@pytest.mark.parametrize("value", ["0.7", 0.7, Decimal("0.7"), Fraction(7, 10), "7/10"])
def test_quota_is_read_as_written(value):
    assert parse_quota(value) == Fraction(7, 10)
    assert MixSettings(human_quota=value).human_quota == Fraction(7, 10)


@pytest.mark.parametrize("value", ["1.01", -0.1, "half", "nan", float("inf"), None, "1/0"])
def test_quota_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=r"human_quota=.*0\.\.1"):
        parse_quota(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quota_unit", "words"),
        ("on_shortage", "ignore"),
        ("priority", "size"),
        ("max_documents", 0),
        ("max_tokens", 1.5),
        ("num_shards", True),
        ("target_shard_bytes", None),
        ("seed", -1),
        ("seed", 1 << 64),
        ("count_presumed_human", "yes"),
    ],
)
def test_settings_name_the_key_the_value_and_what_is_allowed(key, value):
    with pytest.raises(ValueError, match=rf"{key}={value!r}: must be "):
        MixSettings(**{key: value})
