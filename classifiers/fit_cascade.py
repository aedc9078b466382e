"""Fits the cascade's band and weights to labelled text that neither detector was trained on.

Both detectors score every text once. Their log odds are weighed together by a logistic regression in which every set weighs the same,
and in each set human and machine. Then each band that takes in the wanted share of the texts is tried, from the lowest to the highest,
and the one is kept whose odds find most machine text at 1 % false positives, in the mean over the sets.

The share holds for a pool like the one fitted to, half of it machine-written: a corpus that is mostly human sends another share deep.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from classifiers.cascade import CascadeDetector, CascadeSettings, weigh_odds
from classifiers.detectors import Detector
from classifiers.labelled_text import MIXED_SETS, LabelledText, fraction_of, read_set
from classifiers.metrics import auroc, tpr_at_fpr
from classifiers.train import batch_of, is_held_out

MAX_DEEP_SHARE = 0.06
"""Share of texts that may go deep. How many texts of a length do depends on the band: of those of 200 words 5.7 % did with this one, and the cascade
was 17.3 times as fast as the deep detector (`benchmarks.detection`); with weights of before 4.5 and 8.1 %, and 21.5 and 12.5 times."""
FADE = 0.1
TEXTS_PER_SET = 400
"""Texts of one set that are scored by both, at most."""
BANDS_TRIED = 60
FALSE_POSITIVE_RATE = 0.01
_RIDGE = 1e-3
_STEPS = 50


@dataclass(frozen=True, eq=False)
class PairedOdds:
    """What both detectors say of the same texts; abstentions are left out."""

    fast: np.ndarray
    """float64[n]: log odds of the fast detector."""
    deep: np.ndarray
    """float64[n]: of the deep one."""
    machine: np.ndarray
    """bool[n]: whether a model wrote the text."""
    sets: np.ndarray
    """int64[n]: number of the set, from 0."""

    def __post_init__(self):
        if len({len(self.fast), len(self.deep), len(self.machine), len(self.sets)}) > 1:
            raise ValueError("fast, deep, machine and sets must be of one length")
        if not self.machine.any() or self.machine.all():
            raise ValueError("a cascade is fitted to human and machine text; one of both is missing")

    @property
    def weights(self) -> np.ndarray:
        """float64[n], sum 1: every set weighs the same, and in it human and machine."""
        cells = self.sets * 2 + self.machine
        counts = np.bincount(cells, minlength=2)
        return 1.0 / counts[cells] / np.count_nonzero(counts)


def fit_cascade(odds: PairedOdds, fast: str, deep: str, max_deep_share: float = MAX_DEEP_SHARE) -> CascadeSettings:
    """The cascade of the detectors of versions `fast` and `deep` that asks the deep one about at most `max_deep_share` (above 0 to 1) of
    the weighed texts. Deterministic. Raises ValueError for another share."""
    if not 0 < max_deep_share <= 1:
        raise ValueError(f"max_deep_share must be above 0, at most 1, not {max_deep_share}")
    factors = fit_factors(odds)
    best, best_found = None, (-1.0, -1.0)
    for low, high in candidate_bands(odds.fast, odds.weights, max_deep_share):
        inside = (odds.fast >= low) & (odds.fast <= high)
        settings = CascadeSettings(low, high, FADE, factors, fast, deep, float(odds.weights[inside].sum()))
        found = mean_separation(cascade_odds(odds, settings), odds)
        if found > best_found:
            best, best_found = settings, found
    return best


def fit_factors(odds: PairedOdds) -> tuple[float, float, float]:
    """Intercept and factors of both log odds, none of them negative: weighted logistic regression, by Newton's steps."""
    columns = np.stack([np.ones_like(odds.fast), odds.fast, odds.deep], 1)
    used = [0, 1, 2]
    while True:
        fitted = _newton(columns[:, used], odds.machine, odds.weights)
        negative = [place for place, value in zip(used[1:], fitted[1:], strict=True) if value < 0]
        if not negative:
            factors = np.zeros(3)
            factors[used] = fitted
            return tuple(float(value) for value in factors)
        used.remove(negative[0])


def candidate_bands(fast: np.ndarray, weights: np.ndarray, share: float) -> list[tuple[float, float]]:
    """Up to `BANDS_TRIED` bands (low, high) of fast log odds, ascending, each with at most `share` of the weight.

    Texts of equal odds go together: where already those of one value weigh more, the lightest value is the only band.
    """
    values, place = np.unique(fast, return_inverse=True)
    mass = np.bincount(place, weights)
    until = np.cumsum(mass)
    bands = []
    for start in np.unique(np.searchsorted(until, np.linspace(0, until[-1], BANDS_TRIED, endpoint=False))):
        stop = int(np.searchsorted(until, until[start] - mass[start] + share + 1e-12, side="right")) - 1
        if stop >= start:
            bands.append((float(values[start]), float(values[stop])))
        if stop == len(values) - 1:
            break
    lightest = float(values[np.argmin(mass)])
    return bands or [(lightest, lightest)]


def cascade_odds(odds: PairedOdds, settings: CascadeSettings) -> np.ndarray:
    """Log odds (float64[n]) that a cascade of these settings gives the texts."""
    inside = (odds.fast >= settings.low) & (odds.fast <= settings.high)
    return np.where(inside, weigh_odds(odds.fast, odds.deep, settings), odds.fast)


def mean_separation(scores: np.ndarray, odds: PairedOdds) -> tuple[float, float]:
    """True-positive rate at `FALSE_POSITIVE_RATE` and AUROC, each the mean over the sets that hold both human and machine text."""
    found = []
    for number in np.unique(odds.sets):
        chosen = odds.sets == number
        if odds.machine[chosen].any() and not odds.machine[chosen].all():
            found.append((tpr_at_fpr(scores[chosen], odds.machine[chosen], FALSE_POSITIVE_RATE), auroc(scores[chosen], odds.machine[chosen])))
    rates, areas = zip(*found, strict=True) if found else ((0.0,), (0.0,))
    return float(np.mean(rates)), float(np.mean(areas))


def pair_odds(texts_by_set: Sequence[Sequence[LabelledText]], fast: Detector, deep: Detector, report: Callable[[str], None] = print) -> PairedOdds:
    """Both detectors' log odds of all texts that neither abstains from."""
    parts: list[tuple[np.ndarray, ...]] = []
    for number, texts in enumerate(texts_by_set):
        for start in range(0, len(texts), 200):
            chunk = texts[start : start + 200]
            batch = batch_of(chunk)
            (fast_odds, fast_abstained), (deep_odds, deep_abstained) = fast.log_odds(batch), deep.log_odds(batch)
            judged = ~(fast_abstained | deep_abstained)
            machine = np.array([text.is_machine for text in chunk])
            parts.append((fast_odds[judged], deep_odds[judged], machine[judged], np.full(int(judged.sum()), number)))
        report(f"set {number + 1} of {len(texts_by_set)}: {len(texts)} texts scored by both detectors")
    return PairedOdds(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def read_fitting_texts(folder: str, sets: Sequence[str] = MIXED_SETS) -> list[list[LabelledText]]:
    """Clean held-out texts of each set in `folder` that has human and machine text, `TEXTS_PER_SET` at most, half of each where it can be."""
    chosen = []
    for name in sets:
        if name not in MIXED_SETS:
            continue
        texts = sorted(
            (text for text in read_set(folder, name) if text.attack == "none" and is_held_out(text)), key=lambda one: fraction_of(one.text, 2)
        )
        sides = [[text for text in texts if text.is_machine is side][: TEXTS_PER_SET // 2] for side in (False, True)]
        chosen.append(sides[0] + sides[1])
    return chosen


def make_cascade(
    folder: str, fast: Detector, deep: Detector, sets: Sequence[str] = MIXED_SETS, max_deep_share: float = MAX_DEEP_SHARE, report: Callable = print
) -> CascadeDetector:
    """The cascade of both detectors, fitted to held-out text of `folder`; reports what several shares would find."""
    odds = pair_odds(read_fitting_texts(folder, sets), fast, deep, report)
    for name, scores in (("fast alone", odds.fast), ("deep alone", odds.deep)):
        report(f"{name}: {_said(mean_separation(scores, odds))}")
    for share in sorted({0.02, 0.04, 0.08, max_deep_share, 0.16, 0.32, 1.0}):
        settings = fit_cascade(odds, fast.version, deep.version, share)
        report(
            f"cascade, at most {share:.0%} deep: {_said(mean_separation(cascade_odds(odds, settings), odds))}, band {settings.low:.2f} to {settings.high:.2f}"
        )
    chosen = fit_cascade(odds, fast.version, deep.version, max_deep_share)
    return CascadeDetector(fast, deep, chosen)


def _said(separation: tuple[float, float]) -> str:
    return f"TPR at {FALSE_POSITIVE_RATE:.0%} FPR {separation[0]:.3f}, AUROC {separation[1]:.3f} (means over sets)"


def _newton(columns: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> np.ndarray:
    factors = np.zeros(columns.shape[1])
    penalty = np.diag([0.0] + [_RIDGE] * (columns.shape[1] - 1))
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(columns @ factors, -30, 30)))
        gradient = columns.T @ (weights * (machine - p)) - penalty @ factors
        curvature = (columns * (weights * p * (1 - p))[:, None]).T @ columns + penalty + 1e-9 * np.eye(len(factors))
        step = np.linalg.solve(curvature, gradient)
        factors = factors + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return factors
