"""Claims about the planner of groups: every promise is kept in integers, no mix that keeps them is larger, and conflicts are the smallest."""

import itertools

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.transforms.cell_oracle import Oracle, steps_of
from transforms.mix_settings import MixSettings
from transforms.plan_groups import plan_cells

SHARES = st.sampled_from(["0", "0.1", "1/4", "0.3", "1/3", "0.5", "0.6", "2/3", "0.9", "1"])
QUOTAS = st.sampled_from(["0", "0.3", "0.5", "2/3", "0.75", "1"])
COUNTS = st.integers(0, 12)


@st.composite
def group_tables(draw, is_lumped: bool) -> dict:
    """Up to four groups, some within others, with bounds of every kind."""
    tables: dict[str, dict] = {}
    for name in draw(st.lists(st.sampled_from("abcd"), max_size=4, unique=True)):
        table = {"where": f"{name}_holds"}
        if tables and draw(st.booleans()):
            table["within"] = draw(st.sampled_from(sorted(tables)))
        for key, values in draw(
            st.sampled_from([(("share", SHARES),), (("min_share", SHARES),), (("max_share", SHARES),), (("weight", st.integers(1, 4)),), ()])
        ):
            table[key] = draw(values)
        if draw(st.integers(0, 3)) == 0:
            table[draw(st.sampled_from(["documents", "min_documents", "max_documents"]))] = draw(COUNTS)
        elif is_lumped and draw(st.integers(0, 3)) == 0:
            table[draw(st.sampled_from(["tokens", "min_tokens", "max_tokens"]))] = draw(st.integers(0, 60))
        tables[name] = table
    return tables


@st.composite
def problems(draw, is_lumped: bool = False, most: int = 12):
    """Settings, and documents in up to five cells that agree with the groups' nesting."""
    tables = draw(group_tables(is_lumped))
    size = draw(st.none() | st.integers(1, 16))
    mix = MixSettings(
        human_quota=draw(QUOTAS),
        quota_unit=draw(st.sampled_from(["tokens", "bytes"])) if is_lumped else "documents",
        min_fresh_human=draw(st.sampled_from(["0", "0", "0.5"])),
        fresh_share_of=draw(st.sampled_from(["human", "all"])),
        reserve=draw(st.sampled_from([{}, {}, {"task.t": 2}])),
        groups=tables,
        max_documents=size if not is_lumped or draw(st.integers(0, 4)) == 0 else None,
        max_tokens=None if not is_lumped else draw(st.none() | st.integers(1, 90)),
    )
    names = [group.name for group in mix.groups]
    kinds = []
    for _ in range(draw(st.integers(1, 5))):
        bits = draw(st.integers(0, 3))
        pattern = 0 if not bits & 1 else 1 | (2 if bits & 2 and mix.min_fresh_human else 0)
        for place, group in enumerate(mix.groups):
            inside = not group.within or pattern >> (2 + names.index(group.within)) & 1
            pattern |= (draw(st.booleans()) and bool(inside)) << (2 + place)
        for place in range(len(mix.reserve)):
            pattern |= draw(st.booleans()) << (2 + len(names) + place)
        kinds.append(pattern)
    tokens = st.sampled_from([1, 2, 5, 9, 14])
    documents = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 1 << 60), tokens, tokens), min_size=1, max_size=most))
    return mix, steps_of(documents)


def which(oracle: Oracle, amounts: np.ndarray) -> int:
    """The place of a plan among all mixes; fails if it is no choice of prefixes."""
    (places,) = np.nonzero((oracle.mixes == amounts).all(axis=(1, 2)))
    assert len(places) >= 1
    return int(places[0])


def joint(keeps: list[np.ndarray], count: int) -> np.ndarray:
    return np.logical_and.reduce([np.ones(count, bool), *keeps])


def check_plan(mix: MixSettings, steps, exact_units=(0, 1, 2)) -> None:
    """Holds one plan against all mixes."""
    oracle, plan = Oracle(steps, mix), plan_cells(steps, mix)
    if not len(steps.cells):
        assert plan.num_shards == 0
        return
    if exact_units == (0,):
        # The tokens of a plan in documents are known once its cuts are: put in what the prefixes hold.
        plan_amounts = steps.prefix(steps.documents_within(plan.amounts[:, 0]))
    else:
        plan_amounts = plan.amounts
    chosen, promises, (wanted_name, wanted) = which(oracle, plan_amounts), oracle.promises(), oracle.wanted()
    count = len(oracle.mixes)
    all_kept = joint(list(promises.values()), count)
    unit = oracle.size_unit()
    total = oracle.amount(oracle.everything, unit)
    if all_kept.any():
        assert all_kept[chosen], [name for name, keeps in promises.items() if not keeps[chosen]]
        assert total[chosen] == total[all_kept].max()
        other = np.minimum(total - oracle.amount(oracle.human, unit), np.floor(float(1 - mix.human_quota) * total + 1e-9).astype(int))
        best = all_kept & (total == total[chosen])
        assert other[chosen] >= other[best].max() - (0 if unit == oracle.unit else 14)
    if mix.max_documents is not None and mix.max_tokens is not None:
        # Of two sizes either may be what ends the mix: reaching one, to the document, is enough.
        reached = oracle.reached() & (oracle.amount(oracle.everything, 0) >= 1)
        assert plan.conflict is None or not (all_kept & reached)[chosen], plan.conflict
        assert plan.conflict is not None or (all_kept & reached).any()
        return
    is_had = (all_kept & wanted).any()
    assert (plan.conflict is None) == is_had, (plan.conflict, is_had)
    if plan.conflict is not None:
        check_conflict(plan.conflict, {**promises, wanted_name: wanted}, count)


def check_conflict(conflict, promises: dict[str, np.ndarray], count: int) -> None:
    assert set(conflict.names) <= promises.keys()
    assert not joint([promises[name] for name in conflict.names], count).any()
    for size in range(len(conflict.names)):
        for fewer in itertools.combinations(promises, size):
            assert joint([promises[name] for name in fewer], count).any(), fewer


SLOW = settings(max_examples=100, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(problems())
@SLOW
def test_in_documents_every_promise_is_kept_and_no_mix_that_keeps_them_is_larger(problem):
    check_plan(*problem, exact_units=(0,))


@given(problems(is_lumped=True, most=9))
@SLOW
def test_in_tokens_and_bytes_a_small_mix_is_the_best_over_single_documents(problem):
    check_plan(*problem)


def numbered(*kinds: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """So many documents of each cell, in mixed order of priority."""
    patterns = [pattern for pattern, count in kinds for _ in range(count)]
    return [(pattern, place * 0x9E3779B97F4A7C15 % (1 << 64), 5, 20) for place, pattern in enumerate(patterns)]


def weighted(size: int, supply: tuple[int, int, int, int]) -> list[int]:
    """Documents of three groups with the weights 3, 2 and 1, and of none of them, in a mix of so many."""
    groups = {name: {"where": "true", "weight": weight} for name, weight in (("a", 3), ("b", 2), ("c", 1))}
    steps = steps_of(numbered((0b00101, supply[0]), (0b01001, supply[1]), (0b10001, supply[2]), (0b00001, supply[3])))
    plan = plan_cells(steps, MixSettings(human_quota=0, groups=groups, max_documents=size))
    by_cell = dict(zip(steps.patterns.tolist(), plan.amounts[:, 0].tolist(), strict=True))
    return [by_cell.get(pattern, 0) for pattern in (0b00101, 0b01001, 0b10001, 0b00001)]


def test_weights_share_out_what_their_groups_get():
    assert weighted(60, (100, 100, 100, 0)) == [30, 20, 10, 0]
    # What b lacks is shared out among the others in their own proportion.
    assert weighted(60, (100, 12, 100, 0)) == [36, 12, 12, 0]
    assert weighted(60, (20, 12, 100, 0)) == [20, 12, 28, 0]


def test_weights_take_nothing_from_documents_of_none_of_their_groups():
    *shared, rest = weighted(120, (100, 100, 100, 100))
    assert 20 <= rest <= 40 and sum(shared) == 120 - rest
    assert all(abs(has - sum(shared) * weight / 6) < 1 for has, weight in zip(shared, (3, 2, 1), strict=True))


def largest_by_program(steps, mix: MixSettings) -> int:
    """Most units of a mix by a program over single documents, written from the promises as they are documented: each in, after the one before it."""
    model = highspy.Highs()
    model.silent()
    unit = 0 if mix.quota_unit == "documents" else 1
    chosen = model.addBinaries(len(steps.cells))
    for place in range(1, len(steps.cells)):
        if steps.cells[place] == steps.cells[place - 1]:
            model.addConstr(chosen[place - 1] >= chosen[place])

    def text(holds) -> object:
        return model.qsum(
            [int(steps.units[place, unit]) * chosen[place] for place, cell in enumerate(steps.cells) if holds(int(steps.patterns[cell]))]
        )

    everything = text(lambda pattern: True)
    quota = mix.human_quota
    model.addConstr(quota.denominator * text(lambda pattern: pattern & 1) >= quota.numerator * everything)
    if mix.max_documents:
        model.addConstr(everything <= mix.max_documents)
    if mix.max_tokens:
        model.addConstr(everything <= mix.max_tokens)
    for place, group in enumerate(mix.groups):
        part = text(lambda pattern, place=place: pattern >> (2 + place) & 1)
        if group.min_share is not None:
            model.addConstr(group.min_share.denominator * part >= group.min_share.numerator * everything)
        if group.max_share is not None:
            model.addConstr(group.max_share.denominator * part <= group.max_share.numerator * everything)
        if group.max_documents is not None and unit == 0:
            model.addConstr(part <= group.max_documents)
    model.setOptionValue("mip_rel_gap", 0.0)
    model.maximize(everything)
    return round(model.getObjectiveValue())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", ["documents", "tokens"])
def test_a_program_over_single_documents_finds_nothing_larger(seed, unit):
    chance = np.random.default_rng(seed)
    documents = [
        (int(chance.integers(2)) | int(chance.integers(8)) << 2, int(chance.integers(1 << 60)), int(chance.integers(5, 60)), 9) for _ in range(150)
    ]
    groups = {
        "a": {"where": "true", "min_share": "0.55"},
        "b": {"where": "true", "max_share": "1/3"},
        "c": {"where": "true", "min_share": "0.4", **({"max_documents": 40} if unit == "documents" else {})},
    }
    size = {"max_documents": int(chance.integers(40, 160))} if unit == "documents" else {"max_tokens": int(chance.integers(900, 5_000))}
    mix = MixSettings(human_quota="0.6", quota_unit=unit, groups=groups, **size)
    steps = steps_of(documents)
    assert int(plan_cells(steps, mix).amounts[:, 0 if unit == "documents" else 1].sum()) == largest_by_program(steps, mix)
