"""Finds what the sample weights of a run are made of: two amounts, which the plan holds, or a sum over all other documents that are published.

Each shard adds whole numbers to that sum, so it is the same for any order of shards and any cut into them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from transforms.apply_mix import apply_mix
from transforms.human_rows import counts_as_human
from transforms.mix_settings import UNITS, MixSettings
from transforms.order_keys import importance_weights
from transforms.place_mix import MixCuts
from transforms.records import DecidedShard
from transforms.sample_weights import golden_ratio_weights, mean_weights
from transforms.survey_mix import read_for_mix

PROBABILITY = "ai_probability"
"""The column that weights are made of."""
_STEPS = 1 << 30
"""The whole number that stands for a weight of 1."""
_LOW = np.uint64((1 << 32) - 1)

Sums = tuple[int, int]
"""Units times weight in steps, and units, of the other documents that are published."""


def weigh_samples(cuts: MixCuts, kind: str, sums: Sums = (0, 0)) -> MixCuts:
    """The cuts with the weights of what they publish; `sums` of `add_sums` for "importance"."""
    plan, settings = cuts.plan, cuts.plan.settings
    if kind == "golden_ratio":
        return replace(cuts, weights=golden_ratio_weights(plan.human_selected, plan.other_selected, settings.quota_unit))
    weighted, amount = sums
    return replace(cuts, weights=mean_weights(weighted / _STEPS, amount, settings.quota_unit, settings.importance_exponent))


def sum_weights(decided: DecidedShard, cuts: MixCuts, settings: MixSettings) -> list[Sums]:
    """One shard's part of the sums; a pool task. Reads the narrow columns."""
    decisions = read_for_mix(decided, settings, scored=(PROBABILITY,))
    kept = (apply_mix(decisions, cuts, settings).output_shard >= 0) & ~counts_as_human(decisions["origin"].to_numpy(), settings)
    units = np.ones(len(kept), np.uint64) if settings.quota_unit == UNITS[0] else decisions[settings.quota_unit].to_numpy().astype(np.uint64)
    probabilities = pc.fill_null(decisions[PROBABILITY], np.nan).to_numpy()[kept]
    steps = np.rint(importance_weights(probabilities, settings.importance_exponent) * _STEPS).astype(np.uint64)
    products = steps * units[kept]
    # Halves apart: the sum of a shard's products may not fit 64 bits.
    weighted = (int((products >> np.uint64(32)).sum()) << 32) + int((products & _LOW).sum())
    return [(weighted, int(units[kept].sum()))]


def add_sums(parts: Iterable[Sums]) -> Sums:
    """The sums of several shards together."""
    weighted = amount = 0
    for one, two in parts:
        weighted, amount = weighted + one, amount + two
    return weighted, amount
