"""Claims about the planner of groups: every promise is kept in integers, no mix that keeps them is larger, and conflicts are the smallest."""

import itertools

import numpy as np
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
