"""Finds which documents have the reserved places of each group, from surveys of the groups, and counts what became of them.

A group's places go to its human documents first (fresh ones before others, where a fresh share is asked for), then to its others, each by
priority; so all that need be known of a class is the key of its last document with a place. A histogram tells the bin it lies in, and the
documents of that bin the rest: no worker sees more than those. Grows with the groups: a histogram row for each group, class and bin in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts
from transforms.plan_mix import ReservedGroup
from transforms.survey_mix import BIN_BITS, GROUP_CLASSES, Request, Reserved, ReservedPlaces, join_documents, order_steps


def seek_places(histogram: np.ndarray, settings: MixSettings) -> Request:
    """Asks for the bins that hold the last reserved place of a group and class. `histogram`: all alive members of the groups by priority."""
    bins = [np.empty(0, np.int64)]
    for group, reserve in enumerate(settings.reserve):
        left = reserve.documents
        for stratum in range(GROUP_CLASSES * group, GROUP_CLASSES * (group + 1)):
            steps = order_steps(histogram, join_documents([]), stratum)
            ends = np.cumsum(steps.units[:, 0])
            if len(ends) and left < ends[-1]:
                last = int(np.searchsorted(ends, left, side="right"))
                if left > (ends[last - 1] if last else 0):
                    bins.append(steps.bins(np.array([last]), stratum))
                left = 0
            else:
                left -= int(ends[-1]) if len(ends) else 0
    return Request(bins=np.concatenate(bins), of_groups=True)


def reserve_places(histogram: np.ndarray, documents: Iterable[np.ndarray], settings: MixSettings) -> Reserved:
    """Who has a reserved place, exactly, from the histogram and the documents that `seek_places` asked for."""
    gathered, reserved = join_documents(documents), []
    for group, reserve in enumerate(settings.reserve):
        left, available, ends = reserve.documents, 0, []
        for stratum in range(GROUP_CLASSES * group, GROUP_CLASSES * (group + 1)):
            steps = order_steps(histogram, gathered, stratum)
            totals = np.append(0, np.cumsum(steps.units[:, 0]))
            place = int(np.searchsorted(totals, min(left, totals[-1]), side="left"))
            if totals[place] != min(left, totals[-1]):
                raise RuntimeError("mix: the last reserved place of a group lies in a bin that was not opened")
            # Before the first document, not before the end, where the class has none with a place.
            ends.append((0, 0) if place == 0 else steps.position(place))
            left -= int(totals[place])
            available += int(totals[-1])
        reserved.append(ReservedPlaces(available, tuple(ends)))
    return tuple(reserved)


def seek_reserved(cuts: MixCuts) -> Request:
    """Asks how many documents of each group are published."""
    lost = cuts.straddlers[cuts.straddler_shards < 0]
    return Request(cuts.selection, of_groups=True, lost=lost)


def state_reserved(cuts: MixCuts, histogram: np.ndarray) -> MixCuts:
    """The cuts, with what became of the reserves in their plan. `histogram`: the answer to `seek_reserved`."""
    plan = cuts.plan
    published = np.bincount((histogram[:, 0] >> BIN_BITS) // GROUP_CLASSES, histogram[:, 1], len(plan.settings.reserve)).astype(np.int64)
    groups = (
        ReservedGroup(reserve.name, reserve.documents, places.available, int(count))
        for reserve, places, count in zip(plan.settings.reserve, cuts.selection.reserved, published, strict=True)
    )
    return replace(cuts, plan=replace(plan, reserved=tuple(groups)))
