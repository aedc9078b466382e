"""Every order of priority is what it says, for any scores: monotone in them, the same on every machine, and ties go by hash."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.equal_floats import exponential_draws
from transforms.mix_settings import PRIORITIES, MixSettings
from transforms.order_keys import (
    ABSTAINED_PROBABILITY,
    MOST_RANK,
    diverse_keys,
    hard_keys,
    importance_keys,
    importance_weights,
    mix_hash,
    placement_keys,
    priority_keys,
    quality_keys,
)

HASHES = st.integers(0, (1 << 64) - 1)
PROBABILITIES = st.floats(0, 1, width=32)
EXPONENTS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.5, 100.0])
MASK = (1 << 64) - 1


def slow_finalise(value: int) -> int:
    """One round of splitmix64's finaliser, in plain integers."""
    value &= MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


@given(st.lists(st.integers(0, MASK), max_size=5), st.integers(0, MASK), st.integers(1, 2))
def test_hash_is_two_salted_rounds_of_splitmix64(row_keys, seed, stream):
    expected = []
    for key in row_keys:
        for turn in range(2):
            key = slow_finalise(key ^ slow_finalise(slow_finalise(seed + 0x9E3779B97F4A7C15) + 2 * stream + turn))
        expected.append(key)
    assert mix_hash(np.array(row_keys, np.uint64), seed, stream).tolist() == expected


def test_hash_never_changes():
    assert mix_hash(np.array([0, 1, MASK], np.uint64), 0, 1).tolist() == [16395844189734632332, 8289983856504111193, 14427394577607351748]


def test_hash_spreads_consecutive_keys_evenly_and_leaves_its_input_alone():
    keys = np.arange(1 << 16, dtype=np.uint64)
    counts = np.bincount((mix_hash(keys, 7, 1) >> np.uint64(56)).astype(np.int64), minlength=256)
    assert counts.min() > 180
    assert counts.max() < 340
    assert keys[-1] == (1 << 16) - 1


def test_streams_and_seeds_give_unrelated_orders():
    keys = np.arange(4_000, dtype=np.uint64)
    orders = [np.argsort(mix_hash(keys, seed, stream)) for seed in (0, 1) for stream in (1, 2)]
    for index, order in enumerate(orders):
        for other in orders[:index]:
            assert abs(np.corrcoef(np.argsort(order), np.argsort(other))[0, 1]) < 0.06


def test_better_quality_comes_first_in_256_levels_then_by_hash():
    settings = MixSettings(priority="quality")
    qualities = np.array([1.0, 0.999, 0.5, 0.4999, 0.0], np.float32)
    keys = priority_keys(np.zeros(5, np.uint64), qualities, settings)
    assert (keys >> np.uint64(56)).tolist() == [0, 0, 128, 128, 255]
    hashes = mix_hash(np.arange(50, dtype=np.uint64), 0, 1)
    same_level = priority_keys(np.arange(50, dtype=np.uint64), np.full(50, 0.3, np.float32), settings)
    assert np.argsort(same_level).tolist() == np.argsort(hashes).tolist()
    assert placement_keys(np.arange(50, dtype=np.uint64), settings).tolist() != hashes.tolist()


def arrays(pairs, kind=np.float32):
    return np.array([pair[0] for pair in pairs], np.uint64), np.array([pair[1] for pair in pairs], kind)


def race(hashed: int, probability: float, exponent: float) -> float:
    """log(-log(u) / (1 - p)^b) by the standard library: infinite for a weight of 0."""
    v = (hashed + 0.5) / 2**64
    drawn = -math.log1p(-v) if hashed < 1 << 63 else -math.log((2**64 - hashed - 0.5) / 2**64)
    if exponent == 0:
        return math.log(drawn)
    return math.inf if probability == 1 else math.log(drawn) - exponent * math.log(1 - probability)


@given(st.lists(st.tuples(HASHES, PROBABILITIES), min_size=2, max_size=30), EXPONENTS)
def test_importance_orders_by_the_race_of_efraimidis_and_spirakis(pairs, exponent):
    hashes, probabilities = arrays(pairs)
    keys = importance_keys(hashes, probabilities, exponent).tolist()
    races = [race(hashed, float(probability), exponent) for hashed, probability in zip(hashes.tolist(), probabilities, strict=True)]
    ordered = [races[row] for row in sorted(range(len(keys)), key=keys.__getitem__)]
    # Races that 53 bits over the range cannot tell apart go by hash.
    assert all(one <= two or one - two <= 1e-12 * (1 + abs(one)) * (3 + exponent) ** 2 for one, two in itertools.pairwise(ordered))


@given(st.lists(st.tuples(HASHES, PROBABILITIES), min_size=2, max_size=30))
def test_importance_with_exponent_0_is_the_order_of_the_hashes(pairs):
    hashes, probabilities = arrays(pairs)
    keys = importance_keys(hashes, probabilities, 0.0)
    order = np.argsort(hashes, kind="stable")
    assert (np.diff(keys[order].astype(object)) >= -(1 << 13)).all()
    apart = np.diff(hashes[order].astype(object)) > 1 << 30
    assert (np.diff(keys[order].astype(object))[apart] > 0).all()


@given(st.lists(st.tuples(HASHES, PROBABILITIES), min_size=1, max_size=30), st.sampled_from([0.5, 1.0, 3.0]))
def test_documents_of_weight_0_go_last_and_by_hash(pairs, exponent):
    hashes, probabilities = arrays(pairs)
    probabilities[::2] = 1.0
    keys = importance_keys(hashes, probabilities, exponent)
    weightless = probabilities == 1
    assert (keys[weightless] >= np.uint64(255 << 56)).all() and (keys[~weightless] < np.uint64(255 << 56)).all()
    assert np.array_equal(np.argsort(keys[weightless], kind="stable"), np.argsort(hashes[weightless] >> np.uint64(8), kind="stable"))


@given(HASHES, PROBABILITIES, PROBABILITIES, st.sampled_from([0.5, 1.0, 3.0]))
def test_a_likelier_machine_text_never_goes_before_a_likelier_human_one_of_the_same_hash(hashed, one, two, exponent):
    low, high = sorted((one, two))
    keys = importance_keys(np.array([hashed, hashed], np.uint64), np.array([low, high], np.float32), exponent)
    assert keys[0] <= keys[1]


@given(HASHES, st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_an_abstention_weighs_as_even_odds(hashed, exponent):
    hashes = np.array([hashed, hashed], np.uint64)
    keys = importance_keys(hashes, np.array([np.nan, ABSTAINED_PROBABILITY], np.float32), exponent)
    assert keys[0] == keys[1]
    assert importance_weights(np.array([np.nan], np.float32), exponent)[0] == pytest.approx(0.5**exponent)


def test_weights_are_a_power_of_the_chance_that_a_human_wrote_it():
    probabilities = np.array([0, 0.25, 0.9, 1], np.float32)
    for exponent in (0.5, 1, 2, 10):
        expected = (1 - probabilities.astype(np.float64)) ** exponent
        assert importance_weights(probabilities, exponent) == pytest.approx(expected, rel=1e-13)
    assert importance_weights(probabilities, 0).tolist() == [1, 1, 1, 1]


@given(st.lists(st.tuples(HASHES, st.one_of(st.floats(width=32), st.sampled_from([1.0, 12.5, 0.0, -0.0]))), min_size=1, max_size=30))
def test_hard_goes_by_perplexity_then_by_hash_and_nan_goes_last(pairs):
    hashes, perplexities = arrays(pairs)
    order = np.argsort(hard_keys(hashes, perplexities), kind="stable").tolist()
    expected = sorted(
        range(len(pairs)),
        key=lambda row: (math.isnan(perplexities[row]), 0 if math.isnan(perplexities[row]) else -perplexities[row], hashes[row] >> np.uint64(32)),
    )
    assert order == expected


@given(st.lists(st.tuples(HASHES, st.one_of(st.integers(0, MOST_RANK + 5), st.integers(0, 4)), st.floats(0, 1, width=32)), min_size=1, max_size=30))
def test_diverse_takes_every_clusters_best_before_any_second_and_of_one_rank_the_best(rows):
    hashes, ranks, qualities = (
        np.array([row[0] for row in rows], np.uint64),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.float32),
    )
    best = quality_keys(hashes, qualities)
    keys = diverse_keys(ranks, best)
    order = np.argsort(keys, kind="stable")
    ordered = [(min(ranks[row], MOST_RANK), int(best[row]) >> 20) for row in order]
    assert ordered == sorted(ordered)


def test_every_rank_has_room_of_its_own_and_the_first_ranks_most():
    ends = [diverse_keys(np.arange(MOST_RANK + 2), np.full(MOST_RANK + 2, key, np.uint64)).astype(object) for key in (0, (1 << 64) - 1)]
    assert (ends[0][1 : MOST_RANK + 1] == ends[1][:MOST_RANK] + 1).all()
    assert ends[0][0] == 0 and ends[1][MOST_RANK] == (1 << 64) - 1
    assert (ends[0][MOST_RANK], ends[1][MOST_RANK]) == (ends[0][-1], ends[1][-1])
    assert ends[1][0] == (1 << 63) - 1


@given(st.lists(HASHES, min_size=1, max_size=20, unique=True), st.lists(HASHES, min_size=1, max_size=20, unique=True))
@settings(max_examples=50)
def test_a_key_does_not_depend_on_its_neighbours(some, others):
    row_keys = np.array([*some, *others], np.uint64)
    scores = (row_keys >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    for priority in PRIORITIES:
        mix = MixSettings(priority=priority, importance_exponent=2.0)
        whole = priority_keys(row_keys, scores, mix, scores)
        parts = [priority_keys(row_keys[part], scores[part], mix, scores[part]) for part in (slice(len(some)), slice(len(some), None))]
        assert np.array_equal(whole, np.concatenate(parts)), priority


def test_keys_never_change():
    """Written down once: another machine, numpy or Python must give the same, to the bit."""
    row_keys = np.array([1, 2, 3, 4], np.uint64)
    scores = np.array([0.1, 0.9, np.nan, 1.0], np.float32)
    qualities = np.array([0.1, 0.9, 0.5, 1.0], np.float32)
    made = {
        priority: priority_keys(row_keys, qualities, MixSettings(priority=priority, importance_exponent=1.5, seed=7), scores).tolist()
        for priority in ("importance", "hard")
    }
    assert made == {
        "importance": [6345173786465864013, 14166041493545008871, 8770009297719061009, 18379989821280739571],
        "hard": [4770212720857316714, 4654920575979136149, 18446744070525567274, 4647714811467488368],
    }


def test_draws_are_exponential():
    draws = exponential_draws(mix_hash(np.arange(200_000, dtype=np.uint64), 3, 1))
    assert draws.mean() == pytest.approx(1, abs=0.015)
    for point in (0.1, 1.0, 3.0):
        assert (draws > point).mean() == pytest.approx(math.exp(-point), abs=0.006)
