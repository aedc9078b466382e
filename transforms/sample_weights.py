"""How much a published row should count in training: the column `sample_weight`, and what it is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.mix_steps import Amount
from transforms.order_keys import importance_weights

WEIGHT_KINDS = ("none", "golden_ratio", "importance")
"""What `publish.sample_weight` may be."""
WEIGHT_FIELD = pa.field("sample_weight", pa.float32(), nullable=False)
"""The column of the published files."""


@dataclass(frozen=True)
class SampleWeights:
    """What the weights of a run are made of. The mean over its rows, each counted with its amount in `unit`, is 1."""

    kind: str
    """One of `WEIGHT_KINDS` but "none"."""
    unit: str
    """What amounts are counted in: the quota's unit."""
    human: float
    """Weight of each row that counts as human."""
    other: float
    """Weight of each other row; with "importance" what its (1 - p)^b is multiplied by."""
    exponent: float | None = None
    """b, with "importance"."""
    real_share: float | None = None
    """With "golden_ratio": the weight of all human text together, of 1."""

    def of_rows(self, is_human: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
        """float32[n]: the weights of rows; `probabilities` (float, nan where the detector abstained) are those that a machine wrote them."""
        others = self.other * (np.ones(len(is_human)) if self.exponent is None else importance_weights(probabilities, self.exponent))
        return np.where(is_human, self.human, others).astype(np.float32)


def golden_ratio_share(human: int, other: int) -> float:
    """The weight of all human text together beside all other text, of 1: w = (sqrt(k^2 + 4 k) - k) / 2 with k = human / other.

    For equal amounts 1 / golden ratio = 0.618; always more than the human share of the amount. Without other text 1, without human text 0.

    *Source:* He, Xu and Cheng 2025, "Golden Ratio Weighting Prevents Model Collapse" (arXiv 2502.18049): the best weight of real data in the long run, where
    each generation of a model is fitted to new real data and to synthetic data of the generation before, and k is the ratio of their amounts.
    """
    if human == 0 or other == 0:
        return float(other == 0)
    ratio = human / other
    # The formula above without its difference of two numbers that are nearly equal where k is large.
    return 2 * ratio / (math.sqrt(ratio * ratio + 4 * ratio) + ratio)


def golden_ratio_weights(human: Amount, other: Amount, unit: str) -> SampleWeights:
    """Human rows weigh w / (human share of the amount), others (1 - w) / (their share), w as `golden_ratio_share` says.

    Where there is only one kind every row weighs 1; a kind without any amount in `unit` weighs 1 too.
    """
    real, made = human.count(unit), other.count(unit)
    share = golden_ratio_share(real, made)
    if real == 0 or made == 0:
        return SampleWeights("golden_ratio", unit, 1.0, 1.0, real_share=share)
    # w^2 + k w = k, so (1 - w) / made = w^2 / real: no difference of two numbers that are nearly equal.
    per_unit = (real + made) / real
    return SampleWeights("golden_ratio", unit, share * per_unit, share * share * per_unit, real_share=share)


def mean_weights(weighted: float, amount: int, unit: str, exponent: float) -> SampleWeights:
    """Human rows weigh 1, others (1 - p)^b over its mean, which is `weighted` / `amount` in `unit`; where all weigh 0, as if b were 0."""
    if weighted == 0:
        return SampleWeights("importance", unit, 1.0, 1.0, 0.0)
    return SampleWeights("importance", unit, 1.0, amount / weighted, float(exponent))
