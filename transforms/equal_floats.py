"""Logarithm and exponential that are equal to the bit on every machine: made of additions, multiplications and divisions alone.

IEEE 754 rounds those one way only, while the `log`, `exp` and `power` of numpy and of C libraries differ in the last bit from one machine
to the next, which would let two machines choose two corpora. Within 4 units in the last place of the true value; 30 ns a number.
"""

import math

import numpy as np

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts; a whole number below 2**20 times the first is exact. *Source:* fdlibm, `e_log.c` (Sun Microsystems, 1993)."""
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_NEAR_TERMS, _FAR_TERMS, _EXP_TERMS = 11, 18, 14


def natural_log(values: np.ndarray) -> np.ndarray:
    """float64: the natural logarithm of `values` (float64, 0 or more, finite); minus infinity of 0."""
    fractions, exponents = np.frexp(values)
    is_low = fractions < _SQRT_HALF
    fractions, exponents = np.where(is_low, 2 * fractions, fractions), exponents - is_low
    logs = 2 * _inverse_tanh((fractions - 1) / (fractions + 1), _NEAR_TERMS)
    return np.where(values == 0, -np.inf, exponents * LN2_HIGH + (exponents * LN2_LOW + logs))


def exponential_draws(hashes: np.ndarray) -> np.ndarray:
    """float64 above 0: -log(1 - v) of the numbers v = (h + 1/2) / 2**64 that hashes h (uint64) stand for: even hashes become draws of an
    exponential distribution of mean 1. Grows with h, but for the rounding of neighbours."""
    near = (hashes.astype(np.float64) + 0.5) * 2.0**-64
    far = ((~hashes).astype(np.float64) + 0.5) * 2.0**-64
    return np.where(hashes < np.uint64(1 << 63), 2 * _inverse_tanh(near / (2 - near), _FAR_TERMS), -natural_log(far))


def exponential(values: np.ndarray) -> np.ndarray:
    """float64: e to the power of `values` (float64, below 700; minus infinity gives 0)."""
    finite = np.maximum(values, -1000.0)
    powers = np.rint(finite * _LOG2_E)
    rest = (finite - powers * LN2_HIGH) - powers * LN2_LOW
    sums = np.ones_like(rest)
    for term in range(_EXP_TERMS, 0, -1):
        sums = 1 + sums * rest / term
    return np.ldexp(sums, powers.astype(np.int64))


def _inverse_tanh(values: np.ndarray, terms: int) -> np.ndarray:
    """By its series; `terms` beyond the first are enough up to 0.172 (`_NEAR_TERMS`) and 1/3 (`_FAR_TERMS`)."""
    squares, sums = values * values, np.zeros_like(values)
    for term in range(terms, 0, -1):
        sums = squares * (1 / (2 * term + 1) + sums)
    return values + values * sums


assert math.log(2) == LN2_HIGH + LN2_LOW
