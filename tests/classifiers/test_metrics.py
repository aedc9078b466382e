"""Measures of separation and of calibration against their definitions, counted slowly in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.metrics import (
    CALIBRATION_BINS,
    auroc,
    calibration_error,
    measure_separation,
    reliability,
    tpr_at_fpr,
    wilson_interval,
)

scored = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40)
RATES = (0.0, 0.01, 0.05, 0.3)


def arrays(pairs):
    return np.array([score for score, _ in pairs], float), np.array([label for _, label in pairs])


def slow_auroc(scores, machine):
    pairs = [1.0 if m > h else 0.5 if m == h else 0.0 for m in scores[machine] for h in scores[~machine]]
    return np.mean(pairs) if pairs else math.nan


def slow_tpr(scores, machine, rate):
    human = scores[~machine]
    return max((float((scores[machine] > cut).mean()) for cut in human if (human > cut).sum() <= int(rate * len(human))), default=0.0)


@given(scored)
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    scores, machine = arrays(pairs)
    assert auroc(scores, machine) == pytest.approx(slow_auroc(scores, machine), nan_ok=True)


@given(scored)
def test_auroc_turns_over_with_the_scores_and_ignores_their_scale(pairs):
    scores, machine = arrays(pairs)
    assert auroc(-scores, machine) == pytest.approx(1 - auroc(scores, machine), nan_ok=True)
    assert auroc(np.exp(scores), machine) == pytest.approx(auroc(scores, machine), nan_ok=True)


@given(scored, st.sampled_from(RATES))
def test_the_threshold_of_tpr_lets_no_more_humans_pass_than_allowed(pairs, rate):
    scores, machine = arrays(pairs)
    result = tpr_at_fpr(scores, machine, rate)
    if machine.all() or not machine.any():
        assert math.isnan(result)
    else:
        assert result == slow_tpr(scores, machine, rate)


@given(scored)
def test_without_repeats_there_are_figures_and_no_intervals(pairs):
    scores, machine = arrays(pairs)
    measured = measure_separation(scores, machine, RATES)
    assert [one.value for one in measured] == pytest.approx(
        [auroc(scores, machine), *(tpr_at_fpr(scores, machine, rate) for rate in RATES)], nan_ok=True
    )
    assert all(math.isnan(one.low) and math.isnan(one.high) for one in measured)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 5)), min_size=2, max_size=25),
    st.integers(0, 2**31),
    st.sampled_from([1, 5, 40]),
)
def test_counting_all_repeats_at_once_gives_what_drawing_groups_one_by_one_gives(rows, seed, repeats):
    scores, machine = arrays([row[:2] for row in rows])
    _, groups = np.unique([row[2] for row in rows], return_inverse=True)
    measured = measure_separation(scores, machine, (0.05, 0.3), groups, repeats, seed)
    if machine.all() or not machine.any():
        assert all(math.isnan(one.value) for one in measured)
        return
    random, draws = np.random.default_rng(seed), []
    num_groups = groups.max() + 1
    for count in [min(32, repeats - begin) for begin in range(0, repeats, 32)]:
        for picks in random.integers(0, num_groups, (count, num_groups)):
            chosen = np.concatenate([np.flatnonzero(groups == pick) for pick in picks])
            some, labels = scores[chosen], machine[chosen]
            if labels.any() and not labels.all():
                draws.append([slow_auroc(some, labels), slow_tpr(some, labels, 0.05), slow_tpr(some, labels, 0.3)])
    if draws:
        ends = np.quantile(draws, [0.025, 0.975], axis=0)
        assert [one.low for one in measured] == pytest.approx(ends[0].tolist())
        assert [one.high for one in measured] == pytest.approx(ends[1].tolist())
    else:
        assert all(math.isnan(one.low) for one in measured)


def test_intervals_hold_their_estimate_and_shrink_with_more_texts():
    random = np.random.default_rng(0)
    widths = []
    for count in (100, 2_000):
        machine = np.arange(count) % 2 == 0
        scores = random.normal(machine * 1.5, 1)
        for one in measure_separation(scores, machine, (0.05,), repeats=200):
            assert one.low <= one.value <= one.high
            widths.append(one.high - one.low)
    assert widths[2] < widths[0] and widths[3] < widths[1]


def test_texts_that_come_in_groups_are_less_sure_than_as_many_independent_ones():
    random = np.random.default_rng(3)
    machine = np.tile([False, True], 300)
    groups = np.repeat(np.arange(30), 20)
    scores = random.normal(machine * 1.0, 1) + random.normal(0, 2, 30)[groups]
    (alone, *_), (together, *_) = (measure_separation(scores, machine, (), which, 200) for which in (None, groups))
    assert alone.value == together.value
    assert together.high - together.low > alone.high - alone.low


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    random = np.random.default_rng(4)
    machine = np.arange(400) % 3 == 0
    scores = random.normal(machine * 1.0, 1)
    first, again, other = (measure_separation(scores, machine, (0.05,), repeats=50, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_interval_holds_the_share(successes, more):
    low, high = wilson_interval(successes, successes + more)
    assert 0 <= low <= high <= 1
    if successes + more:
        assert low - 1e-12 <= successes / (successes + more) <= high + 1e-12


def test_wilson_interval_of_no_event_follows_the_rule_of_three():
    assert wilson_interval(0, 300)[1] == pytest.approx(3.84 / 303.84, rel=1e-3)


judged = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.floats(0.1, 5)), min_size=1, max_size=40)


@given(judged)
def test_reliability_sorts_every_text_into_the_bin_of_its_probability(rows):
    probability, machine, weights = (np.array([row[place] for row in rows]) for place in range(3))
    bins = reliability(probability, machine, weights)
    assert sum(one.texts for one in bins) == len(rows)
    assert sum(one.weight for one in bins) == pytest.approx(1)
    for one in bins:
        index = round(one.low * CALIBRATION_BINS)
        inside = [row for row in rows if min(int(row[0] * CALIBRATION_BINS), CALIBRATION_BINS - 1) == index]
        total = sum(weight for _, _, weight in inside)
        assert one.texts == len(inside)
        assert one.probability == pytest.approx(sum(value * weight for value, _, weight in inside) / total)
        assert one.machine == pytest.approx(sum(weight for _, label, weight in inside if label) / total)
    assert calibration_error(probability, machine, weights) == pytest.approx(sum(one.weight * abs(one.probability - one.machine) for one in bins))


def test_honest_probabilities_have_no_calibration_error_and_boasts_have():
    random = np.random.default_rng(1)
    probability = random.random(50_000)
    machine = random.random(50_000) < probability
    assert calibration_error(probability, machine, np.ones(50_000)) < 0.01
    assert calibration_error(np.full(1_000, 0.99), np.zeros(1_000, bool), np.ones(1_000)) == pytest.approx(0.99)


def test_no_texts_have_no_reliability_and_no_error():
    nothing = np.empty(0)
    assert reliability(nothing, nothing.astype(bool), nothing) == []
    assert math.isnan(calibration_error(nothing, nothing.astype(bool), nothing))
