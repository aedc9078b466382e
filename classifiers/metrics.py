"""How well scores tell machine text from human text, with intervals, and how far probabilities mean what they say.

Intervals come from drawing again whole groups of texts: rewrites of one original are no independent texts. All repeats are
counted at once, from one sort of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CALIBRATION_BINS = 15
"""Bins of equal width in which probabilities are compared with outcomes."""
REPEATS_AT_ONCE = 32
"""Repeats of the bootstrap counted together: bounds its memory to about 3 kB a text."""
NAN_INTERVAL = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Measured:
    """One figure and its 95 % interval."""

    value: float
    """The figure; nan where it is not defined."""
    low: float
    """Lower end of the interval; nan where none was asked for or it is not defined."""
    high: float
    """Upper end."""


def auroc(scores: np.ndarray, machine: np.ndarray) -> float:
    """Chance that a machine text scores above a human one, ties counting half; nan unless there are both. `machine` is bool[n]."""
    num_machine, num_human = int(machine.sum()), int((~machine).sum())
    if not num_machine or not num_human:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[machine].sum() - num_machine * (num_machine + 1) / 2) / (num_machine * num_human))


def tpr_at_fpr(scores: np.ndarray, machine: np.ndarray, rate: float) -> float:
    """Share of machine texts above the threshold that at most `rate` of these very human texts exceed; nan unless there are both."""
    if machine.all() or not machine.any():
        return float("nan")
    human = np.sort(scores[~machine])
    return float((scores[machine] > human[len(human) - 1 - int(rate * len(human))]).mean())


def measure_separation(
    scores: np.ndarray,
    machine: np.ndarray,
    rates: Sequence[float],
    groups: np.ndarray | None = None,
    repeats: int = 0,
    seed: int = 0,
) -> list[Measured]:
    """AUROC and then `tpr_at_fpr` at each of `rates`, with 95 % percentile intervals from `repeats` draws of whole groups of texts.

    `groups` (int[n], from 0) says which texts belong together; None: each text is a group of its own. A draw that holds texts of one
    label only counts for nothing. Deterministic for one `seed`. Cost: n x `repeats`, after one sort.

    *Source:* Efron and Tibshirani 1993, "An Introduction to the Bootstrap", sections 8 and 13.
    """
    values = [auroc(scores, machine), *(tpr_at_fpr(scores, machine, rate) for rate in rates)]
    if not repeats or np.isnan(values[0]):
        return [Measured(value, *NAN_INTERVAL) for value in values]
    groups = np.arange(len(scores)) if groups is None else groups
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    is_machine, groups, num_groups = machine[order], groups[order], int(groups.max()) + 1
    random = np.random.default_rng(seed)
    drawn = []
    for begin in range(0, repeats, REPEATS_AT_ONCE):
        count = min(REPEATS_AT_ONCE, repeats - begin)
        picks = random.integers(0, num_groups, (count, num_groups)) + np.arange(count)[:, None] * num_groups
        times = np.bincount(picks.ravel(), minlength=count * num_groups).reshape(count, num_groups)[:, groups]
        human = np.add.reduceat(np.where(is_machine, 0, times), starts, axis=1)
        other = np.add.reduceat(np.where(is_machine, times, 0), starts, axis=1)
        drawn.append(_separation_of_counts(human, other, rates))
    draws = np.concatenate(drawn)
    draws = draws[~np.isnan(draws[:, 0])]
    if not len(draws):
        return [Measured(value, *NAN_INTERVAL) for value in values]
    ends = np.quantile(draws, [0.025, 0.975], axis=0)
    return [Measured(value, float(low), float(high)) for value, low, high in zip(values, *ends, strict=True)]


def _separation_of_counts(human: np.ndarray, machine: np.ndarray, rates: Sequence[float]) -> np.ndarray:
    """float64[repeats, 1 + rates]: AUROC and true-positive rates of counts (int[repeats, scores]) at ascending scores; nan without both labels."""
    below = np.cumsum(human, axis=1)
    num_human, num_machine = below[:, -1], machine.sum(axis=1)
    has_both = (num_human > 0) & (num_machine > 0)
    pairs = (machine * (below - human / 2)).sum(axis=1)
    result = np.full((len(human), 1 + len(rates)), np.nan)
    result[:, 0] = np.divide(pairs, num_human * num_machine, out=result[:, 0].copy(), where=has_both)
    above = num_machine[:, None] - np.cumsum(machine, axis=1)
    for column, rate in enumerate(rates, 1):
        # The threshold is the lowest score that leaves at most `rate` of the human texts above it.
        cut = (below >= (num_human - (rate * num_human).astype(np.int64))[:, None]).argmax(axis=1)
        found = above[np.arange(len(human)), cut]
        result[:, column] = np.divide(found, num_machine, out=result[:, column].copy(), where=has_both)
    return result


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share. *Source:* Wilson 1927, "Probable inference, the law of succession, and statistical inference"."""
    if not trials:
        return 0.0, 1.0
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, (centre - spread) / (1 + z * z / trials))), float(min(1.0, (centre + spread) / (1 + z * z / trials)))


@dataclass(frozen=True)
class ReliabilityBin:
    """Texts whose probabilities lie in one bin."""

    low: float
    """Where the bin begins, inclusive; it is 1 / `CALIBRATION_BINS` wide, and the last one holds 1."""
    texts: int
    """How many texts it holds."""
    weight: float
    """Their share of all weight."""
    probability: float
    """Their mean probability, by weight."""
    machine: float
    """Share of machine text among them, by weight."""


def reliability(probability: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> list[ReliabilityBin]:
    """What became of the texts of each bin of probabilities (0 to 1, without nan); bins without weight are left out.

    *Source:* DeGroot and Fienberg 1983, "The comparison and evaluation of forecasters".
    """
    bins = np.clip((probability * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    texts, weight, said, found = (
        np.bincount(bins, minlength=CALIBRATION_BINS, weights=values)
        for values in (np.ones(len(bins)), weights, weights * probability, weights * machine)
    )
    total = weight.sum()
    return [
        ReliabilityBin(
            index / CALIBRATION_BINS,
            int(texts[index]),
            float(weight[index] / total),
            float(said[index] / weight[index]),
            float(found[index] / weight[index]),
        )
        for index in np.flatnonzero(weight > 0)
    ]


def calibration_error(probability: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and outcome over the bins of `reliability`, by weight; nan without texts.

    *Source:* Naeini, Cooper, Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning", section 4.
    """
    bins = reliability(probability, machine, weights)
    return sum(one.weight * abs(one.probability - one.machine) for one in bins) if bins else float("nan")
