"""Finds the cuts of the mix from surveys of the decided shards: which documents are published, and where each shard ends.

The surveys (keys and sizes only) give a histogram by priority, the documents of the few bins that a cut falls into, a
histogram of the chosen documents by placement, and the documents of the bins where a shard ends. Where places are reserved, surveys of
the groups come before and after. What comes out, `MixCuts`, is small, and the same however the documents are parted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from transforms.bound_mix import HumanOrder, bound_carried, bound_mix
from transforms.human_rows import first_copies_end, repeat_human
from transforms.mix_settings import MixSettings
from transforms.mix_steps import Cut, Steps
from transforms.place_mix import MixCuts, place_human, place_other, seek_human, seek_other
from transforms.plan_mix import describe_mix, without_uncarried
from transforms.reserve_places import reserve_places, seek_places, seek_reserved, state_reserved
from transforms.survey_mix import (
    HUMAN,
    OTHER,
    OrderedSteps,
    Position,
    Request,
    Reserved,
    Selection,
    join_documents,
    merge_histograms,
    order_steps,
    survey_table,
)

PENDING_ROWS = 1 << 18
"""Histogram rows that wait before they are added up, at least: bounds the work of merging many small histograms."""

Survey = Callable[[Request, MixSettings], Iterable[np.ndarray]]
Merge = Callable[[Iterable[np.ndarray]], np.ndarray]


def seek_carried(histogram: np.ndarray, settings: MixSettings, reserved: Reserved) -> Request:
    """Asks for the bins in which fresh text stops carrying the reserved places of other human text. `histogram`: as for `seek_selection`."""
    human = order_steps(histogram, join_documents([]), HUMAN)
    order = human.human_order(settings)
    carried, carriers = bound_carried(Steps(human.units), settings, order)
    places = Cut(order.reserved_fresh + carried.low, order.reserved_fresh + carried.high)
    return Request(bins=_lumps(human, (places, carriers), HUMAN), reserved=reserved)


def seek_selection(histogram: np.ndarray, settings: MixSettings, reserved: Reserved = (), documents: Iterable[np.ndarray] = ()) -> Request:
    """Asks for the bins that a cut of the selection may fall into. `histogram`: all alive documents by priority key.

    `documents`: those that `seek_carried` asked for, where that is asked at all.
    """
    gathered = join_documents(documents)
    human, order, _ = _human_steps(histogram, gathered, settings)
    other = order_steps(histogram, gathered, OTHER)
    bounds = bound_mix(Steps(human.units), Steps(other.units), settings, order)
    bins = np.concatenate([_lumps(human, bounds.human_cuts, HUMAN), _lumps(other, bounds.other_cuts, OTHER)])
    return Request(bins=np.unique(bins), reserved=reserved)


def select_documents(histogram: np.ndarray, documents: Iterable[np.ndarray], settings: MixSettings, reserved: Reserved = ()) -> Selection:
    """The exact selection, from the histogram and the documents that `seek_carried` and `seek_selection` asked for."""
    gathered = join_documents(documents)
    human, order, carried = _human_steps(histogram, gathered, settings)
    other = order_steps(histogram, gathered, OTHER)
    steps = Steps(human.units), Steps(other.units)
    bounds = bound_mix(*steps, settings, order)
    if not bounds.is_exact:
        raise RuntimeError("mix: a cut of the selection lies in a bin that was not opened")
    all_human = order_steps(histogram, gathered, HUMAN)
    plan = describe_mix(*steps, bounds, settings, order, Steps(all_human.units))
    if settings.max_human_repeats > 1:
        first, present = human.before(first_copies_end(settings)), all_human.before(first_copies_end(settings))
        repeated = steps[0].amount(bounds.human.low) - steps[0].amount(min(bounds.human.low, first))
        plan = replace(plan, human_available=Steps(all_human.units).amount(present), repeated=repeated)
    return Selection(
        plan=plan,
        human=human.position(bounds.human.low),
        stale=human.position(bounds.stale_human.low),
        within_size=other.position(bounds.within_size.low),
        within_fresh=other.position(bounds.within_fresh.low),
        within_quota=other.position(bounds.within_quota.low),
        other=other.position(bounds.other.low),
        carried=carried,
        reserved=reserved,
    )


def find_cuts(survey: Survey, settings: MixSettings) -> MixCuts:
    """The cuts of the mix over all documents that `survey` tells of: the plan of `PlanMix` in plain calls.

    `survey(request, settings)` yields what `survey_shard` or `survey_table` finds in each part of the documents, in any order.
    """
    if settings.groups:
        return _find_group_cuts(survey, settings)
    reserved: Reserved = ()
    if settings.reserve:
        by_group = merge_in_parts(survey(Request(of_groups=True), settings))
        reserved = reserve_places(by_group, survey(seek_places(by_group, settings), settings), settings)
    cuts = _place(survey, _select(survey, settings, reserved))
    return state_reserved(cuts, merge_in_parts(survey(seek_reserved(cuts), settings))) if settings.reserve else cuts


def _find_group_cuts(survey: Survey, settings: MixSettings) -> MixCuts:
    # Imported here: a mix without groups needs no solver, nor what prepares its work.
    from transforms.mix_groups import ask_for_cells, seek_cells, seek_published, select_cells, state_groups
    from transforms.survey_cells import merge_cells

    baseline = _select(survey, settings.without_groups, ())
    sought = seek_cells(merge_in_parts(survey(Request(of_cells=True), settings), merge_cells), settings)
    selection = select_cells(sought, survey(ask_for_cells(sought), settings), baseline, settings)
    cuts = _place(survey, selection)
    return state_groups(cuts, merge_in_parts(survey(seek_published(cuts), settings), merge_cells), sought)


def _select(survey: Survey, settings: MixSettings, reserved: Reserved) -> Selection:
    by_priority = merge_in_parts(survey(Request(reserved=reserved), settings))
    gathered = list(survey(seek_carried(by_priority, settings, reserved), settings)) if asks_for_carried(settings) else []
    gathered += survey(seek_selection(by_priority, settings, reserved, gathered), settings)
    return select_documents(by_priority, gathered, settings, reserved)


def _place(survey: Survey, selection: Selection) -> MixCuts:
    settings = selection.plan.settings
    by_placement = merge_in_parts(survey(Request(selection), settings))
    placement = place_human(by_placement, survey(seek_human(by_placement, selection), settings), selection)
    return place_other(by_placement, survey(seek_other(by_placement, placement), settings), placement)


def asks_for_carried(settings: MixSettings) -> bool:
    """Whether reserved places may have to be carried by fresh text."""
    return bool(settings.reserve and settings.min_fresh_human)


def cuts_of_tables(decisions: Sequence[pa.Table], settings: MixSettings) -> MixCuts:
    """`find_cuts` for documents that lie in memory as tables of `DECISION_SCHEMA`."""
    repeated = [repeat_human(table, settings) for table in decisions]
    return find_cuts(lambda request, mix: (survey_table(table, request, mix) for table in repeated), settings)


class PendingHistogram:
    """Histograms added up in parts: rows wait until there are as many as those already added up, so each is sorted a few times only."""

    def __init__(self, merge: Merge = merge_histograms) -> None:
        self._merge, self._parts = merge, [merge([])]
        self._pending = 0

    def add(self, histogram: np.ndarray) -> None:
        """Counts the documents of one more histogram."""
        self._parts.append(histogram)
        self._pending += len(histogram)
        if self._pending > max(PENDING_ROWS, len(self._parts[0])):
            self.merged()

    def merged(self) -> np.ndarray:
        """The histogram of all documents so far."""
        self._parts, self._pending = [self._merge(self._parts)], 0
        return self._parts[0]


def merge_in_parts(histograms: Iterable[np.ndarray], merge: Merge = merge_histograms) -> np.ndarray:
    """`merge` of any number of histograms, at most twice `PENDING_ROWS` or the result in memory."""
    pending = PendingHistogram(merge)
    for histogram in histograms:
        pending.add(histogram)
    return pending.merged()


def _lumps(steps: OrderedSteps, cuts: Sequence[Cut], stratum: int) -> np.ndarray:
    indices = np.unique(np.concatenate([np.arange(cut.low, cut.high) for cut in cuts]))
    return steps.bins(indices[steps.units[indices, 0] > 1], stratum)


def _human_steps(histogram: np.ndarray, gathered: np.ndarray, settings: MixSettings) -> tuple[OrderedSteps, HumanOrder, Position]:
    """The human steps that can be published, their order, and where reserved ones that no fresh text carries begin."""
    human = order_steps(histogram, gathered, HUMAN)
    order = human.human_order(settings)
    carried, _ = bound_carried(Steps(human.units), settings, order)
    if carried.low < carried.high:
        raise RuntimeError("mix: the last reserved place that fresh text carries lies in a bin that was not opened")
    if carried.low == order.reserved_stale:
        return human, order, None
    begin = order.reserved_fresh + carried.low
    _, reordered = without_uncarried(Steps(human.units), order, carried.low)
    return human.without(begin, order.reserved), reordered, human.position(begin)
