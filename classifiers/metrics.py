"""How well scores tell machine text from human text, with intervals."""

from collections.abc import Callable

import numpy as np

CALIBRATION_BINS = 15
"""Bins of equal width in which probabilities are compared with outcomes."""


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


def bootstrap_interval(
    measure: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, machine: np.ndarray, repeats: int = 200, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `measure(scores, machine)`, human and machine texts drawn again separately."""
    random = np.random.default_rng(seed)
    human, other = scores[~machine], scores[machine]
    label = np.concatenate([np.zeros(len(human), bool), np.ones(len(other), bool)])
    if not len(human) or not len(other):
        return float("nan"), float("nan")
    values = [
        measure(np.concatenate([human[random.integers(0, len(human), len(human))], other[random.integers(0, len(other), len(other))]]), label)
        for _ in range(repeats)
    ]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share. *Source:* Wilson 1927."""
    if not trials:
        return 0.0, 1.0
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, (centre - spread) / (1 + z * z / trials))), float(min(1.0, (centre + spread) / (1 + z * z / trials)))


def calibration_error(probability: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and outcome over `CALIBRATION_BINS` bins, by weight."""
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = 0.0
    for index in range(CALIBRATION_BINS):
        chosen = bins == index
        error += abs(float((weights[chosen] * (probability[chosen] - machine[chosen])).sum()))
    return error / float(weights.sum())
