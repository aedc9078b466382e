"""Measures of separation against their definitions."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.format_baseline import fit_format_baseline, format_features
from classifiers.metrics import auroc, bootstrap_interval, calibration_error, tpr_at_fpr, wilson_interval

scored = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(scored)
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    scores, machine = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    expected = [1.0 if m > h else 0.5 if m == h else 0.0 for m in scores[machine] for h in scores[~machine]]
    result = auroc(scores, machine)
    assert math.isnan(result) if not expected else result == pytest.approx(np.mean(expected))


@settings(deadline=None)
@given(scored, st.sampled_from([0.0, 0.01, 0.05, 0.3]))
def test_the_threshold_of_tpr_lets_no_more_humans_pass_than_allowed(pairs, rate):
    scores, machine = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    result = tpr_at_fpr(scores, machine, rate)
    if machine.all() or not machine.any():
        assert math.isnan(result)
        return
    best = max(
        (float((scores[machine] > cut).mean()) for cut in scores[~machine] if (scores[~machine] > cut).sum() <= rate * (~machine).sum()), default=0.0
    )
    assert result == best


def test_intervals_hold_their_estimate_and_shrink_with_more_texts():
    random = np.random.default_rng(0)
    widths = []
    for count in (100, 2_000):
        machine = np.arange(count) % 2 == 0
        scores = random.normal(machine * 1.5, 1)
        low, high = bootstrap_interval(auroc, scores, machine)
        assert low <= auroc(scores, machine) <= high
        widths.append(high - low)
    assert widths[1] < widths[0]
    assert math.isnan(bootstrap_interval(partial(tpr_at_fpr, rate=0.1), np.ones(3), np.ones(3, bool))[0])


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_interval_holds_the_share(successes, more):
    low, high = wilson_interval(successes, successes + more)
    assert 0 <= low <= high <= 1
    if successes + more:
        assert low - 1e-12 <= successes / (successes + more) <= high + 1e-12


def test_wilson_interval_of_no_event_follows_the_rule_of_three():
    assert wilson_interval(0, 300)[1] == pytest.approx(3.84 / 303.84, rel=1e-3)


def test_honest_probabilities_have_no_calibration_error_and_boasts_have():
    random = np.random.default_rng(1)
    probability = random.random(50_000)
    machine = random.random(50_000) < probability
    assert calibration_error(probability, machine, np.ones(50_000)) < 0.01
    assert calibration_error(np.full(1_000, 0.99), np.zeros(1_000, bool), np.ones(1_000)) == pytest.approx(0.99)


def test_the_format_baseline_sees_format_and_no_words():
    tidy = [f"Line {n}.\nAnother line.\n" for n in range(200)]
    loose = [f"line {n} - another one ... and on" for n in range(200)]
    machine = np.arange(400) < 200
    features = format_features(tidy + loose)
    factors = fit_format_baseline(features, machine, np.ones(400))
    assert auroc(features @ factors, machine) > 0.99
    assert (format_features(["one two"]) == format_features(["six ten"])).all()


def test_the_format_baseline_takes_no_texts_and_empty_texts():
    assert format_features([]).shape[0] == 0
    assert np.isfinite(format_features(["", "\0"])).all()
