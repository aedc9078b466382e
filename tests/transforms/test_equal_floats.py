"""The logarithm and exponential that are equal everywhere are also right, and the same for a number whatever stands beside it."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.equal_floats import exponential, exponential_draws, natural_log

UNITS_IN_LAST_PLACE = 4
HASHES = st.integers(0, (1 << 64) - 1)


def is_near(made: float, true: float) -> bool:
    return abs(made - true) <= UNITS_IN_LAST_PLACE * math.ulp(true)


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_logarithms_are_right_to_the_last_places(value):
    assert is_near(natural_log(np.array([value]))[0], math.log(value))


@given(st.floats(-700, 700))
def test_powers_are_right_to_the_last_places(value):
    assert is_near(exponential(np.array([value]))[0], math.exp(value))


def test_the_ends_are_exact():
    assert natural_log(np.array([0.0, 1.0])).tolist() == [-math.inf, 0.0]
    assert exponential(np.array([-math.inf, -0.0, 0.0])).tolist() == [0.0, 1.0, 1.0]


@given(HASHES)
def test_draws_are_right_to_the_last_places(hashed):
    expected = -math.log1p(-(hashed + 0.5) / 2**64) if hashed < 1 << 63 else -math.log((2**64 - hashed - 0.5) / 2**64)
    made = exponential_draws(np.array([hashed], np.uint64))[0]
    assert made > 0 and is_near(made, expected)


@given(st.lists(HASHES, min_size=2, max_size=20, unique=True))
def test_draws_grow_with_the_hash(hashes):
    hashes = sorted(hashes)
    draws = exponential_draws(np.array(hashes, np.uint64))
    gaps = np.diff(draws)
    assert (gaps >= -UNITS_IN_LAST_PLACE * np.spacing(draws[1:])).all()
    assert all(gap > 0 for gap, one, two in zip(gaps, hashes, hashes[1:], strict=False) if two - one > one >> 40 and two < 1 << 63)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_neighbours_change_nothing(values):
    together = natural_log(np.array(values))
    assert together.tolist() == [natural_log(np.array([value]))[0] for value in values]
    assert exponential(together / 10).tolist() == [exponential(np.array([value / 10]))[0] for value in together]
