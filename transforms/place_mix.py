"""Which published shard a chosen document goes to, so that every shard holds the quota by exact integer arithmetic.

Human documents are spread evenly by rank of placement key. Shard s with U_s human units then carries at most
c_s = floor(U_s * (1 - q) / q) units of other text, C = sum of c_s. The T units of other text, laid out end to end in
placement order, are cut at floor(min(T, C) * (c_1 + ... + c_s) / C): no shard gets more than its c_s, and all get the
same fraction of it. A document that a cut falls into (at most one a cut), and what lies beyond C, goes where it still
fits, or is rejected.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Amount
from transforms.plan_mix import MixPlan, warn_of_loss
from transforms.sample_weights import SampleWeights
from transforms.survey_mix import HUMAN, OTHER, OrderedSteps, Request, Selection, join_documents, order_steps


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Where one shard ends and the next begins, in the order of (placement key, address)."""

    keys: np.ndarray
    """uint64: of the first document of shards 1, 2, ...; repeated where a shard is empty, missing where all further ones are."""
    addresses: np.ndarray
    """uint64: likewise."""

    def shards(self, keys: np.ndarray, addresses: np.ndarray) -> np.ndarray:
        """Shard (int32) of each document: the number of boundaries at or before it."""
        found = np.searchsorted(self.keys, keys, side="left")
        ends = np.searchsorted(self.keys, keys, side="right")
        for row in np.flatnonzero(found < ends):
            found[row] += np.searchsorted(self.addresses[found[row] : ends[row]], addresses[row], side="right")
        return found.astype(np.int32)


@dataclass(frozen=True, eq=False)
class HumanPlacement:
    """The human half of the placement, and what it lets each shard carry."""

    selection: Selection
    """The chosen documents."""
    boundaries: Boundaries
    """Where human documents change shard."""
    human_units: np.ndarray
    """int64 (shards, 3): human documents, tokens and bytes of each shard."""
    caps: tuple[int, ...]
    """Most units of other text for each shard, in `unit`."""
    unit: str
    """The quota's unit; documents where the quota is 0, and the caps are those that keep the shards even."""


@dataclass(frozen=True, eq=False)
class MixCuts:
    """Everything that `apply_mix` needs to decide about any document, wherever it lies. Size: a few numbers for each published shard."""

    selection: Selection
    """Which documents are chosen, and the plan of that choice."""
    plan: MixPlan
    """What is published: the selection's plan, less the documents that no shard could hold."""
    human: Boundaries
    """Shards of human documents."""
    other: Boundaries
    """Shards of other documents, but for the straddlers."""
    straddlers: np.ndarray
    """uint64: addresses, ascending, of other documents that a cut between shards fell into."""
    straddler_shards: np.ndarray
    """int32: where each of them goes instead; -1: nowhere."""
    human_units: np.ndarray
    """int64 (shards, 3): human documents, tokens and bytes of each shard."""
    other_units: np.ndarray
    """int64 (shards,): other text of each shard, in the quota's unit (documents where the quota is 0)."""
    weights: SampleWeights | None = None
    """What published rows weigh in training; None: they do not say."""


def seek_human(histogram: np.ndarray, selection: Selection) -> Request:
    """Asks for the bins in which human documents change shard. `histogram`: the chosen documents by placement key."""
    steps = order_steps(histogram, join_documents([]), HUMAN)
    ends = np.cumsum(steps.units[:, 0])
    ranks = _human_ranks(selection.plan)
    indices = np.searchsorted(ends, ranks, side="right")
    is_inside = ranks > np.append(0, ends)[indices]
    return Request(selection, np.unique(steps.bins(indices[is_inside], HUMAN)))


def place_human(histogram: np.ndarray, documents: Iterable[np.ndarray], selection: Selection) -> HumanPlacement:
    """Places the human documents exactly, from the histogram and the documents that `seek_human` asked for."""
    plan, settings = selection.plan, selection.plan.settings
    steps = order_steps(histogram, join_documents(documents), HUMAN)
    totals = np.zeros((len(steps.keys) + 1, len(UNITS)), np.int64)
    np.cumsum(steps.units, axis=0, out=totals[1:])
    ranks = _human_ranks(plan)
    indices = np.searchsorted(totals[:, 0], ranks, side="left")
    _require(np.array_equal(totals[indices, 0], ranks), "a boundary between human documents lies in a bin that was not opened")
    units = np.diff(totals[np.concatenate([[0], indices, [len(steps.keys)]])], axis=0)[: plan.num_shards]
    unit = settings.quota_unit if settings.human_quota > 0 else "documents"
    caps = shard_caps(units, plan.other_selected.documents, settings)
    return HumanPlacement(selection, _boundaries(steps, indices), units, caps, unit)


def shard_caps(human_units: np.ndarray, other_documents: int, settings: MixSettings) -> tuple[int, ...]:
    """Most other units for each shard beside its human units (int64 (shards, 3)); exact for integers of any size.

    Without a quota: the documents that make all shards even, which add up to `other_documents`.
    """
    if settings.human_quota > 0:
        return tuple(settings.most_other(int(units)) for units in human_units[:, UNITS.index(settings.quota_unit)])
    human = human_units[:, 0]
    if not len(human):
        return ()
    each, larger = divmod(int(human.sum()) + other_documents, len(human))
    wanted = np.full(len(human), each)
    wanted[np.argsort(-human, kind="stable")[:larger]] += 1
    return tuple(int(count) for count in wanted - human)


def seek_other(histogram: np.ndarray, placement: HumanPlacement) -> Request:
    """Asks for the bins in which other documents change shard, and those of documents that lie beyond what the shards can hold."""
    steps = order_steps(histogram, join_documents([]), OTHER)
    totals, limits, is_over = _limits(steps, placement)
    indices = np.searchsorted(totals[1:], limits, side="right")
    beyond = np.arange(indices[-1], len(steps.keys)) if is_over else np.empty(0, np.int64)
    inside = indices[indices < len(steps.keys)]
    is_split = (steps.units[inside, 0] > 1) | (totals[inside] < limits[indices < len(steps.keys)])
    return Request(placement.selection, np.unique(steps.bins(np.concatenate([inside[is_split], beyond]), OTHER)))


def place_other(histogram: np.ndarray, documents: Iterable[np.ndarray], placement: HumanPlacement) -> MixCuts:
    """Places the other documents exactly, from the histogram and the documents that `seek_other` asked for.

    Raises RuntimeError if a shard would not hold the quota, which the arithmetic above rules out.
    """
    plan = placement.selection.plan
    steps = order_steps(histogram, join_documents(documents), OTHER)
    totals, limits, is_over = _limits(steps, placement)
    indices = np.searchsorted(totals[1:], limits, side="right")
    is_inside = indices < len(steps.keys)
    _require(bool((steps.units[indices[is_inside], 0] == 1).all()), "a boundary between other documents lies in a bin that was not opened")
    end = int(indices[-1]) if is_over else len(steps.keys)
    inner = indices[: max(0, plan.num_shards - 1)]
    split = indices[is_inside][totals[indices[is_inside]] < limits[is_inside]]
    straddlers = np.unique(np.concatenate([split, np.arange(end, len(steps.keys))]))
    _require(bool(steps.is_open[straddlers].all()), "a document that straddles shards lies in a bin that was not opened")
    sizes = np.diff(totals)
    used = np.diff(totals[np.concatenate([[0], inner, [end]])])[: plan.num_shards]
    within = straddlers[straddlers < end]
    np.subtract.at(used, np.searchsorted(inner, within, side="right"), sizes[within])
    shards = _fit(straddlers, sizes, steps.is_reserved, used, placement.caps)
    for straddler, shard in zip(straddlers, shards, strict=True):
        if shard >= 0:
            used[shard] += sizes[straddler]
    holds = all(int(taken) <= cap for taken, cap in zip(used, placement.caps, strict=True))
    _require(holds, "a shard holds more other text than its human text allows")
    lost = Amount(*(int(total) for total in steps.units[straddlers[shards < 0]].sum(axis=0)))
    warning = warn_of_loss(lost.documents, plan.other_selected.documents, plan.num_shards)
    order = np.argsort(steps.addresses[straddlers])
    return MixCuts(
        selection=placement.selection,
        plan=replace(plan, other_selected=plan.other_selected - lost, warnings=plan.warnings + warning),
        human=placement.boundaries,
        other=_boundaries(steps, inner),
        straddlers=steps.addresses[straddlers][order],
        straddler_shards=shards[order],
        human_units=placement.human_units,
        other_units=used,
    )


def _human_ranks(plan: MixPlan) -> np.ndarray:
    return np.array([shard * plan.human_selected.documents // plan.num_shards for shard in range(1, plan.num_shards)], np.int64)


def _limits(steps: OrderedSteps, placement: HumanPlacement) -> tuple[np.ndarray, np.ndarray, bool]:
    """Cumulated units of the steps (n + 1), the places of the cuts among them, and whether the last of these is an end with text beyond it."""
    totals = np.append(0, np.cumsum(steps.units[:, UNITS.index(placement.unit)]))
    capacity, total = sum(placement.caps), int(totals[-1])
    limits, reached = [], 0
    for cap in placement.caps:
        reached += cap
        limits.append(min(total, capacity) * reached // capacity if capacity else 0)
    is_over = total > capacity and bool(limits)
    return totals, np.array(limits if is_over else limits[:-1], np.int64), is_over


def _fit(straddlers: np.ndarray, sizes: np.ndarray, is_reserved: np.ndarray, used: np.ndarray, caps: tuple[int, ...]) -> np.ndarray:
    """Best fit, reserved ones first, then the largest: each straddler goes to the shard with the least room that holds it; -1 where none does."""
    rooms = sorted((cap - int(taken), shard) for shard, (taken, cap) in enumerate(zip(used, caps, strict=True)))
    shards = np.full(len(straddlers), -1, np.int32)
    for place in np.lexsort((-sizes[straddlers], ~is_reserved[straddlers])):
        size = int(sizes[straddlers[place]])
        found = bisect.bisect_left(rooms, (size, -1))
        if found < len(rooms):
            room, shards[place] = rooms.pop(found)
            bisect.insort(rooms, (room - size, int(shards[place])))
    return shards


def _boundaries(steps: OrderedSteps, indices: np.ndarray) -> Boundaries:
    inside = indices[indices < len(steps.keys)]
    return Boundaries(steps.keys[inside], steps.addresses[inside])


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise RuntimeError(f"mix: {broken}")
