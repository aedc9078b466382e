"""The band lies where the deep detector helps most, and takes in no more than it may."""

import gzip

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fit_cascade import PairedOdds, candidate_bands, cascade_odds, fit_cascade, fit_factors, make_cascade, mean_separation
from classifiers.text_batch import TextBatch
from tests.classifiers.fake_detectors import WordShareDetector


def two_sets(seed=0, texts=1_000, deep_factor=6.0):
    """Odds of two sets of equal size: the fast detector overlaps a lot, the deep one hardly."""
    random = np.random.default_rng(seed)
    machine = random.random(2 * texts) < 0.4
    fast = random.normal(np.where(machine, 1.0, -1.0), 1.2)
    deep = random.normal(np.where(machine, deep_factor, -deep_factor) / 2, 1.5)
    return PairedOdds(fast, deep, machine, np.repeat([0, 1], texts))


@pytest.mark.parametrize("share", [0.02, 0.08, 0.3])
def test_no_more_than_the_wanted_share_goes_deep_and_more_is_found(share):
    odds = two_sets()
    cascade = fit_cascade(odds, "fast-1", "deep-1", share)
    inside = (odds.fast >= cascade.low) & (odds.fast <= cascade.high)
    assert odds.weights[inside].sum() <= share + 1e-9 and cascade.deep_share == pytest.approx(odds.weights[inside].sum())
    assert cascade.deep_share > share / 2
    assert mean_separation(cascade_odds(odds, cascade), odds)[0] > mean_separation(odds.fast, odds)[0]


def test_more_depth_finds_more():
    odds = two_sets()
    found = [mean_separation(cascade_odds(odds, fit_cascade(odds, "f", "d", share)), odds)[0] for share in (0.02, 0.08, 0.3, 1.0)]
    assert found == sorted(found)
    assert found[-1] >= mean_separation(odds.deep, odds)[0] - 0.02


def test_the_same_odds_give_the_same_cascade():
    assert fit_cascade(two_sets(), "f", "d") == fit_cascade(two_sets(), "f", "d")


def test_every_set_and_side_weighs_the_same():
    odds = PairedOdds(np.zeros(6), np.zeros(6), np.array([True, False, False, False, True, True]), np.array([0, 0, 0, 0, 1, 1]))
    assert odds.weights.sum() == pytest.approx(1)
    assert (
        odds.weights[0] == pytest.approx(1 / 3) and odds.weights[1:4].sum() == pytest.approx(1 / 3) and odds.weights[4:].sum() == pytest.approx(1 / 3)
    )


def test_a_detector_that_misleads_gets_no_weight():
    odds = two_sets()
    intercept, of_fast, of_deep = fit_factors(PairedOdds(odds.fast, -odds.deep, odds.machine, odds.sets))
    assert of_deep == 0 and of_fast > 0 and np.isfinite(intercept)


def test_factors_are_those_that_made_the_labels():
    random = np.random.default_rng(1)
    fast, deep = random.normal(0, 2, (2, 40_000))
    machine = random.random(40_000) < 1 / (1 + np.exp(-(0.5 * fast + 1.5 * deep)))
    _, of_fast, of_deep = fit_factors(PairedOdds(fast, deep, machine, np.zeros(40_000, np.int64)))
    assert (of_fast, of_deep) == (pytest.approx(0.5, abs=0.06), pytest.approx(1.5, abs=0.12))


@settings(max_examples=100)
@given(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0, 4.5]), min_size=2, max_size=80), st.floats(0.01, 1.0))
def test_bands_hold_at_most_the_share_unless_one_value_does_alone(values, share):
    fast = np.array(values)
    weights = np.full(len(fast), 1 / len(fast))
    for low, high in candidate_bands(fast, weights, share):
        inside = (fast >= low) & (fast <= high)
        assert inside.any() and (weights[inside].sum() <= share + 1e-9 or low == high)


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="max_deep_share must be above 0, at most 1"):
        fit_cascade(two_sets(), "f", "d", share)


def test_text_of_one_side_alone_is_refused():
    with pytest.raises(ValueError, match="one of both is missing"):
        PairedOdds(np.zeros(3), np.zeros(3), np.zeros(3, bool), np.zeros(3, np.int64))


def test_a_cascade_is_fitted_to_the_labelled_sets_of_a_folder(tmp_path):
    """Two detectors of opposite blind spots: the deep one sees `b`, which half of the machine texts have and no human one."""
    random = np.random.default_rng(0)
    for name in ("l2r21", "raidar"):
        rows = []
        for number in range(600):
            machine = number % 2 == 0
            a = int(np.clip(random.normal(24 if machine else 16, 5), 0, 40))
            b = 10 if machine else 0
            words = ["a"] * a + ["b"] * b + [f"{name}{number}"] * (60 - a - b)
            rows.append({"id": str(number), "text": " ".join(random.permutation(words)), "label": "machine" if machine else "human", "pair": number})
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    fast, deep = WordShareDetector("fast", "a"), WordShareDetector("deep", "b", factor=40)
    said = []
    cascade = make_cascade(str(tmp_path), fast, deep, ("l2r21", "raidar"), 0.2, said.append)
    assert cascade.settings.deep_share <= 0.2 and (cascade.settings.fast, cascade.settings.deep) == (fast.version, deep.version)
    assert any("cascade, at most 20% deep" in line for line in said)
    fast.seen.clear(), deep.seen.clear()
    cascade.log_odds(TextBatch.of([" ".join(["a"] * 20 + ["c"] * 40), " ".join(["c"] * 60)]))
    assert len(fast.seen) == 2 and len(deep.seen) <= 1
