"""The benchmark of importance sampling compares with the right theory, and the real mix draws as it says, on a small case with fixed seeds."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.importance import (
    CLASSES,
    binomial_chances,
    binomial_intervals,
    chi_square_tail,
    class_chi_square,
    count_published,
    count_subsets,
    inclusion_probabilities,
    least_likely,
    make_decisions,
    subset_probabilities,
)
from transforms.order_keys import importance_weights

DOCUMENTS, DRAWN, SEEDS, EXPONENT = 420, 120, 60, 1.5
UNLIKELY = 1e-5
"""A right program with other seeds would fail a test with about this chance."""


@pytest.fixture(scope="module")
def mixes():
    """(counts, weights, probabilities, time) of a small run of the real mix."""
    decisions, weights = make_decisions(DOCUMENTS, DRAWN, EXPONENT)
    return count_published(decisions, DOCUMENTS, DRAWN, SEEDS, EXPONENT), weights, *inclusion_probabilities(weights, DRAWN)


def test_the_real_mix_publishes_each_class_of_weight_as_often_as_theory_says(mixes):
    counts, weights, included, reached = mixes
    assert counts.sum() == SEEDS * DRAWN and included.sum() == pytest.approx(DRAWN)
    assert chi_square_tail(*class_chi_square(counts, SEEDS, weights, reached)) > UNLIKELY


def test_counts_of_documents_lie_in_their_binomial_intervals(mixes):
    counts, _, included, _ = mixes
    fewer = binomial_chances(SEEDS, included)
    least, most, chance = binomial_intervals(fewer)
    inside = int(((least <= counts) & (counts <= most)).sum())
    spread = math.sqrt((chance * (1 - chance)).sum())
    assert abs(inside - chance.sum()) < 4.4 * spread
    assert least_likely(fewer, counts)[1] > UNLIKELY


def test_the_theory_would_notice_another_exponent(mixes):
    """What the first test can see: draws by weights that are a little off are refused."""
    counts, _, _, _ = mixes
    _, weights = make_decisions(DOCUMENTS, DRAWN, EXPONENT + 0.3)
    reached = inclusion_probabilities(weights, DRAWN)[1]
    assert chi_square_tail(*class_chi_square(counts, SEEDS, weights, reached)) < UNLIKELY


def test_subsets_are_drawn_with_their_exact_probability():
    seeds, probabilities = 1_500, 1 - np.array([0.1, 0.4, 0.7, 1.0, 0.0], np.float32)
    exact = subset_probabilities(importance_weights(probabilities, 2.0), 2)
    found = count_subsets(probabilities, 2, seeds, 2.0)
    assert set(found) <= set(exact) and len(exact) == 6
    value = sum((found.get(mask, 0) - seeds * chance) ** 2 / (seeds * chance) for mask, chance in exact.items())
    assert chi_square_tail(value, 6) > UNLIKELY


def test_the_recursion_over_subsets_adds_up_all_orders_of_drawing():
    weights = np.array([0.2, 0.5, 1.0, 0.3])
    exact = subset_probabilities(weights, 3)
    assert math.fsum(exact.values()) == pytest.approx(1)
    for drawn in itertools.combinations(range(4), 3):
        chance = 0.0
        for order in itertools.permutations(drawn):
            left, product = 2.0, 1.0
            for number in order:
                product *= weights[number] / left
                left -= weights[number]
            chance += product
        assert exact[sum(1 << number for number in drawn)] == pytest.approx(chance)


def test_for_equal_weights_theory_is_the_share_that_is_drawn():
    included, reached = inclusion_probabilities(np.full(200, 0.25), 50)
    assert included == pytest.approx(np.full(200, 0.25)) and reached == pytest.approx(-4 * math.log(0.75))


def test_intervals_hold_what_they_say():
    fewer = binomial_chances(20, np.array([0.5, 0.0, 0.99]))
    least, most, chance = binomial_intervals(fewer)
    assert (least[0], most[0]) == (6, 14) and chance[0] == pytest.approx(0.9586, abs=1e-4)
    assert (least[1], most[1]) == (0, 0) and most[2] == 20 and (chance >= 0.95 - 1e-9).all()
    assert least_likely(fewer, np.array([20, 0, 20])) == (0, pytest.approx(3 * 2 * 0.5**20, rel=1e-3))


def test_the_tail_of_a_chi_square():
    assert chi_square_tail(2 * math.log(20), 2) == pytest.approx(0.05)
    assert chi_square_tail(31.41, CLASSES - 1) == pytest.approx(0.05, abs=1e-4)
